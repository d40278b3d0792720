/**
 * The list of cells on the page: frames in the store's order with an insert row after each. Made from the server's
 * own elements at load and from its templates later. What is inside a frame is cell.js, cell_output.js and editor.js.
 */

import { CellView } from "./cell.js";
import { part, setText } from "./dom.js";

/** Events: `added` {view} · `removed` {view} · `renumbered`. */
export class CellList extends EventTarget {
  #root;
  #store;
  /** @type {Map<string, CellView>} */ #views = new Map();

  /** @param {HTMLElement} root  [data-part=cells] @param {import("./store.js").NotebookStore} store */
  constructor(root, store) {
    super();
    this.#root = root;
    this.#store = store;
    for (const element of root.querySelectorAll(":scope > .cell")) this.#adopt(/** @type {HTMLElement} */ (element));
    store.addEventListener("inserted", (event) => this.#inserted(/** @type {CustomEvent} */ (event).detail.cells));
    store.addEventListener("removed", (event) => this.#removed(/** @type {CustomEvent} */ (event).detail.cells));
    store.addEventListener("moved", () => this.#arrange());
    store.addEventListener("reset", () => this.#reset());
    store.addEventListener("state", (event) => this.#each(event, (view) => view.drawState()));
    store.addEventListener("updated", (event) => this.#one(event, (view) => this.#redrawUpdated(view)));
    store.addEventListener("analysed", () => this.#drawNames());
  }

  /** @param {string | null | undefined} id */
  view(id) {
    return id ? this.#views.get(id) : undefined;
  }

  /** The view that holds an element. @param {EventTarget | null} target */
  viewOf(target) {
    const section = target instanceof Element ? target.closest(".cell") : null;
    return section instanceof HTMLElement ? this.view(section.dataset.cell) : undefined;
  }

  /** In the order of the page. @returns {CellView[]} */
  get views() {
    return this.#store.order.flatMap((id) => this.#views.get(id) ?? []);
  }

  /**
   * Gives a far cell its whole frame. The store must know its outputs by now.
   * @param {CellView} view
   */
  complete(view) {
    if (!view.isFar) return;
    const fresh = this.#build(view.id);
    for (const name of ["is-selected"]) fresh.classList.toggle(name, view.element.classList.contains(name));
    fresh.tabIndex = view.element.tabIndex;
    const hadFocus = document.activeElement === view.element;
    const row = view.element.nextElementSibling;
    view.element.replaceWith(fresh);
    if (!row?.matches(".insert")) {
      const made = this.#insertRow(view.id);
      made.classList.toggle("is-last", view.id === this.#store.order.at(-1));
      fresh.after(made);
    }
    view.element = fresh;
    view.drawNumber();
    view.draw();
    if (hadFocus) fresh.focus({ preventScroll: true });
    this.#emit("completed", { view });
  }

  /** @param {HTMLElement} element */
  #adopt(element) {
    const view = new CellView(element, this.#store);
    if (!this.#store.cell(view.id)) return;
    this.#views.set(view.id, view);
  }

  /** @param {string} id @returns {HTMLElement} */
  #build(id) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("cell-template"));
    const element = /** @type {HTMLElement} */ (/** @type {Element} */ (template.content.querySelector(".cell")).cloneNode(true));
    element.id = `cell-${id}`;
    element.dataset.cell = id;
    element.dataset.number = "";
    return element;
  }

  /** @param {string} after @returns {HTMLElement} */
  #insertRow(after) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("insert-template"));
    const row = /** @type {HTMLElement} */ (/** @type {Element} */ (template.content.querySelector(".insert")).cloneNode(true));
    row.dataset.after = after;
    return row;
  }

  /** @param {string[]} ids */
  #inserted(ids) {
    for (const id of ids) this.#add(id);
    this.#arrange();
  }

  /** @param {string} id */
  #add(id) {
    const view = new CellView(this.#build(id), this.#store);
    this.#views.set(id, view);
    this.#root.append(view.element, this.#insertRow(id));
    view.draw();
    this.#emit("added", { view });
  }

  /** @param {string[]} ids */
  #removed(ids) {
    for (const id of ids) this.#drop(id);
    this.#arrange();
  }

  /** @param {string} id */
  #drop(id) {
    const view = this.#views.get(id);
    if (!view) return;
    this.#emit("removed", { view });
    this.#views.delete(id);
    this.#rowOf(id)?.remove();
    view.element.remove();
  }

  /** @param {string} id @returns {HTMLElement | null} */
  #rowOf(id) {
    return this.#root.querySelector(`:scope > .insert[data-after="${id}"]`);
  }

  /** Puts frames and insert rows in the store's order, touching only what is out of place. */
  #arrange() {
    let at = this.#firstRow();
    /** @type {Map<string | undefined, HTMLElement>} */
    const rows = new Map();
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.#root.querySelectorAll(":scope > .insert"))) rows.set(row.dataset.after, row);
    for (const view of this.views) {
      if (at.nextElementSibling !== view.element) at.after(view.element);
      at = view.element;
      const row = rows.get(view.id) ?? (view.isFar ? null : this.#insertRow(view.id));
      if (!row) continue;
      if (at.nextElementSibling !== row) at.after(row);
      row.classList.remove("is-last");
      at = row;
    }
    if (at.matches(".insert")) at.classList.add("is-last");
    this.#renumber();
  }

  /** @returns {HTMLElement} */
  #firstRow() {
    const first = this.#rowOf("");
    if (first) return first;
    const row = this.#insertRow("");
    this.#root.prepend(row);
    return row;
  }

  /** Numbers are in gutters, and in the notes and names of other cells. */
  #renumber() {
    for (const view of this.views) view.drawNumber();
    for (const link of this.#root.querySelectorAll("a[data-goto]:not([data-name])")) {
      const number = this.#store.number(/** @type {HTMLElement} */ (link).dataset.goto);
      if (number) setText(link, `cell ${number}`);
    }
    this.#emit("renumbered");
  }

  #reset() {
    for (const id of [...this.#views.keys()]) if (!this.#store.cell(id)) this.#drop(id);
    for (const id of this.#store.order) if (!this.#views.has(id)) this.#add(id);
    this.#arrange();
    for (const view of this.views) view.isFar ? view.drawState() : view.draw();
  }

  /** @param {CellView} view */
  #redrawUpdated(view) {
    view.drawHead();
    view.drawNames();
    view.drawState();
    this.#emit("redrawn", { view });
  }

  /** A name that one cell defines may turn a name of any other into a link. */
  #drawNames() {
    for (const view of this.views) if (!view.isFar) view.drawNames();
  }

  /** @param {Event} event @param {(view: CellView) => void} draw */
  #each(event, draw) {
    for (const id of /** @type {CustomEvent} */ (event).detail.cells) {
      const view = this.#views.get(id);
      if (view) draw(view);
    }
  }

  /** @param {Event} event @param {(view: CellView) => void} draw */
  #one(event, draw) {
    const view = this.#views.get(/** @type {CustomEvent} */ (event).detail.cell);
    if (view) draw(view);
  }

  /** @param {string} type @param {object} [detail] */
  #emit(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The box that prose of a text cell is drawn in, made when the template had none. @param {CellView} view */
export function proseOf(view) {
  const known = part("prose", view.element);
  if (known) return known;
  const box = document.createElement("div");
  box.className = "prose";
  box.dataset.part = "prose";
  view.source.before(box);
  return box;
}
