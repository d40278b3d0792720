/** Keeps the elapsed time of running cells going, ten times a second, only while there is one to be seen. */

import { setText } from "./dom.js";
import { elapsedWords } from "./words.js";

const TICK_MS = 100;
/** @type {any} */
let timer = null;

/** Starts when a cell runs; stops by itself when none does. @param {ParentNode} root */
export function tick(root) {
  timer ??= setInterval(() => draw(root), TICK_MS);
  draw(root);
}

/** @param {ParentNode} root */
function draw(root) {
  const running = root.querySelectorAll('[data-part="elapsed"]');
  for (const element of running) {
    const since = Date.parse(/** @type {HTMLElement} */ (element).dataset.since ?? "");
    setText(element, Number.isNaN(since) ? "" : elapsedWords(Date.now() - since));
  }
  if (running.length) return;
  clearInterval(timer);
  timer = null;
}
