import assert from "node:assert/strict";
import { test } from "node:test";

import { allActions } from "../../static/js/actions.js";
import { KeyTable, chordOf, keyCaps } from "../../static/js/keys.js";

const press = (key, held = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...held });
const table = () => new KeyTable(allActions());
const found = (keys, chord, mode, at = {}) => keys.find(chord, mode, { now: 0, letters: true, ...at }).action?.id ?? null;

test("a press is written as the table writes it", () => {
  assert.equal(chordOf(press("k", { ctrlKey: true }), false), "Mod+K");
  assert.equal(chordOf(press("k", { metaKey: true }), true), "Mod+K");
  assert.equal(chordOf(press("k", { ctrlKey: true }), true), "Ctrl+K");
  assert.equal(chordOf(press("Z", { shiftKey: true }), false), "Shift+Z");
  assert.equal(chordOf(press("?", { shiftKey: true }), false), "?");
  assert.equal(chordOf(press("_", { shiftKey: true, ctrlKey: true }), false), "Mod+Shift+-");
});

test("JupyterLab's keys do what they do there", () => {
  const expected = {
    "Mod+Enter": "run", "Shift+Enter": "run_next", "Alt+Enter": "run_insert", Enter: "edit", J: "down", K: "up", A: "insert_above",
    B: "insert_below", Z: "undo", "Shift+Z": "redo", X: "cut", C: "copy", V: "paste", Y: "to_python", M: "to_text", Q: "to_sql",
    "?": "help_key", "Mod+Shift+H": "help", "Mod+K": "palette", "Mod+S": "save",
  };
  for (const [chord, id] of Object.entries(expected)) assert.equal(found(table(), chord, "command"), id, chord);
});

test("letters act only in command mode", () => {
  for (const letter of ["A", "B", "X", "D", "Z", "?"]) assert.equal(found(table(), letter, "edit"), null);
  assert.equal(found(table(), "Escape", "edit"), "leave");
});

test("letters can be switched off, other keys stay", () => {
  assert.equal(found(table(), "A", "command", { letters: false }), null);
  assert.equal(found(table(), "ArrowDown", "command", { letters: false }), "down");
  assert.equal(found(table(), "Mod+K", "command", { letters: false }), "palette");
});

test("a sequence needs both its keys within a second", () => {
  const keys = table();
  for (const [letter, id] of [["D", "delete"], ["I", "stop"], ["0", "restart"], ["R", "run_stale"]]) {
    assert.equal(found(keys, letter, "command", { now: 10 }), null);
    assert.equal(found(keys, letter, "command", { now: 400 }), id);
  }
  assert.equal(found(keys, "D", "command", { now: 1_000 }), null);
  assert.equal(found(keys, "D", "command", { now: 2_500 }), null);
  assert.equal(found(keys, "B", "command", { now: 2_600 }), "insert_below");
});

test("no two actions share a key in one place", () => {
  const taken = allActions().flatMap(({ where, keys }) => keys.map((key) => `${where} ${key}`));
  assert.equal(new Set(taken).size, taken.length);
});

test("key caps are one for a chord and two for a sequence", () => {
  assert.deepEqual(keyCaps("Mod+Shift+H", false), ["Ctrl+Shift+H"]);
  assert.deepEqual(keyCaps("Mod+K", true), ["⌘K"]);
  assert.deepEqual(keyCaps("D D", false), ["D", "D"]);
  assert.deepEqual(keyCaps("ArrowUp", false), ["↑"]);
});
