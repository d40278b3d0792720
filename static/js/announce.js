/**
 * Says aloud, to screen readers, what sighted people see happen: how runs end, that the connection is lost.
 * Bursts are gathered, so that a run of fifty cells is one sentence.
 */

import { counted, shownState } from "./words.js";
import { part, setText } from "./dom.js";

const GATHER_MS = 600;

export class Announcer {
  #store;
  /** @type {Set<string>} */ #ended = new Set();
  /** @type {any} */ #timer = null;

  /** @param {import("./store.js").NotebookStore} store @param {import("./socket.js").NotebookSocket} socket */
  constructor(store, socket) {
    this.#store = store;
    store.addEventListener("state", (event) => this.#states(/** @type {CustomEvent} */ (event).detail));
    socket.addEventListener("state", (event) => this.#connection(/** @type {CustomEvent} */ (event).detail.state));
  }

  /** @param {string} text */
  say(text) {
    const box = part("announcer");
    setText(box, "");
    requestAnimationFrame(() => setText(box, text));
  }

  /** @param {{cells: string[], before: Map<string, import("./types.js").CellState>}} detail */
  #states({ cells, before }) {
    for (const id of cells) {
      const was = before.get(id)?.status;
      if (was === "running" && this.#store.cell(id)?.state.status === "idle") this.#ended.add(id);
    }
    if (this.#ended.size) this.#timer ??= setTimeout(() => this.#sayEnds(), GATHER_MS);
  }

  #sayEnds() {
    this.#timer = null;
    const cells = [...this.#ended].flatMap((id) => this.#store.cell(id) ?? []);
    this.#ended.clear();
    const failed = cells.filter((cell) => shownState(cell) === "failed");
    const numbers = (/** @type {typeof cells} */ list) => list.map((cell) => this.#store.number(cell.id)).join(", ");
    if (failed.length) this.say(`${counted(cells.length, "cell")} ran. Failed: cell ${numbers(failed)}.`);
    else if (cells.length === 1) this.say(`Cell ${numbers(cells)} ran.`);
    else if (cells.length) this.say(`${counted(cells.length, "cell")} ran.`);
  }

  /** @param {string} state */
  #connection(state) {
    if (state === "offline") this.say("Offline. What you type is kept in this browser.");
    if (state === "online") this.say("Online.");
  }
}
