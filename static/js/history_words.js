/** How the history panel says things: times, what differs, the lines of a diff. Pure: text and lists, no elements. */

import { counted } from "./words.js";

const DAY_MS = 86_400_000;

/** @typedef {{kind: "same" | "added" | "removed" | "place", text: string}} DiffLine */

/**
 * The lines of a unified diff without file names.
 * @param {string} diff
 * @returns {DiffLine[]}
 */
export function diffLines(diff) {
  const kinds = /** @type {Record<string, DiffLine["kind"]>} */ ({ "+": "added", "-": "removed", "@": "place" });
  return diff.split("\n").filter(Boolean).map((line) => {
    const kind = kinds[line[0]] ?? "same";
    return { kind, text: kind === "place" ? placeWords(line) : line.slice(1) };
  });
}

/** Where a piece of a diff begins in the new text, from its head. @param {string} line */
function placeWords(line) {
  return `Line ${/\+(\d+)/.exec(line)?.[1] ?? "?"}`;
}

/**
 * What changed since a version, in a line.
 * @param {{added: any[], removed: any[], moved: any[], changed: any[]}} difference
 */
export function differenceWords({ added, removed, moved, changed }) {
  const parts = [
    changed.length && `${counted(changed.length, "cell")} changed`,
    added.length && `${added.length} added`,
    removed.length && `${removed.length} deleted`,
    moved.length && `${moved.length} moved`,
  ].filter(Boolean);
  return parts.length ? `Since then: ${parts.join(", ")}.` : "Nothing has changed since then.";
}

/**
 * Old and new values of a cell's fields.
 * @param {Record<string, [any, any]>} fields
 * @returns {string[]}
 */
export function fieldWords(fields) {
  return Object.entries(fields).map(([name, [before, after]]) => {
    if (name === "disabled") return after ? "Runs skip it now." : "Runs no longer skip it.";
    if (name === "code_hidden") return after ? "Its code is hidden now." : "Its code is shown now.";
    if (name === "connection") return "It uses another connection now.";
    const label = name === "type" ? "Type" : "Result";
    return `${label}: ${valueWords(before)} → ${valueWords(after)}.`;
  });
}

/** @param {any} value */
function valueWords(value) {
  return { python: "Python", sql: "SQL", markdown: "Text", "": "none" }[String(value)] ?? String(value);
}

/**
 * A moment as one says it: 14:02 today, Yesterday 14:02, 3 Nov 14:02, 3 Nov 2025 14:02.
 * @param {string} iso
 * @param {Date} [now]
 */
export function momentWords(iso, now = new Date()) {
  return `${dayWords(new Date(iso), now)} ${clockOf(iso)}`.trim();
}

/** @param {string} iso */
export function clockOf(iso) {
  return new Date(iso).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** Today, Yesterday, 3 Nov. @param {string} iso @param {Date} [now] */
export function dayOf(iso, now = new Date()) {
  return dayWords(new Date(iso), now) || "Today";
}

/**
 * The day of a moment; nothing for today.
 * @param {Date} when
 * @param {Date} now
 */
function dayWords(when, now) {
  const midnight = (/** @type {Date} */ day) => new Date(day.getFullYear(), day.getMonth(), day.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(when)) / DAY_MS);
  if (days <= 0) return "";
  if (days === 1) return "Yesterday";
  const year = when.getFullYear() === now.getFullYear() ? {} : { year: /** @type {const} */ ("numeric") };
  return when.toLocaleDateString(undefined, { day: "numeric", month: "short", ...year });
}

/** A name for who gives none: the moment. @param {Date} [now] */
export function nameOfNow(now = new Date()) {
  const day = now.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${clockOf(now.toISOString())}`;
}
