/** Draws one item of an output: which MIME type, which function, and what is added once it is on the page. */

import { el, textOf } from "./dom.js";
import { addCopy, drawError } from "./error.js";
import { isChart, OutputFrame } from "./frame.js";
import { addFullSize, drawImage } from "./image.js";
import { drawJson } from "./json.js";
import { drawLatex, parseMarkdown, typeset } from "./markdown.js";
import { drawTable } from "./table.js";
import { TableTools } from "./table_tools.js";
import { addShowAll, boundText, fileLink, plainText, TextView } from "./text.js";

/** @typedef {import("./types.js").Output} Output */
/** @typedef {import("./types.js").View} View */
/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").CellRef} CellRef */

const TABLE = "application/vnd.rillbook.table+json";
const PLOTLY = "application/vnd.plotly.v1+json";
const VEGA = ["vegalite.v6", "vegalite.v5", "vegalite.v4", "vega.v6", "vega.v5"].map((name) => `application/vnd.${name}+json`);
const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const FRAMED = [PLOTLY, ...VEGA, "text/html", "application/javascript"];
/** Richest first. */
const ORDER = [TABLE, ...FRAMED, "text/markdown", "text/latex", "image/svg+xml", ...IMAGES, "application/json", "text/plain"];

/** The richest MIME type that we can draw; the first one there is otherwise. @param {Output} output */
export function mimeOf(output) {
  if (output.kind === "stream" || output.kind === "error") return "";
  const there = [...Object.keys(output.data ?? {}), ...Object.keys(output.files ?? {})];
  return ORDER.find((mime) => there.includes(mime)) ?? there[0] ?? "";
}

/**
 * The item as the server draws it too: no tools, no script. `ready` is when parts that load late are there.
 * @param {Output} output
 * @returns {View}
 */
export function drawStatic(output) {
  const mime = mimeOf(output);
  const element = el("div", { class: "output-item", "data-item": output.index, "data-kind": output.kind });
  element.setAttribute("data-mime", mime);
  /** @type {View} */
  const view = { element, ready: Promise.resolve() };
  if (output.kind === "stream") {
    view.text = new TextView(element);
    view.text.set(output);
  } else if (output.kind === "error") {
    const links = Object.entries(output.files ?? {}).map(([mime, file]) => fileLink(mime, file));
    element.append(drawError(output), ...links);
  } else view.ready = drawBundle(element, output, mime);
  return view;
}

/**
 * The item with everything one can do with it.
 * @param {Output} output @param {CellRef} cell @param {Context} context
 * @returns {View}
 */
export function drawItem(output, cell, context) {
  const view = drawStatic(output);
  view.ready = Promise.resolve(view.ready).then(() => addTools(view, output, cell, context));
  return view;
}

/**
 * Takes over an item that the server drew.
 * @param {HTMLElement} element @param {Output} output @param {CellRef} cell @param {Context} context
 * @returns {View}
 */
export function adoptItem(element, output, cell, context) {
  /** @type {View} */
  const view = { element };
  if (output.kind === "stream") {
    view.text = new TextView(element);
    view.text.set(output);
  }
  view.ready = addTools(view, output, cell, context);
  return view;
}

/** @param {View} view @param {Output} output @param {CellRef} cell @param {Context} context */
async function addTools(view, output, cell, context) {
  const { element } = view;
  const mime = mimeOf(output);
  addShowAll(element, output.files?.[output.kind === "stream" ? "text/plain" : mime]);
  if (output.kind === "stream" || mime === "text/plain") boundText(element);
  if (output.kind === "error") return addCopy(element, output);
  if (mime === TABLE && output.data?.[TABLE]) {
    const wrap = /** @type {HTMLElement | null} */ (element.querySelector(".table-wrap"));
    if (wrap) new TableTools(wrap, output.data[TABLE], { cell: cell.id, item: output.index }, context);
  } else if (FRAMED.includes(mime)) await addFrame(view, output, mime, context);
  else if (mime === "text/markdown" || mime === "text/latex") await typeset(element);
  else if (mime.startsWith("image/")) addFullSize(element);
}

/** @param {View} view @param {Output} output @param {string} mime @param {Context} context */
async function addFrame(view, output, mime, context) {
  const element = /** @type {HTMLElement} */ (view.element.querySelector(".output-frame"));
  const frame = new OutputFrame(element, mime, context);
  view.update = (next) => {
    if (mimeOf(next) !== mime) return false;
    valueOf(next, mime).then((value) => frame.render(mime, value), (error) => frame.receive({ type: "note", text: error.message }));
    return true;
  };
  view.update(output);
}

/** The value of a MIME type, from its file where it is too large to be here. @param {Output} output @param {string} mime */
async function valueOf(output, mime) {
  if (output.data && mime in output.data) return mime.endsWith("json") ? output.data[mime] : textOf(output.data[mime]);
  const file = output.files?.[mime];
  const response = file && (await fetch(file.url).catch(() => null));
  if (!response?.ok) throw new Error("This output could not be loaded.");
  return mime.endsWith("json") ? response.json() : response.text();
}

/** @param {HTMLElement} element @param {Output} output @param {string} mime */
async function drawBundle(element, output, mime) {
  if (FRAMED.includes(mime)) element.append(placeholder(output, mime));
  else if (mime.startsWith("image/") && ORDER.includes(mime)) element.append(drawImage(output, mime));
  else if (!(mime in (output.data ?? {}))) element.append(...(output.files?.[mime] ? [fileLink(mime, output.files[mime])] : []));
  else await drawValue(element, mime, output.data?.[mime]);
}

/** @param {HTMLElement} element @param {string} mime @param {any} value */
async function drawValue(element, mime, value) {
  if (mime === TABLE) element.append(tableOrNote(value));
  else if (mime === "text/latex") element.append(drawLatex(value));
  else if (mime === "application/json") element.append(drawJson(value));
  else if (mime === "text/markdown") {
    const prose = element.appendChild(el("div", { class: "prose" }));
    prose.append(await parseMarkdown(textOf(value)));
  } else if (mime === "text/plain") element.append(plainText(textOf(value)));
  else element.append(el("div", { class: "output-text" }, textOf(value)));
}

/** A table; where code forged one of another shape, a note that says so. @param {any} value */
function tableOrNote(value) {
  try {
    return drawTable(value);
  } catch {
    return el("p", { class: "cell-note" }, `This output cannot be drawn: it is not the ${TABLE} that it says it is.`);
  }
}

/** What the frame is put in; it keeps a chart's height from the start. @param {Output} output @param {string} mime */
function placeholder(output, mime) {
  const element = el("div", { class: isChart(mime) ? "output-frame is-chart" : "output-frame" });
  const picture = IMAGES.find((name) => name in (output.data ?? {}));
  const text = textOf(output.data?.["text/plain"]);
  if (picture) element.append(drawImage(output, picture));
  else if (text && text.length <= 2000) element.append(el("div", { class: "output-text" }, text));
  const what = mime === "text/html" ? "HTML" : mime === "application/javascript" ? "script" : "a chart";
  element.append(el("noscript", {}, el("p", { class: "cell-note" }, `This output is ${what}: it needs JavaScript.`)));
  return element;
}
