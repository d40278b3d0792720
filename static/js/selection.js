/**
 * Which cell is active, which are selected, and whether keys act on cells (command mode) or on text (edit mode).
 * Shown as a ring, in aria-selected words for screen readers, and by where the focus is.
 */

import { prefersStillness } from "./dom.js";
import { toast } from "./toasts.js";

/** Events: `change` · `left` {cell} (a cell stopped being edited). */
export class Selection extends EventTarget {
  /** @type {string | null} */ active = null;
  /** @type {"command" | "edit"} */ mode = "command";
  /** The cell being typed in was taken away: letters do nothing until the person does something else. */
  isMuted = false;
  #store;
  #list;
  #editors;
  #texts;
  /** The other end of a selection of several. @type {string | null} */ #anchor = null;

  /**
   * @param {import("./store.js").NotebookStore} store
   * @param {import("./cells.js").CellList} list
   * @param {import("./editors.js").Editors} editors
   * @param {import("./texts.js").Texts} texts
   */
  constructor(store, list, editors, texts) {
    super();
    this.#texts = texts;
    this.#store = store;
    this.#list = list;
    this.#editors = editors;
    const root = /** @type {HTMLElement} */ (document.getElementById("notebook"));
    root.addEventListener("focusin", (event) => this.#focused(event));
    root.addEventListener("focusout", (event) => this.#blurred(event));
    root.addEventListener("pointerdown", (event) => this.#pressed(event));
    root.addEventListener("dblclick", (event) => this.#doublePressed(event));
    for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, (event) => this.#unmute(event), { capture: true });
    store.addEventListener("removed", (event) => this.#removed(/** @type {CustomEvent} */ (event).detail));
    list.addEventListener("completed", () => this.#draw());
    editors.addEventListener("edge", (event) => this.#crossEdge(/** @type {CustomEvent} */ (event)));
    this.active = store.order[0] ?? null;
    this.#draw();
  }

  /** The selected cells in the order of the page. @returns {string[]} */
  get selected() {
    if (!this.active) return [];
    const [from, to] = [this.#store.number(this.active), this.#store.number(this.#anchor ?? this.active)].sort((a, b) => a - b);
    return this.#store.order.slice(Math.max(0, from - 1), to);
  }

  /**
   * Makes a cell the active one, in command mode.
   * @param {string | null | undefined} id
   * @param {{extend?: boolean, focus?: boolean}} [options]
   */
  select(id, { extend = false, focus = true } = {}) {
    if (!id || !this.#store.cell(id)) return;
    this.#anchor = extend ? (this.#anchor ?? this.active) : null;
    this.active = id;
    this.#setMode("command");
    const element = this.#list.view(id)?.element;
    if (!element) return;
    if (focus) element.focus({ preventScroll: true });
    scrollNear(element);
  }

  /**
   * Makes a cell active and puts the caret into it; into a far one when its text has come.
   * @param {string} id
   * @param {"start" | "end" | number | {x: number, y: number} | null} [place]
   * @returns {Promise<void> | undefined} undefined when it is done
   */
  edit(id, place = null) {
    if (!this.#store.cell(id)) return undefined;
    if (!this.#texts.isKnown(id)) return this.#editLater(id, place);
    this.#anchor = null;
    this.active = id;
    this.#editors.focus(id, place);
    this.#setMode("edit");
    const element = this.#list.view(id)?.element;
    if (element && place === null) scrollNear(element);
    return undefined;
  }

  /** @param {string} id @param {"start" | "end" | number | {x: number, y: number} | null} place */
  async #editLater(id, place) {
    this.select(id);
    const isKnown = await this.#texts.learn([id]);
    if (this.active !== id) return;
    if (isKnown) this.edit(id, place);
    else toast("This cell's text is not here yet: it comes with the connection.");
  }

  /** Leaves the text for the cell. */
  leave() {
    if (this.active) this.select(this.active);
  }

  /** The cell so many places further. @param {number} step @param {{extend?: boolean}} [options] */
  step(step, options = {}) {
    const at = this.#store.number(this.active) - 1 + step;
    this.select(this.#store.order[Math.min(Math.max(at, 0), this.#store.order.length - 1)], options);
  }

  /** Goes to a cell, and to a line of it. @param {string} id @param {number | null} [line] */
  async goTo(id, line = null) {
    if (line === null) {
      this.select(id);
      return;
    }
    await this.edit(id);
    this.#editors.get(id)?.putCaretOnLine(line);
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const view = this.#list.viewOf(event.target);
    if (!view) return;
    const isText = event.target instanceof Element && event.target.closest(".cm-content") !== null;
    if (view.id !== this.active) {
      this.#anchor = null;
      this.active = view.id;
    }
    this.#setMode(isText ? "edit" : "command");
  }

  /** @param {FocusEvent} event */
  #blurred(event) {
    const view = this.#list.viewOf(event.target);
    const next = this.#list.viewOf(event.relatedTarget);
    if (!view || next === view) return;
    if (!document.hasFocus() && event.relatedTarget === null) return;
    this.dispatchEvent(new CustomEvent("left", { detail: { cell: view.id } }));
  }

  /** A press on a sleeping source wakes it with the caret under the pointer. @param {PointerEvent} event */
  #pressed(event) {
    const view = this.#list.viewOf(event.target);
    const target = /** @type {Element} */ (event.target);
    if (!view || event.button !== 0) return;
    if (event.shiftKey && !target.closest(".cm-content")) {
      event.preventDefault();
      this.select(view.id, { extend: true });
      return;
    }
    if (target.closest(".source") && !target.closest(".cm-editor") && !this.#editors.isReadOnly) {
      event.preventDefault();
      this.edit(view.id, { x: event.clientX, y: event.clientY });
    } else if (!target.closest("a, button, input, select, textarea, iframe, label, summary, [tabindex]:not(.cell), .cm-editor")) {
      this.#anchor = null;
      this.active = view.id;
      this.#setMode("command");
      if (!target.closest(".output, .prose")) view.element.focus({ preventScroll: true });
    }
  }

  /** @param {MouseEvent} event */
  #doublePressed(event) {
    const view = this.#list.viewOf(event.target);
    if (view?.cell.type !== "markdown" || this.#editors.isReadOnly) return;
    if (/** @type {Element} */ (event.target).closest(".prose")) this.edit(view.id, "end");
  }

  /** @param {CustomEvent} event */
  #crossEdge(event) {
    const { cell, edge } = event.detail;
    const next = this.#store.order[this.#store.number(cell) - 1 + (edge === "up" ? -1 : 1)];
    if (!next) return;
    event.preventDefault();
    const isShownAsProse = this.#store.cell(next)?.type === "markdown";
    if (isShownAsProse || this.#store.cell(next)?.code_hidden) this.select(next);
    else this.edit(next, edge === "up" ? "end" : "start");
  }

  /** The active cell is gone: the one that took its place is next. @param {{cells: string[], numbers: Map<string, number>}} detail */
  #removed({ cells, numbers }) {
    if (this.#anchor && cells.includes(this.#anchor)) this.#anchor = null;
    if (!this.active || !cells.includes(this.active)) return;
    this.isMuted = this.mode === "edit";
    const at = Math.min(...numbers.values()) - 1;
    const next = this.#store.order[Math.min(at, this.#store.order.length - 1)] ?? null;
    const hadFocus = document.activeElement === document.body || document.activeElement === null;
    this.active = next;
    this.#anchor = null;
    if (next) this.select(next, { focus: hadFocus });
    else this.#setMode("command");
  }

  /** @param {Event} event */
  #unmute(event) {
    const isTyping = event instanceof KeyboardEvent && (event.key.length === 1 || ["Backspace", "Enter", "Delete"].includes(event.key));
    if (!isTyping || event.ctrlKey || event.metaKey) this.isMuted = false;
  }

  /** @param {"command" | "edit"} mode */
  #setMode(mode) {
    this.mode = mode;
    this.#draw();
    this.dispatchEvent(new CustomEvent("change"));
  }

  #draw() {
    const selected = new Set(this.selected);
    for (const element of document.querySelectorAll(".cell.is-selected, .cell.is-editing, .cell[tabindex='0']")) {
      element.classList.remove("is-selected", "is-editing");
      /** @type {HTMLElement} */ (element).tabIndex = -1;
    }
    for (const id of selected) {
      const element = this.#list.view(id)?.element;
      element?.classList.add(this.mode === "edit" ? "is-editing" : "is-selected");
    }
    const active = this.#list.view(this.active)?.element;
    if (active) active.tabIndex = 0;
    document.documentElement.dataset.uiMode = this.mode;
  }
}

/** Scrolls only as far as needed; a cell taller than the window shows its top. @param {HTMLElement} element */
function scrollNear(element) {
  const { top, bottom } = element.getBoundingClientRect();
  const bar = document.querySelector(".topbar")?.getBoundingClientRect().bottom ?? 0;
  const behavior = prefersStillness() ? "instant" : "auto";
  if (top < bar) scrollBy({ top: top - bar - 16, behavior });
  else if (bottom > innerHeight) scrollBy({ top: Math.min(bottom - innerHeight + 24, top - bar - 16), behavior });
}
