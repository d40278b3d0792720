/** The dependency graph in the side panel: each node a link with number, names and state; causes above effects. */

import { iconUse, part, setText, svg } from "./dom.js";
import { edgesOf, layersOf } from "./dependencies.js";
import { gathered } from "./topbar.js";
import { WORDS, counted, iconOf, shownState } from "./words.js";

const NODE = { width: 132, height: 46 };
const GAP = { x: 22, y: 34 };
const TITLE_UNITS = 16;
/** Three nodes side by side: a narrower drawing is not blown up. */
const LEAST_WIDTH = 3 * NODE.width + 2 * GAP.x;

/** @typedef {{x: number, y: number}} Place */

/**
 * @param {import("./store.js").NotebookStore} store
 * @param {import("./selection.js").Selection} selection
 * @param {import("./panels.js").Panels} panels
 */
export function keepGraph(store, selection, panels) {
  const draw = gathered(() => {
    if (panels.shown === "graph") drawGraph(store, selection.active);
  });
  panels.addEventListener("shown", draw);
  selection.addEventListener("change", draw);
  for (const type of ["state", "analysed", "inserted", "removed", "moved", "updated", "reset"]) store.addEventListener(type, draw);
}

/** @param {import("./store.js").NotebookStore} store @param {string | null} active */
function drawGraph(store, active) {
  const cells = store.cells.filter((cell) => cell.type !== "markdown");
  const edges = edgesOf(cells);
  const layers = layersOf(cells, edges);
  const { places, width, height } = placed(layers);
  const lines = edges.map((edge) => line(places, edge, edge.from === active || edge.to === active));
  const nodes = layers.flat().map((id) => node(store, id, /** @type {Place} */ (places.get(id)), id === active));
  const drawing = svg(
    "svg",
    { viewBox: `-3 0 ${width + 6} ${height}`, role: "group", "aria-label": `Dependency graph, ${counted(nodes.length, "cell")}` },
    ...lines.flat(),
    ...nodes,
  );
  part("graph")?.replaceChildren(...(nodes.length ? [drawing] : []));
  setText(part("graph-note"), note(store, edges, active));
}

/**
 * Rows centred over one another.
 * @param {string[][]} layers
 */
export function placed(layers) {
  const most = Math.max(1, ...layers.map((layer) => layer.length));
  const width = Math.max(LEAST_WIDTH, most * NODE.width + (most - 1) * GAP.x);
  /** @type {Map<string, Place>} */
  const places = new Map();
  layers.forEach((layer, row) => {
    const own = layer.length * NODE.width + (layer.length - 1) * GAP.x;
    layer.forEach((id, column) => places.set(id, { x: (width - own) / 2 + column * (NODE.width + GAP.x), y: 8 + row * (NODE.height + GAP.y) }));
  });
  return { places, width, height: 8 + layers.length * (NODE.height + GAP.y) };
}

/** @param {Map<string, Place>} places @param {import("./dependencies.js").Edge} edge @param {boolean} isLit */
function line(places, { from, to, names }, isLit) {
  const start = places.get(from);
  const end = places.get(to);
  if (!start || !end) return [];
  const [x1, y1, x2, y2] = [start.x + NODE.width / 2, start.y + NODE.height, end.x + NODE.width / 2, end.y - 6];
  const bend = Math.max(18, Math.abs(y2 - y1) / 2);
  const lit = isLit ? " is-lit" : "";
  const path = svg("path", { class: `edge${lit}`, d: `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}` }, svg("title", {}, names.join(", ")));
  return [path, svg("path", { class: `arrow${lit}`, d: `M${x2 - 3.5} ${y2 - 1}h7l-3.5 6z` })];
}

/** @param {import("./store.js").NotebookStore} store @param {string} id @param {Place} place @param {boolean} isSelected */
function node(store, id, { x, y }, isSelected) {
  const cell = /** @type {import("./types.js").Cell} */ (store.cell(id));
  const shown = /** @type {import("./words.js").Shown} */ (shownState(cell));
  const number = store.number(id);
  const title = cell.definitions.join(", ") || `(${firstWord(cell.source)})`;
  const short = title.length > TITLE_UNITS ? `${title.slice(0, TITLE_UNITS - 1)}…` : title;
  return svg(
    "a",
    { class: `node is-${shown}${isSelected ? " is-selected" : ""}`, href: `#cell-${id}`, "data-goto": id, "aria-label": `Cell ${number}, ${title}, ${WORDS[shown]}` },
    svg("title", {}, title),
    svg("rect", { x, y, width: NODE.width, height: NODE.height, rx: 6 }),
    svg("text", { x: x + 12, y: y + 20 }, short),
    iconUse(iconOf(shown), { class: "glyph", x: x + 11, y: y + 26, width: 13, height: 13 }),
    svg("text", { class: "sub", x: x + 29, y: y + 36.5 }, `${number} · ${WORDS[shown]}`),
  );
}

/** @param {string} source */
function firstWord(source) {
  return source.match(/[\p{L}\p{N}_.]+/u)?.[0] ?? "empty";
}

/** @param {import("./store.js").NotebookStore} store @param {import("./dependencies.js").Edge[]} edges @param {string | null} active */
function note(store, edges, active) {
  if (!edges.length) return "No cell uses another one's names yet.";
  const cell = active && store.cell(active);
  if (!cell || cell.type === "markdown") return "Choose a cell to see what feeds it and what depends on it.";
  const feeding = edges.filter(({ to }) => to === active).length;
  const depending = edges.filter(({ from }) => from === active).length;
  return `Selected: cell ${store.number(active)}. ${counted(feeding, "cell")} feed${feeding === 1 ? "s" : ""} it, ${depending} depend${depending === 1 ? "s" : ""} on it directly.`;
}
