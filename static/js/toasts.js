/**
 * The line at the foot of the page that says what just happened and offers to take it back. It leaves after ten
 * seconds, not while it is pointed at or has the focus.
 */

import { h, part } from "./dom.js";

const SHOWN_MS = 10_000;

/**
 * Shows a toast in place of the one before.
 * @param {string} text
 * @param {{label: string, key?: string, act: () => void} | null} [action]
 */
export function toast(text, action = null) {
  const box = part("toasts");
  if (!box) return;
  const close = () => element.remove();
  const press = () => {
    close();
    action?.act();
  };
  const element = h(
    "div",
    { class: "toast" },
    h("span", {}, text),
    action && h("button", { class: "button is-small", type: "button", onclick: press }, action.label),
    action?.key && h("kbd", {}, action.key),
  );
  box.replaceChildren(element);
  leaveAfter(element, close);
}

/** Takes away what is shown: its offer was taken up otherwise. */
export function clearToast() {
  part("toasts")?.replaceChildren();
}

/** @param {HTMLElement} element @param {() => void} close */
function leaveAfter(element, close) {
  let timer = setTimeout(close, SHOWN_MS);
  const hold = () => clearTimeout(timer);
  const go = () => {
    clearTimeout(timer);
    timer = setTimeout(close, SHOWN_MS);
  };
  element.addEventListener("pointerenter", hold);
  element.addEventListener("pointerleave", go);
  element.addEventListener("focusin", hold);
  element.addEventListener("focusout", go);
}
