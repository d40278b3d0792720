/** The prompt of `input()`: a line under the cell's output, for the person who is there to answer. */

import { h } from "./dom.js";

/**
 * @param {import("./store.js").NotebookStore} store
 * @param {import("./cells.js").CellList} list
 * @param {import("./socket.js").NotebookSocket} socket
 * @param {() => boolean} mayAnswer
 */
export function listenForInput(store, list, socket, mayAnswer) {
  const ask = (/** @type {any} */ { cell, attempt, prompt, password }) => {
    const view = list.view(cell);
    if (!view || !mayAnswer()) return;
    close(attempt);
    if (view.isFar) list.complete(view);
    const form = promptForm(prompt, password, attempt, socket);
    view.output.after(form);
    if (!isTypingElsewhere(view.element)) form.querySelector("input")?.focus({ preventScroll: true });
  };
  store.addEventListener("input", (event) => ask(/** @type {CustomEvent} */ (event).detail));
  // What a kernel asks is told to who comes later, too; and once somebody has answered, to all others.
  store.addEventListener("kernel", () => {
    const asked = store.kernel?.asks;
    for (const form of document.querySelectorAll("[data-ui-input]")) {
      if (/** @type {HTMLElement} */ (form).dataset.uiInput !== asked?.attempt) form.remove();
    }
    if (asked && !document.querySelector("[data-ui-input]")) ask(asked);
  });
  store.addEventListener("state", (event) => {
    for (const id of /** @type {CustomEvent} */ (event).detail.cells) {
      const cell = store.cell(id);
      if (cell?.state.status === "idle" && cell.state.attempt) close(cell.state.attempt);
    }
  });
}

/** @param {string} prompt @param {boolean} password @param {string} attempt @param {import("./socket.js").NotebookSocket} socket */
function promptForm(prompt, password, attempt, socket) {
  const field = /** @type {HTMLInputElement} */ (h("input", { class: "input", type: password ? "password" : "text", autocomplete: "off", "aria-label": prompt || "Input" }));
  const form = h(
    "form",
    { class: "control input-prompt", "data-ui-input": attempt },
    h("span", { class: "control-label" }, prompt || "Input"),
    field,
    h("button", { class: "button is-small is-primary", type: "submit" }, "Send"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await socket.request("input_reply", { attempt, value: field.value }).then(() => close(attempt)).catch(() => field.focus());
  });
  return form;
}

/** Whether the person writes in another cell or field: their keys must not go into the prompt. @param {Element} cell */
function isTypingElsewhere(cell) {
  const active = document.activeElement;
  return Boolean(active?.closest("input, textarea, [contenteditable=true]")) && !cell.contains(active);
}

/** @param {string} attempt */
function close(attempt) {
  document.querySelector(`[data-ui-input="${CSS.escape(attempt)}"]`)?.remove();
}
