/**
 * Which cells have a live editor. A source sleeps as the server drew it until somebody goes there; then an editor takes
 * its place with the same lines. Text cells show prose and change to their source while edited.
 */

import { proseOf } from "./cells.js";
import { h, part } from "./dom.js";
import { highlightedLines } from "./highlighted.js";
import { CellEditor, PLACEHOLDERS } from "./editor.js";
import { renderMarkdown, typeset } from "./outputs/markdown.js";
import { TYPE_WORDS } from "./words.js";

/** More live editors than this, and those longest unused go back to sleep. */
const LIVE_AT_MOST = 24;

/** @typedef {import("./cell.js").CellView} CellView */

/** Events: `edge` {cell, edge} (the caret left the text) · `caret` {cell} (it moved) · `woken` {cell}. */
export class Editors extends EventTarget {
  #store;
  #list;
  #editing;
  #sources;
  #nonce;
  #readOnly;
  /** In the order of use, latest last. @type {Map<string, CellEditor>} */ #live = new Map();

  /**
   * @param {{store: import("./store.js").NotebookStore, list: import("./cells.js").CellList,
   *   editing: import("./editing.js").Editing, socket: import("./socket.js").NotebookSocket}} parts
   * @param {{nonce: string, readOnly: boolean}} options
   */
  constructor({ store, list, editing, socket }, { nonce, readOnly }) {
    super();
    this.#store = store;
    this.#list = list;
    this.#editing = editing;
    this.#sources = { socket, store };
    this.#nonce = nonce;
    this.#readOnly = readOnly;
    const on = (/** @type {EventTarget} */ target, /** @type {string} */ type, /** @type {(detail: any) => void} */ act) =>
      target.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
    on(editing, "remote", ({ cell, changes }) => this.#applyRemote(cell, changes));
    on(list, "added", ({ view }) => this.#drawAsleep(view));
    on(list, "completed", ({ view }) => this.#drawAsleep(view));
    on(list, "removed", ({ view }) => this.#forget(view.id));
    on(list, "redrawn", ({ view }) => this.#typeMayHaveChanged(view));
    on(store, "reset", () => this.#redrawAll());
  }

  /** What the server could not draw: maths, and what to do with an empty cell. */
  hydrate() {
    for (const view of this.#list.views) {
      if (view.isFar) continue;
      const prose = part("prose", view.element);
      if (!view.cell.source?.trim()) this.#drawAsleep(view);
      else if (prose) typeset(prose);
    }
  }

  /** The person's role changed. @param {boolean} readOnly */
  setReadOnly(readOnly) {
    this.#readOnly = readOnly;
    for (const id of this.#store.order) this.get(id)?.setReadOnly(readOnly);
  }

  get isReadOnly() {
    return this.#readOnly;
  }

  /** The cell whose editor has the focus. */
  get focused() {
    return [...this.#live].find(([, editor]) => editor.hasFocus)?.[0] ?? null;
  }

  /** @param {string | null | undefined} id @returns {CellEditor | undefined} */
  get(id) {
    return id ? this.#live.get(id) : undefined;
  }

  /** Gives a cell its editor. @param {string} id @returns {CellEditor | undefined} */
  wake(id) {
    const view = this.#list.view(id);
    if (!view || view.cell.source === null) return undefined;
    if (view.isFar) this.#list.complete(view);
    const editor = this.#live.get(id) ?? this.#create(view);
    this.#live.delete(id);
    this.#live.set(id, editor);
    this.#showSource(view);
    this.#letSleep();
    return editor;
  }

  /** Gives a cell its editor if its source stands on the page as text. @param {string} id */
  wakeShown(id) {
    const view = this.#list.view(id);
    if (!view || view.isFar || view.source.hidden) return undefined;
    return this.get(id) ?? this.wake(id);
  }

  /** Puts the caret into a cell. @param {string} id @param {"start" | "end" | number | {x: number, y: number} | null} [place] */
  focus(id, place = null) {
    const editor = this.wake(id);
    if (!editor) return;
    if (place !== null && typeof place === "object") editor.putCaretAt(place);
    else if (place !== null) editor.putCaret(place);
    editor.focus();
  }

  /** Shows a text cell as prose again. @param {string} id */
  showProse(id) {
    const view = this.#list.view(id);
    if (!view || view.isFar || view.cell?.type !== "markdown") return;
    this.#drawProse(view);
  }

  /** @param {CellView} view */
  #create(view) {
    const { cell } = view;
    const editor = new CellEditor(view.source, {
      cell: cell.id,
      type: cell.type,
      text: this.#editing.text(cell.id),
      label: `Source of cell ${this.#store.number(cell.id)}, ${TYPE_WORDS[cell.type]}`,
      nonce: this.#nonce,
      readOnly: this.#readOnly,
      sources: this.#sources,
      onType: (changes) => this.#editing.type(cell.id, changes),
      onMove: () => this.#emit("caret", { cell: cell.id }),
      onEdge: (edge) => this.#leaveBy(cell.id, edge),
    });
    this.#emit("woken", { cell: cell.id });
    return editor;
  }

  /** @param {string} id @param {"up" | "down"} edge */
  #leaveBy(id, edge) {
    const event = new CustomEvent("edge", { detail: { cell: id, edge }, cancelable: true });
    return !this.dispatchEvent(event);
  }

  /** @param {string} id @param {import("../vendor/codemirror.js").ChangeSet} changes */
  #applyRemote(id, changes) {
    const editor = this.#live.get(id);
    if (editor) editor.apply(changes);
    else {
      const view = this.#list.view(id);
      if (view) this.#drawAsleep(view);
    }
    const view = this.#list.view(id);
    if (view?.cell.type === "markdown" && !editor?.hasFocus) this.showProse(id);
  }

  #letSleep() {
    for (const [id, editor] of this.#live) {
      if (this.#live.size <= LIVE_AT_MOST) return;
      if (!editor.hasFocus && !this.#editing.isUnsaved(id)) this.#putToSleep(id, editor);
    }
  }

  /** @param {string} id @param {CellEditor} editor */
  #putToSleep(id, editor) {
    const view = this.#list.view(id);
    const lines = [...editor.view.contentDOM.querySelectorAll(".cm-line")];
    const isWhole = lines.length === editor.view.state.doc.lines;
    const drawn = isWhole ? lines.map((line) => colouredLine(line)) : highlightedLines(editor.text, view?.cell?.type ?? "python");
    this.#forget(id);
    view?.source.replaceChildren(pre(drawn));
  }

  /** @param {string} id */
  #forget(id) {
    this.#live.get(id)?.destroy();
    this.#live.delete(id);
  }

  /** @param {CellView} view */
  #drawAsleep(view) {
    if (view.isFar || view.cell.source === null) return;
    if (this.#live.has(view.id)) this.#forget(view.id);
    const text = this.#editing.text(view.id);
    view.source.replaceChildren(pre(text ? highlightedLines(text, view.cell.type) : [this.#emptyLine(view)]));
    if (view.cell.type === "markdown") this.#drawProse(view);
    else this.#showSource(view);
  }

  /** @param {CellView} view */
  #emptyLine(view) {
    const words = this.#readOnly ? "" : PLACEHOLDERS[view.cell.type];
    return h("span", { class: "line" }, h("span", { class: "is-placeholder" }, words));
  }

  #redrawAll() {
    for (const view of this.#list.views) {
      const editor = this.#live.get(view.id);
      if (!editor || editor.text !== this.#editing.text(view.id)) this.#drawAsleep(view);
    }
  }

  /** @param {CellView} view */
  #typeMayHaveChanged(view) {
    if (view.isFar) return;
    const { type } = view.cell;
    const editor = this.#live.get(view.id);
    if (view.element.dataset.uiType === type || (!view.element.dataset.uiType && !editor)) {
      if (!editor && type === "markdown" && view.source.hidden === false) this.#drawProse(view);
      if (type !== "markdown" && view.source.hidden) this.#showSource(view);
      return;
    }
    editor?.setType(type);
    view.element.dataset.uiType = type;
    if (type === "markdown" && !editor?.hasFocus) this.#drawProse(view);
    else this.#showSource(view);
  }

  /** @param {CellView} view */
  #showSource(view) {
    view.element.dataset.uiType = view.cell.type;
    view.source.hidden = false;
    const prose = part("prose", view.element);
    if (prose) prose.hidden = true;
  }

  /** @param {CellView} view */
  async #drawProse(view) {
    const text = this.#editing.text(view.id);
    const box = proseOf(view);
    const drawn = text.trim()
      ? await renderMarkdown(text)
      : h("p", { class: "is-placeholder" }, this.#readOnly ? "" : "Empty text: press Enter or double-click to write.");
    if (view.cell?.type !== "markdown" || this.#editing.text(view.id) !== text) return;
    box.replaceChildren(drawn);
    if (this.#live.get(view.id)?.hasFocus) return;
    view.element.dataset.uiType = "markdown";
    box.hidden = false;
    view.source.hidden = true;
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {Element} line */
function colouredLine(line) {
  return h("span", { class: "line" }, ...[...line.childNodes].filter((node) => node.nodeName !== "BR").map((node) => node.cloneNode(true)));
}

/** @param {HTMLElement[]} lines */
function pre(lines) {
  return h("pre", {}, h("code", {}, ...lines));
}
