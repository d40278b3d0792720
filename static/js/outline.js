/** The outline: headings of text cells, and under them the cells that have a title; states that need somebody. */

import { h, icon, part } from "./dom.js";
import { WORDS, iconOf, shownState } from "./words.js";
import { gathered } from "./topbar.js";

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
  const withoutCode = cell.source.replace(/^(```|~~~)[\s\S]*?^\1/gm, "");
  return [...withoutCode.matchAll(/^(#{1,3})\s+(.+?)\s*#*$/gm)].map(([, marks, title]) => ({
    level: marks.length === 1 ? 1 : 2, title: title.replace(/[*_`]/g, ""), target: cell.id, cell: null,
  }));
}

/** @param {Cell} cell */
function needsSomebody(cell) {
  return !["current", "new", null].includes(shownState(cell));
}

/** @param {Cell} cell */
function firstLine(cell) {
  return cell.source.split("\n").find((line) => line.trim()) ?? "(empty)";
}

/** @param {import("./store.js").NotebookStore} store @param {import("./selection.js").Selection} selection */
export function keepOutline(store, selection) {
  const draw = gathered(() => {
    const box = part("outline");
    const rows = outlineOf(store.cells);
    box?.replaceChildren(...rows.map((row) => h("li", {}, link(row, selection.active))));
    if (!rows.length) box?.append(h("li", { class: "panel-note" }, "Headings and names show here."));
  });
  for (const type of ["edited", "inserted", "removed", "moved", "updated", "state", "analysed", "reset"]) store.addEventListener(type, draw);
  selection.addEventListener("change", draw);
  draw();
}

/** @param {Row} row @param {string | null} active */
function link({ level, title, target, cell }, active) {
  const current = target === active ? "true" : null;
  return h("a", { class: `is-level-${level}`, href: `#cell-${target}`, "data-goto": target, "aria-current": current }, title, cell && needsSomebody(cell) && mark(cell));
}

/** @param {Cell} cell */
function mark(cell) {
  const shown = /** @type {import("./words.js").Shown} */ (shownState(cell));
  return h("span", { class: `state is-${shown}`, title: WORDS[shown] }, icon(iconOf(shown)), h("span", { class: "visually-hidden" }, WORDS[shown]));
}
