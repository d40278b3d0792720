/**
 * Text that the server has not acknowledged, kept in this browser until it has. Written soon after each change, so
 * that closing the tab, a crash or a long time offline loses nothing. What becomes of a draft is decided in editing.js.
 */

import { newId } from "./ids.js";

const PREFIX = "rillbook:draft:";
/** A draft of a tab that cannot be asked whether it lives counts as left behind after this long. */
const ABANDONED_MS = 60_000;

/**
 * `base` is the acknowledged text of `version`, `sent` the text of the edit under way, `text` what the person saw.
 * @typedef {{cell: string, version: number, base: string, sent: string, text: string, operationId: string | null, tab: string, at: number}} Draft
 */

export class Drafts {
  #notebook;
  #tab;
  #storage;

  /** @param {string} notebook @param {Storage} [storage] @param {string} [tab] */
  constructor(notebook, storage = localStorage, tab = newId()) {
    this.#notebook = notebook;
    this.#storage = storage;
    this.#tab = tab;
    // Held while this tab lives, so that another tab can tell its drafts from those left behind.
    globalThis.navigator?.locks?.request(PREFIX + tab, () => new Promise(() => {}));
  }

  /**
   * Keeps a draft. False when the browser refuses (full, or switched off).
   * @param {Omit<Draft, "tab" | "at">} draft
   */
  keep(draft) {
    try {
      this.#storage.setItem(this.#key(draft.cell), JSON.stringify({ ...draft, tab: this.#tab, at: Date.now() }));
      return true;
    } catch {
      return false;
    }
  }

  /** @param {string} cell */
  drop(cell) {
    try {
      this.#storage.removeItem(this.#key(cell));
    } catch {
      // Storage is switched off: nothing was kept either.
    }
  }

  /** Drafts of this notebook that a closed tab left behind, taken over by this one. @returns {Promise<Draft[]>} */
  async adopt() {
    const living = await livingTabs();
    const found = this.#all().filter(({ draft }) => isAbandoned(draft, living));
    for (const { key } of found) this.#storage.removeItem(key);
    return found.map(({ draft }) => draft);
  }

  #all() {
    /** @type {{key: string, draft: Draft}[]} */
    const found = [];
    for (const key of keysOf(this.#storage)) {
      if (!key.startsWith(`${PREFIX}${this.#notebook}:`)) continue;
      const draft = parse(this.#storage.getItem(key));
      if (draft) found.push({ key, draft });
      else this.#storage.removeItem(key);
    }
    return found;
  }

  /** @param {string} cell */
  #key(cell) {
    return `${PREFIX}${this.#notebook}:${cell}:${this.#tab}`;
  }
}

/** @param {Storage} storage @returns {string[]} */
function keysOf(storage) {
  try {
    return Array.from({ length: storage.length }, (_, index) => storage.key(index) ?? "");
  } catch {
    return [];
  }
}

/** @param {string | null} text @returns {Draft | null} */
function parse(text) {
  try {
    const draft = JSON.parse(text ?? "");
    return typeof draft?.text === "string" && typeof draft?.base === "string" ? draft : null;
  } catch {
    return null;
  }
}

/** @returns {Promise<Set<string> | null>} names of held locks; null where the browser cannot tell */
async function livingTabs() {
  const state = await globalThis.navigator?.locks?.query?.().catch(() => null);
  return state?.held ? new Set(state.held.map((lock) => lock.name ?? "")) : null;
}

/** @param {Draft} draft @param {Set<string> | null} living */
function isAbandoned(draft, living) {
  return living ? !living.has(PREFIX + draft.tab) : Date.now() - draft.at > ABANDONED_MS;
}
