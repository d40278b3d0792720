/**
 * Which cell feeds which, as far as a page needs it: to draw the graph and to estimate a cascade. Pure. The server's
 * graph (notebooks_app/graph.py) decides what runs; this one is for looking.
 */

/** @typedef {import("./types.js").Cell} Cell */
/** @typedef {{from: string, to: string, names: string[]}} Edge */

/**
 * One edge for each pair of cells, with the names it carries.
 * @param {Cell[]} cells
 * @returns {Edge[]}
 */
export function edgesOf(cells) {
  /** @type {Map<string, string>} */
  const definers = new Map();
  for (const cell of cells) for (const name of cell.definitions) if (!definers.has(name)) definers.set(name, cell.id);
  /** @type {Map<string, Edge>} */
  const edges = new Map();
  for (const cell of cells) {
    for (const name of cell.references) {
      const from = definers.get(name);
      if (!from || from === cell.id) continue;
      const key = `${from} ${cell.id}`;
      const edge = edges.get(key) ?? { from, to: cell.id, names: [] };
      edge.names.push(name);
      edges.set(key, edge);
    }
  }
  return [...edges.values()];
}

/**
 * The cells given and all that depend on them, in the order of the page.
 * @param {Cell[]} cells
 * @param {string[]} roots
 * @returns {string[]}
 */
export function downstream(cells, roots) {
  const edges = edgesOf(cells);
  const reached = new Set(roots);
  for (const id of reached) for (const edge of edges) if (edge.from === id) reached.add(edge.to);
  return cells.filter((cell) => reached.has(cell.id)).map((cell) => cell.id);
}

/**
 * Rows of a drawing: causes above effects, each cell one row below the lowest that feeds it. Cells in a cycle stay
 * where the walk first meets them. Cells without edges are left out.
 * @param {Cell[]} cells
 * @param {Edge[]} edges
 * @returns {string[][]}
 */
export function layersOf(cells, edges) {
  const linked = cells.filter(({ id }) => edges.some(({ from, to }) => from === id || to === id));
  /** @type {Map<string, number>} */
  const depths = new Map();
  /** @type {(id: string, path: Set<string>) => number} */
  const depthOf = (id, path) => {
    const known = depths.get(id);
    if (known !== undefined) return known;
    if (path.has(id)) return -1;
    const within = new Set(path).add(id);
    const above = edges.filter(({ to }) => to === id).map(({ from }) => depthOf(from, within));
    const depth = Math.max(-1, ...above) + 1;
    depths.set(id, depth);
    return depth;
  };
  /** @type {string[][]} */
  const layers = [];
  for (const { id } of linked) (layers[depthOf(id, new Set())] ??= []).push(id);
  return layers.filter(Boolean);
}
