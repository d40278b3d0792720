/**
 * What a cell's state is called: the same words as notebooks_app/cell_words.py, for live changes. Pure: text and
 * lists, no elements (cell.js draws them).
 */

/** @typedef {import("./types.js").Cell} Cell */
/** @typedef {"new" | "queued" | "running" | "current" | "stale" | "failed" | "stopped" | "blocked" | "disabled"} Shown */
/** A piece of a sentence: text, a name in code, or a link to a cell. @typedef {string | {code: string} | {cell: string}} Piece */
/** @typedef {{css: string, icon: string, pieces: Piece[], action?: {id: string, label: string}}} Note */

/** @type {Record<Shown, string>} */
export const WORDS = {
  new: "Not run",
  queued: "Queued",
  running: "Running",
  current: "Current",
  stale: "Stale",
  failed: "Failed",
  stopped: "Stopped",
  blocked: "Blocked",
  disabled: "Disabled",
};
/** @type {Record<string, string>} */
export const TYPE_WORDS = { python: "Python", sql: "SQL", markdown: "Text" };

/** The one state a reader sees; null for text. A cell that somebody stopped did not fail. @param {Cell} cell @returns {Shown | null} */
export function shownState(cell) {
  if (cell.type === "markdown") return null;
  if (cell.state.status !== "idle") return cell.state.status;
  if (cell.disabled || cell.state.disabled_by.length) return "disabled";
  const { freshness, outcome, errors } = cell.state;
  return freshness === "failed" && outcome === "interrupted" && !errors.length ? "stopped" : freshness;
}

/** @param {Shown} shown */
export function iconOf(shown) {
  if (shown === "stopped") return "stop";
  return shown === "current" ? "check" : shown;
}

/**
 * What the gutter's button does.
 * @param {Shown} shown
 * @param {number} number
 */
export function runButton(shown, number) {
  if (shown === "running") return { action: "stop", label: `Stop cell ${number}`, icon: "stop" };
  if (shown === "queued") return { action: "take_out", label: `Take cell ${number} out of the queue`, icon: "close" };
  if (shown === "disabled") return { action: "none", label: `Run cell ${number}`, icon: "play" };
  return { action: "run", label: `Run cell ${number} (Ctrl+Enter)`, icon: "play" };
}

/**
 * The lines under the source. A cell that is gone is not linked: `has` tells which are there.
 * @param {Cell} cell
 * @param {(id: string) => boolean} has
 * @returns {Note[]}
 */
export function notesOf(cell, has) {
  if (cell.type === "markdown") return [];
  const { state } = cell;
  const errors = state.errors.map((error) => errorNote(error, has));
  const warnings = (state.warnings ?? []).map((text) => ({ css: "is-warning", icon: "warning", pieces: [text] }));
  const note = state.note ? [{ css: "is-result", icon: "", pieces: [state.note] }] : [];
  return [...errors, ...stateNotes(cell, has), ...note, ...warnings];
}

/** @param {import("./types.js").CellError} error @param {(id: string) => boolean} has @returns {Note} */
function errorNote(error, has) {
  const links = listed(error.cells.filter(has).map((cell) => [{ cell }]));
  return { css: "is-failed", icon: "failed", pieces: [error.message, ...(links.length ? [" ", ...links] : [])] };
}

/** @param {Cell} cell @param {(id: string) => boolean} has @returns {Note[]} */
function stateNotes(cell, has) {
  const { state } = cell;
  const shown = shownState(cell);
  if (shown === "disabled") return [disabledNote(cell, has)];
  if (shown === "running" || shown === "queued") return reasonNote(state.reason, "Runs", has);
  if (shown === "blocked") return blockedNote(state.blocked_by, has);
  if (shown === "stale") {
    const pieces = staleBecause(state.stale_because, has);
    return [{ css: "is-stale", icon: "stale", pieces, action: { id: "run", label: "Run now" } }];
  }
  if (shown === "stopped") return [{ css: "", icon: "stop", pieces: ["Stopped before its end."], action: { id: "run", label: "Run again" } }];
  if (state.outcome === "died") return [{ css: "is-failed", icon: "memory", pieces: ["The kernel ended while this cell ran."] }];
  return reasonNote(state.reason, "Ran", has);
}

/** @param {Cell} cell @param {(id: string) => boolean} has @returns {Note} */
function disabledNote(cell, has) {
  if (cell.disabled) {
    return { css: "", icon: "", pieces: ["Disabled: runs skip it."], action: { id: "enable", label: "Enable" } };
  }
  const links = listed(cell.state.disabled_by.filter(has).map((id) => [{ cell: id }]));
  const by = links.length ? links : ["a cell it needs"];
  return { css: "", icon: "", pieces: ["Runs skip it, because it needs ", ...by, ", which is disabled."] };
}

/** @param {{cell: string, name: string}[]} blockedBy @param {(id: string) => boolean} has @returns {Note[]} */
function blockedNote(blockedBy, has) {
  const waits = blockedBy.filter(({ cell }) => has(cell));
  if (!waits.length) return [];
  const names = listed(waits.map(({ cell, name }) => [{ code: name }, " from ", { cell }]));
  return [{ css: "is-blocked", icon: "blocked", pieces: ["Waits for ", ...names, "."] }];
}

/** @param {import("./types.js").Cause | null} because @param {(id: string) => boolean} has @returns {Piece[]} */
function staleBecause(because, has) {
  if (because?.kind === "edited") return ["Older than the code."];
  if (because?.kind === "interrupted") return ["The last run was stopped."];
  if (because?.kind !== "upstream" || !because.name) return ["May be older than what it was made from."];
  if (because.cell && has(because.cell)) return ["Older than ", { code: because.name }, " from ", { cell: because.cell }, "."];
  return [{ code: because.name }, " is not defined any more."];
}

/** @param {import("./types.js").Cause | null} reason @param {string} verb @param {(id: string) => boolean} has @returns {Note[]} */
function reasonNote(reason, verb, has) {
  if (!reason?.cell || !has(reason.cell)) return [];
  const by = reason.by ? ` · ${reason.by}` : "";
  const name = { code: reason.name ?? "" };
  const cell = { cell: reason.cell };
  if (reason.kind === "changed") return [{ css: "", icon: "cause", pieces: [`${verb} because `, name, " changed in ", cell, by] }];
  if (reason.kind === "needed") return [{ css: "", icon: "cause", pieces: [`${verb} because `, cell, " needs ", name, by] }];
  return [];
}

/** Pieces with commas between. @param {Piece[][]} items @returns {Piece[]} */
function listed(items) {
  return items.flatMap((item, index) => (index ? [", ", ...item] : item));
}

/** 0.42 s, 12.4 s, 1 min 12 s, 2 h 5 min; empty when not known. @param {number | null | undefined} durationMs */
export function durationWords(durationMs) {
  if (durationMs === null || durationMs === undefined) return "";
  const seconds = durationMs / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The time a running cell has taken, in tenths while that is what changes. @param {number} elapsedMs */
export function elapsedWords(elapsedMs) {
  const ms = Math.max(0, elapsedMs);
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : durationWords(ms);
}

/** 1st, 2nd, 3rd, 4th, 11th, 21st. @param {number} number */
export function ordinal(number) {
  if ([11, 12, 13].includes(number % 100)) return `${number}th`;
  return `${number}${{ 1: "st", 2: "nd", 3: "rd" }[number % 10] ?? "th"}`;
}

/** 0.4 kB, 3.1 MB, 2.0 GB. @param {number | null | undefined} bytes */
export function sizeWords(bytes) {
  if (bytes === null || bytes === undefined) return "";
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_500) return `${short(bytes / 1e3)} kB`;
  if (bytes < 999_500_000) return `${short(bytes / 1e6)} MB`;
  return `${short(bytes / 1e9)} GB`;
}

/** One cell, two cells. @param {number} count @param {string} noun */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {number} value */
function short(value) {
  return value < 9.95 ? value.toFixed(1) : Math.round(value).toString();
}
