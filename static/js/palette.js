/** The command palette: every action, every name, every cell, found by typing. */

import { caps } from "./help.js";
import { h, icon } from "./dom.js";
import { gist } from "./store.js";
import { TYPE_WORDS } from "./words.js";

const SHOWN_IN_GROUP = 8;

/** @typedef {{group: string, icon: string, label: string, where: string, keys: string, act: () => void}} Entry */

/**
 * Entries whose words all occur, those that start with the text first.
 * @template {{label: string}} T
 * @param {T[]} entries
 * @param {string} text
 * @returns {T[]}
 */
export function matching(entries, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
  const rank = (/** @type {T} */ { label }) => (label.toLowerCase().startsWith(words[0] ?? "") ? 0 : 1);
  return found.sort((one, other) => rank(one) - rank(other));
}

/** @param {import("./page.js").Page} page @param {import("./actions.js").Action[]} actions @param {(action: import("./actions.js").Action) => void} perform */
export function openPalette(page, actions, perform) {
  new Palette([...commandEntries(actions, perform, page), ...nameEntries(page), ...cellEntries(page)]).open();
}

class Palette {
  #entries;
  /** @type {Entry[]} */ #shown = [];
  /** @type {Map<Entry, HTMLElement>} */ #rows = new Map();
  #active = 0;
  #dialog = /** @type {HTMLDialogElement} */ (h("dialog", { class: "dialog palette", "aria-label": "Command palette", "data-ui-dialog": "palette" }));
  #list = h("div", { id: "palette-list", role: "listbox", "aria-label": "Results" });
  #input = /** @type {HTMLInputElement} */ (h("input", {
    class: "palette-input", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", autocomplete: "off",
    "aria-label": "Search commands, cells and names", placeholder: "Search commands, cells, names",
  }));

  /** @param {Entry[]} entries */
  constructor(entries) {
    this.#entries = entries;
    const foot = [["↑ ↓", "choose"], ["Enter", "do it"], ["Esc", "close"]].map(([keys, word]) => h("span", {}, h("kbd", {}, keys), ` ${word}`));
    this.#dialog.append(this.#input, this.#list, h("p", { class: "palette-foot" }, ...foot));
    this.#input.addEventListener("input", () => this.#search());
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#dialog.addEventListener("click", (event) => this.#click(event));
    this.#dialog.addEventListener("close", () => this.#dialog.remove());
  }

  open() {
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#search();
    this.#input.focus();
  }

  #search() {
    const groups = grouped(matching(this.#entries, this.#input.value));
    this.#shown = [];
    this.#list.replaceChildren();
    for (const [group, entries] of groups) {
      const rows = entries.slice(0, group === "Commands" && !this.#input.value ? Infinity : SHOWN_IN_GROUP).map((entry) => this.#row(entry));
      this.#list.append(h("div", { class: "palette-group", role: "group", "aria-label": group }, h("h3", { role: "presentation" }, group), ...rows));
    }
    if (!this.#shown.length) this.#list.append(h("p", { class: "panel-note" }, "Nothing has this name."));
    this.#choose(0);
  }

  /** The row of an entry, made once: its icon would flicker otherwise. @param {Entry} entry */
  #row(entry) {
    const index = this.#shown.push(entry) - 1;
    const row = this.#rows.get(entry) ?? this.#newRow(entry);
    this.#rows.set(entry, row);
    row.id = `palette-${index}`;
    row.dataset.uiIndex = String(index);
    return row;
  }

  /** @param {Entry} entry */
  #newRow(entry) {
    return h(
      "div",
      { class: "menu-item", role: "option" },
      icon(entry.icon),
      h("span", {}, entry.label),
      entry.where && h("span", { class: "where" }, entry.where),
      entry.keys && h("span", { class: "end" }, ...caps(entry.keys)),
    );
  }

  /** @param {number} index */
  #choose(index) {
    this.#active = Math.min(Math.max(index, 0), Math.max(0, this.#shown.length - 1));
    for (const row of this.#list.querySelectorAll('[role="option"]')) {
      const isActive = /** @type {HTMLElement} */ (row).dataset.uiIndex === String(this.#active);
      row.classList.toggle("is-active", isActive);
      row.setAttribute("aria-selected", String(isActive));
      if (isActive) row.scrollIntoView({ block: "nearest" });
    }
    this.#input.setAttribute("aria-activedescendant", this.#shown.length ? `palette-${this.#active}` : "");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) this.#choose(this.#active + step);
    else if (event.key === "Enter") this.#take(this.#active);
    else return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  #click(event) {
    if (event.target === this.#dialog) this.#dialog.close();
    const row = /** @type {Element} */ (event.target).closest('[role="option"]');
    if (row instanceof HTMLElement) this.#take(Number(row.dataset.uiIndex));
  }

  /** @param {number} index */
  #take(index) {
    const entry = this.#shown[index];
    if (!entry) return;
    this.#dialog.close();
    entry.act();
  }
}

/** @param {import("./actions.js").Action[]} actions @param {(action: import("./actions.js").Action) => void} perform @param {import("./page.js").Page} page @returns {Entry[]} */
function commandEntries(actions, perform, page) {
  const shown = actions.filter(({ id, needs }) => page.may(needs) && !["palette", "help_key", "complete", "signature", "comment"].includes(id));
  return shown.map((action) => ({ group: "Commands", icon: action.icon, label: action.label, where: "", keys: action.keys[0] ?? "", act: () => perform(action) }));
}

/** @param {import("./page.js").Page} page @returns {Entry[]} */
function nameEntries({ store, selection }) {
  return store.cells.flatMap((cell) =>
    cell.definitions.map((name) => ({
      group: "Names", icon: "variables", label: name, where: `cell ${store.number(cell.id)}`, keys: "", act: () => selection.goTo(cell.id),
    })),
  );
}

/** @param {import("./page.js").Page} page @returns {Entry[]} */
function cellEntries({ store, selection }) {
  return store.cells.map((cell, index) => ({
    group: "Cells", icon: cell.type === "markdown" ? "text" : cell.type === "sql" ? "database" : "code",
    label: gist(cell).split("\n").find((line) => line.trim()) ?? "(empty)", where: `${TYPE_WORDS[cell.type]}, cell ${index + 1}`, keys: "",
    act: () => selection.goTo(cell.id),
  }));
}

/** @param {Entry[]} entries @returns {Map<string, Entry[]>} */
function grouped(entries) {
  /** @type {Map<string, Entry[]>} */
  const groups = new Map();
  for (const entry of entries) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry]);
  return groups;
}
