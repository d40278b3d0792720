/** How often something is done that the content of a frame asks for: so often a second, and the last always. */

const SECOND_MS = 1_000;

/** @template T */
export class Pace {
  #room;
  #act;
  /** Asked for when there was no room. @type {{value: T} | null} */ #late = null;

  /** @param {number} timesASecond @param {(value: T) => void} act */
  constructor(timesASecond, act) {
    this.#room = timesASecond;
    this.#act = act;
  }

  /** Does it now, or once there is room: then with the last value that was asked for. @param {T} value */
  ask(value) {
    if (this.#room === 0) {
      this.#late = { value };
      return;
    }
    this.#room -= 1;
    setTimeout(() => this.#free(), SECOND_MS);
    this.#act(value);
  }

  #free() {
    this.#room += 1;
    const late = this.#late;
    this.#late = null;
    if (late) this.ask(late.value);
  }
}
