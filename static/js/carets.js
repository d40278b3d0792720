/**
 * Where other windows' carets are: kept in units of the acknowledged text, carried along by what is typed anywhere,
 * and handed to the editors in units of the text shown. Drawing is caret_layer.js's, telling one's own is presence.js's.
 */

import { ChangeSet } from "../vendor/codemirror.js";
import { difference } from "./edits.js";

/** Changes kept of a cell, for carets that come a little late. */
const CHANGES_KEPT = 64;

/** @typedef {import("./types.js").PersonWindow} PersonWindow */
/** @typedef {import("./types.js").TextSelection} TextSelection */
/** @typedef {{told: TextSelection, now: TextSelection | null, cell: string}} Place  as told, and on the latest version */
/** @typedef {{since: number, changes: {version: number, changes: ChangeSet}[]}} Log  all that made the versions after `since` */

export class Carets {
  #store;
  #socket;
  #editing;
  #editors;
  #me;
  /** By window. @type {Map<string, Place>} */ #places = new Map();
  /** By cell. @type {Map<string, Log>} */ #logs = new Map();
  /** Cells whose editor shows carets. @type {Set<string>} */ #drawn = new Set();

  /** @param {import("./page.js").Page} page */
  constructor({ store, socket, editing, editors, data }) {
    this.#store = store;
    this.#socket = socket;
    this.#editing = editing;
    this.#editors = editors;
    this.#me = data.user?.id;
    store.addEventListener("carets", () => this.#learn());
    store.addEventListener("edited", (event) => this.#edited(/** @type {CustomEvent} */ (event).detail));
    store.addEventListener("updated", (event) => this.#updated(/** @type {CustomEvent} */ (event).detail.cell));
    store.addEventListener("reset", () => this.#reset());
    socket.addEventListener("state", () => this.#learn());
    editors.addEventListener("woken", (event) => queueMicrotask(() => this.#draw(/** @type {CustomEvent} */ (event).detail.cell)));
  }

  #learn() {
    const here = new Map(this.#others().map(({ place }) => [place.window, place]));
    for (const id of [...this.#places.keys()]) if (!here.get(id)?.selection) this.#places.delete(id);
    for (const { window, cell, selection } of here.values()) {
      if (!cell || !selection) continue;
      const known = this.#places.get(window);
      if (known?.cell === cell && known.now && isSame(known.told, selection)) continue;
      this.#places.set(window, { cell, told: selection, now: this.#onLatest(cell, selection) });
    }
    this.#drawAll();
  }

  /** Everyone's windows but this one. */
  #others() {
    const mine = this.#socket.window;
    if (this.#socket.state !== "online") return [];
    return this.#store.people.flatMap((person) =>
      (person.windows ?? []).filter(({ window }) => window !== mine).map((place) => ({ person, place })),
    );
  }

  /** A selection on the version this page has; null when that is not known (yet). @param {string} cell @param {TextSelection} told */
  #onLatest(cell, told) {
    const version = this.#store.cell(cell)?.version;
    if (version === undefined || told.version > version) return null;
    if (told.version === version) return told;
    const log = this.#logs.get(cell);
    if (!log || told.version < log.since) return null;
    const later = log.changes.filter((each) => each.version > told.version);
    return later.reduce((at, { changes, version: made }) => moved(at, changes, made, 1), { ...told, version });
  }

  /** @param {{cell: string, event: any, before: string}} detail */
  #edited({ cell, event, before }) {
    const changes = event.changes ? ChangeSet.fromJSON(event.changes) : difference(before, this.#store.cell(cell)?.source ?? "");
    this.#log(cell, event, changes);
    for (const { person, place: { window } } of this.#others()) {
      const place = this.#places.get(window);
      if (place?.cell !== cell) continue;
      const side = event.author === person.name ? 1 : -1;
      place.now = place.now ? moved(place.now, changes, event.version, side) : this.#onLatest(cell, place.told);
    }
    this.#draw(cell);
  }

  /** @param {string} cell @param {any} event @param {ChangeSet} changes */
  #log(cell, event, changes) {
    const known = event.changes ? this.#logs.get(cell) : null;
    /** @type {Log} */
    const log = known ?? { since: event.changes ? (event.base_version ?? event.version - 1) : event.version, changes: [] };
    if (event.changes) log.changes.push({ version: event.version, changes });
    while (log.changes.length > CHANGES_KEPT) log.since = log.changes.shift()?.version ?? log.since;
    this.#logs.set(cell, log);
  }

  /** Another field of the cell changed: a new version of the same text. @param {string} cell */
  #updated(cell) {
    const version = this.#store.cell(cell)?.version ?? 0;
    for (const place of this.#places.values()) {
      if (place.cell === cell) place.now = place.now ? { ...place.now, version } : this.#onLatest(cell, place.told);
    }
  }

  #reset() {
    this.#logs.clear();
    for (const place of this.#places.values()) place.now = this.#onLatest(place.cell, place.told);
    this.#drawAll();
  }

  #drawAll() {
    const cells = new Set([...this.#drawn, ...[...this.#places.values()].map(({ cell }) => cell)]);
    for (const cell of cells) this.#draw(cell);
  }

  /** @param {string} cell */
  #draw(cell) {
    const shown = this.#others().flatMap(({ person, place: { window } }) => {
      const place = this.#places.get(window);
      if (place?.cell !== cell || !place.now) return [];
      const [anchor, head] = [place.now.anchor, place.now.head].map((at) => this.#editing.fromAcknowledged(cell, at));
      const name = String(person.id) === String(this.#me) ? "You" : person.name;
      return [{ window, name, color: person.color, anchor, head }];
    });
    const editor = shown.length ? this.#editors.wakeShown(cell) : this.#editors.get(cell);
    editor?.showCarets(shown);
    if (shown.length) this.#drawn.add(cell);
    else this.#drawn.delete(cell);
  }
}

/**
 * A selection after a change. A caret stays before what others insert at it, as their own editor has it.
 * @param {TextSelection} at @param {ChangeSet} changes @param {number} version @param {1 | -1} side @returns {TextSelection}
 */
function moved(at, changes, version, side) {
  const [anchor, head] = [at.anchor, at.head].map((place) => changes.mapPos(Math.min(place, changes.length), side));
  return { anchor, head, version };
}

/** @param {TextSelection} one @param {TextSelection} other */
function isSame(one, other) {
  return one.anchor === other.anchor && one.head === other.head && one.version === other.version;
}
