/** Moving cells by dragging their handle. The same move by keys and by the menu is in actions.js. */

/**
 * @param {HTMLElement} root
 * @param {import("./cells.js").CellList} list
 * @param {import("./selection.js").Selection} selection
 * @param {import("./structure.js").Structure} structure
 */
export function listenForDrags(root, list, selection, structure) {
  /** @type {string[]} */
  let moving = [];
  /** @type {Element | null} */
  let target = null;

  const mark = (/** @type {Element | null} */ row) => {
    target?.classList.remove("is-drop");
    target = row;
    target?.classList.add("is-drop");
  };

  root.addEventListener("dragstart", (event) => {
    const handle = event.target instanceof Element ? event.target.closest('[data-action="move"]') : null;
    const view = list.viewOf(handle);
    if (!handle || !view || !event.dataTransfer) return;
    moving = selection.selected.includes(view.id) ? selection.selected : [view.id];
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", view.id);
    event.dataTransfer.setDragImage(view.element, 0, 0);
  });
  root.addEventListener("dragover", (event) => {
    if (!moving.length) return;
    event.preventDefault();
    mark(rowNear(root, event.clientY));
  });
  root.addEventListener("drop", (event) => {
    if (!moving.length) return;
    event.preventDefault();
    const after = target instanceof HTMLElement ? (target.dataset.after ?? "") : null;
    if (after !== null && !moving.includes(after)) structure.moveAfter(moving, after || null);
  });
  root.addEventListener("dragend", () => {
    moving = [];
    mark(null);
  });
}

/** The insert row nearest to the pointer. @param {HTMLElement} root @param {number} y */
function rowNear(root, y) {
  let best = null;
  let distance = Infinity;
  for (const row of root.querySelectorAll(":scope > .insert")) {
    const { top, bottom } = row.getBoundingClientRect();
    const away = Math.abs((top + bottom) / 2 - y);
    if (away < distance) [best, distance] = [row, away];
  }
  return best;
}
