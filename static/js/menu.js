/** A small menu that opens at a button: arrows move, Escape closes, and the focus goes back to the button. */

import { h, icon } from "./dom.js";

const GAP_PX = 4;

/** @typedef {{label: string, icon: string, act: () => void, key?: string, isChecked?: boolean, isRule?: boolean}} Item */

/** @param {Element} button @param {string} label @param {Item[]} items */
export function openMenu(button, label, items) {
  const menu = h("div", { class: "menu", popover: "auto", role: "menu", "aria-label": label, "data-ui-menu": true });
  menu.append(...items.map((item) => row(item, menu)));
  menu.addEventListener("keydown", (event) => moveFocus(event, menu));
  menu.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
    const hadFocus = menu.contains(document.activeElement) || document.activeElement === document.body;
    menu.remove();
    if (hadFocus && button instanceof HTMLElement) button.focus({ preventScroll: true });
  });
  (button.closest("main, header, aside") ?? document.body).append(menu);
  menu.showPopover();
  place(menu, button.getBoundingClientRect());
  /** @type {HTMLElement | null} */ (menu.querySelector("button"))?.focus();
}

/** @param {Item} item @param {HTMLElement} menu */
function row(item, menu) {
  if (item.isRule) return h("hr", { class: "menu-rule" });
  const press = () => {
    menu.hidePopover();
    item.act();
  };
  const role = item.isChecked === undefined ? "menuitem" : "menuitemradio";
  return h(
    "button",
    { class: "menu-item", type: "button", role, "aria-checked": item.isChecked === undefined ? null : String(item.isChecked), onclick: press },
    icon(item.isChecked ? "check" : item.icon),
    item.label,
    item.key && h("kbd", {}, item.key),
  );
}

/** Under the button, or above it where there is no room. @param {HTMLElement} menu @param {DOMRect} at */
function place(menu, at) {
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
  const below = at.bottom + GAP_PX;
  const top = below + height > innerHeight ? Math.max(8, at.top - height - GAP_PX) : below;
  menu.style.setProperty("inset", `${top}px auto auto ${left}px`);
}

/** @param {KeyboardEvent} event @param {HTMLElement} menu */
function moveFocus(event, menu) {
  const items = [...menu.querySelectorAll("button")];
  const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  items[(to + items.length) % items.length]?.focus();
}
