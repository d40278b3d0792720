/** Errors: name and value first, then our frames; library frames fold. notebooks_app/output_html.py draws the same. */

import { ansiNodes, ansiText } from "./ansi.js";
import { el, textButton } from "./dom.js";

/** @typedef {import("./types.js").Output} Output */

const CELL_FRAME = /^Cell (?:In\[)?(\d+)\]?, line (\d+)/;
const FILE_FRAME = /^(?:File )?(\S.*?):(\d+), in |^File (\S.*?), line (\d+)/;
/** Without a value: somebody pressed Stop, and the traceback waits until it is wanted. */
const INTERRUPT = "KeyboardInterrupt";
const HEADING = /^-{20,}$|^[\w.]+ +Traceback \(most recent call last\)$|^Traceback \(most recent call last\):$/;

/** @param {Output} output */
export function drawError(output) {
  const title = titleOf(output.ename ?? "", output.evalue ?? "");
  const frames = (output.traceback ?? []).filter((entry) => !isHeading(entry, title));
  const isStopped = title === INTERRUPT;
  const head = el("p", { class: "error-title" }, el("b", {}, isStopped ? "Stopped" : title));
  const place = frames.map(cellOf).findLast((match) => match);
  if (place) head.append(el("span", {}, "in ", goto(place[1], place[2], `cell ${place[1]}, line ${place[2]}`)));
  const body = frames.length > 0 && traceback(frames);
  if (!isStopped) return el("div", { class: "output-error" }, head, body);
  const kept = body && el("details", { class: "frames" }, el("summary", {}, "Traceback"), body);
  return el("div", { class: "output-error is-stopped" }, head, kept);
}

/** A button that copies the whole error as plain text. @param {HTMLElement} element @param {Output} output */
export function addCopy(element, output) {
  const button = textButton("Copy as text", async () => {
    await navigator.clipboard.writeText(errorText(output));
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy as text"), 2000);
  });
  button.classList.add("error-copy");
  element.querySelector(".error-title")?.append(button);
}

/** The traceback as it would stand in a terminal, without colours. @param {Output} output */
export function errorText(output) {
  const lines = output.traceback?.length ? output.traceback : [`${output.ename}: ${output.evalue}`];
  return lines.map(ansiText).join("\n");
}

/** @param {string} name @param {string} value */
function titleOf(name, value) {
  const first = ansiText(value).trim().split("\n", 1)[0].slice(0, 500);
  return first ? `${name}: ${first}` : name;
}

/** @param {string} entry @param {string} title */
function isHeading(entry, title) {
  return ansiText(entry).trim().split("\n").map((line) => line.trim())
    .every((line) => HEADING.test(line) || line === "" || line === title);
}

/** @param {string} entry */
function cellOf(entry) {
  return ansiText(entry).trim().match(CELL_FRAME);
}

/** @param {string[]} frames */
function traceback(frames) {
  const element = el("div", { class: "traceback", tabindex: 0, role: "region", "aria-label": "Traceback" });
  /** @type {HTMLElement[]} */
  let folded = [];
  const fold = () => {
    if (folded.length) element.append(library(folded));
    folded = [];
  };
  for (const entry of frames) {
    const drawn = el("div", { class: "frame" }, frame(entry));
    if (FILE_FRAME.test(ansiText(entry).trim())) {
      folded.push(drawn);
    } else {
      fold();
      element.append(drawn);
    }
  }
  fold();
  return element;
}

/** @param {HTMLElement[]} frames */
function library(frames) {
  const words = frames.length === 1 ? "1 library frame" : `${frames.length} library frames`;
  return el("details", { class: "frames" }, el("summary", {}, words), ...frames);
}

/** One frame; where it is a cell's, its first line leads there. @param {string} entry */
function frame(entry) {
  const text = entry.replace(/^\n+|\n+$/g, "");
  const place = cellOf(text);
  if (!place) return ansiNodes(text);
  const end = text.indexOf("\n");
  const fragment = document.createDocumentFragment();
  fragment.append(goto(place[1], place[2], ansiNodes(end < 0 ? text : text.slice(0, end))));
  if (end >= 0 && end + 1 < text.length) fragment.append("\n", ansiNodes(text.slice(end + 1)));
  return fragment;
}

/** @param {string} number @param {string} line @param {Node | string} content */
function goto(number, line, content) {
  return el("a", { href: "#", "data-goto-number": number, "data-goto-line": line }, content);
}
