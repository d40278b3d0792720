/**
 * Cells far from the window are one element each; their bodies are fetched as they come near, some at a time, and
 * take their place without moving what is on the screen.
 */

const NEAR = "150% 0px";
const AT_ONCE = 50;
const GATHER_MS = 30;
/** The server may be without its database for a moment. */
const RETRY_MS = 1_500;

/**
 * @param {import("./cells.js").CellList} list
 * @param {import("./store.js").NotebookStore} store
 * @param {import("./socket.js").NotebookSocket} socket
 */
export function fillFarCells(list, store, socket) {
  /** @type {Set<string>} */
  const wanted = new Set();
  /** @type {any} */
  let timer = null;
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const id = /** @type {HTMLElement} */ (target).dataset.cell ?? "";
      if (isIntersecting) wanted.add(id);
      else wanted.delete(id);
    }
    if (wanted.size) timer ??= setTimeout(fill, GATHER_MS);
  }, { rootMargin: NEAR });

  const fill = async () => {
    timer = null;
    const ids = [...wanted].filter((id) => lacksBody(list.view(id))).slice(0, AT_ONCE);
    if (!ids.length) return;
    const reply = await socket.request("cells", { cells: ids }).catch(() => null);
    if (!reply) {
      if (socket.state === "online") timer ??= setTimeout(fill, RETRY_MS); // else once it is
      return;
    }
    store.fill(reply.cells);
    const came = reply.cells.length ? reply.cells.map((/** @type {any} */ cell) => cell.id) : ids; // the rest is asked again
    for (const id of came) {
      wanted.delete(id);
      complete(id);
    }
    if (wanted.size) timer ??= setTimeout(fill, GATHER_MS);
  };

  const complete = (/** @type {string} */ id) => {
    const view = list.view(id);
    if (view) observer.unobserve(view.element);
    if (!view?.isFar) return;
    const before = view.element.getBoundingClientRect();
    list.complete(view);
    const grown = view.element.getBoundingClientRect().height - before.height;
    if (before.bottom < 0 && grown && !CSS.supports("overflow-anchor", "auto")) scrollBy(0, grown);
  };

  const watch = () => {
    for (const view of list.views) if (lacksBody(view)) observer.observe(view.element);
  };
  list.addEventListener("completed", (event) => {
    const { view } = /** @type {CustomEvent} */ (event).detail;
    if (!lacksBody(view)) return;
    wanted.add(view.id);
    timer ??= setTimeout(fill, GATHER_MS);
  });
  list.addEventListener("added", (event) => {
    const { view } = /** @type {CustomEvent} */ (event).detail;
    if (lacksBody(view)) observer.observe(view.element);
  });
  store.addEventListener("reset", watch);
  store.addEventListener("outdated", (event) => {
    const view = list.view(/** @type {CustomEvent} */ (event).detail.cell);
    if (view) observer.observe(view.element);
  });
  socket.addEventListener("state", () => socket.state === "online" && wanted.size && fill());
  watch();
}

/** @param {import("./cell.js").CellView | undefined} view */
function lacksBody(view) {
  return view !== undefined && (view.isFar || (view.cell.outputs ?? null) === null);
}
