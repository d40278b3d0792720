/**
 * The parts of the notebook page in one place, and the actions that touch several of them. Each part is its own module;
 * nothing is drawn here.
 */

import { allActions, perform } from "./actions.js";
import { apiCall } from "./api_call.js";
import { openFind } from "./find.js";
import { openHelp } from "./help.js";
import { newId } from "./ids.js";
import { keyCaps, lettersAreOn, setLetters } from "./keys.js";
import { openMenu } from "./menu.js";
import { openPalette } from "./palette.js";
import { openShare } from "./share_dialog.js";
import { toast } from "./toasts.js";
import { renameInPlace } from "./topbar.js";
import { openNaming } from "./version_dialog.js";

const ROLES = ["viewer", "runner", "editor", "owner"];

/**
 * @typedef {object} Parts
 * @property {import("./store.js").NotebookStore} store
 * @property {import("./socket.js").NotebookSocket} socket
 * @property {import("./cells.js").CellList} list
 * @property {import("./editing.js").Editing} editing
 * @property {import("./editors.js").Editors} editors
 * @property {import("./selection.js").Selection} selection
 * @property {import("./structure.js").Structure} structure
 * @property {import("./runs.js").Runs} runs
 * @property {import("./texts.js").Texts} texts
 * @property {import("./types.js").PageData} data
 */

export class Page {
  store;
  socket;
  list;
  editing;
  editors;
  selection;
  structure;
  runs;
  texts;
  data;
  /** @type {import("./panels.js").Panels | null} */ panels = null;
  actions = allActions();

  /** @param {Parts} parts */
  constructor(parts) {
    this.store = parts.store;
    this.socket = parts.socket;
    this.list = parts.list;
    this.editing = parts.editing;
    this.editors = parts.editors;
    this.selection = parts.selection;
    this.structure = parts.structure;
    this.runs = parts.runs;
    this.texts = parts.texts;
    this.data = parts.data;
  }

  /** Whether this person may view, run or edit. The server decides again. @param {"view" | "run" | "edit" | "own"} what */
  may(what) {
    return mayDo(this.data, what);
  }

  /** @param {string} id  of an action */
  perform(id) {
    const action = this.actions.find((each) => each.id === id);
    if (action) perform(action, this);
  }

  /** @param {"ipynb" | "html"} format */
  download(format) {
    if (this.data.urls.export) location.assign(`${this.data.urls.export}?format=${format}`);
  }

  // --- Running ---

  runSelected() {
    const { selected } = this.selection;
    for (const id of selected) if (this.store.cell(id)?.type === "markdown" && this.selection.mode === "edit") this.#finishText(id);
    return this.runs.run(selected);
  }

  /** Runs, and goes to the next cell; after the last one a new cell. */
  async runAndGoOn() {
    const { selected } = this.selection;
    const last = selected.at(-1);
    if (!last) return;
    const next = this.store.order[this.store.number(last)];
    this.runs.run(selected);
    if (next) this.selection.select(next);
    else if (this.may("edit")) await this.structure.insert(last, this.#typeAfter(last));
    this.editors.showProse(last);
  }

  async runAndInsert() {
    const { selected } = this.selection;
    const last = selected.at(-1) ?? null;
    if (last) this.runs.run(selected);
    if (this.may("edit")) await this.structure.insert(last, this.#typeAfter(last));
  }

  // --- Cells ---

  editActive() {
    const { active } = this.selection;
    if (active) this.selection.edit(active);
  }

  /** @param {"above" | "below"} where */
  insertBeside(where) {
    const { selected } = this.selection;
    const at = where === "above" ? this.store.number(selected[0]) - 1 : this.store.number(selected.at(-1));
    return this.structure.insert(this.store.order[at - 1] ?? null, "python", { edit: false });
  }

  splitActive() {
    const { active } = this.selection;
    if (active) return this.structure.split(active);
  }

  /** Sets a field of the selected cells to what the first one has not. @param {"disabled" | "code_hidden"} field */
  toggle(field) {
    const { selected } = this.selection;
    const value = !this.store.cell(selected[0])?.[field];
    return this.structure.update(selected, { [field]: value });
  }

  /** Goes to the cell that defines the name at the caret. */
  goToDefinition() {
    const { active } = this.selection;
    const editor = this.editors.get(active);
    if (!editor) return;
    const word = editor.view.state.wordAt(editor.caret);
    const name = word ? editor.text.slice(word.from, word.to) : "";
    const definer = name && this.store.definer(name);
    if (definer) this.selection.goTo(definer.id);
    else toast(name ? `No cell defines ${name}.` : "Put the caret on a name first.");
  }

  /** @param {string} id @param {Element} button */
  openCellMenu(id, button) {
    this.selection.select(id, { focus: false });
    const ids = ["run", "", "to_python", "to_sql", "to_text", "", "duplicate", "merge", "copy", "cut", "paste", "api_call", "", "code", "disable", "move_up", "move_down", "", "delete"];
    openMenu(button, "Cell actions", ids.map((action) => this.#menuItem(action)));
  }

  /** The active cell's edit as shell commands on the clipboard. */
  async copyApiCall() {
    const id = this.selection.active;
    if (!id || !(await this.texts.learn([id]))) return;
    const version = await this.editing.flush(id).catch((error) => (toast(error.message), null));
    if (version === null) return;
    const call = apiCall({ origin: location.origin, api: this.data.urls.api, cell: id, version, source: this.editing.text(id) });
    await navigator.clipboard.writeText(call).then(
      () => toast("Copied: change the source in it, and paste it into a shell."),
      () => toast("The browser does not let this page use the clipboard."),
    );
  }

  /** @param {string} id @param {Element} button */
  openTypeMenu(id, button) {
    this.selection.select(id, { focus: false });
    openMenu(button, "Type of the cell", ["to_python", "to_sql", "to_text"].map((action) => this.#menuItem(action)));
  }

  // --- The notebook ---

  async toggleRunMode() {
    const run_mode = this.store.notebook.run_mode === "auto" ? "lazy" : "auto";
    await this.#ask("set_run_mode", { run_mode });
  }

  /** @param {"auto" | "lazy"} run_mode */
  setRunMode(run_mode) {
    return this.#ask("set_run_mode", { run_mode });
  }

  rename() {
    renameInPlace(this.store, (name) => this.#ask("rename", { name }));
  }

  /** Every edit is saved as it is typed: what Ctrl+S can still do is to name this state. */
  nameVersion() {
    if (this.may("edit") && this.socket.state === "online") openNaming(this);
    else this.saySaved();
  }

  saySaved() {
    const { unsaved } = this.editing;
    if (!unsaved) toast("Everything is saved. Rillbook saves as you type.");
    else if (this.socket.state === "online") toast("Saving. Rillbook saves as you type.");
    else toast("Offline: what you typed is kept in this browser and sent when the connection is back.");
  }

  openPalette() {
    openPalette(this, this.actions, (action) => perform(action, this));
  }

  openShare() {
    openShare(this);
  }

  openFind() {
    openFind(this);
  }

  openHelp() {
    openHelp(this.actions);
  }

  toggleLetters() {
    setLetters(!lettersAreOn());
    toast(lettersAreOn() ? "Single letters act in command mode." : "Single letters are off.");
  }

  toggleWide() {
    const isWide = document.getElementById("notebook")?.classList.toggle("is-wide") ?? false;
    document.cookie = `wide=${isWide ? "1" : "0"}; path=/; max-age=31536000; samesite=lax`;
    document.querySelector('[data-action="wide"]')?.setAttribute("aria-pressed", String(isWide));
  }

  /** @param {string} id */
  #finishText(id) {
    this.selection.leave();
    this.editors.showProse(id);
  }

  /** @param {string | null} id */
  #typeAfter(id) {
    return id && this.store.cell(id)?.type === "sql" ? "sql" : "python";
  }

  /** @param {string} id @returns {import("./menu.js").Item} */
  #menuItem(id) {
    const action = this.actions.find((each) => each.id === id);
    if (!action) return { label: "", icon: "", act: () => {}, isRule: true };
    return { label: action.label, icon: action.icon, key: action.keys[0] && keyCaps(action.keys[0]).join(" "), act: () => perform(action, this) };
  }

  /** @param {string} type @param {object} fields */
  async #ask(type, fields) {
    await this.socket.request(type, { ...fields, operation_id: newId() }).catch((error) => toast(error.message));
  }
}

/** @param {import("./types.js").PageData} data @param {"view" | "run" | "edit" | "own"} what */
export function mayDo(data, what) {
  const role = data.user?.role ?? "viewer";
  return ROLES.indexOf(role) >= { view: 0, run: 1, edit: 2, own: 3 }[what];
}
