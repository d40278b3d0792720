/** How often something happens that the content of a frame asks for. */

const SECOND_MS = 1_000;

/** So often a second, and the last always. @template T */
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

/** Whether something happens more often a second than it may. */
export class Burst {
  #most;
  #count = 0;
  #since = 0;

  /** @param {number} timesASecond */
  constructor(timesASecond) {
    this.#most = timesASecond;
  }

  /** Counts one more. */
  isOver() {
    const now = performance.now();
    if (now - this.#since > SECOND_MS) [this.#count, this.#since] = [0, now];
    this.#count += 1;
    return this.#count > this.#most;
  }
}
