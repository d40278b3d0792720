/** The dependency graph in the side panel: each node a link with number, names and state; causes above effects. */

import { iconUse, part, setText, svg } from "./dom.js";
import { edgesOf, layersOf } from "./dependencies.js";
import { gist } from "./store.js";
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
  const lines = edges.map((edge) => line(places, layers, edge, edge.from === active || edge.to === active));
  const nodes = layers.flat().map((id) => node(store, id, /** @type {Place} */ (places.get(id)), id === active));
  const drawing = svg(
    "svg",
    { viewBox: `${-GAP.x} 0 ${width + 2 * GAP.x} ${height}`, width: width + 2 * GAP.x, height, role: "group", "aria-label": `Dependency graph, ${counted(nodes.length, "cell")}` },
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

/** @param {Map<string, Place>} places @param {string[][]} layers @param {import("./dependencies.js").Edge} edge @param {boolean} isLit */
function line(places, layers, { from, to, names }, isLit) {
  const start = places.get(from);
  const end = places.get(to);
  if (!start || !end) return [];
  const lit = isLit ? " is-lit" : "";
  const x = end.x + NODE.width / 2;
  const d = pathOf({ x: start.x + NODE.width / 2, y: start.y + NODE.height }, { x, y: end.y - 6 }, gapsOnTheWay(places, layers, start, end));
  const path = svg("path", { class: `edge${lit}`, d }, svg("title", {}, names.join(", ")));
  return [path, svg("path", { class: `arrow${lit}`, d: `M${x - 3.5} ${end.y - 7}h7l-3.5 6z` })];
}

/**
 * Where a long line passes the rows between its ends: the gap nearest to the straight way.
 * @param {Map<string, Place>} places @param {string[][]} layers @param {Place} start @param {Place} end
 * @returns {Place[]}  the upper end of each passage
 */
export function gapsOnTheWay(places, layers, start, end) {
  const rows = layers.map((layer) => layer.map((id) => /** @type {Place} */ (places.get(id))));
  return rows.filter(([{ y }]) => y > start.y && y < end.y).map((row) => {
    const straight = start.x + NODE.width / 2 + ((end.x - start.x) * (row[0].y - start.y)) / (end.y - start.y);
    const gaps = [row[0].x - GAP.x / 2, ...row.map(({ x }) => x + NODE.width + GAP.x / 2)];
    const nearest = gaps.reduce((best, x) => (Math.abs(x - straight) < Math.abs(best - straight) ? x : best));
    return { x: nearest, y: row[0].y };
  });
}

/** @param {Place} start @param {Place} end @param {Place[]} gaps */
function pathOf(start, end, gaps) {
  let at = start;
  let d = `M${at.x} ${at.y}`;
  const curveTo = (/** @type {Place} */ to) => {
    const bend = Math.max(12, Math.abs(to.y - at.y) / 2);
    d += `C${at.x} ${at.y + bend} ${to.x} ${to.y - bend} ${to.x} ${to.y}`;
    at = to;
  };
  for (const gap of gaps) {
    curveTo(gap);
    at = { x: gap.x, y: gap.y + NODE.height };
    d += `V${at.y}`;
  }
  curveTo(end);
  return d;
}

/** @param {import("./store.js").NotebookStore} store @param {string} id @param {Place} place @param {boolean} isSelected */
function node(store, id, { x, y }, isSelected) {
  const cell = /** @type {import("./types.js").Cell} */ (store.cell(id));
  const shown = /** @type {import("./words.js").Shown} */ (shownState(cell));
  const number = store.number(id);
  const title = cell.definitions.join(", ") || `(${firstWord(gist(cell))})`;
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
