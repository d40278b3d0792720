/** The variables panel: what the kernel holds now, asked for while the panel is in sight. */

import { h, part } from "./dom.js";
import { gathered } from "./topbar.js";
import { sizeWords } from "./words.js";

const PAUSE_MS = 300;

/**
 * @param {import("./store.js").NotebookStore} store
 * @param {import("./socket.js").NotebookSocket} socket
 * @param {import("./panels.js").Panels} panels
 */
export function keepVariables(store, socket, panels) {
  /** @type {any} */
  let timer = null;
  const ask = async () => {
    timer = null;
    if (panels.shown !== "variables" || socket.state !== "online") return;
    const reply = await socket.request("variables", {}, { timeoutMs: 5_000 }).catch(() => null);
    if (reply) draw(reply.variables, store);
  };
  const soon = gathered(() => {
    timer ??= setTimeout(ask, PAUSE_MS);
  });
  panels.addEventListener("shown", soon);
  socket.addEventListener("state", soon);
  for (const type of ["state", "kernel", "removed"]) store.addEventListener(type, soon);
  soon();
}

/** @param {any[]} variables @param {import("./store.js").NotebookStore} store */
function draw(variables, store) {
  const box = part("variables");
  if (!variables.length) {
    box?.replaceChildren(h("p", { class: "panel-note" }, "The kernel holds no variables yet. Run a cell to see its names here."));
    return;
  }
  const head = h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col" }, "Value or shape"), h("th", { scope: "col", class: "is-number" }, "From"));
  const rows = variables.map((variable) => row(variable, store));
  box?.replaceChildren(h("table", { class: "variables" }, h("thead", {}, head), h("tbody", {}, ...rows)));
}

/** @param {any} variable @param {import("./store.js").NotebookStore} store */
function row({ name, type, preview, shape, size_bytes: size, cell }, store) {
  const value = Array.isArray(shape) ? shape.map((length) => Number(length).toLocaleString()).join(" × ") : (shape ?? preview ?? "");
  const number = store.number(cell);
  const from = number ? h("a", { href: `#cell-${cell}`, "data-goto": cell }, `cell ${number}`) : "";
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("code", {}, name), h("span", { class: "meta" }, type)),
    h("td", {}, String(value), h("span", { class: "meta" }, sizeWords(size))),
    h("td", { class: "is-number" }, from),
  );
}
