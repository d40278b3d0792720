/** Makes elements. Values become text or attributes, never HTML. */

const SPRITE = new URL("../../icons.svg", import.meta.url).pathname;
const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes (empty ones and `null` are left out, `true` is an attribute without a value) and children.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class" && value === "") continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child || child === "") element.append(child);
  return element;
}

/**
 * @param {string} name  without `icon-`
 * @param {string} [css]
 */
export function icon(name, css = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${css}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SPRITE}#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that is only an icon.
 * @param {string} name
 * @param {string} label
 * @param {() => void} press
 */
export function iconButton(name, label, press) {
  const button = el("button", { class: "icon-button", type: "button", "aria-label": label, title: label });
  button.append(icon(name));
  button.addEventListener("click", press);
  return button;
}

/**
 * @param {string} words
 * @param {() => void} press
 */
export function textButton(words, press) {
  const button = el("button", { class: "text-button", type: "button" }, words);
  button.addEventListener("click", press);
  return button;
}

/** 48210 as 48,210. @param {number} value */
export function grouped(value) {
  return value.toLocaleString("en-US");
}

/** A size as a person says it: 512 B, 1.5 KB, 2.1 MB. @param {number} size */
export function sizeWords(size) {
  for (const [unit, factor] of /** @type {[string, number][]} */ ([["GB", 1e9], ["MB", 1e6], ["KB", 1e3]])) {
    if (size < factor) continue;
    const tenths = Math.floor((size * 10) / factor);
    return tenths < 100 ? `${Math.floor(tenths / 10)}.${tenths % 10} ${unit}` : `${Math.floor(tenths / 10)} ${unit}`;
  }
  return `${size} B`;
}

/** A text value of a bundle; notebook files hold some as a list of lines. @param {any} value @returns {string} */
export function textOf(value) {
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((line) => typeof line === "string")) return value.join("");
  return value === undefined ? "" : JSON.stringify(value);
}
