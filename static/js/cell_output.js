/**
 * Connects cells' outputs to their one renderer, outputs/index.js: at load, live, and when a run ends.
 * How a MIME type is drawn is not known here.
 */

import { applyOps, hydrateOutputs, renderOutputs, settle } from "./outputs/index.js";

export class CellOutputs {
  #store;
  #list;
  #socket;
  #frameUrl;
  /** The attempt whose output a cell shows, and whether it came live. @type {Map<string, {attempt: string | null, isLive: boolean}>} */
  #shown = new Map();

  /**
   * @param {import("./store.js").NotebookStore} store
   * @param {import("./cells.js").CellList} list
   * @param {import("./socket.js").NotebookSocket} socket
   * @param {string} frameUrl
   */
  constructor(store, list, socket, frameUrl) {
    this.#store = store;
    this.#list = list;
    this.#socket = socket;
    this.#frameUrl = frameUrl;
    const on = (/** @type {EventTarget} */ target, /** @type {string} */ type, /** @type {(detail: any) => void} */ act) =>
      target.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
    on(store, "ops", (event) => this.#grow(event));
    on(store, "outputs", ({ cell }) => this.#draw(cell));
    on(store, "state", ({ cells }) => cells.forEach((/** @type {string} */ id) => this.#stateChanged(id)));
    on(store, "saved", ({ cell, attempt }) => this.#saved(cell, attempt));
    on(store, "reset", () => this.#drawAll());
    on(list, "added", ({ view }) => this.#draw(view.id));
    on(list, "completed", ({ view }) => this.#draw(view.id));
  }

  /** Gives the outputs that the server drew their tools. */
  hydrate() {
    for (const view of this.#list.views) {
      const { cell } = view;
      if (view.isFar || cell.type === "markdown") continue;
      this.#shown.set(cell.id, { attempt: cell.state.status === "idle" ? cell.state.attempt : null, isLive: false });
      if (cell.outputs?.length) hydrateOutputs(view.output, this.#subject(cell.id), cell.outputs, this.#context(cell.id));
    }
  }

  #drawAll() {
    for (const view of this.#list.views) if (!view.isFar) this.#draw(view.id);
  }

  /** @param {string} id */
  #draw(id) {
    const view = this.#list.view(id);
    if (!view || view.isFar || !view.cell.outputs || view.cell.type === "markdown") return;
    const { attempt } = view.cell.state;
    this.#shown.set(id, { attempt, isLive: false });
    renderOutputs(view.output, this.#subject(id), view.cell.outputs, this.#context(id, attempt));
  }

  /** @param {{cell: string, attempt: string, ops: any[]}} event */
  #grow({ cell, attempt, ops }) {
    const view = this.#list.view(cell);
    if (!view || view.isFar) return;
    this.#shown.set(cell, { attempt, isLive: true });
    applyOps(view.output, this.#subject(cell), ops, this.#context(cell, attempt));
  }

  /** A run that ended without a word leaves nothing of the run before it. @param {string} id */
  #stateChanged(id) {
    const view = this.#list.view(id);
    if (!view || view.isFar || view.cell.type === "markdown") return;
    const { status, attempt, outcome } = view.cell.state;
    if (status !== "idle" || !attempt || !outcome) return;
    if (this.#shown.get(id)?.attempt !== attempt && this.#shown.has(id)) {
      this.#shown.set(id, { attempt, isLive: false });
      renderOutputs(view.output, this.#subject(id), [], this.#context(id, attempt));
    }
    settle(view.output);
  }

  /** @param {string} id @param {string | undefined} attempt */
  async #saved(id, attempt) {
    const shown = this.#shown.get(id);
    if (shown?.isLive && (!attempt || shown.attempt === attempt)) return;
    if (this.#list.view(id)?.isFar) return;
    const reply = await this.#socket.request("cells", { cells: [id] }).catch(() => null);
    if (reply && !this.#shown.get(id)?.isLive) this.#store.fill(reply.cells);
  }

  /** @param {string} id */
  #subject(id) {
    return { id, number: this.#store.number(id) };
  }

  /** @param {string} id @param {string | null} [attempt] */
  #context(id, attempt) {
    const table = async (/** @type {object} */ request) =>
      (await this.#socket.request("table", { cell: id, ...request })).table;
    return { frameUrl: this.#frameUrl, attempt: attempt ?? undefined, table };
  }
}
