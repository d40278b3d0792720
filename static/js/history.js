/**
 * The history panel: named versions, recent changes by person and hour, and the bin of deleted cells. Asked for while
 * it is in sight, and again a while after something changed.
 */

import { h, icon, part } from "./dom.js";
import { clockOf, dayOf, momentWords } from "./history_words.js";
import { newId } from "./ids.js";
import { keyCaps } from "./keys.js";
import { callApi } from "./rest.js";
import { toast } from "./toasts.js";
import { messageOf, openNaming, openVersion } from "./version_dialog.js";
import { TYPE_WORDS, counted } from "./words.js";

const PAUSE_MS = 1_500;
const FIRST_CHANGES = 300;
const ROWS_SHOWN = 5;
const CHANGES = ["edited", "inserted", "removed", "moved", "updated", "notebook", "reset", "versions"];

/** @typedef {import("./page.js").Page} Page */
/** @typedef {{author: string, hour: string, entries: {words: string, cell: string | null, at: string, count: number}[]}} Group */

/** @param {Page} page @param {import("./panels.js").Panels} panels */
export function keepHistory(page, panels) {
  const panel = new HistoryPanel(page);
  /** @type {any} */
  let timer = null;
  const refresh = () => {
    timer = null;
    if (panels.shown === "history") panel.load();
  };
  panels.addEventListener("shown", refresh);
  page.store.addEventListener("versions", refresh);
  for (const type of CHANGES) page.store.addEventListener(type, () => (timer ??= setTimeout(refresh, PAUSE_MS)));
  page.structure.recallWith(() => callApi("GET", `${page.data.urls.api}history/mine/`));
  refresh();
}

class HistoryPanel {
  #page;
  #api;
  #isLoading = false;
  #isAsked = false;

  /** @param {Page} page */
  constructor(page) {
    this.#page = page;
    this.#api = page.data.urls.api;
  }

  /** Asks for all three parts; once more if it was asked meanwhile. */
  async load() {
    this.#isAsked = true;
    if (this.#isLoading) return;
    this.#isLoading = true;
    while (this.#isAsked) {
      this.#isAsked = false;
      await this.#loadOnce();
    }
    this.#isLoading = false;
  }

  async #loadOnce() {
    const box = part("history");
    if (!box) return;
    try {
      const [versions, changes, bin] = await Promise.all([
        callApi("GET", `${this.#api}versions/?limit=100`),
        callApi("GET", `${this.#api}history/?limit=${FIRST_CHANGES}`),
        callApi("GET", `${this.#api}bin/?limit=100`),
      ]);
      const focused = document.activeElement instanceof HTMLElement && box.contains(document.activeElement) ? document.activeElement.dataset.uiKey : null;
      const open = new Set([...box.querySelectorAll("details[open]")].map((details) => /** @type {HTMLElement} */ (details).dataset.uiKey));
      box.replaceChildren(...this.#versions(versions), ...this.#bin(bin), ...this.#changes(changes));
      for (const details of box.querySelectorAll("details")) details.open = open.has(details.dataset.uiKey);
      if (focused) /** @type {HTMLElement | null} */ (box.querySelector(`[data-ui-key="${CSS.escape(focused)}"]`))?.focus({ preventScroll: true });
    } catch (error) {
      if (!box.childElementCount) box.replaceChildren(h("p", { class: "panel-note" }, messageOf(error)));
    }
  }

  /** @param {{results: any[], count: number}} found @returns {Node[]} */
  #versions({ results, count }) {
    const name = this.#page.may("edit") && h(
      "button",
      { class: "button is-outlined is-small history-name", type: "button", "data-ui-key": "name", onclick: () => openNaming(this.#page) },
      "Name this version",
      h("kbd", {}, keyCaps("Mod+S").join(" ")),
    );
    const rows = results.map((version) => this.#version(version));
    const none = !rows.length && h("p", { class: "panel-note" }, "No version has a name yet. A named version can be brought back.");
    const older = rows.splice(ROWS_SHOWN);
    const more = older.length > 0 && folded("versions", `Older versions (${(count - rows.length).toLocaleString()})`, h("ul", { class: "history" }, ...older));
    return present([name, h("h3", { class: "panel-heading" }, "Versions"), rows.length > 0 && h("ul", { class: "history" }, ...rows), none, more]);
  }

  /** @param {any} version */
  #version(version) {
    const open = () => openVersion(this.#page, version);
    const about = [version.author, counted(version.cell_count, "cell")].filter(Boolean).join(" · ");
    return h(
      "li",
      {},
      h(
        "button",
        { class: "history-row", type: "button", "data-ui-key": version.id, onclick: open },
        h("span", { class: "history-words" }, version.name),
        time(version.created_at),
        h("span", { class: "history-about" }, about),
      ),
    );
  }

  /** @param {{groups: Group[], before: number | null}} found @returns {Node[]} */
  #changes({ groups, before }) {
    const list = h("ol", { class: "history-groups" }, ...groups.map((group) => this.#group(group)));
    const earlier = h("button", { class: "button is-small history-earlier", type: "button", onclick: () => this.#earlier(list, earlier) }, "Earlier changes");
    earlier.dataset.before = String(before);
    const none = !groups.length && h("p", { class: "panel-note" }, "Nothing has been changed yet.");
    return present([h("h3", { class: "panel-heading" }, "Changes"), list, none, before !== null && earlier]);
  }

  /** @param {Group} group */
  #group({ author, hour, entries }) {
    const rows = entries.map(({ words, cell, at, count }) => {
      const text = cell ? h("a", { href: `#cell-${cell}`, "data-goto": cell }, words) : words;
      return h("li", {}, h("span", { class: "history-words" }, text, count > 1 && h("span", { class: "meta" }, ` ×${count}`)), time(at, clockOf));
    });
    return h("li", {}, h("h4", {}, author, h("span", { class: "meta" }, dayOf(hour))), h("ul", {}, ...rows));
  }

  /** @param {HTMLElement} list @param {HTMLElement} button */
  async #earlier(list, button) {
    try {
      const { groups, before } = await callApi("GET", `${this.#api}history/?before=${button.dataset.before}`);
      list.append(...groups.map((/** @type {Group} */ group) => this.#group(group)));
      button.dataset.before = String(before);
      if (before === null) button.remove();
    } catch (error) {
      toast(messageOf(error));
    }
  }

  /** @param {{results: any[], count: number}} found @returns {Node[]} */
  #bin({ results, count }) {
    if (!count) return [];
    const mayRestore = this.#page.may("edit");
    const rows = results.map((cell) => this.#binned(cell, mayRestore));
    const all = mayRestore && count > 1 && h("button", { class: "button is-small", type: "button", "data-ui-key": "bin-all", onclick: () => this.#restore(null, count) }, "Restore all");
    const empty = this.#page.data.user?.role === "owner" && h("button", { class: "button is-small is-danger", type: "button", onclick: () => this.#askToEmpty(tools, count) }, "Empty …");
    const tools = h("p", { class: "history-tools" }, ...present([all, empty]));
    const list = h("ul", { class: "history" }, ...rows);
    return [folded("bin", `Bin (${counted(count, "cell")})`, list, tools.childElementCount > 0 && tools)];
  }

  /** @param {any} cell @param {boolean} mayRestore */
  #binned({ id, type, source, deleted_at: deletedAt }, mayRestore) {
    const head = source.split("\n").find((/** @type {string} */ line) => line.trim())?.trim() ?? "(empty)";
    const label = `Restore ${head.slice(0, 60)}`;
    const restore = mayRestore && h("button", { class: "button is-small", type: "button", "aria-label": label, "data-ui-key": `bin-${id}`, onclick: () => this.#restore([id], 1) }, "Restore");
    return h(
      "li",
      { class: "history-binned", title: source.slice(0, 400) },
      h("code", { class: "history-words" }, head),
      restore,
      h("span", { class: "history-about" }, `${TYPE_WORDS[type]} · deleted `, time(deletedAt)),
    );
  }

  /** @param {string[] | null} cells @param {number} count */
  async #restore(cells, count) {
    const operation = newId();
    try {
      await callApi("POST", `${this.#api}bin/restore/`, { ...(cells && { cells }), operation_id: operation });
      this.#page.structure.did(operation);
      toast(count === 1 ? "The cell is back." : `${counted(count, "cell")} are back.`, { label: "Undo", key: "Z", act: () => this.#page.structure.undo() });
    } catch (error) {
      toast(messageOf(error));
    }
    await this.load();
  }

  /** @param {HTMLElement} tools @param {number} count */
  #askToEmpty(tools, count) {
    const yes = h("button", { class: "button is-small is-danger", type: "button", onclick: () => this.#empty() }, "Delete for ever");
    const no = h("button", { class: "button is-small", type: "button", onclick: () => this.load() }, "Cancel");
    tools.replaceChildren(h("span", { class: "history-about" }, `${counted(count, "cell")} and their outputs cannot be brought back then.`), no, yes);
    no.focus();
  }

  async #empty() {
    await callApi("DELETE", `${this.#api}bin/`).catch((error) => toast(messageOf(error)));
    await this.load();
  }
}

/** A part of the panel that opens and closes. @param {string} key @param {string} summary @param {...(Node | false)} children */
function folded(key, summary, ...children) {
  return h("details", { class: "history-fold", "data-ui-key": key }, h("summary", {}, icon("right", "is-small"), summary), ...children);
}

/** @param {string} iso @param {(iso: string) => string} [say] */
function time(iso, say = momentWords) {
  return h("time", { class: "meta", datetime: iso, title: new Date(iso).toLocaleString() }, say(iso));
}

/** @param {(Node | string | false | null | undefined)[]} nodes @returns {Node[]} */
function present(nodes) {
  return /** @type {Node[]} */ (nodes.filter(Boolean));
}
