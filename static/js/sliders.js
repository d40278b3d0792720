/**
 * Sliders of Python cells: `rate = 0.15  #@param {type:"slider", min:0, max:1, step:0.01}`. Turning one edits the literal
 * in the source, by the way of everything typed, and runs the cell with all that depends on it; who may run but not edit
 * asks the server to put the number in. notebooks_app/sliders.py finds and draws the same.
 */

import { h, part, setAttributes, setText } from "./dom.js";
import { newId } from "./ids.js";
import { toast } from "./toasts.js";

/** While one drags, a run begins at most this often, and never before the last one ended. */
const RUN_MS = 150;
const NUMBER = String.raw`[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?`;
const LINE = new RegExp(String.raw`^([\p{L}_][\p{L}\p{N}_]*)\s*=\s*(${NUMBER})\s*#\s*@param\s*\{([^{}]*)\}\s*$`, "gmu");
const FIELD = new RegExp(String.raw`(?<!\w)["']?(\w+)["']?\s*:\s*(?:["'](\w*)["']|(${NUMBER}))`, "g");

/** @typedef {{name: string, value: string, min: string, max: string, step: string, from: number, to: number}} Slider */

/** The sliders of a source, in its order. @param {string} source @returns {Slider[]} */
export function slidersOf(source) {
  if (!source.includes("@param")) return [];
  return [...source.matchAll(LINE)].flatMap((match) => {
    const [line, name, value, text] = match;
    const fields = Object.fromEntries([...text.matchAll(FIELD)].map(([, key, word, number]) => [key, word ?? number]));
    const { min = "0", max = "100", step = "1" } = fields;
    const isSound = fields.type === "slider" && Number(min) < Number(max) && Number(step) > 0;
    if (!isSound || isInString(source, match.index)) return [];
    const from = match.index + line.indexOf(value, line.indexOf("="));
    return [{ name, value, min, max, step, from, to: from + value.length }];
  });
}

/** Whether a line stands inside a string of several lines: an odd number of triple quotes before it. @param {string} source @param {number} at */
function isInString(source, at) {
  return (source.slice(0, at).match(/"""|'''/g)?.length ?? 0) % 2 === 1;
}

/** @param {import("./page.js").Page} page */
export function keepSliders(page) {
  const { store, list, editing } = page;
  const draw = (/** @type {string} */ id) => {
    const view = list.view(id);
    if (view && !view.isFar && view.cell.source !== null) drawSliders(view, slidersOf(view.cell.type === "python" ? editing.text(id) : ""), page);
  };
  for (const type of ["edited", "updated"]) store.addEventListener(type, (event) => draw(/** @type {CustomEvent} */ (event).detail.cell));
  for (const type of ["typed", "remote"]) editing.addEventListener(type, (event) => draw(/** @type {CustomEvent} */ (event).detail.cell));
  for (const type of ["added", "completed"]) list.addEventListener(type, (event) => draw(/** @type {CustomEvent} */ (event).detail.view.id));
  store.addEventListener("reset", () => store.order.forEach(draw));
  store.addEventListener("access", () => {
    for (const input of document.querySelectorAll("[data-slider] input")) /** @type {HTMLInputElement} */ (input).disabled = !page.may("run");
  });
  store.order.forEach(draw);
}

/** @param {import("./cell.js").CellView} view @param {Slider[]} sliders @param {import("./page.js").Page} page */
function drawSliders(view, sliders, page) {
  const box = part("sliders", view.element);
  if (!box) return;
  const rows = /** @type {HTMLElement[]} */ ([...box.children]);
  const isSame = rows.length === sliders.length && rows.every((row, at) => row.dataset.slider === sliders[at].name && "uiReady" in row.dataset);
  if (!isSame) box.replaceChildren(...sliders.map((slider) => control(view.id, slider, page)));
  [...box.children].forEach((row, at) => show(/** @type {HTMLElement} */ (row), sliders[at]));
}

/** @param {string} id @param {Slider} slider @param {import("./page.js").Page} page */
function control(id, { name }, page) {
  const input = /** @type {HTMLInputElement} */ (h("input", { class: "slider", type: "range", "aria-label": name, disabled: !page.may("run") }));
  const turn = turner(id, name, page);
  input.addEventListener("input", () => {
    input.dataset.uiHeld = "true";
    setValue(input, input.value);
    turn(input.value);
  });
  for (const type of ["change", "blur"]) input.addEventListener(type, () => delete input.dataset.uiHeld);
  return h(
    "div",
    { class: "control", "data-slider": name, "data-ui-ready": true },
    h("span", { class: "control-label" }, h("code", {}, name)),
    h("span", { class: "control-range" }, h("span", { "aria-hidden": "true" }), input, h("span", { "aria-hidden": "true" })),
    h("output", { class: "control-value" }),
  );
}

/** @param {HTMLElement} row @param {Slider} slider */
function show(row, { min, max, step, value }) {
  const input = /** @type {HTMLInputElement} */ (row.querySelector("input"));
  setAttributes(input, { min, max, step });
  setText(row.querySelector(".control-range")?.firstElementChild ?? null, min);
  setText(row.querySelector(".control-range")?.lastElementChild ?? null, max);
  if (!input.dataset.uiHeld) setValue(input, value);
}

/** @param {HTMLInputElement} input @param {string} value */
function setValue(input, value) {
  if (input.value !== value) input.value = value;
  const [min, max] = [Number(input.min), Number(input.max)];
  input.style.setProperty("--at", `${Math.min(100, Math.max(0, (100 * (Number(value) - min)) / (max - min)))}%`);
  setText(input.closest(".control")?.querySelector("output") ?? null, value);
}

/**
 * Puts numbers into the source as they come, and runs the cell when the run before is over: the last number always.
 * @param {string} id @param {string} name @param {import("./page.js").Page} page
 * @returns {(value: string) => void}
 */
function turner(id, name, page) {
  const { store, editing, runs, socket } = page;
  let wanted = /** @type {string | null} */ (null);
  let isAtWork = false;
  const put = async (/** @type {string} */ value) => {
    if (!page.may("edit")) {
      const version = editing.version(id);
      await socket.request("turn", { cell: id, version, name, value, operation_id: newId() });
      return;
    }
    const text = editing.text(id);
    const slider = slidersOf(text).find((one) => one.name === name);
    if (slider) editing.setText(id, text.slice(0, slider.from) + value + text.slice(slider.to));
  };
  const work = async () => {
    isAtWork = true;
    while (wanted !== null) {
      const value = wanted;
      wanted = null;
      try {
        await put(value);
        await runs.run([id], { asked: false });
      } catch (error) {
        if (/** @type {any} */ (error).code !== "conflict") toast(/** @type {Error} */ (error).message);
        else wanted ??= value;
      }
      await new Promise((resolve) => setTimeout(resolve, RUN_MS));
      await stillness(store);
    }
    isAtWork = false;
  };
  return (value) => {
    wanted = value;
    if (!isAtWork) work();
  };
}

/** Resolves once no cell runs or waits. @param {import("./store.js").NotebookStore} store @returns {Promise<void>} */
function stillness(store) {
  const isBusy = () => store.cells.some(({ state }) => state.status !== "idle");
  return new Promise((resolve) => {
    const check = () => {
      if (isBusy()) return;
      for (const type of ["state", "reset", "removed"]) store.removeEventListener(type, check);
      resolve();
    };
    for (const type of ["state", "reset", "removed"]) store.addEventListener(type, check);
    check();
  });
}
