/**
 * Tells the server where this person is: the cell, and the selection in its text. A few times a second at most, the
 * last place always. Others' places are carets.js's.
 */

/** How often a moving caret is told. */
const TELL_MS = 100;

/** @param {import("./page.js").Page} page */
export function tellPresence({ store, socket, selection, editing, editors }) {
  let told = "";
  let timer = /** @type {any} */ (null);

  const tell = () => {
    timer = null;
    if (socket.state !== "online") return;
    const place = placeNow();
    const text = JSON.stringify(place);
    if (text === told) return;
    told = text;
    timer = setTimeout(tell, TELL_MS);
    socket.request("presence", place).catch(() => (told = ""));
  };
  const soon = () => (timer ??= setTimeout(tell, 0));

  /** The cell that last had the focus: who goes to the top bar to run it is still there. @type {string | null} */
  let cell = null;
  const placeNow = () => {
    const { active } = selection;
    const focused = document.activeElement?.closest(".cell");
    if (active && focused instanceof HTMLElement && focused.dataset.cell === active) cell = active;
    if (cell && !store.cell(cell)) cell = null;
    return { cell, selection: cell && selection.mode === "edit" && cell === active ? selectionIn(cell) : null };
  };

  const selectionIn = (/** @type {string} */ id) => {
    const editor = editors.get(id);
    if (!editor) return null;
    const { anchor, head } = editor.selection;
    const version = editing.version(id);
    return { anchor: editing.toAcknowledged(id, anchor), head: editing.toAcknowledged(id, head), version };
  };

  selection.addEventListener("change", soon);
  editors.addEventListener("caret", soon);
  editing.addEventListener("settled", soon);
  editing.addEventListener("remote", soon);
  socket.addEventListener("state", () => {
    told = "";
    soon();
  });
}
