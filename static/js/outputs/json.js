/** JSON as a tree that folds. */

import { el } from "./dom.js";

const MAX_ITEMS = 200;
const MAX_DEPTH = 8;

/** @param {any} value */
export function drawJson(value) {
  return el("div", { class: "output-json" }, node(value, 0));
}

/** @param {any} value @param {number} depth @returns {HTMLElement} */
function node(value, depth) {
  const isTree = value !== null && typeof value === "object";
  if (isTree && Object.keys(value).length && depth < MAX_DEPTH) return tree(value, depth);
  const css = isTree ? "tok-punctuation" : value === null || typeof value === "boolean" ? "tok-keyword" : typeof value === "string" ? "tok-string" : "tok-number";
  return el("span", { class: css }, JSON.stringify(value));
}

/** @param {Record<string, any> | any[]} value @param {number} depth */
function tree(value, depth) {
  const pairs = Object.entries(value);
  const words = `${Array.isArray(value) ? "list" : "object"}, ${pairs.length} ${pairs.length === 1 ? "entry" : "entries"}`;
  const list = el("ul");
  for (const [key, child] of pairs.slice(0, MAX_ITEMS)) {
    list.append(el("li", {}, el("b", {}, key), ": ", node(child, depth + 1)));
  }
  if (pairs.length > MAX_ITEMS) list.append(el("li", {}, `and ${pairs.length - MAX_ITEMS} more`));
  return el("details", { open: depth === 0 }, el("summary", {}, words), list);
}
