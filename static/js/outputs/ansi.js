/** Terminal colours (ANSI SGR sequences) as classes. notebooks_app/ansi.py does the same on the server. */

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
// eslint-disable-next-line no-control-regex
const SEQUENCE = /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
/** @type {Record<number, string>} */
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 9: "strike" };

/** @typedef {{text: string, background: string, inverse: boolean, flags: Set<string>}} Style */

/** @returns {Style} */
export function plainStyle() {
  return { text: "", background: "", inverse: false, flags: new Set() };
}

/** The text alone, as copied to the clipboard. @param {string} text */
export function ansiText(text) {
  return text.replace(SEQUENCE, "");
}

/**
 * Text as nodes: a span for each coloured stretch. Goes on from `style` and leaves the style at the end in it.
 * @param {string} text
 * @param {Style} [style]
 */
export function ansiNodes(text, style = plainStyle()) {
  const fragment = document.createDocumentFragment();
  let css = classesOf(style);
  let held = "";
  let start = 0;
  const flush = () => {
    if (held) fragment.append(css ? span(css, held) : held);
    held = "";
  };
  for (const match of text.matchAll(SEQUENCE)) {
    held += text.slice(start, match.index);
    start = match.index + match[0].length;
    if (match[2] !== "m") continue;
    apply(style, match[1]);
    if (classesOf(style) === css) continue;
    flush();
    css = classesOf(style);
  }
  held += text.slice(start);
  flush();
  return fragment;
}

/** @param {string} css @param {string} text */
function span(css, text) {
  const element = document.createElement("span");
  element.className = css;
  element.textContent = text;
  return element;
}

/** @param {Style} style */
function classesOf(style) {
  let { text, background } = style;
  if (style.inverse) [text, background] = [background || "inverse", text || "inverse"];
  const names = [];
  if (text) names.push(`ansi-${text}`);
  if (background) names.push(`ansi-on-${background}`);
  for (const flag of Object.values(FLAGS)) if (style.flags.has(flag)) names.push(`ansi-${flag}`);
  return names.join(" ");
}

/** @param {Style} style @param {string} parameters */
function apply(style, parameters) {
  const codes = parameters.replaceAll(":", ";").split(";").map((code) => (/^\d{1,5}$/.test(code) ? Number(code) : 0));
  while (codes.length) {
    const code = /** @type {number} */ (codes.shift());
    if (code === 38) style.text = extended(codes);
    else if (code === 48) style.background = extended(codes);
    else simple(style, code);
  }
}

/** @param {Style} style @param {number} code */
function simple(style, code) {
  if (code === 0) Object.assign(style, plainStyle());
  else if (FLAGS[code]) style.flags.add(FLAGS[code]);
  else if (code === 21 || code === 22) ["bold", "dim"].forEach((flag) => style.flags.delete(flag));
  else if ([23, 24, 29].includes(code)) style.flags.delete(FLAGS[code - 20]);
  else if (code === 7 || code === 27) style.inverse = code === 7;
  else if (code === 39) style.text = "";
  else if (code === 49) style.background = "";
  else basicColour(style, code);
}

/** @param {Style} style @param {number} code */
function basicColour(style, code) {
  for (const [first, bright] of /** @type {[number, string][]} */ ([[30, ""], [90, "bright-"]])) {
    if (code >= first && code < first + 8) style.text = bright + NAMES[code - first];
    if (code >= first + 10 && code < first + 18) style.background = bright + NAMES[code - first - 10];
  }
}

/** The colour after a 38 or 48, taken from the front of `codes`. @param {number[]} codes */
function extended(codes) {
  const kind = codes.shift() ?? 0;
  if (kind === 5 && codes.length) return palette(/** @type {number} */ (codes.shift()));
  if (kind === 2 && codes.length >= 3) {
    const [red, green, blue] = codes.splice(0, 3);
    return nearest(red, green, blue);
  }
  codes.length = 0;
  return "";
}

/** @param {number} number  of the 256 */
function palette(number) {
  if (number < 8) return NAMES[number];
  if (number < 16) return `bright-${NAMES[number - 8]}`;
  if (number > 255) return "";
  if (number >= 232) {
    const grey = 8 + 10 * (number - 232);
    return nearest(grey, grey, grey);
  }
  const level = (/** @type {number} */ step) => (step === 0 ? 0 : 55 + 40 * step);
  const at = number - 16;
  return nearest(level(Math.floor(at / 36)), level(Math.floor(at / 6) % 6), level(at % 6));
}

/**
 * The one of the 16 colours nearest in hue; greys by their lightness.
 * @param {number} red @param {number} green @param {number} blue
 */
function nearest(red, green, blue) {
  const high = Math.max(red, green, blue);
  const low = Math.min(red, green, blue);
  if ((high - low) * 5 <= high) {
    const grey = red + green + blue;
    return ["black", "bright-black", "white", "bright-white"][Number(grey > 150) + Number(grey > 390) + Number(grey > 600)];
  }
  const middle = low + Math.floor((high - low) / 2);
  const name = NAMES[Number(red > middle) + 2 * Number(green > middle) + 4 * Number(blue > middle)];
  return high > 220 && low > 80 ? `bright-${name}` : name;
}
