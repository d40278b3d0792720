/** A sleeping source's lines, coloured as the server and the editor colour them. */

import { highlightTree, markdownLanguage, pythonLanguage, PostgreSQL, sourceHighlighters } from "../vendor/codemirror.js";
import { h } from "./dom.js";

/** Longer texts stay plain, as the server leaves them. */
const LONG = 100_000;
const BOUND = /\{[\p{L}_][\p{L}\p{N}_]*\}/gu;

/** @typedef {import("./types.js").CellType} CellType */
/** @typedef {{from: number, to: number, css: string}} Token */

/**
 * One `span.line` a line.
 * @param {string} text
 * @param {CellType} type
 * @returns {HTMLElement[]}
 */
export function highlightedLines(text, type) {
  const tokens = text.length > LONG ? [] : tokensOf(text, type);
  let at = 0;
  let next = 0;
  return text.split("\n").map((line) => {
    const end = at + line.length;
    /** @type {(Node | string)[]} */
    const pieces = [];
    let done = at;
    while (next < tokens.length && tokens[next].from < end) {
      const { from, to, css } = tokens[next];
      const start = Math.max(from, done);
      if (start > done) pieces.push(text.slice(done, start));
      done = Math.min(to, end);
      pieces.push(h("span", { class: css }, text.slice(start, done)));
      if (to > end) break;
      next += 1;
    }
    if (done < end) pieces.push(text.slice(done, end));
    at = end + 1;
    return h("span", { class: "line" }, ...pieces);
  });
}

/** In order, none over another. @param {string} text @param {CellType} type @returns {Token[]} */
function tokensOf(text, type) {
  const language = type === "sql" ? PostgreSQL.language : type === "markdown" ? markdownLanguage : pythonLanguage;
  /** @type {Token[]} */
  const tokens = [];
  highlightTree(language.parser.parse(text), sourceHighlighters, (from, to, css) => tokens.push({ from, to, css }));
  return type === "sql" ? withParameters(tokens, text) : tokens;
}

/** `{name}` in SQL is a value bound from Python, whatever the grammar makes of it. @param {Token[]} tokens @param {string} text */
function withParameters(tokens, text) {
  const bound = [...text.matchAll(BOUND)].map(({ index, 0: found }) => ({ from: index, to: index + found.length, css: "tok-parameter" }));
  if (!bound.length) return tokens;
  const rest = tokens.filter(({ from, to }) => !bound.some((mark) => from < mark.to && to > mark.from));
  return [...rest, ...bound].sort((a, b) => a.from - b.from);
}
