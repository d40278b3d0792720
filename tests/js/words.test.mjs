import assert from "node:assert/strict";
import { test } from "node:test";

import { downstream, edgesOf, layersOf } from "../../static/js/dependencies.js";
import { matchesOf, replaced } from "../../static/js/find.js";
import { gapsOnTheWay, placed } from "../../static/js/graph.js";
import { outlineOf } from "../../static/js/outline.js";
import { matching } from "../../static/js/palette.js";
import { savedWords } from "../../static/js/topbar.js";
import { durationWords, elapsedWords, notesOf, ordinal, runButton, shownState, sizeWords } from "../../static/js/words.js";
import { cell } from "./helpers.mjs";

const everyone = () => true;
const text = (notes) => notes.map(({ pieces }) => pieces.map((piece) => (typeof piece === "string" ? piece : (piece.code ?? piece.cell))).join(""));

test("where a cell is comes before disabled, and that before whether it is current", () => {
  assert.equal(shownState(cell("a", { disabled: true, state: { status: "running" } })), "running");
  assert.equal(shownState(cell("a", { disabled: true, state: { freshness: "current" } })), "disabled");
  assert.equal(shownState(cell("a", { state: { disabled_by: ["b"] } })), "disabled");
  assert.equal(shownState(cell("a", { state: { freshness: "stale" } })), "stale");
  assert.equal(shownState(cell("a", { type: "markdown" })), null);
});

test("durations are said as a person says them", () => {
  assert.deepEqual([null, 420, 9_995, 12_400, 72_000, 7_500_000].map(durationWords), ["", "0.42 s", "10.0 s", "12.4 s", "1 min 12 s", "2 h 5 min"]);
  assert.deepEqual([-5, 1_240, 61_000].map(elapsedWords), ["0.0 s", "1.2 s", "1 min 1 s"]);
  assert.deepEqual([1, 2, 3, 4, 11, 21, 112].map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "21st", "112th"]);
  assert.deepEqual([null, 12, 410, 3_100_000, 2e9].map(sizeWords), ["", "12 B", "410 B", "3.1 MB", "2.0 GB"]);
});

test("a note says why a cell ran, with the name and the cell", () => {
  const ran = cell("a", { state: { freshness: "current", reason: { kind: "changed", cell: "b", name: "rate", by: "Ana" } } });
  assert.deepEqual(text(notesOf(ran, everyone)), ["Ran because rate changed in b · Ana"]);
  const runs = cell("a", { state: { status: "queued", reason: { kind: "needed", cell: "c", name: "x", by: "" } } });
  assert.deepEqual(text(notesOf(runs, everyone)), ["Runs because c needs x"]);
});

test("a note does not link a cell that is gone", () => {
  const stale = cell("a", { state: { freshness: "stale", stale_because: { kind: "upstream", cell: "b", name: "x" } } });
  assert.deepEqual(text(notesOf(stale, everyone)), ["Older than x from b."]);
  assert.deepEqual(text(notesOf(stale, () => false)), ["x is not defined any more."]);
});

test("a cell that was stopped did not fail, unless its code cannot run anyway", () => {
  const stopped = cell("a", { state: { freshness: "failed", outcome: "interrupted", stale_because: { kind: "interrupted", cell: null, name: null } } });
  assert.equal(shownState(stopped), "stopped");
  assert.deepEqual(text(notesOf(stopped, everyone)), ["Stopped before its end."]);
  stopped.state.errors = [{ kind: "syntax", message: "no", names: [], cells: [], line: 1 }];
  assert.equal(shownState(stopped), "failed");
});

test("errors of analysis come first, each with its cells", () => {
  const error = { kind: "duplicate", message: "`x` is defined twice:", names: ["x"], cells: ["b", "c"], line: null };
  const failed = cell("a", { state: { freshness: "failed", errors: [error] } });
  assert.deepEqual(text(notesOf(failed, everyone)), ["`x` is defined twice: b, c"]);
});

test("the button of the gutter stops what runs and takes out what waits", () => {
  assert.deepEqual(["running", "queued", "disabled", "stale"].map((shown) => runButton(shown, 2).action), ["stop", "take_out", "none", "run"]);
});

test("the bar says whether the text is safe", () => {
  assert.equal(savedWords("online", 0).words, "Saved, online");
  assert.equal(savedWords("online", 2).words, "Saving");
  assert.equal(savedWords("offline", 4).words, "Offline, 4 edits kept here");
  assert.equal(savedWords("online", 1, 1).words, "1 edit not stored");
});

const chain = () => [
  cell("a", { definitions: ["x"] }), cell("b", { references: ["x"], definitions: ["y"] }),
  cell("c", { references: ["x", "y", "nobody"] }), cell("d", { definitions: ["alone"] }),
];

test("edges carry the names between two cells", () => {
  assert.deepEqual(edgesOf(chain()).map(({ from, to, names }) => `${from}${to}:${names}`), ["ab:x", "ac:x", "bc:y"]);
  assert.deepEqual(downstream(chain(), ["b"]), ["b", "c"]);
});

test("causes stand above effects, cells without edges are left out", () => {
  assert.deepEqual(layersOf(chain(), edgesOf(chain())), [["a"], ["b"], ["c"]]);
});

test("a cycle is drawn and does not hang", () => {
  const cycle = [cell("a", { definitions: ["x"], references: ["y"] }), cell("b", { definitions: ["y"], references: ["x"] })];
  assert.deepEqual(layersOf(cycle, edgesOf(cycle)).flat().sort(), ["a", "b"]);
});

test("nodes of one row do not overlap", () => {
  const { places, width } = placed([["a", "b", "c", "d"], ["e"]]);
  const xs = ["a", "b", "c", "d"].map((id) => places.get(id).x);
  for (let index = 1; index < 4; index += 1) assert.ok(xs[index] - xs[index - 1] >= 132);
  assert.ok(xs[3] + 132 <= width);
});

test("a line over several rows passes between their nodes", () => {
  const layers = [["a"], ["b", "c", "d"], ["e"]];
  const { places } = placed(layers);
  const [{ x }] = gapsOnTheWay(places, layers, places.get("a"), places.get("e"));
  for (const id of layers[1]) assert.ok(x < places.get(id).x || x > places.get(id).x + 132);
});

test("the outline has headings, names, and what needs somebody", () => {
  const cells = [
    cell("t", { type: "markdown", source: "# Top\ntext\n## *Part*\n```\n# no heading\n```" }),
    cell("a", { definitions: ["x", "y"], state: { freshness: "current" } }),
    cell("b", { source: "print(1)", state: { freshness: "current" } }),
    cell("c", { source: "1/0", state: { freshness: "failed" } }),
  ];
  assert.deepEqual(outlineOf(cells).map(({ level, title }) => `${level} ${title}`), ["1 Top", "2 Part", "2 x, y", "2 1/0"]);
});

test("the palette finds entries by all their words, beginnings first", () => {
  const entries = ["Restart and run all", "Run all", "Insert a cell below"].map((label) => ({ label }));
  assert.deepEqual(matching(entries, "run all").map(({ label }) => label), ["Run all", "Restart and run all"]);
});

test("find sees every cell, and case only when a capital is asked for", () => {
  const cells = [{ id: "a", text: "Rate = rate" }, { id: "b", text: "x.rate(1)" }];
  assert.deepEqual(matchesOf(cells, "rate").map(({ cell: id, from }) => `${id}${from}`), ["a0", "a7", "b2"]);
  assert.deepEqual(matchesOf(cells, "Rate", { matchCase: true }).length, 1);
  const names = [{ id: "a", text: "first = first_name + first2 + é_first + first" }];
  assert.deepEqual(matchesOf(names, "first", { wholeWord: true }).map(({ from }) => from), [0, 40]);
  assert.deepEqual(matchesOf(cells, "(").map(({ from }) => from), [6]);
  assert.equal(replaced("Rate = rate", matchesOf(cells, "rate").slice(0, 2), "r$1"), "r$1 = r$1");
});
