/**
 * What the person may do on this page, when that changes while it is open. The server decides again at each command;
 * what a reader does not see is roles.css.
 */

import { h, icon, part } from "./dom.js";
import { notice } from "./notices.js";

/** @type {Record<string, string>} */
const WORDS = {
  viewer: "You may read this notebook now. What you typed and was not stored is kept in this browser.",
  runner: "You may run this notebook now, and not edit it. What you typed and was not stored is kept in this browser.",
  editor: "You may edit this notebook now.",
  owner: "This notebook is yours now.",
};

/** @param {import("./page.js").Page} page */
export function keepRole(page) {
  drawShowCode(page);
  page.store.addEventListener("access", (event) => {
    const { role } = /** @type {CustomEvent} */ (event).detail;
    page.data.user.role = role;
    document.documentElement.dataset.role = role;
    page.editors.setReadOnly(!page.may("edit"));
    if (page.may("edit")) page.editing.tryAgain();
    else page.selection.leave();
    drawShowCode(page);
    notice({ id: "role", icon: "person", title: `You are ${role === "viewer" || role === "runner" ? "a" : "an"} ${role} here now`, text: WORDS[role] ?? "", actions: [{ label: "Close", act: () => {} }] });
  });
}

/** A reader's one tool: the code, where they want to see it. @param {import("./page.js").Page} page */
function drawShowCode(page) {
  const present = part("show-code");
  if (page.may("run")) present?.remove();
  if (page.may("run") || present) return;
  const root = document.documentElement;
  const words = h("span", {}, "Show code");
  const press = () => {
    const isShown = root.toggleAttribute("data-code-shown");
    button.setAttribute("aria-pressed", String(isShown));
    words.textContent = isShown ? "Hide code" : "Show code";
  };
  const button = h("button", { class: "button is-quiet", type: "button", "data-part": "show-code", "aria-pressed": "false", onclick: press }, icon("code"), words);
  part("people")?.before(button);
}
