/**
 * Counting text. The browser and the wire count UTF-16 units; Python counts code points; sockets count bytes.
 * Pure; nothing else converts positions on this side.
 */

const encoder = new TextEncoder();

/**
 * How many code points lie before a UTF-16 offset. An offset inside a pair counts the whole pair.
 * @param {string} text
 * @param {number} offset
 */
export function codePointsBefore(text, offset) {
  let count = 0;
  for (let at = 0; at < Math.min(offset, text.length); count += 1) at += unitsAt(text, at);
  return count;
}

/**
 * The UTF-16 offset of the code point with this index; past the end it is the length.
 * @param {string} text
 * @param {number} index
 */
export function offsetOfCodePoint(text, index) {
  let at = 0;
  for (let count = 0; count < index && at < text.length; count += 1) at += unitsAt(text, at);
  return at;
}

/** @param {string} text @returns {number} bytes of its UTF-8 form */
export function utf8Bytes(text) {
  return encoder.encode(text).length;
}

/**
 * The line (from 1) that holds an offset.
 * @param {string} text
 * @param {number} offset
 */
export function lineAt(text, offset) {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line += 1;
  return line;
}

/**
 * What the server stores: `\n` only, no NUL, no lone surrogates (docs: risks 32).
 * @param {string} text
 */
export function normalised(text) {
  return text.replace(/\r\n?/g, "\n").replaceAll("\0", "").replace(/\p{Surrogate}/gu, "\ufffd");
}

/** @param {string} text @param {number} at */
function unitsAt(text, at) {
  return /** @type {number} */ (text.codePointAt(at)) > 0xffff ? 2 : 1;
}
