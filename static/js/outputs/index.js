/**
 * The renderer of outputs: at load, and live as operations come (docs/architecture.md, sections 2 and 3).
 *
 * It owns what is inside a cell's `[data-part=output]`. It knows nothing of sockets: what it needs from the page is in `context`.
 */

import { adoptItem, drawItem, mimeOf } from "./items.js";

/** @typedef {import("./types.js").Output} Output */
/** @typedef {import("./types.js").Op} Op */
/** @typedef {import("./types.js").View} View */
/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").CellRef} CellRef */

/** What one container shows. @typedef {{outputs: Output[], views: View[], attempt: string | null}} Shown */

/** @type {WeakMap<HTMLElement, Shown>} */
const shown = new WeakMap();

/**
 * Draws a cell's outputs anew.
 * @param {HTMLElement} container @param {CellRef} cell @param {Output[]} outputs @param {Context} context
 */
export function renderOutputs(container, cell, outputs, context) {
  const state = begin(container, context);
  container.replaceChildren();
  state.outputs = [...outputs];
  state.views = outputs.map((output) => drawItem(output, cell, context));
  container.append(...state.views.map((view) => view.element));
  settleSoon(container, state);
}

/**
 * Takes over what the server drew: elements stay, tools are added, what needs script is drawn.
 * @param {HTMLElement} container @param {CellRef} cell @param {Output[]} outputs @param {Context} context
 */
export function hydrateOutputs(container, cell, outputs, context) {
  const drawn = /** @type {HTMLElement[]} */ ([...container.querySelectorAll(":scope > .output-item")]);
  const fits = drawn.length === outputs.length && outputs.every((output, at) => drawn[at].dataset.mime === mimeOf(output));
  if (!fits) return renderOutputs(container, cell, outputs, context);
  const state = begin(container, context);
  state.outputs = [...outputs];
  state.views = outputs.map((output, at) => adoptItem(drawn[at], output, cell, context));
}

/**
 * Applies live operations. Doing it twice changes nothing. The first ones of a new `context.attempt` take the old outputs away.
 * @param {HTMLElement} container @param {CellRef} cell @param {Op[]} ops @param {Context} context
 */
export function applyOps(container, cell, ops, context) {
  let state = shown.get(container) ?? begin(container, context);
  if (context.attempt && context.attempt !== state.attempt) {
    state = begin(container, context);
    empty(container, state);
  }
  for (const op of ops) {
    if (op.op === "clear") empty(container, state);
    else if (op.op === "item") setItem(container, state, op.item, op.output, cell, context);
    else if (op.op === "text") addText(container, state, op, cell, context);
    else if (op.op === "cut") setCut(state, op);
  }
  if (container.style.minHeight && container.scrollHeight > parseFloat(container.style.minHeight)) settle(container);
}

/** The attempt ended: the height kept for it goes. @param {HTMLElement} container */
export function settle(container) {
  container.style.removeProperty("min-height");
}

/** What is shown now, in the shape of docs/architecture.md. @param {HTMLElement} container @returns {Output[]} */
export function outputsOf(container) {
  return shown.get(container)?.outputs ?? [];
}

/** @param {HTMLElement} container @param {Context} context @returns {Shown} */
function begin(container, context) {
  const known = shown.get(container);
  const state = known ?? { outputs: [], views: [], attempt: null };
  state.attempt = context.attempt ?? state.attempt;
  if (!known) container.addEventListener("click", followGoto);
  shown.set(container, state);
  return state;
}

/** Takes all away and keeps the height, so that nothing below moves while the next output comes. @param {HTMLElement} container @param {Shown} state */
function empty(container, state) {
  const height = container.getBoundingClientRect().height;
  if (height > 0) container.style.minHeight = `${Math.round(height)}px`;
  container.replaceChildren();
  state.outputs = [];
  state.views = [];
}

/** @param {HTMLElement} container @param {Shown} state */
async function settleSoon(container, state) {
  await Promise.allSettled(state.views.map((view) => view.ready));
  settle(container);
}

/** @param {HTMLElement} container @param {Shown} state @param {number} at @param {Output} output @param {CellRef} cell @param {Context} context */
function setItem(container, state, at, output, cell, context) {
  fill(container, state, at, cell, context);
  const old = state.views[at];
  state.outputs[at] = output;
  if (old?.update?.(output)) return;
  const view = drawItem(output, cell, context);
  if (old) old.element.replaceWith(view.element);
  else container.append(view.element);
  state.views[at] = view;
}

/** @param {HTMLElement} container @param {Shown} state @param {import("./types.js").TextOp} op @param {CellRef} cell @param {Context} context */
function addText(container, state, op, cell, context) {
  const known = state.outputs[op.item];
  if (known?.kind !== "stream" || known.name !== op.name || !state.views[op.item].text) {
    const text = known?.kind === "stream" && known.name === op.name ? (known.text ?? "") : "";
    setItem(container, state, op.item, { index: op.item, kind: "stream", name: op.name, text, cut: null, files: {} }, cell, context);
  }
  const output = state.outputs[op.item];
  const view = state.views[op.item].text;
  if (!view) return;
  view.splice(op.from, op.text);
  output.text = view.text;
}

/** The tail moves on: what left it goes, what was added follows. @param {Shown} state @param {import("./types.js").CutOp} op */
function setCut(state, op) {
  const output = state.outputs[op.item];
  if (output?.kind !== "stream") return;
  const { start: before, tail } = output.cut ?? { tail: "" };
  const kept = before === undefined ? "" : tail.slice(Math.max(0, op.start - before), Math.max(0, op.from - before));
  output.cut = { omitted_bytes: op.omitted_bytes, omitted_lines: op.omitted_lines, start: op.start, tail: kept + op.tail };
  state.views[op.item].text?.setCut(output.cut);
}

/** Items in between that were missed are empty until they come. @param {HTMLElement} container @param {Shown} state @param {number} upTo @param {CellRef} cell @param {Context} context */
function fill(container, state, upTo, cell, context) {
  while (state.outputs.length < upTo) {
    const output = /** @type {Output} */ ({ index: state.outputs.length, kind: "stream", name: "stdout", text: "", cut: null, files: {} });
    const view = drawItem(output, cell, context);
    state.outputs.push(output);
    state.views.push(view);
    container.append(view.element);
  }
}

/** A frame of a traceback was pressed: says so to the page. @param {MouseEvent} event */
function followGoto(event) {
  const link = /** @type {Element} */ (event.target).closest("a[data-goto-number]");
  if (!(link instanceof HTMLElement)) return;
  event.preventDefault();
  const detail = { number: Number(link.dataset.gotoNumber), line: Number(link.dataset.gotoLine) };
  link.dispatchEvent(new CustomEvent("rill:goto", { bubbles: true, detail }));
}
