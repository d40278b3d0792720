/** Dataframes as real tables. notebooks_app/table_html.py draws the same on the server; tools are in table_tools.js. */

import { el, grouped } from "./dom.js";

/** @typedef {import("./types.js").Table} Table */
/** @typedef {import("./types.js").Column} Column */

/** @param {Table} table */
export function drawTable(table) {
  const scroll = el("div", { class: "table-scroll", role: "region", tabindex: 0, "aria-label": `Table, ${grouped(table.row_count)} rows` }, tableElement(table));
  const foot = el("div", { class: "table-foot" }, el("span", { class: "table-counts" }, tableCounts(table)));
  return el("div", { class: "table-wrap" }, scroll, foot);
}

/** The `<table>` itself. @param {Table} table */
export function tableElement(table) {
  const index = table.index ?? [];
  const columns = [...index, ...table.columns];
  const decimals = columns.map((column, at) => (column.numeric ? numberStyle(table.rows.map((row) => row[at])) : null));
  const head = el("tr", {}, ...columns.map((column, at) => headCell(column, at < index.length, table)));
  const body = el("tbody", {}, ...table.rows.map((row) => bodyRow(row, columns, index.length, decimals)));
  return el("table", { class: "table" }, el("thead", {}, head), body);
}

/** `48,210 rows × 7 columns`, and which of them are shown when not all are. @param {Table} table */
export function tableCounts(table) {
  const { row_count: rows, column_count: columns } = table;
  const shown = table.rows.length;
  const words = `${count(rows, "row")} × ${count(columns, "column")}`;
  if (shown >= rows || !shown) return words;
  const first = (table.offset ?? 0) + 1;
  return `${words}, ${grouped(first)} to ${grouped(first + shown - 1)} shown`;
}

/** @param {number} number @param {string} word */
function count(number, word) {
  return number === 1 ? `1 ${word}` : `${grouped(number)} ${word}s`;
}

/** @param {Column} column @param {boolean} isIndex @param {Table} table */
function headCell(column, isIndex, table) {
  const name = column.name ?? "";
  const sort = isIndex ? undefined : table.sort?.find((one) => one.column === name);
  const th = el("th", {
    scope: "col", class: [isIndex && "is-index", column.numeric && "is-number"].filter(Boolean).join(" "),
    "aria-sort": sort && (sort.descending ? "descending" : "ascending"),
  });
  if (name || !isIndex) th.append(el("span", { class: "table-name" }, name), el("span", { class: "table-type" }, column.type));
  else th.append(el("span", { class: "visually-hidden" }, "Row"));
  return th;
}

/** @param {any[]} row @param {Column[]} columns @param {number} width @param {(number | null)[]} decimals */
function bodyRow(row, columns, width, decimals) {
  return el("tr", {}, ...row.map((value, at) => {
    const content = value === null ? el("span", { class: "is-missing" }, "missing") : cellText(value, decimals[at]);
    const number = columns[at].numeric;
    if (at < width) return el("th", { scope: "row", class: number ? "is-index is-number" : "is-index" }, content);
    return el("td", { class: number && "is-number" }, content);
  }));
}

/**
 * Decimals that all numbers of a column are shown with: as many as the longest needs, at most 6; what binary fractions
 * add at the 14th digit (23.400000000000002) does not count. Null: as they are.
 * @param {any[]} values
 */
export function numberStyle(values) {
  const numbers = values.filter((value) => typeof value === "number" && value).map(Math.abs);
  if (numbers.some((value) => value < 1e-4 || value >= 1e15)) return null;
  const lengths = numbers.filter((value) => !Number.isInteger(value)).map((value) => (String(Number(value.toPrecision(13))).split(".")[1] ?? "").length);
  return Math.min(6, Math.max(0, ...lengths));
}

/** @param {any} value @param {number | null} decimals */
export function cellText(value, decimals) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "number") return decimals === null ? String(value) : value.toFixed(decimals);
  return typeof value === "string" ? value : JSON.stringify(value);
}
