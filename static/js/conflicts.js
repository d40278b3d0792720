/** What to say when a text and another text met, or a text lost its cell. Both are kept until somebody chooses. */

import { h } from "./dom.js";
import { closeNotice, notice } from "./notices.js";
import { toast } from "./toasts.js";

/** @param {import("./page.js").Page} page */
export function listenForConflicts({ editing, store, list, structure }) {
  editing.addEventListener("conflict", (event) => {
    const { cell, author } = /** @type {CustomEvent} */ (event).detail;
    showConflict(cell, author);
  });
  editing.addEventListener("orphan", (event) => showOrphan(/** @type {CustomEvent} */ (event).detail));
  editing.addEventListener("refused", (event) => {
    const { cell, message } = /** @type {CustomEvent} */ (event).detail;
    toast(`Cell ${store.number(cell)} is not stored: ${message}`);
  });
  editing.addEventListener("unkept", () => toast("This browser cannot keep unsent text: do not close the page while offline."));

  /** @param {string} id @param {string | null} author */
  function showConflict(id, author) {
    const cell = store.cell(id);
    const view = list.view(id);
    if (!cell || !view) return;
    const mine = editing.text(id);
    const whose = author ? `${author}’s` : "theirs";
    const insertBelow = async () => {
      editing.settle(id, "theirs");
      await structure.insert(id, cell.type, { source: mine });
    };
    notice({
      id: `conflict-${id}`,
      css: "is-warning",
      icon: "merge",
      title: `Cell ${store.number(id)} changed at the same time`,
      text: `${author ?? "Someone"} replaced what you edited. Your text is kept until you choose.`,
      body: h("div", { class: "versions" }, version("Yours", mine), version(`${author ? whose : "Theirs"} (in the notebook now)`, cell.source ?? "")),
      after: view.source,
      actions: [
        { label: `Keep ${whose}`, isPrimary: true, act: () => editing.settle(id, "theirs") },
        { label: "Use mine", act: () => editing.settle(id, "mine") },
        { label: "Insert mine below", act: insertBelow },
      ],
    });
  }

  /** @param {{cell: string, text: string}} orphan */
  function showOrphan({ cell, text }) {
    if (!text.trim()) return;
    notice({
      id: `orphan-${cell}`,
      css: "is-warning",
      icon: "merge",
      title: "A cell you were typing in was deleted",
      text: "What you typed was not stored yet. It is kept until you choose.",
      body: version("Yours", text),
      actions: [
        { label: "Insert as a new cell", isPrimary: true, act: () => structure.insert(store.order.at(-1) ?? null, "python", { source: text }) },
        { label: "Drop it", act: () => closeNotice(`orphan-${cell}`) },
      ],
    });
  }
}

/** @param {string} title @param {string} text */
function version(title, text) {
  const lines = text.split("\n").map((line) => h("span", { class: "line" }, line));
  return h("div", {}, h("h4", {}, title), h("div", { class: "source" }, h("pre", {}, h("code", {}, ...lines))));
}
