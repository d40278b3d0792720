import assert from "node:assert/strict";
import { test } from "node:test";

import { NotebookStore } from "../../static/js/store.js";
import { cell, page } from "./helpers.mjs";

function store(...cells) {
  const made = new NotebookStore(page(cells));
  const heard = [];
  for (const type of ["gap", "reset", "inserted", "removed", "moved", "edited", "unknown-text", "updated", "state"]) {
    made.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  }
  return { made, heard, types: () => heard.map(([type]) => type) };
}

const frame = (seq, ...events) => ({ type: "events", seq, events });
const edited = (id, version, changes, rest = {}) => ({ type: "cell.edited", cell: id, version, changes, source: null, ...rest });

test("events are applied in the order of their numbers", () => {
  const { made } = store(cell("a", { source: "x" }));
  made.receive(frame(1, edited("a", 2, [1, [0, "y"]])));
  made.receive(frame(2, edited("a", 3, [2, [0, "z"]])));
  assert.equal(made.cell("a").source, "xyz");
  assert.equal(made.seq, 2);
});

test("an event that comes twice changes nothing", () => {
  const { made, heard } = store(cell("a", { source: "x" }));
  made.receive(frame(1, edited("a", 2, [1, [0, "y"]])));
  made.receive(frame(1, edited("a", 2, [1, [0, "y"]])));
  assert.equal(made.cell("a").source, "xy");
  assert.equal(heard.length, 1);
});

test("a gap asks for a resynchronisation and applies nothing", () => {
  const { made, types } = store(cell("a", { source: "x" }));
  made.receive(frame(3, edited("a", 2, [1, [0, "y"]])));
  assert.deepEqual(types(), ["gap"]);
  assert.equal(made.seq, 0);
  assert.equal(made.cell("a").source, "x");
});

test("several numbers in one frame are taken by who has the number they follow, and by nobody else", () => {
  const { made, types } = store(cell("a", { source: "x" }));
  const gap = (since) => ({ ...frame(3, edited("a", 2, [1, [0, "y"]])), since });
  made.receive(gap(1));
  assert.deepEqual(types(), ["gap"]);
  made.receive(gap(0));
  assert.equal(made.cell("a").source, "xy");
  assert.equal(made.seq, 3);
});

test("a heartbeat ahead of this page is a lost tail", () => {
  const { made, types } = store();
  made.receive({ type: "heartbeat", seq: 0 });
  assert.deepEqual(types(), []);
  made.receive({ type: "heartbeat", seq: 1 });
  assert.deepEqual(types(), ["gap"]);
});

test("an unnumbered frame is applied at once and moves no cursor", () => {
  const { made, types } = store(cell("a"));
  made.receive(frame(null, { type: "cells.state", states: { a: { ...made.cell("a").state, status: "running" } } }));
  assert.deepEqual(types(), ["state"]);
  assert.equal(made.seq, 0);
});

test("an edit on a version this page never saw asks for the text", () => {
  const { made, types } = store(cell("a", { source: "x" }));
  made.receive(frame(1, edited("a", 5, [9, [0, "y"]])));
  assert.deepEqual(types(), ["unknown-text"]);
});

test("cells are inserted after their neighbour, moved together and removed", () => {
  const { made, heard } = store(cell("a"), cell("b"), cell("c"));
  made.receive(frame(1, { type: "cell.inserted", cell: cell("d"), after: "a" }));
  assert.deepEqual(made.order, ["a", "d", "b", "c"]);
  made.receive(frame(2, { type: "cell.moved", cells: ["a", "d"], after: "c" }));
  assert.deepEqual(made.order, ["b", "c", "a", "d"]);
  made.receive(frame(3, { type: "cell.deleted", cells: ["c", "a"] }));
  assert.deepEqual(made.order, ["b", "d"]);
  assert.deepEqual([...heard[2][1].numbers], [["c", 2], ["a", 3]]);
});

test("what an undo brings back is inserted and what it moves is moved", () => {
  const { made } = store(cell("a"), cell("b"));
  made.receive(frame(1, { type: "cells.restored", inserted: [{ type: "cell.inserted", cell: cell("c"), after: null }] }));
  made.receive(frame(2, { type: "cells.placed", moves: [{ cells: ["b"], after: null }] }));
  assert.deepEqual(made.order, ["b", "c", "a"]);
});

test("what a reply told early is not applied again when its number comes", () => {
  const { made } = store(cell("a", { source: "x" }));
  made.learn([edited("a", 2, [1, [0, "y"]])]);
  made.receive(frame(1, edited("a", 2, [1, [0, "y"]])));
  assert.equal(made.cell("a").source, "xy");
  assert.equal(made.seq, 1);
});

test("a snapshot replaces everything", () => {
  const { made, types } = store(cell("a"));
  made.receive({ type: "snapshot", seq: 9, notebook: { name: "New" }, cells: [cell("b")], kernel: { state: "idle", detail: "Idle" } });
  assert.deepEqual([made.order, made.seq, made.notebook.name, made.kernel.state], [["b"], 9, "New", "idle"]);
  assert.deepEqual(types(), ["reset"]);
});

test("a greeting in parts is taken when its last part is here", () => {
  const { made, types } = store(cell("a"));
  made.receive({ type: "snapshot", seq: 9, notebook: { name: "New" }, cells: [], kernel: {}, more: 2 });
  made.receive({ type: "part", cells: [cell("b")] });
  assert.deepEqual([made.order, types()], [["a"], []]);
  made.receive({ type: "part", cells: [cell("c")] });
  assert.deepEqual([made.order, made.seq, types()], [["b", "c"], 9, ["reset"]]);
});

test("a text that a snapshot leaves out stays, or is asked for when there is a newer one", () => {
  const { made, heard } = store(cell("a", { source: "x" }), cell("b", { source: "y" }));
  const far = (id, version) => ({ ...cell(id), source: null, outputs: null, version });
  made.receive({ type: "snapshot", seq: 9, notebook: {}, cells: [far("a", 1), far("b", 2), far("c", 1)], kernel: {} });
  assert.deepEqual(["a", "b", "c"].map((id) => made.cell(id).source), ["x", "y", null]);
  assert.deepEqual(heard.filter(([type]) => type === "unknown-text"), [["unknown-text", { cell: "b" }]]);
  made.fill([{ ...cell("b"), source: "new", version: 2 }]);
  assert.equal(made.cell("b").source, "new");
  assert.deepEqual(heard.at(-3).slice(0, 1), ["edited"]);
});

test("outputs that a catch-up only names are forgotten, so that they are fetched", () => {
  const { made } = store({ ...cell("a"), outputs: [{ index: 0 }] });
  made.receive({ type: "catch_up", seq: 7, events: [], cells: [], outdated: ["a"] });
  assert.equal(made.cell("a").outputs, undefined);
});

test("after a catch-up the cursor stands at its number", () => {
  const { made } = store(cell("a", { source: "x" }));
  made.receive({ type: "catch_up", seq: 7, events: [edited("a", 2, [1, [0, "y"]])], cells: [] });
  assert.deepEqual([made.seq, made.cell("a").source], [7, "xy"]);
});

test("a cell shown ahead is put where the server has it, once", () => {
  const { made, types } = store(cell("a"));
  made.insertAhead({ id: "mine", type: "python", source: "", result_name: "", connection: null }, "a");
  made.receive(frame(1, { type: "cell.inserted", cell: cell("other"), after: "a" }));
  assert.deepEqual(made.order, ["a", "other", "mine"]);
  made.receive(frame(2, { type: "cell.inserted", cell: cell("mine"), after: "a" }));
  assert.deepEqual(made.order, ["a", "mine", "other"]);
  assert.deepEqual(types(), ["inserted", "inserted", "moved"]);
});

test("a cell shown ahead that the server refused is taken back", () => {
  const { made } = store(cell("a"));
  made.insertAhead({ id: "mine", type: "python", source: "", result_name: "", connection: null }, "a");
  made.withdraw("mine");
  assert.deepEqual(made.order, ["a"]);
});
