/**
 * The texts of cells far from the window are not on the page: they are fetched when somebody edits, copies or searches
 * them. Drawing far cells as they come near is in far.js.
 */

const AT_ONCE = 50;
/** An edit by somebody else may overtake an answer: then it is asked again. */
const ROUNDS = 3;

export class Texts {
  #store;
  #socket;

  /** @param {import("./store.js").NotebookStore} store @param {import("./socket.js").NotebookSocket} socket */
  constructor(store, socket) {
    this.#store = store;
    this.#socket = socket;
  }

  /** @param {string} id  of a cell that is there */
  isKnown(id) {
    return (this.#store.cell(id)?.source ?? null) !== null;
  }

  /**
   * Fetches the texts that are missing among these cells, all by default.
   * @param {string[]} [ids]
   * @returns {Promise<boolean>} whether all are known now; false without a connection
   */
  async learn(ids = this.#store.order) {
    // As long as texts come: an answer holds as many as fit.
    for (let round = 0, left = Infinity; this.#missing(ids).length && (round < ROUNDS || this.#missing(ids).length < left); round += 1) {
      left = this.#missing(ids).length;
      for (const missing of this.#batches(ids)) {
        const reply = await this.#socket.request("cells", { cells: missing, outputs: false }).catch(() => null);
        if (!reply) return false;
        this.#store.fill(reply.cells);
      }
    }
    return this.#missing(ids).length === 0;
  }

  /** The same, once there is a connection. @param {string[]} ids */
  async learnWhenOnline(ids) {
    if (this.#missing(ids).length && this.#socket.state !== "online") await this.#socket.online();
    return this.learn(ids);
  }

  /** @param {string[]} ids */
  #missing(ids) {
    return ids.filter((id) => this.#store.cell(id)?.source === null);
  }

  /** @param {string[]} ids */
  *#batches(ids) {
    const missing = this.#missing(ids);
    for (let at = 0; at < missing.length; at += AT_ONCE) yield missing.slice(at, at + AT_ONCE);
  }
}
