/** The dialog of keys, made from the table of actions, so that it cannot say anything else than what the keys do. */

import { h, icon } from "./dom.js";
import { keyCaps, lettersAreOn, setLetters } from "./keys.js";

/** @param {import("./actions.js").Action[]} actions */
export function openHelp(actions) {
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { class: "dialog is-wide", "aria-labelledby": "keys-title", "data-ui-dialog": "help" }));
  const close = h("button", { class: "icon-button", type: "button", "aria-label": "Close", title: "Close", onclick: () => dialog.close() }, icon("close"));
  const columns = [["Anywhere", "In the editor"], ["Command mode"]].map((groups) => h("div", {}, ...groups.flatMap((group) => section(group, actions))));
  dialog.append(
    h("div", { class: "dialog-head" }, h("h2", { id: "keys-title" }, "Keys"), close),
    h("div", { class: "keys" }, ...columns),
    h("div", { class: "dialog-foot" }, lettersSwitch()),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {string} group @param {import("./actions.js").Action[]} actions */
function section(group, actions) {
  const rows = actions.filter((action) => action.group === group && action.keys.length && action.id !== "help_key");
  return [h("h3", {}, group), h("dl", {}, ...rows.flatMap(row))];
}

/** @param {import("./actions.js").Action} action */
function row({ label, keys }) {
  const alternatives = keys.flatMap((each, index) => [index ? " / " : "", ...caps(each)]);
  return [h("dt", {}, label), h("dd", {}, ...alternatives)];
}

/** Key caps of one binding. @param {string} keys @returns {(Node | string)[]} */
export function caps(keys) {
  return keyCaps(keys).flatMap((cap, index) => [index ? " " : "", h("kbd", {}, cap)]);
}

function lettersSwitch() {
  const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
  box.checked = lettersAreOn();
  box.addEventListener("change", () => setLetters(box.checked));
  return h("label", {}, box, " Single letters act in command mode");
}
