/** Find and replace in all cells. Far cells too: their texts are fetched when the bar opens. */

import { h, icon, part, setText } from "./dom.js";
import { counted } from "./words.js";

/** @typedef {{cell: string, from: number, to: number}} Match */

/**
 * All places of a text, in the order of the page. A whole word has no letter, digit or _ beside it.
 * @param {{id: string, text: string}[]} cells
 * @param {string} wanted
 * @param {{matchCase?: boolean, wholeWord?: boolean}} [options]
 * @returns {Match[]}
 */
export function matchesOf(cells, wanted, { matchCase = false, wholeWord = false } = {}) {
  if (!wanted) return [];
  const text = wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(wholeWord ? `(?<![\\p{L}\\p{N}_])${text}(?![\\p{L}\\p{N}_])` : text, matchCase ? "gu" : "giu");
  return cells.flatMap(({ id, text }) => [...text.matchAll(pattern)].map(({ index, 0: found }) => ({ cell: id, from: index, to: index + found.length })));
}

/**
 * A text with all its places replaced.
 * @param {string} text
 * @param {Match[]} matches  of this text, in order
 * @param {string} replacement
 */
export function replaced(text, matches, replacement) {
  let at = 0;
  let result = "";
  for (const { from, to } of matches) {
    result += text.slice(at, from) + replacement;
    at = to;
  }
  return result + text.slice(at);
}

/** Opens the bar, or goes back to it. @param {import("./page.js").Page} page */
export function openFind(page) {
  const open = document.querySelector("[data-ui-find] input");
  if (open instanceof HTMLInputElement) open.select();
  else new FindBar(page).open();
}

class FindBar {
  #page;
  /** @type {Match[]} */ #matches = [];
  #at = -1;
  /** Whether the texts of all cells are here. */ #isWhole = false;
  #wanted = field("Find in all cells");
  #with = field("Replace with");
  #count = h("span", { class: "meta", role: "status" });
  #case = this.#toggle("Aa", "Match case");
  #word = this.#toggle("ab|", "Whole word");
  #bar;

  /** @param {import("./page.js").Page} page */
  constructor(page) {
    this.#page = page;
    const mayEdit = page.may("edit");
    this.#bar = h(
      "form",
      { class: "find-bar", role: "search", "aria-label": "Find and replace", "data-ui-find": true },
      this.#wanted,
      this.#case,
      this.#word,
      this.#count,
      iconButton("up", "Previous (Shift+Enter)", () => this.#go(-1)),
      iconButton("down", "Next (Enter)", () => this.#go(1)),
      mayEdit && this.#with,
      mayEdit && h("button", { class: "button is-small", type: "button", onclick: () => this.#replaceOne() }, "Replace"),
      mayEdit && h("button", { class: "button is-small", type: "button", onclick: () => this.#replaceAll() }, "Replace all"),
      iconButton("close", "Close (Esc)", () => this.#close()),
    );
    this.#wanted.addEventListener("input", () => this.#search());
    this.#bar.addEventListener("keydown", (event) => this.#key(event));
    this.#bar.addEventListener("submit", (event) => event.preventDefault());
  }

  open() {
    part("notices")?.before(this.#bar);
    const { active } = this.#page.selection;
    const main = this.#page.editors.get(active)?.view.state.selection.main;
    if (active && main && !main.empty) this.#wanted.value = this.#page.editing.text(active).slice(main.from, main.to);
    this.#wanted.focus();
    this.#wanted.select();
    this.#search();
    this.#learn();
  }

  /** Far cells' texts come when somebody searches them. */
  async #learn() {
    const { texts } = this.#page;
    setText(this.#count, "Reading …");
    this.#isWhole = await texts.learn();
    this.#search();
  }

  #search() {
    this.#find();
    this.#at = -1;
    this.#say();
  }

  #find() {
    const { store, editing } = this.#page;
    this.#matches = matchesOf(store.order.map((id) => ({ id, text: editing.text(id) })), this.#wanted.value, {
      matchCase: isOn(this.#case), wholeWord: isOn(this.#word),
    });
  }

  /** @param {number} step */
  #go(step) {
    this.#find();
    const { length } = this.#matches;
    if (length) {
      this.#at = (this.#at + step + length) % length;
      this.#show(this.#matches[this.#at]);
    }
    this.#say();
  }

  /** @param {Match} match */
  #show({ cell, from, to }) {
    const { selection, editors } = this.#page;
    const focus = document.activeElement;
    selection.edit(cell);
    editors.get(cell)?.select(from, to);
    if (focus instanceof HTMLElement) focus.focus({ preventScroll: true });
  }

  #replaceOne() {
    const match = this.#matches[this.#at];
    if (!match) {
      this.#go(1);
      return;
    }
    const { editing } = this.#page;
    editing.setText(match.cell, replaced(editing.text(match.cell), [match], this.#with.value));
    this.#at -= 1;
    this.#go(1);
  }

  #replaceAll() {
    const { editing } = this.#page;
    if (!this.#isWhole) {
      this.#learn();
      return;
    }
    this.#find();
    const cells = new Set(this.#matches.map(({ cell }) => cell));
    for (const id of cells) {
      editing.setText(id, replaced(editing.text(id), this.#matches.filter(({ cell }) => cell === id), this.#with.value));
    }
    setText(this.#count, `Replaced ${counted(this.#matches.length, "place")} in ${counted(cells.size, "cell")}`);
    this.#matches = [];
  }

  #say() {
    const { length } = this.#matches;
    const place = this.#at >= 0 ? `${this.#at + 1} of ${length}` : counted(length, "place");
    const part = this.#isWhole ? "" : " so far";
    setText(this.#count, this.#wanted.value ? `${place}${part}` : "");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape") this.#close();
    else if (event.key === "Enter" && event.target === this.#wanted) this.#go(event.shiftKey ? -1 : 1);
    else if (event.key === "Enter" && event.target === this.#with) this.#replaceOne();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {string} text @param {string} label */
  #toggle(text, label) {
    const button = h("button", { class: "icon-button find-option", type: "button", "aria-pressed": "false", "aria-label": label, title: label }, text);
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(!isOn(button)));
      this.#at = -1;
      this.#search();
    });
    return button;
  }

  #close() {
    this.#bar.remove();
    this.#page.selection.leave();
  }
}

/** @param {Element} button */
function isOn(button) {
  return button.getAttribute("aria-pressed") === "true";
}

/** @param {string} label */
function field(label) {
  return /** @type {HTMLInputElement} */ (h("input", { class: "input", type: "text", "aria-label": label, placeholder: label, autocomplete: "off", spellcheck: "false" }));
}

/** @param {string} name @param {string} label @param {() => void} press */
function iconButton(name, label, press) {
  return h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, onclick: press }, icon(name));
}
