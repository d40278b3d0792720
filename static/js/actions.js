/**
 * Everything a person can do on the page, once: its words, its keys, when it makes sense, and the one call it makes.
 * Keys (keys.js), palette (palette.js), help (help.js) and buttons with data-action all read this table.
 */

import { toast } from "./toasts.js";

/** @typedef {import("./page.js").Page} Page */
/**
 * `where` keys act: anywhere, in the editor, or in command mode. A space in keys makes a sequence.
 * @typedef {object} Action
 * @property {string} id
 * @property {string} label
 * @property {string} icon
 * @property {string} group
 * @property {"anywhere" | "edit" | "command"} where
 * @property {string[]} keys
 * @property {"view" | "run" | "edit" | "own"} needs  what the person must be allowed to do
 * @property {(page: Page) => any} act
 */

/** @returns {Action[]} */
export function allActions() {
  return [...running(), ...moving(), ...changing(), ...general()];
}

/** @type {(id: string, label: string, icon: string, keys: string[], act: (page: Page) => any, rest?: Partial<Action>) => Action} */
function action(id, label, icon, keys, act, rest = {}) {
  return { id, label, icon, keys, act, group: "Command mode", where: "command", needs: "edit", ...rest };
}

/** @returns {Action[]} */
function running() {
  const anywhere = /** @type {Partial<Action>} */ ({ group: "Anywhere", where: "anywhere", needs: "run" });
  const command = /** @type {Partial<Action>} */ ({ needs: "run" });
  return [
    action("run", "Run this cell", "play", ["Mod+Enter"], (page) => page.runSelected(), anywhere),
    action("run_next", "Run and go on", "play", ["Shift+Enter"], (page) => page.runAndGoOn(), anywhere),
    action("run_insert", "Run and insert below", "play", ["Alt+Enter"], (page) => page.runAndInsert(), anywhere),
    action("run_stale", "Run stale cells", "play", ["R R"], ({ runs }) => runs.runStale(), command),
    action("run_all", "Run all", "play-all", [], ({ runs }) => runs.runAll(), command),
    action("stop", "Stop the run", "stop", ["I I"], ({ runs }) => runs.stop(), command),
    action("restart", "Restart the kernel", "history", ["0 0"], ({ runs }) => runs.restart(), command),
    action("restart_run_all", "Restart and run all", "history", [], ({ runs }) => runs.restart({ runAll: true }), command),
    action("run_mode", "Change the run mode", "play", [], (page) => page.toggleRunMode()),
  ];
}

/** @returns {Action[]} */
function moving() {
  const view = /** @type {Partial<Action>} */ ({ needs: "view" });
  return [
    action("edit", "Edit the cell", "code", ["Enter"], (page) => page.editActive()),
    action("leave", "Leave to command mode", "keyboard", ["Escape"], ({ selection }) => selection.leave(), { where: "edit", group: "In the editor", needs: "view" }),
    action("up", "Cell above", "up", ["ArrowUp", "K"], ({ selection }) => selection.step(-1), view),
    action("down", "Cell below", "down", ["ArrowDown", "J"], ({ selection }) => selection.step(1), view),
    action("extend_up", "Select the cell above too", "up", ["Shift+ArrowUp", "Shift+K"], ({ selection }) => selection.step(-1, { extend: true }), view),
    action("extend_down", "Select the cell below too", "down", ["Shift+ArrowDown", "Shift+J"], ({ selection }) => selection.step(1, { extend: true }), view),
    action("first", "First cell", "up", ["Mod+Home"], ({ selection, store }) => selection.select(store.order[0]), view),
    action("last", "Last cell", "down", ["Mod+End"], ({ selection, store }) => selection.select(store.order.at(-1)), view),
    action("definition", "Go to where a name is defined", "link", ["F12"], (page) => page.goToDefinition(), { where: "edit", group: "In the editor", needs: "view" }),
  ];
}

/** @returns {Action[]} */
function changing() {
  const on = (/** @type {(page: Page, cells: string[]) => any} */ act) => (/** @type {Page} */ page) => act(page, page.selection.selected);
  return [
    action("insert_above", "Insert a cell above", "plus", ["A"], (page) => page.insertBeside("above")),
    action("insert_below", "Insert a cell below", "plus", ["B"], (page) => page.insertBeside("below")),
    action("cut", "Cut cells", "copy", ["X"], on(({ structure }, cells) => structure.cut(cells))),
    action("copy", "Copy cells", "copy", ["C"], on(({ structure }, cells) => structure.copy(cells)), { needs: "view" }),
    action("paste", "Paste cells below", "import", ["V"], on(({ structure }, cells) => structure.paste(cells.at(-1) ?? null))),
    action("delete", "Delete cells", "trash", ["D D"], on(({ structure }, cells) => structure.remove(cells))),
    action("undo", "Undo a change of cells", "undo", ["Z"], ({ structure }) => structure.undo()),
    action("redo", "Redo a change of cells", "undo", ["Shift+Z"], ({ structure }) => structure.redo()),
    action("move_up", "Move cells up", "up", ["Mod+Shift+ArrowUp"], on(({ structure }, cells) => structure.move(cells, -1))),
    action("move_down", "Move cells down", "down", ["Mod+Shift+ArrowDown"], on(({ structure }, cells) => structure.move(cells, 1))),
    action("to_python", "Change to Python", "code", ["Y"], on(({ structure }, cells) => structure.changeType(cells, "python"))),
    action("to_text", "Change to text", "text", ["M"], on(({ structure }, cells) => structure.changeType(cells, "markdown"))),
    action("to_sql", "Change to SQL", "database", ["Q"], on(({ structure }, cells) => structure.changeType(cells, "sql"))),
    action("duplicate", "Duplicate cells", "copy", [], on(({ structure }, cells) => structure.duplicate(cells))),
    action("merge", "Merge cells", "merge", ["Shift+M"], on(({ structure }, cells) => structure.merge(cells))),
    action("split", "Split at the caret", "merge", ["Mod+Shift+-"], (page) => page.splitActive(), { where: "edit", group: "In the editor" }),
    action("api_call", "Copy as an API call", "link", [], (page) => page.copyApiCall(), { needs: "view" }),
    action("code", "Hide or show code", "hide", [], (page) => page.toggle("code_hidden")),
    action("disable", "Disable or enable", "disabled", [], (page) => page.toggle("disabled")),
  ];
}

/** @returns {Action[]} */
function general() {
  const anywhere = /** @type {Partial<Action>} */ ({ group: "Anywhere", where: "anywhere", needs: "view" });
  return [
    action("palette", "Command palette", "search", ["Mod+K"], (page) => page.openPalette(), anywhere),
    action("help", "Keys and help", "keyboard", ["Mod+Shift+H"], (page) => page.openHelp(), anywhere),
    action("share", "Share …", "person", [], (page) => page.openShare(), { ...anywhere, needs: "own" }),
    action("help_key", "Keys and help", "keyboard", ["?"], (page) => page.openHelp(), { needs: "view" }),
    action("save", "Name a version", "history", ["Mod+S"], (page) => page.nameVersion(), anywhere),
    action("find", "Find and replace in all cells", "search", ["Mod+Shift+F"], (page) => page.openFind(), anywhere),
    action("rename", "Rename the notebook", "code", [], (page) => page.rename(), { where: "anywhere", group: "Anywhere" }),
    ...["Outline", "Variables", "Graph", "History"].map((part) =>
      action(`show_${part.toLowerCase()}`, `Show ${part.toLowerCase()}`, part.toLowerCase(), [], (page) => page.panels?.show(part.toLowerCase()), anywhere)),
    action("export_ipynb", "Export as .ipynb", "download", [], (page) => page.download("ipynb"), anywhere),
    action("export_html", "Export as .html", "download", [], (page) => page.download("html"), anywhere),
    action("print", "Print", "print", [], () => window.print(), anywhere),
    action("wide", "Wide column", "input", [], (page) => page.toggleWide(), anywhere),
    action("comment", "Comment lines", "comment", ["Mod+/"], () => false, { where: "edit", group: "In the editor" }),
    action("complete", "Complete", "search", ["Tab"], () => false, { where: "edit", group: "In the editor" }),
    action("signature", "Signature", "search", ["Shift+Tab"], () => false, { where: "edit", group: "In the editor" }),
    action("letters", "Switch single letters on or off", "keyboard", [], (page) => page.toggleLetters(), anywhere),
  ];
}

/** Actions that CodeMirror carries out itself: listed for help, not bound here. */
export const OF_THE_EDITOR = new Set(["comment", "complete", "signature"]);

/** Does an action, and says why not where the person may not. @param {Action} wanted @param {Page} page */
export function perform(wanted, page) {
  if (page.may(wanted.needs)) return wanted.act(page);
  toast(wanted.needs === "run" ? "You may read this notebook, not run it." : "You may read this notebook, not change it.");
}
