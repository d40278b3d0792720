/**
 * The notebook as this page knows it: cells in order, their acknowledged text and version, states, outputs.
 * Applies frames in the order of `seq`; a gap asks for a resynchronisation; applying one twice changes nothing.
 * Text that is not acknowledged yet is not here (edits.js). Drawing is not here (cells.js).
 */

import { applyChanges } from "./changes.js";

/** @typedef {import("./types.js").Cell} Cell */
/** @typedef {import("./types.js").NotebookEvent} NotebookEvent */

/** @type {import("./types.js").CellState} */
const NEVER_RUN = {
  status: "idle", freshness: "new", loaded: false, place: null, errors: [], blocked_by: [], disabled_by: [], stale_because: null,
  attempt: null, outcome: null, started_at: null, finished_at: null, duration_ms: null, execution_count: null, reason: null,
  warnings: [], note: "",
};

/** What the page's data leaves out of a cell, as notebooks_app/views.py does. */
const NEW_CELL = {
  source: null, version: 1, result_name: "", connection: null, disabled: false, code_hidden: false, definitions: [], references: [],
};

/** What changes numbers or who defines a name. */
const CHANGES_INDEX = new Set(["inserted", "removed", "moved", "reset", "analysed", "updated"]);

/**
 * Events: `gap` (say hello again) · `reset` (everything may have changed) · `inserted`, `removed`, `moved`
 * {cells} · `edited` {cell, event} · `unknown-text` {cell} (fetch it) · `updated` {cell} · `state` {cells} ·
 * `analysed` {cell} · `outputs` {cell} · `outdated` {cell} (fetch its outputs when they are looked at) · `ops` {cell, attempt, ops} · `notebook` · `kernel` · `run` · `input` ·
 * `people` (who is here, and in which cells) · `carets` (and where in their texts).
 */
export class NotebookStore extends EventTarget {
  seq;
  notebook;
  kernel;
  /** @type {import("./types.js").Person[]} */
  people = [];
  /** Ids in the order of the page. @type {string[]} */
  order = [];
  /** @type {Map<string, Cell>} */
  #cells = new Map();
  /** @type {Map<string, string>} */ #connections;
  /** Made when first asked for after a change. @type {{numbers: Map<string, number>, definers: Map<string, string>} | null} */
  #index = null;
  /** Cells shown here that the server has not confirmed. @type {Set<string>} */ #ahead = new Set();
  /** A greeting whose parts are still on their way. @type {any} */ #greeting = null;
  /** Runs under way. @type {Map<string, NotebookEvent>} */
  runs = new Map();

  /** @param {import("./types.js").PageData} page */
  constructor(page) {
    super();
    this.seq = page.seq;
    this.notebook = page.notebook;
    this.kernel = page.kernel;
    this.#connections = new Map((page.connections ?? []).map(({ id, name }) => [id, name]));
    this.#replaceCells(page.cells);
  }

  /** @param {string} id @returns {Cell | undefined} */
  cell(id) {
    return this.#cells.get(id);
  }

  /** @returns {Cell[]} */
  get cells() {
    return this.order.map((id) => /** @type {Cell} */ (this.#cells.get(id)));
  }

  /** Where a cell stands, from 1; 0 when it is gone. @param {string | null | undefined} id */
  number(id) {
    return (id && this.#indexed.numbers.get(id)) || 0;
  }

  /** The cell that defines a name; the first one when there are several. @param {string} name */
  definer(name) {
    return this.#cells.get(this.#indexed.definers.get(name) ?? "");
  }

  get #indexed() {
    if (this.#index) return this.#index;
    const numbers = new Map(this.order.map((id, index) => [id, index + 1]));
    /** @type {Map<string, string>} */
    const definers = new Map();
    for (const cell of this.cells) {
      for (const name of cell.definitions) if (!definers.has(name)) definers.set(name, cell.id);
    }
    this.#index = { numbers, definers };
    return this.#index;
  }

  /** @param {string | null} id @returns {string} what a query's connection is called */
  connectionName(id) {
    return id ? (this.#connections.get(id) ?? "connection") : "dataframes";
  }

  /** Takes one frame of the socket. @param {any} frame */
  receive(frame) {
    if (frame.type === "events") this.#receiveEvents(frame);
    else if (frame.type === "catch_up" || frame.type === "snapshot") this.#greet(frame);
    else if (frame.type === "part" && this.#greeting) this.#greet(joined(this.#greeting, frame));
    else if (frame.type === "heartbeat" && frame.seq > this.seq) this.#emit("gap");
    else if (frame.type === "resync") this.#emit("gap");
  }

  /** Takes cells fetched by `cells`: far ones that came near, or whose text was in doubt. @param {Cell[]} cells */
  fill(cells) {
    for (const fresh of cells) this.#refresh(fresh);
  }

  /**
   * Takes events that came with a reply, ahead of their number: a conflict's `since`, or an edit's own answer. Only
   * those guarded by a cell's version may come this way.
   * @param {NotebookEvent[]} events
   */
  learn(events) {
    for (const event of events) {
      const cell = this.#cells.get(event.cell);
      const isNext = cell && event.version === cell.version + 1;
      if (isNext && (event.type === "cell.edited" || event.type === "cell.updated")) this.#apply(event);
    }
  }

  /** @param {any} frame */
  #receiveEvents({ seq, since = seq - 1, events }) {
    if (seq !== null && seq !== undefined) {
      if (seq <= this.seq) return;
      if (since !== this.seq) {
        this.#emit("gap");
        return;
      }
      this.seq = seq;
    }
    for (const event of events) this.#apply(event);
  }

  /** Takes it once all of its parts are here. @param {any} frame */
  #greet(frame) {
    this.#greeting = frame.more > 0 ? frame : null;
    if (this.#greeting) return;
    if (frame.type === "catch_up") this.#catchUp(frame);
    else this.#reset(frame);
  }

  /** @param {any} frame */
  #catchUp(frame) {
    for (const event of frame.events) this.#apply(event);
    this.seq = Math.max(this.seq, frame.seq);
    for (const cell of frame.cells ?? []) this.#refresh(cell);
    if (frame.states) this.#setStates(frame.states);
    for (const id of frame.outdated ?? []) this.#forgetOutputs(id);
    this.#setHead(frame);
    this.#emit("caught-up");
  }

  /** @param {any} frame */
  #setHead({ notebook, kernel, people }) {
    if (notebook) this.#setNotebook(notebook);
    if (kernel) this.#setKernel(kernel);
    if (people) this.#setPeople(people);
  }

  /** They have changed, and are fetched when somebody looks. @param {string} id */
  #forgetOutputs(id) {
    const cell = this.#cells.get(id);
    if (!cell) return;
    cell.outputs = undefined;
    this.#emit("outdated", { cell: id });
  }

  /** @param {any} frame */
  #reset(frame) {
    const before = this.#cells;
    this.seq = frame.seq;
    this.#replaceCells(frame.cells);
    const unknown = this.order.filter((id) => this.#keepText(id, before.get(id)));
    this.#setHead(frame);
    this.#emit("reset");
    for (const id of unknown) this.#emit("unknown-text", { cell: id });
    this.#emit("caught-up");
  }

  /**
   * A snapshot leaves texts out that are too many: what is known here stays.
   * @param {string} id @param {Cell | undefined} before
   * @returns {boolean} whether the server has a newer one
   */
  #keepText(id, before) {
    const cell = /** @type {Cell} */ (this.#cells.get(id));
    if (cell.source !== null || !before || before.source === null) return false;
    const isOld = before.version < cell.version;
    Object.assign(cell, { source: before.source, version: before.version });
    return isOld;
  }

  /** @param {Cell[]} cells */
  #replaceCells(cells) {
    this.order = cells.map((cell) => cell.id);
    this.#cells = new Map(cells.map((cell) => [cell.id, whole(cell)]));
  }

  /** @param {NotebookEvent} event */
  #apply(event) {
    const apply = this.#handlers[event.type];
    if (apply) apply(event);
  }

  /** @type {Record<string, (event: any) => void>} */
  #handlers = {
    "cell.edited": (event) => this.#edited(event),
    "cell.inserted": (event) => this.#inserted(event),
    "cell.deleted": (event) => this.#removed(event),
    "cell.moved": (event) => this.#moved(event),
    "cell.updated": (event) => this.#updated(event),
    "cells.restored": ({ inserted }) => this.#restored(inserted),
    "notebook.restored": ({ steps }) => (steps ? this.#restored(steps) : this.#emit("reload")),
    "access.changed": ({ role }) => this.#emit("access", { role }),
    "version.named": () => this.#emit("versions"),
    "cells.placed": ({ moves }) => moves.forEach((/** @type {any} */ event) => this.#moved(event)),
    "notebook.renamed": ({ name }) => this.#setNotebook({ name }),
    "notebook.updated": ({ fields }) => this.#setNotebook(fields),
    "cells.state": ({ states }) => this.#setStates(states),
    "cell.refreshed": ({ cell }) => this.#refresh(cell),
    "cell.analysed": (event) => this.#analysed(event),
    "output.ops": (event) => this.#cells.has(event.cell) && this.#emit("ops", event),
    "output.saved": (event) => this.#emit("saved", event),
    "run.started": (event) => this.#run(event, true),
    "run.finished": (event) => this.#run(event, false),
    "kernel.changed": ({ type: _type, ...kernel }) => this.#setKernel(kernel),
    "input.requested": (event) => this.#emit("input", event),
    "presence.changed": ({ people }) => this.#setPeople(people),
    "presence.moved": ({ windows }) => this.#movePeople(windows),
  };

  /** @param {any} event */
  #edited(event) {
    const cell = this.#cells.get(event.cell);
    if (!cell || event.version <= cell.version) return;
    if (cell.source === null && typeof event.source !== "string") {
      cell.version = event.version;
      return;
    }
    const next = nextSource(cell, event);
    if (next === null) {
      this.#emit("unknown-text", { cell: cell.id });
      return;
    }
    const before = cell.source;
    cell.source = next;
    cell.version = event.version;
    if (before !== null) this.#emit("edited", { cell: cell.id, event, before });
  }

  /**
   * Shows a cell before the server has it, so that what is typed next goes into it. Its own event puts it where the
   * server has it; `withdraw` takes it back when the server refused.
   * @param {Pick<Cell, "id" | "type" | "source" | "result_name" | "connection">} given
   * @param {string | null} after
   */
  insertAhead(given, after) {
    this.#inserted({ cell: given, after });
    this.#ahead.add(given.id);
  }

  /** @param {string} id */
  withdraw(id) {
    if (this.#ahead.delete(id)) this.#removed({ cells: [id] });
  }

  /** @param {any} event */
  #inserted(event) {
    const { cell, after } = event;
    if (this.#ahead.delete(cell.id)) {
      if (this.order[this.number(after)] !== cell.id) this.#moved({ cells: [cell.id], after });
      return;
    }
    if (this.#cells.has(cell.id)) return;
    this.#cells.set(cell.id, whole({ outputs: [], ...cell }));
    this.order.splice(this.number(after), 0, cell.id);
    this.#emit("inserted", { cells: [cell.id], event });
  }

  /**
   * Cells came back, from the bin or with a version: steps in order, told as one insertion and one move. A cell that
   * comes back may have outputs: they are fetched as those of far cells are.
   * @param {NotebookEvent[]} steps
   */
  #restored(steps) {
    /** @type {string[]} */ const inserted = [];
    /** @type {string[]} */ const moved = [];
    for (const step of steps) {
      if (step.type === "cell.inserted") {
        if (this.#cells.has(step.cell.id)) continue;
        this.#cells.set(step.cell.id, whole({ outputs: null, ...step.cell }));
        this.order.splice(this.order.indexOf(step.after) + 1, 0, step.cell.id);
        inserted.push(step.cell.id);
      } else if (step.type === "cell.moved") moved.push(...this.#place(step));
      else this.#apply(step);
    }
    if (inserted.length) this.#emit("inserted", { cells: inserted });
    if (moved.length) this.#emit("moved", { cells: moved });
  }

  /** @param {any} event */
  #removed(event) {
    const gone = event.cells.filter((/** @type {string} */ id) => this.#cells.has(id));
    const numbers = new Map(gone.map((/** @type {string} */ id) => [id, this.number(id)]));
    for (const id of gone) this.#cells.delete(id);
    this.order = this.order.filter((id) => !numbers.has(id));
    if (gone.length) this.#emit("removed", { cells: gone, numbers, event });
  }

  /** @param {any} event */
  #moved(event) {
    const moving = this.#place(event);
    if (moving.length) this.#emit("moved", { cells: moving, event });
  }

  /** @param {any} event @returns {string[]} the cells that were moved */
  #place(event) {
    const moving = event.cells.filter((/** @type {string} */ id) => this.#cells.has(id));
    const rest = this.order.filter((id) => !moving.includes(id));
    const at = event.after ? rest.indexOf(event.after) + 1 : 0;
    rest.splice(at, 0, ...moving);
    this.order = rest;
    return moving;
  }

  /** @param {any} event */
  #updated(event) {
    const cell = this.#cells.get(event.cell);
    if (!cell || event.version <= cell.version) return;
    const before = { ...cell };
    Object.assign(cell, event.fields, { version: event.version });
    this.#emit("updated", { cell: cell.id, before, event });
  }

  /** @param {any} event */
  #analysed(event) {
    const cell = this.#cells.get(event.cell);
    if (!cell || event.version < cell.version) return;
    cell.definitions = event.definitions;
    cell.references = event.references;
    this.#emit("analysed", { cell: cell.id });
  }

  /** @param {Record<string, import("./types.js").CellState>} states */
  #setStates(states) {
    const known = Object.keys(states).filter((id) => this.#cells.has(id));
    const before = new Map();
    for (const id of known) {
      const cell = /** @type {Cell} */ (this.#cells.get(id));
      before.set(id, cell.state);
      cell.state = { ...NEVER_RUN, ...states[id] };
    }
    if (known.length) this.#emit("state", { cells: known, before });
  }

  /** A whole cell from the server: newer in all but, perhaps, its text. @param {Cell} fresh */
  #refresh(fresh) {
    const cell = this.#cells.get(fresh.id);
    if (!cell) return;
    const { source, version, ...rest } = fresh;
    const newText = version > cell.version;
    const before = cell.source;
    const event = { type: "cell.edited", cell: cell.id, version, source, changes: null, author: null };
    if (version >= cell.version) Object.assign(cell, rest, { source, version });
    else cell.state = rest.state;
    if (fresh.outputs) cell.outputs = fresh.outputs;
    if (newText && before !== null && source !== before) this.#emit("edited", { cell: cell.id, event, before });
    this.#emit("updated", { cell: cell.id, before: cell, event: null });
    this.#emit("state", { cells: [cell.id], before: new Map() });
    if (fresh.outputs) this.#emit("outputs", { cell: cell.id });
  }

  /** @param {object} fields */
  #setNotebook(fields) {
    this.notebook = { ...this.notebook, ...fields };
    this.#emit("notebook");
  }

  /** @param {any} kernel */
  #setKernel(kernel) {
    const before = this.kernel;
    this.kernel = kernel;
    this.#emit("kernel", { before });
  }

  /** @param {any[]} people */
  #setPeople(people) {
    this.people = people;
    this.#emit("people");
    this.#emit("carets");
  }

  /** Of a window that is not known, the people who are here will be told. @param {import("./types.js").PersonWindow[]} moved */
  #movePeople(moved) {
    const places = new Map(moved.map((place) => [place.window, place]));
    const cells = () => this.people.flatMap(({ windows }) => (windows ?? []).map(({ cell }) => cell)).join();
    const before = cells();
    this.people = this.people.map((person) => ({ ...person, windows: (person.windows ?? []).map((place) => places.get(place.window) ?? place) }));
    if (cells() !== before) this.#emit("people");
    this.#emit("carets");
  }

  /** @param {NotebookEvent} event @param {boolean} started */
  #run(event, started) {
    if (started) this.runs.set(event.run, event);
    else this.runs.delete(event.run);
    this.#emit("run", { event, started });
  }

  /** @param {string} type @param {object} [detail] */
  #emit(type, detail = {}) {
    if (CHANGES_INDEX.has(type)) this.#index = null;
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A cell with all its fields: what is as in a new cell is left out on the way. @param {any} cell @returns {Cell} */
function whole(cell) {
  return { ...NEW_CELL, ...cell, state: { ...NEVER_RUN, ...cell.state } };
}

/** A greeting with one more of its parts. @param {any} greeting @param {any} part */
function joined(greeting, { cells = [], states = {} }) {
  greeting.cells.push(...cells);
  Object.assign((greeting.states ??= {}), states);
  greeting.more -= 1;
  return greeting;
}

/** A cell's text, or of a far one what is known of it; for lists, never for editing. @param {Cell} cell */
export function gist(cell) {
  return cell.source ?? cell.head ?? "";
}

/**
 * The text after an edit event; null when it was made on a version this page never saw.
 * @param {Cell} cell
 * @param {any} event
 */
function nextSource(cell, event) {
  if (typeof event.source === "string") return event.source;
  const base = event.base_version ?? event.version - 1; // the server puts old edits of a run together
  if (base !== cell.version || cell.source === null) return null;
  try {
    return applyChanges(cell.source, event.changes);
  } catch {
    return null;
  }
}
