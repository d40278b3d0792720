import assert from "node:assert/strict";
import { test } from "node:test";

import { diffLines, differenceWords, fieldWords, momentWords } from "../../static/js/history_words.js";
import { NotebookStore } from "../../static/js/store.js";
import { Structure } from "../../static/js/structure.js";
import { cell, page } from "./helpers.mjs";

function store(...cells) {
  const made = new NotebookStore(page(cells));
  const heard = [];
  for (const type of ["inserted", "removed", "moved", "edited", "updated", "unknown-text", "versions"]) {
    made.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  }
  return { made, heard };
}

const frame = (seq, ...events) => ({ type: "events", seq, events });

test("a version that comes back is applied in its steps, without a reload", () => {
  const { made, heard } = store(cell("a", { source: "a2", version: 2 }), cell("new"), cell("c"), cell("d"));
  const steps = [
    { type: "cell.deleted", cells: ["new"] },
    { type: "cell.edited", cell: "a", version: 3, changes: [1, [1, "1"]], source: null },
    { type: "cell.updated", cell: "a", version: 4, fields: { disabled: true } },
    { type: "cell.moved", cells: ["d", "c"], after: "a" },
    { type: "cell.inserted", cell: { ...cell("b", { source: "b" }), state: undefined, outputs: undefined }, after: "a" },
  ];
  made.receive(frame(1, { type: "notebook.restored", restored: { id: "v", name: "v" }, steps }));
  assert.deepEqual(made.order, ["a", "b", "d", "c"]);
  assert.deepEqual([made.cell("a").source, made.cell("a").version, made.cell("a").disabled], ["a1", 4, true]);
  assert.equal(made.cell("b").state.status, "idle");
  assert.deepEqual(heard.map(([type]) => type), ["removed", "edited", "updated", "inserted", "moved"]);
});

test("a version too large to be told asks for a reload", () => {
  const { made } = store(cell("a"));
  let asked = 0;
  made.addEventListener("reload", () => (asked += 1));
  made.receive(frame(1, { type: "notebook.restored", restored: { id: "v", name: "v" }, steps: null }));
  assert.equal(asked, 1);
});

test("cells that come back have their outputs fetched, new ones have none", () => {
  const { made } = store();
  const { outputs: _, ...fields } = cell("a");
  made.receive(frame(1, { type: "cells.restored", inserted: [{ type: "cell.inserted", cell: fields, after: null }] }));
  made.receive(frame(2, { type: "cell.inserted", cell: { ...fields, id: "b" }, after: "a" }));
  assert.equal(made.cell("a").outputs, null);
  assert.deepEqual(made.cell("b").outputs, []);
});

test("an edit that the server put together is applied on its own version only", () => {
  const together = { type: "cell.edited", cell: "a", version: 9, base_version: 2, changes: [1, [0, "yz"]], source: null };
  const on = (version) => {
    const { made, heard } = store(cell("a", { source: "x", version }));
    made.receive(frame(1, together));
    return [made.cell("a").source, heard.map(([type]) => type)];
  };
  assert.deepEqual(on(2), ["xyz", ["edited"]]);
  assert.deepEqual(on(8), ["x", ["unknown-text"]]);
  assert.deepEqual(on(1), ["x", ["unknown-text"]]);
  assert.deepEqual(on(9), ["x", []]);
});

test("the news of a version is told", () => {
  const { made, heard } = store();
  made.receive({ type: "events", seq: null, events: [{ type: "version.named", version: {} }] });
  assert.deepEqual(heard.map(([type]) => type), ["versions"]);
});

function structure() {
  const asked = [];
  const socket = { state: "online", request: async (type, fields) => (asked.push(type === "undo" ? fields.operation_id : type), {}) };
  const store = new NotebookStore(page([cell("a")]));
  globalThis.document = { querySelector: () => null };
  return { made: new Structure({ store, socket, editing: {}, editors: {}, selection: { select() {} } }), asked };
}

test("undo goes on with what was done before the page was loaded", async () => {
  const { made, asked } = structure();
  made.did("here");
  let recalls = 0;
  made.recallWith(async () => ((recalls += 1), { undo: ["old", "older"], redo: [] }));
  await made.undo();
  assert.deepEqual([asked, recalls], [["here"], 0]);
  await made.undo();
  await made.undo();
  await made.undo();
  assert.deepEqual([asked, recalls], [["here", "older", "old"], 1]);
});

test("redo after a reload brings back what was undone before it", async () => {
  const { made, asked } = structure();
  made.recallWith(async () => ({ undo: ["a"], redo: ["undid b"] }));
  await made.redo();
  await made.undo();
  assert.equal(asked[0], "undid b");
  assert.equal(asked.length, 2);
});

test("when what was done before cannot be asked, it is asked again next time", async () => {
  const { made, asked } = structure();
  let isOnline = false;
  made.recallWith(async () => {
    if (!isOnline) throw new Error("offline");
    return { undo: ["a"], redo: [] };
  });
  await made.undo();
  isOnline = true;
  await made.undo();
  assert.deepEqual(asked, ["a"]);
});

test("a diff is read line by line", () => {
  const lines = diffLines("@@ -1,2 +3,2 @@\n-a = 1\n+a = 2\n same\n \n--x");
  assert.deepEqual(lines.map(({ kind, text }) => [kind, text]), [
    ["place", "Line 3"], ["removed", "a = 1"], ["added", "a = 2"], ["same", "same"], ["same", ""], ["removed", "-x"],
  ]);
});

test("what changed since a version is said in a line", () => {
  assert.equal(differenceWords({ added: [1], removed: [], moved: [1, 2], changed: [1] }), "Since then: 1 cell changed, 1 added, 2 moved.");
  assert.equal(differenceWords({ added: [], removed: [], moved: [], changed: [] }), "Nothing has changed since then.");
  assert.deepEqual(fieldWords({ type: ["python", "sql"], disabled: [true, false], result_name: ["", "rows"] }), [
    "Type: Python → SQL.", "Runs no longer skip it.", "Result: none → rows.",
  ]);
});

test("a moment of today is a time, an older one has its day", () => {
  const now = new Date(2026, 10, 21, 9, 0);
  assert.equal(momentWords(new Date(2026, 10, 21, 8, 5).toISOString(), now), "08:05");
  assert.equal(momentWords(new Date(2026, 10, 20, 23, 59).toISOString(), now), "Yesterday 23:59");
  assert.match(momentWords(new Date(2026, 10, 3, 12, 0).toISOString(), now), /3.*12:00|Nov.*12:00/);
  assert.match(momentWords(new Date(2025, 10, 3, 12, 0).toISOString(), now), /2025/);
});
