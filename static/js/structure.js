/**
 * Changes to the order and kind of cells: insert, delete, move, duplicate, split, merge, cut and paste, type. Each is
 * one command of the socket; the page changes when the event comes back. Undo takes back the last one made here.
 */

import { newId } from "./ids.js";
import { CommandError } from "./socket.js";
import { clearToast, toast } from "./toasts.js";
import { counted } from "./words.js";

/** @typedef {import("./types.js").CellType} CellType */
/** @typedef {{type: CellType, source: string, result_name: string, connection: string | null}} Copy */

const EVENT_MS = 5_000;
const CLIPBOARD = "rillbook:cells";

export class Structure {
  #store;
  #socket;
  #editing;
  #editors;
  #selection;
  #texts;
  /** Operations that can be taken back, latest last; each entry is one thing the person did. @type {string[][]} */
  #undo = [];
  /** @type {string[][]} */ #redo = [];
  /** Asks what this person did before the page was loaded; once. @type {(() => Promise<{undo: string[], redo: string[]}>) | null} */
  #recall = null;

  /**
   * @param {{store: import("./store.js").NotebookStore, socket: import("./socket.js").NotebookSocket,
   *   editing: import("./editing.js").Editing, editors: import("./editors.js").Editors,
   *   selection: import("./selection.js").Selection, texts: import("./texts.js").Texts}} parts
   */
  constructor({ store, socket, editing, editors, selection, texts }) {
    this.#texts = texts;
    this.#store = store;
    this.#socket = socket;
    this.#editing = editing;
    this.#editors = editors;
    this.#selection = selection;
  }

  /**
   * Puts a new cell after another one; null is the first place. It shows at once, so that what is typed next is in it.
   * @param {string | null} after
   * @param {CellType} type
   * @param {{source?: string, edit?: boolean, copy?: Partial<Copy>}} [options]
   * @returns {Promise<string | null>} its id, when the server has it
   */
  async insert(after, type, { source = "", edit = true, copy = {} } = {}) {
    const cell = newId();
    if (this.#socket.state === "online") {
      const { result_name = "", connection = null } = copy;
      this.#store.insertAhead({ id: cell, type, source, result_name, connection }, after);
      if (edit) this.#selection.edit(cell, "end");
      else this.#selection.select(cell);
    }
    const operations = await this.#do([["insert", { cell, after, cell_type: type, source, ...rest(copy) }]]);
    if (operations) return cell;
    this.#store.withdraw(cell);
    return null;
  }

  /** Deletes cells without asking, and offers to take it back. @param {string[]} cells */
  async remove(cells) {
    if (!cells.length) return;
    const number = this.#store.number(cells[0]);
    const operations = await this.#do([["delete", { cells }]]);
    if (!operations) return;
    const what = cells.length === 1 ? `Cell ${number} deleted` : `${counted(cells.length, "cell")} deleted`;
    toast(what, { label: "Undo", key: "Z", act: () => this.undo() });
  }

  /** Moves cells one place up or down. @param {string[]} cells @param {-1 | 1} step */
  move(cells, step) {
    const { order } = this.#store;
    const first = order.indexOf(cells[0]);
    const last = order.indexOf(cells[cells.length - 1]);
    if (step < 0 && first <= 0) return;
    if (step > 0 && (last < 0 || last >= order.length - 1)) return;
    return this.moveAfter(cells, step < 0 ? (order[first - 2] ?? null) : order[last + 1]);
  }

  /** @param {string[]} cells @param {string | null} after */
  async moveAfter(cells, after) {
    if (after && cells.includes(after)) return;
    if (await this.#do([["move", { cells, after }]])) this.#selection.select(cells[0]);
  }

  /** @param {string[]} cells @param {CellType} type */
  changeType(cells, type) {
    return this.update(cells.filter((id) => this.#store.cell(id)?.type !== type), { type });
  }

  /** Sets fields of cells. Unsent text goes first, so that the version is the right one. @param {string[]} cells @param {object} fields */
  async update(cells, fields) {
    const steps = [];
    for (const cell of cells) {
      const version = await this.#flush(cell);
      if (version === null) return;
      steps.push(/** @type {[string, object]} */ (["update", { cell, version, fields }]));
    }
    await this.#do(steps);
  }

  /** Puts copies right after the cells. @param {string[]} cells */
  async duplicate(cells) {
    if (await this.#know(cells)) await this.#insertCopies(cells.map((id) => this.#copyOf(id)), cells[cells.length - 1] ?? null);
  }

  /** Cuts the active cell in two at the caret. @param {string} id */
  async split(id) {
    const editor = this.#editors.get(id);
    const cell = this.#store.cell(id);
    if (!editor || !cell) return;
    const version = await this.#flush(id);
    if (version === null) return;
    const [before, after] = editor.parts;
    const made = newId();
    const rest = { cell: made, after: id, cell_type: cell.type, source: after.replace(/^\n/, ""), connection: cell.connection };
    const isDone = await this.#do([["insert", rest], ["edit", { cell: id, version, source: before.replace(/\n$/, ""), undoable: true }]]);
    if (isDone && (await this.#arrives(made))) this.#selection.edit(made, "start");
  }

  /** Joins cells into the first of them. One cell is joined with the next. @param {string[]} cells */
  async merge(cells) {
    const ids = cells.length > 1 ? cells : this.#store.order.slice(this.#store.number(cells[0]) - 1, this.#store.number(cells[0]) + 1);
    if (ids.length < 2 || !(await this.#know(ids))) return;
    const versions = [];
    for (const id of ids) versions.push(await this.#flush(id));
    if (versions.includes(null)) return;
    const joint = this.#store.cell(ids[0])?.type === "markdown" ? "\n\n" : "\n";
    const source = ids.map((id) => this.#editing.text(id)).join(joint);
    const edit = { cell: ids[0], version: versions[0], source, undoable: true };
    if (await this.#do([["edit", edit], ["delete", { cells: ids.slice(1) }]])) this.#selection.select(ids[0]);
  }

  /** Sends what was typed in a cell. @param {string} id @returns {Promise<number | null>} the version; null if it cannot be stored now */
  async #flush(id) {
    return this.#editing.flush(id).catch((error) => (toast(error.message), null));
  }

  /** Copies cells, also for other notebooks and, as text, for other programs. @param {string[]} cells */
  async copy(cells) {
    if (!(await this.#know(cells))) return false;
    const copies = cells.map((id) => this.#copyOf(id));
    localStorage.setItem(CLIPBOARD, JSON.stringify(copies));
    await navigator.clipboard?.writeText(copies.map(({ source }) => source).join("\n\n")).catch(() => {});
    return true;
  }

  /** @param {string[]} cells */
  async cut(cells) {
    if (await this.copy(cells)) await this.remove(cells);
  }

  /** @param {string | null} after */
  paste(after) {
    const copies = JSON.parse(localStorage.getItem(CLIPBOARD) ?? "[]");
    if (!copies.length) toast("Nothing to paste: copy a cell first.");
    else return this.#insertCopies(copies, after);
  }

  /** Something was done by another way than the socket's commands: undo takes it back too. @param {string} operation */
  did(operation) {
    this.#undo.push([operation]);
    this.#redo.length = 0;
  }

  /** Where to ask for what can be undone since before this page. @param {() => Promise<{undo: string[], redo: string[]}>} recall */
  recallWith(recall) {
    this.#recall = recall;
  }

  undo() {
    return this.#takeBack(this.#undo, this.#redo, "Nothing to undo.");
  }

  redo() {
    return this.#takeBack(this.#redo, this.#undo, "Nothing to redo.");
  }

  /** Texts of far cells are fetched before they are copied. @param {string[]} cells */
  async #know(cells) {
    const isKnown = await this.#texts.learn(cells);
    if (!isKnown) toast("Some of these cells are not loaded yet: try again when the connection is back.");
    return isKnown;
  }

  /** @param {Copy[]} copies @param {string | null} after */
  async #insertCopies(copies, after) {
    const steps = [];
    let last = after;
    for (const copy of copies) {
      const cell = newId();
      steps.push(/** @type {[string, object]} */ (["insert", { cell, after: last, cell_type: copy.type, source: copy.source, ...rest(copy) }]));
      last = cell;
    }
    if ((await this.#do(steps)) && last && (await this.#arrives(last))) this.#selection.select(last);
  }

  /** @param {string} id @returns {Copy} */
  #copyOf(id) {
    const cell = /** @type {import("./types.js").Cell} */ (this.#store.cell(id));
    return { type: cell.type, source: this.#editing.text(id), result_name: "", connection: cell.connection };
  }

  /**
   * Sends steps as one thing that undo takes back.
   * @param {[string, object][]} steps
   * @returns {Promise<string[] | null>} the operations, or null when a step was refused (said in a toast)
   */
  async #do(steps) {
    const done = [];
    try {
      for (const [type, fields] of steps) {
        const operation = newId();
        await this.#socket.request(type, { ...fields, operation_id: operation });
        done.push(operation);
      }
    } catch (error) {
      this.#say(error);
    }
    if (done.length) {
      this.#undo.push(done);
      this.#redo.length = 0;
    }
    return done.length === steps.length && done.length > 0 ? done : null;
  }

  /** @param {string[][]} from @param {string[][]} to @param {string} nothing */
  async #takeBack(from, to, nothing) {
    clearToast();
    if (!from.length) await this.#remember();
    const operations = from.pop();
    if (!operations) {
      toast(nothing);
      return;
    }
    const done = [];
    try {
      for (const operation of operations.reverse()) {
        const id = newId();
        await this.#socket.request("undo", { operation_id: operation, new_operation_id: id });
        done.push(id);
      }
    } catch (error) {
      this.#say(error);
    }
    if (done.length) to.push(done);
  }

  /** Puts what was done before this page beneath what was done in it. */
  async #remember() {
    const recalled = await this.#recall?.().catch(() => null);
    if (!recalled) return;
    this.#recall = null;
    const known = new Set([...this.#undo, ...this.#redo].flat());
    const older = (/** @type {string[]} */ operations) => operations.filter((id) => !known.has(id)).map((id) => [id]);
    this.#undo.unshift(...older(recalled.undo));
    this.#redo.unshift(...older(recalled.redo));
  }

  /** Waits for a cell's own event: the reply may be earlier. @param {string} id */
  #arrives(id) {
    if (this.#store.cell(id)) return true;
    return new Promise((resolve) => {
      const done = (/** @type {boolean} */ arrived) => {
        clearTimeout(timer);
        this.#store.removeEventListener("inserted", check);
        resolve(arrived);
      };
      const check = () => this.#store.cell(id) && done(true);
      const timer = setTimeout(() => done(false), EVENT_MS);
      this.#store.addEventListener("inserted", check);
    });
  }

  /** @param {unknown} error */
  #say(error) {
    if (!(error instanceof CommandError)) throw error;
    const offline = "Offline: cells can be added, moved and deleted again when the connection is back.";
    toast(error.code === "offline" ? offline : error.message);
  }
}

/** @param {Partial<Copy>} copy */
function rest({ result_name = "", connection = null }) {
  return { ...(result_name && { result_name }), ...(connection && { connection }) };
}
