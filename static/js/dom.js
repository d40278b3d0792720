/**
 * Making and finding elements. Text goes in as text: nothing here, and nothing that uses it, parses HTML.
 */

const SVG = "http://www.w3.org/2000/svg";
/** @type {string | null} */
let sprite = null;

/**
 * Makes an element. Attributes that are null, undefined or false are left out; true is an empty one.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]  `on<event>` functions become listeners
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...present(children));
  return element;
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  setAttributes(element, attributes);
  element.append(...present(children));
  return element;
}

/** One icon of the sprite, hidden from screen readers. @param {string} name @param {string} [css] */
export function icon(name, css = "") {
  return svg("svg", { class: `icon ${css}`.trim(), "aria-hidden": "true" }, iconUse(name));
}

/** @param {string} name @param {Record<string, any>} [attributes] */
export function iconUse(name, attributes = {}) {
  return svg("use", { href: `${spriteAddress()}#icon-${name}`, ...attributes });
}

/**
 * Turns an icon into another one, keeping the element.
 * @param {Element | null | undefined} element  the svg
 * @param {string} name
 */
export function setIcon(element, name) {
  if (!element) return;
  const use = element.querySelector("use");
  const address = `${spriteAddress()}#icon-${name}`;
  if (use) use.setAttribute("href", address);
  else element.append(iconUse(name));
}

/**
 * The element of the page, or inside a root, that carries `data-part`.
 * @param {string} name
 * @param {ParentNode} [root]
 * @returns {HTMLElement | null}
 */
export function part(name, root = document) {
  return root.querySelector(`[data-part="${name}"]`);
}

/** Sets text only when it differs, so that nothing is announced or laid out for no reason. @param {Element | null} element @param {string} text */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {Record<string, any>} attributes */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Whether the person has asked for less motion. */
export function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Whether this is a Mac, where Ctrl is Cmd. */
export const isMac = /Mac|iP(hone|ad|od)/.test(globalThis.navigator?.platform ?? "");

/** The sprite's address is hashed by the server: taken from an icon it drew. */
function spriteAddress() {
  sprite ??= (document.querySelector("use[href]")?.getAttribute("href") ?? "").split("#")[0];
  return sprite;
}

/** @param {(Node | string | null | undefined | false)[]} children @returns {(Node | string)[]} */
function present(children) {
  return /** @type {(Node | string)[]} */ (children.filter((child) => child !== null && child !== undefined && child !== false));
}
