/**
 * One cell on the page: keeps its frame (gutter, head, notes, aria) in step with the store. The frame itself is
 * templates/_cell.html; the source is the editor's (editor.js), the output is cell_output.js's.
 */

import { h, icon, part, setAttributes, setIcon, setText } from "./dom.js";
import { TYPE_WORDS, WORDS, durationWords, iconOf, notesOf, ordinal, runButton, shownState } from "./words.js";

/** @typedef {import("./types.js").Cell} Cell */
/** @typedef {import("./store.js").NotebookStore} Store */

const NAMES_SHOWN = 5;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export class CellView {
  id;
  element;
  #store;
  #allNames = false;

  /** @param {HTMLElement} element @param {Store} store */
  constructor(element, store) {
    this.element = element;
    this.id = element.dataset.cell ?? "";
    this.#store = store;
  }

  /** @returns {Cell} */
  get cell() {
    return /** @type {Cell} */ (this.#store.cell(this.id));
  }

  get isFar() {
    return this.element.classList.contains("is-far");
  }

  get source() {
    return /** @type {HTMLElement} */ (part("source", this.element));
  }

  get output() {
    return /** @type {HTMLElement} */ (part("output", this.element));
  }

  /** Draws everything but source and output. */
  draw() {
    this.drawHead();
    this.drawNames();
    this.drawState();
  }

  drawHead() {
    const { cell, element } = this;
    element.dataset.type = cell.type;
    element.dataset.version = String(cell.version);
    element.toggleAttribute("data-disabled", cell.disabled);
    element.classList.toggle("is-code-hidden", cell.code_hidden);
    setText(part("type", element), TYPE_WORDS[cell.type]);
    for (const name of ["connection", "result"]) part(name, element)?.toggleAttribute("hidden", cell.type !== "sql");
    setText(part("connection-name", element), this.#store.connectionName(cell.connection));
    setText(part("result-name", element), cell.result_name || "result");
    this.#drawHideButton();
  }

  /** The number in the notebook; other cells' notes name it too. */
  drawNumber() {
    const number = String(this.#store.number(this.id));
    if (this.element.dataset.number === number) return;
    this.element.dataset.number = number;
    setText(part("number", this.element), number);
    this.#drawLabels();
  }

  drawState() {
    const { cell, element } = this;
    const shown = shownState(cell);
    if (shown) element.dataset.state = shown;
    else delete element.dataset.state;
    this.#drawLabels();
    if (this.isFar) return;
    this.#drawBadge(shown);
    this.#drawTimes(shown);
    this.drawNotes();
  }

  drawNotes() {
    const notes = part("notes", this.element);
    if (!notes || this.isFar) return;
    const drawn = notesOf(this.cell, (id) => this.#store.cell(id) !== undefined).map((note) => this.#note(note));
    notes.replaceChildren(...drawn);
  }

  drawNames() {
    const { cell, element } = this;
    const isText = cell.type === "markdown";
    const used = cell.references.filter((name) => {
      const definer = this.#store.definer(name);
      return definer !== undefined && definer.id !== cell.id;
    });
    this.#drawNameList(part("definitions", element), isText ? [] : cell.definitions, "name");
    this.#drawNameList(part("references", element), isText ? [] : used, "name is-used");
  }

  showAllNames() {
    this.#allNames = true;
    this.drawNames();
  }

  /** Shows the time of the server's own drawing in this person's zone. */
  localiseTimes() {
    for (const time of this.element.querySelectorAll("time[datetime]")) {
      setText(time, clockWords(time.getAttribute("datetime") ?? ""));
    }
  }

  #drawHideButton() {
    const button = this.element.querySelector('.cell-actions [data-action="code"]');
    if (!button) return;
    const label = this.cell.code_hidden ? "Show code" : "Hide code";
    setAttributes(button, { "aria-pressed": this.cell.code_hidden, "aria-label": label, title: label });
  }

  /** @param {import("./words.js").Shown | null} shown */
  #drawBadge(shown) {
    const badge = part("state", this.element);
    if (!badge) return;
    badge.hidden = shown === null;
    if (shown === null || badge.classList.contains(`is-${shown}`)) return;
    badge.className = `state is-${shown}`;
    badge.replaceChildren(icon(iconOf(shown)), h("span", { "data-part": "word" }, WORDS[shown]));
  }

  /** @param {import("./words.js").Shown | null} shown */
  #drawTimes(shown) {
    const times = part("times", this.element);
    times?.replaceChildren(...this.#times(shown));
  }

  /** @param {import("./words.js").Shown | null} shown @returns {(Node | string)[]} */
  #times(shown) {
    const { state } = this.cell;
    if (shown === "queued") return state.place ? [`${ordinal(state.place)} in line`] : [];
    if (shown === "running") return [h("span", { "data-part": "elapsed", "data-since": state.started_at ?? "" })];
    if (shown === "blocked") {
      const by = state.blocked_by.map(({ cell }) => this.#store.number(cell)).find((number) => number > 0);
      return by ? [`by cell ${by}`] : [];
    }
    if (shown === null || shown === "new" || shown === "disabled") return [];
    const duration = durationWords(state.duration_ms);
    if (!state.finished_at) return [duration];
    const time = h("time", { datetime: state.finished_at }, clockWords(state.finished_at));
    return [duration, h("span", { class: "cell-finish" }, duration ? " · " : "", time)];
  }

  #drawLabels() {
    const { cell, element } = this;
    const shown = shownState(cell);
    const number = this.#store.number(this.id);
    const words = [`Cell ${number}`, TYPE_WORDS[cell.type], shown && WORDS[shown]];
    element.setAttribute("aria-label", words.filter(Boolean).join(", "));
    const button = part("run", element);
    if (!button) return;
    button.hidden = shown === null;
    if (shown === null) return;
    const run = runButton(shown, number);
    setAttributes(button, { "data-action": run.action, "aria-label": run.label, title: run.label, disabled: run.action === "none" });
    setIcon(button.querySelector("svg"), run.icon);
  }

  /** @param {import("./words.js").Note} note */
  #note({ css, icon: name, pieces, action }) {
    const words = pieces.map((piece) => this.#piece(piece));
    const end = action && h("span", { class: "note-end" }, h("button", { class: "text-button", type: "button", "data-action": action.id }, action.label));
    return h("p", { class: `cell-note ${css}`.trim() }, name && icon(name, "is-small"), h("span", {}, ...words), end);
  }

  /** @param {import("./words.js").Piece} piece */
  #piece(piece) {
    if (typeof piece === "string") return piece;
    if ("code" in piece) return h("code", {}, piece.code);
    return h("a", { href: `#cell-${piece.cell}`, "data-goto": piece.cell }, `cell ${this.#store.number(piece.cell)}`);
  }

  /** @param {HTMLElement | null} box @param {string[]} names @param {string} css */
  #drawNameList(box, names, css) {
    const list = box && part("list", box);
    if (!box || !list) return;
    box.hidden = names.length === 0;
    const shown = this.#allNames ? names : names.slice(0, NAMES_SHOWN);
    const links = shown.flatMap((name) => [this.#nameLink(name, css), " "]);
    list.replaceChildren(...links);
    if (shown.length < names.length) list.append(this.#moreNames(names.length - shown.length));
  }

  /** @param {string} name @param {string} css */
  #nameLink(name, css) {
    const target = css === "name" ? this.id : (this.#store.definer(name)?.id ?? this.id);
    return h("a", { class: css, href: `#cell-${target}`, "data-goto": target, "data-name": name }, name);
  }

  /** As cell_words.py writes it. @param {number} count */
  #moreNames(count) {
    return h("button", { class: "text-button", type: "button", "aria-label": `${count} more names`, "data-action": "names" }, `+${count}`);
  }
}

/** 14:02, in this person's zone. @param {string} iso */
export function clockWords(iso) {
  const when = new Date(iso);
  return Number.isNaN(when.getTime()) ? "" : clock.format(when);
}
