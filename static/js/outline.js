/** The outline: headings of text cells, and under them the cells that have a title; states that need somebody. */

import { h, icon, part } from "./dom.js";
import { WORDS, iconOf, shownState } from "./words.js";
import { gist } from "./store.js";
import { gathered } from "./topbar.js";

/** More rows than this are a list nobody reads. */
const ROWS_AT_MOST = 200;

/** @typedef {import("./types.js").Cell} Cell */
/** @typedef {{level: 1 | 2, title: string, target: string, cell: Cell | null}} Row */

/**
 * Headings, and for other cells what they define. Below a heading, rows are of the second level.
 * @param {Cell[]} cells
 * @returns {Row[]}
 */
export function outlineOf(cells) {
  /** @type {Row[]} */
  const rows = [];
  for (const cell of cells) {
    if (cell.type === "markdown") rows.push(...headingsOf(cell));
    else if (cell.definitions.length) rows.push({ level: 2, title: cell.definitions.slice(0, 3).join(", "), target: cell.id, cell });
    else if (needsSomebody(cell)) rows.push({ level: 2, title: firstLine(cell), target: cell.id, cell });
  }
  return rows;
}

/** @param {Cell} cell @returns {Row[]} */
function headingsOf(cell) {
  const withoutCode = gist(cell).replace(/^(```|~~~)[\s\S]*?^\1/gm, "");
  return [...withoutCode.matchAll(/^(#{1,3})[ \t]+(.+)$/gm)].map(([, marks, title]) => ({
    level: marks.length === 1 ? 1 : 2, title: plain(title), target: cell.id, cell: null,
  }));
}

/**
 * Without the marks at its end and in it. By hand: a rule for the end would try each blank of a long line.
 * @param {string} title
 */
function plain(title) {
  let end = title.length;
  while (end > 1 && title[end - 1] === "#") end -= 1;
  return title.slice(0, end).trimEnd().replace(/[*_`]/g, "");
}

/** @param {Cell} cell */
function needsSomebody(cell) {
  return !["current", "new", null].includes(shownState(cell));
}

/** @param {Cell} cell */
function firstLine(cell) {
  return gist(cell).split("\n").find((line) => line.trim()) ?? "(empty)";
}

/**
 * @param {import("./store.js").NotebookStore} store
 * @param {import("./selection.js").Selection} selection
 * @param {import("./panels.js").Panels} panels
 */
export function keepOutline(store, selection, panels) {
  let drawn = "";
  const draw = gathered(() => {
    if (panels.shown !== "outline") return;
    const rows = shownRows(outlineOf(store.cells));
    const now = JSON.stringify(rows.map(({ level, title, target, cell }) => [level, title, target, cell && needsSomebody(cell) && shownState(cell)]));
    if (now !== drawn) drawRows(rows);
    drawn = now;
    markCurrent(selection.active);
  });
  panels.addEventListener("shown", draw);
  for (const type of ["edited", "inserted", "removed", "moved", "updated", "state", "analysed", "reset"]) store.addEventListener(type, draw);
  selection.addEventListener("change", () => markCurrent(selection.active));
  draw();
}

/** In a long notebook only what leads somewhere: headings, and cells that need somebody. @param {Row[]} rows */
function shownRows(rows) {
  if (rows.length <= ROWS_AT_MOST) return rows;
  return rows.filter(({ cell }) => cell === null || needsSomebody(cell)).slice(0, ROWS_AT_MOST);
}

/** @param {Row[]} rows */
function drawRows(rows) {
  const box = part("outline");
  box?.replaceChildren(...rows.map((row) => h("li", {}, link(row))));
  if (!rows.length) box?.append(h("li", { class: "panel-note" }, "Headings and names show here."));
}

/** @param {string | null} active */
function markCurrent(active) {
  const box = part("outline");
  box?.querySelector("[aria-current]")?.removeAttribute("aria-current");
  if (active) box?.querySelector(`[data-goto="${active}"]`)?.setAttribute("aria-current", "true");
}

/** @param {Row} row */
function link({ level, title, target, cell }) {
  return h("a", { class: `is-level-${level}`, href: `#cell-${target}`, "data-goto": target, title }, h("span", { class: "outline-title" }, title), cell && needsSomebody(cell) && mark(cell));
}

/** @param {Cell} cell */
function mark(cell) {
  const shown = /** @type {import("./words.js").Shown} */ (shownState(cell));
  return h("span", { class: `state is-${shown}`, title: WORDS[shown] }, icon(iconOf(shown)), h("span", { class: "visually-hidden" }, WORDS[shown]));
}
