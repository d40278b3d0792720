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
