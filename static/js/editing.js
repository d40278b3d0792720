/**
 * Sends what is typed and keeps it until the server has it. One CellEdits (edits.js) for each cell that was touched;
 * this module decides when to send, what a refusal means, and what becomes of drafts. It draws nothing.
 */

import { CellEdits, difference } from "./edits.js";
import { newId } from "./ids.js";
import { utf8Bytes } from "./positions.js";
import { MESSAGE_BYTES_AT_MOST, sendEdit } from "./rest.js";

/** Typing within this time travels as one edit. */
const SEND_MS = 100;
const KEEP_MS = 250;
const RETRY_MS = 1_500;
const FLUSH_MS = 15_000;

/**
 * Events: `unsaved` (the number changed) · `typed` {cell} · `remote` {cell, changes} (do this to what the person sees) ·
 * `conflict` {cell, author} · `orphan` {cell, text} (the cell is gone, its text is not) ·
 * `refused` {cell, message} · `unkept` (the browser cannot keep drafts).
 */
export class Editing extends EventTarget {
  #store;
  #socket;
  #drafts;
  #api;
  #texts;
  /** @type {Map<string, CellEdits>} */ #cells = new Map();
  /** @type {Set<string>} */ #sending = new Set();
  /** @type {Map<string, any>} */ #sendTimers = new Map();
  /** @type {Map<string, any>} */ #keepTimers = new Map();
  /** Cells this person typed in and neither ran nor left since. @type {Set<string>} */ #typed = new Set();
  /** Cells whose edits were refused: typing goes on, sending does not until `tryAgain`. @type {Set<string>} */ #refused = new Set();

  /**
   * @param {import("./store.js").NotebookStore} store
   * @param {import("./socket.js").NotebookSocket} socket
   * @param {import("./drafts.js").Drafts} drafts
   * @param {import("./texts.js").Texts} texts
   * @param {string} [api]  the notebook's address in the API
   */
  constructor(store, socket, drafts, texts, api = "") {
    super();
    this.#texts = texts;
    this.#store = store;
    this.#socket = socket;
    this.#drafts = drafts;
    this.#api = api;
    store.addEventListener("edited", (event) => this.#edited(/** @type {CustomEvent} */ (event).detail));
    store.addEventListener("updated", (event) => this.#updated(/** @type {CustomEvent} */ (event).detail.cell));
    store.addEventListener("removed", (event) => this.#removed(/** @type {CustomEvent} */ (event).detail.cells));
    store.addEventListener("reset", () => this.#reset());
    socket.addEventListener("state", () => this.tryAgain());
    globalThis.addEventListener?.("pagehide", () => this.#keepAll());
  }

  /** Whether this person typed in a cell since this was last asked. @param {string} id */
  takeTyped(id) {
    return this.#typed.delete(id);
  }

  /** Sends all that the server does not have, also what it refused: it may be taken now (another role, a new session). */
  tryAgain() {
    if (this.#socket.state !== "online") return;
    this.#refused.clear();
    for (const [id, edits] of this.#cells) if (edits.isUnsaved) this.#sendSoon(id, 0);
  }

  /** How many cells hold text that the server does not have. */
  get unsaved() {
    return [...this.#cells.values()].filter((edits) => edits.isUnsaved).length;
  }

  /** How many of them wait for a person: a text to choose, or one the server did not take. */
  get stuck() {
    return [...this.#cells].filter(([id, edits]) => edits.isUnsaved && (edits.conflict || this.#refused.has(id))).length;
  }

  /** The text of a cell as this person sees it; a far cell's must have been fetched (texts.js). @param {string} id */
  text(id) {
    return this.#cells.get(id)?.text ?? this.#store.cell(id)?.source ?? "";
  }

  /** @param {string} id */
  isUnsaved(id) {
    return this.#cells.get(id)?.isUnsaved ?? false;
  }

  /** @param {string} id */
  hasConflict(id) {
    return this.#cells.get(id)?.conflict ?? false;
  }

  /** The acknowledged version that positions of others count in. @param {string} id */
  version(id) {
    return this.#cells.get(id)?.version ?? this.#store.cell(id)?.version ?? 0;
  }

  /** Where a place in the text that this person sees is in the acknowledged text. @param {string} id @param {number} at */
  toAcknowledged(id, at) {
    return this.#cells.get(id)?.local?.invertedDesc.mapPos(at, 1) ?? at;
  }

  /** Where a place in the acknowledged text is in the one that this person sees. @param {string} id @param {number} at */
  fromAcknowledged(id, at) {
    const local = this.#cells.get(id)?.local;
    return local ? local.mapPos(Math.min(at, local.length), -1) : at;
  }

  /** Records what was typed. @param {string} id @param {import("../vendor/codemirror.js").ChangeSet} changes */
  type(id, changes) {
    const edits = this.#edits(id);
    if (!edits) return;
    edits.type(changes);
    this.#typed.add(id);
    this.#keepSoon(id);
    this.#sendSoon(id, SEND_MS);
    this.#changed();
    this.#emit("typed", { cell: id });
  }

  /** Replaces a cell's whole text, as formatting or find and replace do. @param {string} id @param {string} text */
  setText(id, text) {
    const changes = difference(this.text(id), text);
    if (changes.empty) return;
    this.type(id, changes);
    this.#emit("remote", { cell: id, changes });
  }

  /**
   * Sends a cell's text now and waits until the server has it.
   * @param {string} id
   * @returns {Promise<number>} the version that holds it
   * @throws {Error} when it cannot be stored now
   */
  async flush(id) {
    const until = Date.now() + FLUSH_MS;
    for (;;) {
      const edits = this.#cells.get(id);
      const cell = this.#store.cell(id);
      if (!cell) throw new Error("The cell is gone.");
      if (!edits?.isUnsaved) return cell.version;
      if (edits.conflict) throw new Error("Someone else changed this cell: choose a text first.");
      if (this.#refused.has(id)) throw new Error("The server did not take the text of this cell.");
      if (this.#socket.state !== "online" || Date.now() > until) throw new Error("Not sent yet: there is no connection.");
      await this.#send(id);
      await this.#nextChange(id);
    }
  }

  /** Ends a conflict. @param {string} id @param {"theirs" | "mine"} choice */
  settle(id, choice) {
    const edits = this.#cells.get(id);
    if (!edits) return;
    if (choice === "theirs") this.#emit("remote", { cell: id, changes: edits.keepTheirs() });
    else edits.useMine();
    this.#afterChange(id);
    this.#sendSoon(id, 0);
  }

  /** Takes up what a closed tab left behind. @returns {Promise<string[]>} the cells that have such text */
  async adoptDrafts() {
    const drafts = await this.#drafts.adopt();
    await this.#texts.learnWhenOnline(drafts.map(({ cell }) => cell));
    return drafts.filter((draft) => this.#adopt(draft)).map((draft) => draft.cell);
  }

  /** @param {import("./drafts.js").Draft} draft @returns {boolean} whether it held something */
  #adopt(draft) {
    const cell = this.#store.cell(draft.cell);
    if (!cell) {
      this.#emit("orphan", { cell: draft.cell, text: draft.text });
      return false;
    }
    if (cell.source === null || cell.source === draft.text) return false;
    const edits = new CellEdits(draft.base, draft.version);
    edits.type(difference(draft.base, draft.sent));
    if (draft.operationId) edits.next(() => /** @type {string} */ (draft.operationId));
    edits.type(difference(draft.sent, draft.text));
    this.#cells.set(cell.id, edits);
    if (cell.version !== draft.version) edits.replace(cell.source, cell.version);
    this.#emit("remote", { cell: cell.id, changes: difference(cell.source, edits.text) });
    if (edits.conflict) this.#emit("conflict", { cell: cell.id, author: null });
    this.#keepSoon(cell.id);
    this.#sendSoon(cell.id, 0);
    this.#changed();
    return true;
  }

  /** @param {string} id */
  #edits(id) {
    const known = this.#cells.get(id);
    if (known) return known;
    const cell = this.#store.cell(id);
    if (!cell || cell.source === null) return null;
    const edits = new CellEdits(cell.source, cell.version);
    this.#cells.set(id, edits);
    return edits;
  }

  /** @param {string} id @param {number} delayMs */
  #sendSoon(id, delayMs) {
    if (this.#sendTimers.has(id) && delayMs > 0) return;
    clearTimeout(this.#sendTimers.get(id));
    this.#sendTimers.set(id, setTimeout(() => this.#send(id), delayMs));
  }

  /** @param {string} id */
  async #send(id) {
    clearTimeout(this.#sendTimers.get(id));
    this.#sendTimers.delete(id);
    if (this.#sending.has(id) || this.#refused.has(id) || this.#socket.state !== "online") return;
    const edit = this.#cells.get(id)?.next(newId);
    if (!edit) return;
    this.#sending.add(id);
    try {
      const { operationId, version, changes } = edit;
      const fields = { cell: id, version, changes: changes.toJSON(), operation_id: operationId };
      const isLarge = utf8Bytes(JSON.stringify(fields)) > MESSAGE_BYTES_AT_MOST;
      const reply = isLarge ? await sendEdit(this.#api, fields) : await this.#socket.request("edit", fields);
      const answer = { type: "cell.edited", source: null, author: null, ...fields, version: reply.version ?? version + 1 };
      this.#store.learn([answer]);
      this.#sending.delete(id);
    } catch (error) {
      this.#sending.delete(id);
      await this.#refusal(id, /** @type {import("./socket.js").CommandError} */ (error), edit.version);
    }
    if (this.#cells.get(id)?.isUnsaved && this.#socket.state === "online") this.#sendSoon(id, SEND_MS);
  }

  /** @param {string} id @param {import("./socket.js").CommandError} error @param {number} version that the edit was made on */
  async #refusal(id, error, version) {
    if (error.code === "offline") return;
    if (error.code === "conflict") {
      await this.#learnOfConflict(id, error.detail, version);
    } else if (error.code === "timeout" || error.code === "unavailable") {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    } else if (error.code === "not_found") {
      if (this.#store.cell(id)) this.#socket.resynchronise();
    } else {
      this.#refused.add(id);
      this.#emit("refused", { cell: id, message: error.message });
      this.#changed();
      this.#emit("settled", { cell: id });
    }
  }

  /**
   * What the others changed may have come as events before the refusal did: then all is known, and mapped, already.
   * @param {string} id @param {any} detail @param {number} version that the edit was made on
   */
  async #learnOfConflict(id, detail, version) {
    this.#store.learn(detail.since ?? []);
    const known = this.#store.cell(id)?.version;
    if (known === undefined || known > version) return;
    const reply = await this.#socket.request("cells", { cells: [id] }).catch(() => null);
    if (reply) this.#store.fill(reply.cells);
  }

  /** The store moved on to a new acknowledged text. @param {{cell: string, event: any, before: string}} detail */
  #edited({ cell, event, before }) {
    const edits = this.#cells.get(cell);
    if (!edits) {
      this.#emit("remote", { cell, changes: difference(before, /** @type {any} */ (this.#store.cell(cell)).source) });
      return;
    }
    if (edits.acknowledge(event.operation_id, event.version)) {
      this.#afterChange(cell);
      return;
    }
    const changes = event.changes ? edits.merge(event.changes, event.version) : edits.replace(event.source, event.version);
    if (changes) this.#emit("remote", { cell, changes });
    else this.#emit("conflict", { cell, author: event.author });
    this.#afterChange(cell);
  }

  /** @param {string} id */
  #updated(id) {
    const cell = this.#store.cell(id);
    if (cell) this.#cells.get(id)?.bump(cell.version);
  }

  /** @param {string[]} ids */
  #removed(ids) {
    for (const id of ids) {
      const edits = this.#cells.get(id);
      this.#forget(id);
      if (edits?.isUnsaved) this.#emit("orphan", { cell: id, text: edits.text });
    }
  }

  /** After a snapshot every text may have changed without a word. */
  #reset() {
    for (const [id, edits] of this.#cells) {
      const cell = this.#store.cell(id);
      if (!cell) this.#removed([id]);
      else if (cell.source !== null && cell.version > edits.version) {
        const changes = edits.replace(cell.source, cell.version);
        if (!changes) this.#emit("conflict", { cell: id, author: null });
        this.#afterChange(id);
      }
    }
  }

  /** @param {string} id */
  #afterChange(id) {
    const edits = this.#cells.get(id);
    if (edits?.isUnsaved) this.#keepSoon(id);
    else this.#forget(id);
    this.#changed();
    this.#emit("settled", { cell: id });
  }

  /** @param {string} id */
  #forget(id) {
    this.#cells.delete(id);
    this.#refused.delete(id);
    clearTimeout(this.#keepTimers.get(id));
    this.#keepTimers.delete(id);
    this.#drafts.drop(id);
  }

  /** @param {string} id */
  #keepSoon(id) {
    if (!this.#keepTimers.has(id)) this.#keepTimers.set(id, setTimeout(() => this.#keep(id), KEEP_MS));
  }

  #keepAll() {
    for (const [id, edits] of this.#cells) if (edits.isUnsaved) this.#keep(id);
  }

  /** @param {string} id */
  #keep(id) {
    clearTimeout(this.#keepTimers.get(id));
    this.#keepTimers.delete(id);
    const edits = this.#cells.get(id);
    if (!edits?.isUnsaved) return;
    const { version, sent, text, operationId } = edits;
    if (!this.#drafts.keep({ cell: id, version, base: edits.base.toString(), sent, text, operationId })) this.#emit("unkept");
  }

  /** Waits until something happened to a cell's edits, or a moment passed. @param {string} id */
  #nextChange(id) {
    if (!this.#cells.get(id)?.isUnsaved) return;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, SEND_MS);
      this.addEventListener("settled", () => (clearTimeout(timer), resolve(undefined)), { once: true });
    });
  }

  #changed() {
    this.#emit("unsaved");
  }

  /** @param {string} type @param {object} [detail] */
  #emit(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
