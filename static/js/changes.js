/**
 * Change sets of text in CodeMirror's JSON form, for cells whose editor sleeps. Pure, without CodeMirror.
 * A change set is a list of parts: a number keeps that many UTF-16 units, `[n, ...lines]` replaces n units.
 * Rebasing one over another needs CodeMirror's ChangeSet and is in edits.js.
 */

/**
 * @typedef {(number | [number, ...string[]])[]} ChangesJSON
 */

/**
 * The text after a change set.
 * @param {string} text
 * @param {ChangesJSON} changes
 * @throws {RangeError} when the change set was made on a text of another length
 */
export function applyChanges(text, changes) {
  const parts = [];
  let at = 0;
  for (const part of changes) {
    if (typeof part === "number") {
      parts.push(text.slice(at, at + part));
      at += part;
      continue;
    }
    const [removed, ...lines] = part;
    parts.push(lines.join("\n"));
    at += removed;
  }
  if (at !== text.length) throw new RangeError(`A change set for ${at} units met a text of ${text.length}`);
  return parts.join("");
}

/**
 * The one replacement that turns one text into another: what lies between their common start and end.
 * Never cuts a surrogate pair. Null when they are equal.
 * @param {string} before
 * @param {string} after
 * @returns {{from: number, to: number, insert: string} | null}
 */
export function replacement(before, after) {
  if (before === after) return null;
  const shorter = Math.min(before.length, after.length);
  let from = 0;
  while (from < shorter && before[from] === after[from]) from += 1;
  if (isHigh(before, from - 1)) from -= 1;
  let end = 0;
  while (end < shorter - from && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  if (end > 0 && isLow(before, before.length - end)) end -= 1;
  return { from, to: before.length - end, insert: after.slice(from, after.length - end) };
}

/** @param {string} text @param {number} at */
function isHigh(text, at) {
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit < 0xdc00;
}

/** @param {string} text @param {number} at */
function isLow(text, at) {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit < 0xe000;
}
