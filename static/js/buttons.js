/** Presses of buttons and links on the page: those with `data-action`, links to cells, and jumps out of outputs. */

import { part } from "./dom.js";
import { openMenu } from "./menu.js";
import { toast } from "./toasts.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {(page: Page, id: string, button: HTMLElement) => any} CellPress */

/** What buttons inside a cell do; the rest of the table is actions.js's, by the same ids. @type {Record<string, CellPress>} */
const IN_CELLS = {
  run: ({ runs }, id) => runs.run([id]),
  stop: ({ runs }) => runs.stop(),
  take_out: ({ runs }, id) => runs.takeOut(id),
  none: () => {},
  type: (page, id, button) => page.openTypeMenu(id, button),
  more: (page, id, button) => page.openCellMenu(id, button),
  move: ({ selection }, id) => selection.select(id),
  code: ({ structure, store }, id) => structure.update([id], { code_hidden: !store.cell(id)?.code_hidden }),
  enable: ({ structure }, id) => structure.update([id], { disabled: false }),
  connection: (page, id, button) => openConnections(page, id, button),
  result_name: (page, id, button) => renameResult(page, id, button),
  names: ({ list }, id) => list.view(id)?.showAllNames(),
};
/** @type {Record<string, "view" | "run" | "edit">} */
const NEEDS = { run: "run", stop: "run", take_out: "run", none: "view", move: "view", names: "view" };

/** @param {Page} page */
export function listenForPresses(page) {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element) || event.defaultPrevented) return;
    const button = event.target.closest("[data-action]");
    const link = event.target.closest("a[href^='#cell-']");
    if (button instanceof HTMLElement) press(page, button);
    else if (link instanceof Element && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      page.selection.goTo(link.getAttribute("href")?.slice("#cell-".length) ?? "");
    }
  });
  document.addEventListener("rill:goto", (event) => {
    const { number, line } = /** @type {CustomEvent} */ (event).detail;
    const id = page.store.order[number - 1];
    if (id) page.selection.goTo(id, line ?? null);
  });
}

/** @param {Page} page @param {HTMLElement} button */
function press(page, button) {
  const id = button.dataset.action ?? "";
  const view = page.list.viewOf(button);
  if (button.closest("[popover]")) /** @type {HTMLElement} */ (button.closest("[popover]")).hidePopover();
  if (id === "insert") insert(page, button);
  else if (view && IN_CELLS[id]) pressInCell(page, id, view.id, button);
  else if (id === "run_mode") openRunModes(page, button);
  else page.perform(id);
}

/** @param {Page} page @param {string} action @param {string} id @param {HTMLElement} button */
function pressInCell(page, action, id, button) {
  const needs = NEEDS[action] ?? "edit";
  if (page.may(needs)) IN_CELLS[action](page, id, button);
  else toast(needs === "run" ? "You may read this notebook, not run it." : "You may read this notebook, not change it.");
}

/** @param {Page} page @param {HTMLElement} button */
function insert(page, button) {
  if (!page.may("edit")) return;
  const row = button.closest("[data-after]");
  const after = row instanceof HTMLElement ? row.dataset.after || null : null;
  page.structure.insert(after, /** @type {any} */ (button.dataset.cellType ?? "python"));
}

/** @param {Page} page @param {HTMLElement} button */
function openRunModes(page, button) {
  const { run_mode: now } = page.store.notebook;
  openMenu(button, "Run mode", [
    { label: "Auto: a run carries what depends on it", icon: "play-all", isChecked: now === "auto", act: () => page.setRunMode("auto") },
    { label: "Lazy: what depends on it turns stale", icon: "stale", isChecked: now === "lazy", act: () => page.setRunMode("lazy") },
  ]);
}

/** @param {Page} page @param {string} id @param {HTMLElement} button */
function openConnections(page, id, button) {
  const now = page.store.cell(id)?.connection ?? null;
  const known = page.data.connections ?? [];
  const choose = (/** @type {string | null} */ connection) => () => page.structure.update([id], { connection });
  openMenu(button, "Connection", [
    { label: "Dataframes (DuckDB)", icon: "variables", isChecked: now === null, act: choose(null) },
    ...known.map((each) => ({ label: each.driver === "refused" ? `${each.name} (not used here)` : each.name, icon: "database", isChecked: now === each.id, act: choose(each.id) })),
  ]);
}

/** The name of a query's result, changed in place. @param {Page} page @param {string} id @param {HTMLElement} button */
function renameResult(page, id, button) {
  const shown = part("result-name", button);
  const field = document.createElement("input");
  field.className = "input chip-field";
  field.value = page.store.cell(id)?.result_name ?? "";
  field.placeholder = "result";
  field.setAttribute("aria-label", "Name of the result");
  field.spellcheck = false;
  const end = (/** @type {boolean} */ keep) => {
    if (!field.isConnected) return;
    const name = field.value.trim();
    field.replaceWith(button);
    if (!keep || name === page.store.cell(id)?.result_name) return;
    if (name && !/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name)) toast(`${name} cannot be a Python name.`);
    else page.structure.update([id], { result_name: name });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter");
    event.stopPropagation();
  });
  field.addEventListener("blur", () => end(true));
  if (shown) button.replaceWith(field);
  field.focus();
  field.select();
}
