/**
 * One cell's optimistic editing, without a page or a socket: what was typed and not acknowledged yet, as change
 * sets on the last acknowledged version. One edit is under way at a time; what follows is composed into the next.
 * Others' changes are mapped through both, so no keystroke is lost. Sending is in editing.js, keeping in drafts.js.
 */

import { ChangeSet, Text } from "../vendor/codemirror.js";
import { replacement } from "./changes.js";

/** @typedef {{operationId: string, version: number, changes: ChangeSet}} Edit */

export class CellEdits {
  /** The last acknowledged version and its text. */
  version;
  /** @type {Text} */ base;
  /** Set when others replaced what was being edited; sending waits for a person's choice. */
  conflict = false;
  /** @type {{operationId: string, changes: ChangeSet} | null} */ #underWay = null;
  /** @type {ChangeSet | null} */ #waiting = null;

  /** @param {string} source @param {number} version */
  constructor(source, version) {
    this.base = toText(source);
    this.version = version;
  }

  /** Whether anything is not acknowledged. */
  get isUnsaved() {
    return this.#underWay !== null || this.#waiting !== null;
  }

  /** Whether an edit was sent and not answered. */
  get isUnderWay() {
    return this.#underWay !== null;
  }

  /** What was typed and is not acknowledged, as one change set on the base; null when there is nothing. */
  get local() {
    if (!this.#underWay) return this.#waiting;
    return this.#waiting ? this.#underWay.changes.compose(this.#waiting) : this.#underWay.changes;
  }

  /** The text with the edit that is under way, which the server may or may not have. */
  get sent() {
    return (this.#underWay ? this.#underWay.changes.apply(this.base) : this.base).toString();
  }

  get operationId() {
    return this.#underWay?.operationId ?? null;
  }

  /** The text as the person sees it. */
  get text() {
    return (this.local?.apply(this.base) ?? this.base).toString();
  }

  /** Records what was typed here. @param {ChangeSet} changes */
  type(changes) {
    if (changes.empty) return;
    this.#waiting = this.#waiting ? this.#waiting.compose(changes) : changes;
    if (!this.#underWay && isWithoutEffect(this.#waiting, this.base)) this.#waiting = null;
  }

  /**
   * The edit to send now: the one under way again (after a conflict or a reconnection), or the next one.
   * @param {() => string} newId
   * @returns {Edit | null}
   */
  next(newId) {
    if (this.conflict) return null;
    if (!this.#underWay && this.#waiting) {
      this.#underWay = { operationId: newId(), changes: this.#waiting };
      this.#waiting = null;
    }
    return this.#underWay ? { ...this.#underWay, version: this.version } : null;
  }

  /**
   * The server stored the edit under way as this version. False when it was not ours, or already known.
   * @param {string | null | undefined} operationId
   * @param {number} version
   */
  acknowledge(operationId, version) {
    if (!this.#underWay || this.#underWay.operationId !== operationId || version <= this.version) return false;
    this.base = this.#underWay.changes.apply(this.base);
    this.version = version;
    this.#underWay = null;
    return true;
  }

  /**
   * Takes a change of somebody else that made the next version.
   * @param {any} changes  a change set on the base, in JSON form
   * @param {number} version
   * @returns {ChangeSet} what to do to the text the person sees
   */
  merge(changes, version) {
    return this.#rebase(ChangeSet.fromJSON(changes), version);
  }

  /**
   * Takes a text that replaced the base without saying how. Where it leaves alone what was typed here, both are kept;
   * else `conflict` is set, the person's text stays, and null is returned.
   * @param {string} source
   * @param {number} version
   * @returns {ChangeSet | null} what to do to the text the person sees
   */
  replace(source, version) {
    const mine = this.text;
    if (source === mine || source === this.sent) return this.#adopt(source, mine, version);
    const theirs = difference(this.base.toString(), source);
    if (!this.local || !overlaps(theirs, this.local)) return this.#rebase(theirs, version);
    this.#adopt(source, mine, version);
    this.conflict = true;
    return null;
  }

  /** Another field of the cell changed: a new version with the same text. @param {number} version */
  bump(version) {
    this.version = Math.max(this.version, version);
  }

  /**
   * Ends a conflict by giving up what was typed here.
   * @returns {ChangeSet} what to do to the text the person sees
   */
  keepTheirs() {
    const mine = this.local;
    const back = mine ? mine.invert(this.base) : ChangeSet.empty(this.base.length);
    this.#forgetLocal();
    return back;
  }

  /** Ends a conflict by sending what was typed here over the other text. */
  useMine() {
    this.conflict = false;
  }

  /** @param {string} source @param {string} mine @param {number} version */
  #adopt(source, mine, version) {
    this.#forgetLocal();
    this.base = toText(source);
    this.version = version;
    if (source !== mine) this.#waiting = difference(source, mine);
    return ChangeSet.empty(mine.length);
  }

  #forgetLocal() {
    this.#underWay = null;
    this.#waiting = null;
    this.conflict = false;
  }

  /** The other change came first: ours are mapped over it, it is mapped over ours. @param {ChangeSet} theirs @param {number} version */
  #rebase(theirs, version) {
    this.base = theirs.apply(this.base);
    this.version = version;
    let over = theirs;
    if (this.#underWay) {
      const { operationId, changes } = this.#underWay;
      this.#underWay = { operationId, changes: changes.map(over) };
      over = over.map(changes, true);
    }
    if (this.#waiting) {
      const changes = this.#waiting;
      this.#waiting = changes.map(over);
      over = over.map(changes, true);
    }
    return over;
  }
}

/** @param {string} before @param {string} after */
export function difference(before, after) {
  return ChangeSet.of(replacement(before, after) ?? [], before.length, "\n");
}

/** @param {string} source */
function toText(source) {
  return Text.of(source.split("\n"));
}

/** @param {ChangeSet} theirs @param {ChangeSet} mine */
function overlaps(theirs, mine) {
  let found = false;
  theirs.iterChangedRanges((from, to) => {
    found ||= Boolean(mine.touchesRange(from, to));
  });
  return found;
}

/** Typing something and taking it back needs no edit. @param {ChangeSet} changes @param {Text} base */
function isWithoutEffect(changes, base) {
  return changes.newLength === base.length && changes.apply(base).eq(base);
}
