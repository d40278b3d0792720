/**
 * Keys to actions. One listener for the page; sequences such as D D within a second; single letters only in command
 * mode and only while they are switched on. Never inside inputs, dialogs or outputs.
 */

import { OF_THE_EDITOR } from "./actions.js";
import { isMac } from "./dom.js";

const SEQUENCE_MS = 1_000;
const LETTERS_KEY = "rillbook:letters";

/** @typedef {import("./actions.js").Action} Action */
/** @typedef {{key: string, code?: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean}} Press */

/**
 * A press as the table writes it: Mod+Shift+H, D, Shift+Z, ?, ArrowUp. Mod is Cmd on a Mac and Ctrl elsewhere.
 * @param {Press} press
 * @param {boolean} [onMac]
 */
export function chordOf(press, onMac = isMac) {
  const { key } = press;
  const isLetter = key.length === 1 && key.toLowerCase() !== key.toUpperCase();
  const name = isLetter ? key.toUpperCase() : key === "_" ? "-" : key;
  const isTyped = key.length === 1 && !isLetter && !press.ctrlKey && !press.metaKey;
  const mod = onMac ? press.metaKey : press.ctrlKey;
  const other = onMac ? press.ctrlKey : press.metaKey;
  const parts = [mod && "Mod", other && (onMac ? "Ctrl" : "Meta"), press.altKey && "Alt", press.shiftKey && !isTyped && "Shift", name];
  return parts.filter(Boolean).join("+");
}

/** Keys as a person reads them: Ctrl+K, ⌘K, D D. @param {string} keys @param {boolean} [onMac] @returns {string[]} key caps */
export function keyCaps(keys, onMac = isMac) {
  const arrows = /** @type {Record<string, string>} */ ({ ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" });
  return keys.split(" ").map((chord) => {
    const parts = chord.split("+").map((part) => arrows[part] ?? (part === "Mod" ? (onMac ? "⌘" : "Ctrl") : part));
    return parts.join(onMac && parts[0] === "⌘" ? "" : "+");
  });
}

/** Finds the action of presses, remembering the first of a sequence. */
export class KeyTable {
  /** @type {Map<string, Action>} */ #byKeys = new Map();
  #pending = "";
  #pendingAt = 0;

  /** @param {Action[]} actions */
  constructor(actions) {
    for (const action of actions) {
      if (OF_THE_EDITOR.has(action.id)) continue;
      for (const keys of action.keys) this.#byKeys.set(`${action.where} ${keys}`, action);
    }
  }

  /**
   * @param {string} chord
   * @param {"edit" | "command"} mode
   * @param {{now: number, letters: boolean}} at
   * @returns {{action: Action | null, isPartial: boolean}}
   */
  find(chord, mode, { now, letters }) {
    const anywhere = this.#byKeys.get(`anywhere ${chord}`);
    if (anywhere) return { action: anywhere, isPartial: false };
    if (mode === "command" && isSingle(chord) && !letters) return { action: null, isPartial: false };
    const sequence = now - this.#pendingAt < SEQUENCE_MS ? `${this.#pending} ${chord}` : chord;
    this.#pending = "";
    const found = this.#byKeys.get(`${mode} ${sequence}`) ?? this.#byKeys.get(`${mode} ${chord}`) ?? null;
    if (found) return { action: found, isPartial: false };
    const isPartial = mode === "command" && [...this.#byKeys.keys()].some((keys) => keys.startsWith(`command ${chord} `));
    if (isPartial) {
      this.#pending = chord;
      this.#pendingAt = now;
    }
    return { action: null, isPartial };
  }
}

/** Whether single letters act in command mode. */
export function lettersAreOn() {
  return localStorage.getItem(LETTERS_KEY) !== "off";
}

/** @param {boolean} on */
export function setLetters(on) {
  localStorage.setItem(LETTERS_KEY, on ? "on" : "off");
}

/**
 * Listens to the page's keys.
 * @param {KeyTable} table
 * @param {{isAsking: () => boolean, isMuted: () => boolean, perform: (action: Action) => any}} page
 */
export function listenForKeys(table, { isAsking, isMuted, perform }) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
    const where = placeOf(event.target);
    if (where === "elsewhere") return;
    const chord = chordOf(event);
    if (where === "field" && !isGlobal(chord)) return;
    if (where === "button" && (chord === "Enter" || chord === " ")) return;
    if (chord === "Escape" && isAsking()) return;
    const mode = where === "editor" || where === "field" ? "edit" : "command";
    if (mode === "command" && isMuted()) {
      event.preventDefault();
      return;
    }
    const found = table.find(chord, mode, { now: event.timeStamp, letters: lettersAreOn() });
    if (!found.action && !found.isPartial) return;
    event.preventDefault();
    event.stopPropagation();
    if (found.action) perform(found.action);
  }, { capture: true });
}

/** Where a press lands. @param {EventTarget | null} target @returns {"editor" | "field" | "button" | "page" | "elsewhere"} */
function placeOf(target) {
  if (!(target instanceof Element)) return "page";
  // One that was just closed may have the focus until it is removed or the next frame is drawn: its keys are the page's.
  if (target.closest("dialog:not([open]), [popover]:not(:popover-open)")) return "page";
  if (target.closest("dialog, [popover], .menu")) return "elsewhere";
  if (target.closest(".cm-content")) return "editor";
  if (target.closest(".cm-panel")) return "elsewhere";
  if (target.closest("input, textarea, select, [contenteditable]")) return "field";
  if (target.closest(".output, .notice, .toast") && target.closest("button, a, summary, [tabindex]:not(.cell)")) return "elsewhere";
  return target.closest("button, a, summary") ? "button" : "page";
}

/** Chords that also act from an input of the page: those with Ctrl or Cmd. @param {string} chord */
function isGlobal(chord) {
  return chord.startsWith("Mod+");
}

/** @param {string} chord */
function isSingle(chord) {
  return /^(Shift\+)?.$/u.test(chord);
}
