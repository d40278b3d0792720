import assert from "node:assert/strict";
import { test } from "node:test";

import { ChangeSet } from "../../static/vendor/codemirror.js";
import { CellEdits } from "../../static/js/edits.js";
import { CellServer } from "./helpers.mjs";

const insert = (edits, at, text) => edits.type(ChangeSet.of({ from: at, insert: text }, edits.text.length));
let operation = 0;
const newId = () => `op-${(operation += 1)}`;

test("what is typed while an edit is under way becomes one next edit", () => {
  const edits = new CellEdits("abc", 4);
  insert(edits, 3, "d");
  const first = edits.next(newId);
  insert(edits, 4, "e");
  insert(edits, 5, "f");
  assert.equal(edits.next(newId).operationId, first.operationId);
  assert.equal(edits.acknowledge(first.operationId, 5), true);
  const second = edits.next(newId);
  assert.deepEqual([second.version, second.changes.toJSON()], [5, [4, [0, "ef"]]]);
  assert.equal(edits.text, "abcdef");
});

test("an acknowledgement that comes twice changes nothing", () => {
  const edits = new CellEdits("", 1);
  insert(edits, 0, "x");
  const { operationId } = edits.next(newId);
  assert.equal(edits.acknowledge(operationId, 2), true);
  assert.equal(edits.acknowledge(operationId, 2), false);
  assert.equal(edits.text, "x");
  assert.equal(edits.isUnsaved, false);
});

test("another person's change is mapped through what is under way and what waits", () => {
  const edits = new CellEdits("hello world", 1);
  insert(edits, 11, "!");
  edits.next(newId);
  insert(edits, 0, "> ");
  const toView = edits.merge(ChangeSet.of({ from: 5, insert: "," }, 11).toJSON(), 2);
  assert.equal(edits.text, "> hello, world!");
  assert.deepEqual(toView.toJSON(), [7, [0, ","], 7]);
});

test("typing something and taking it back leaves nothing to send", () => {
  const edits = new CellEdits("abc", 1);
  insert(edits, 1, "x");
  edits.type(ChangeSet.of({ from: 1, to: 2 }, 4));
  assert.equal(edits.isUnsaved, false);
});

test("a whole new text elsewhere in the cell is merged with what was typed here", () => {
  const edits = new CellEdits("one\ntwo\nthree", 1);
  insert(edits, 0, "# ");
  const toView = edits.replace("one\ntwo\nTHREE", 2);
  assert.equal(edits.text, "# one\ntwo\nTHREE");
  assert.notEqual(toView, null);
  assert.equal(edits.conflict, false);
});

test("a whole new text in the same place is a conflict that keeps both", () => {
  const edits = new CellEdits("bands = cut(price)", 1);
  insert(edits, 17, ", 4");
  assert.equal(edits.replace("bands = cut(orders.price, edges)", 2), null);
  assert.equal(edits.conflict, true);
  assert.equal(edits.text, "bands = cut(price, 4)");
  assert.equal(edits.base.toString(), "bands = cut(orders.price, edges)");
  assert.equal(edits.next(newId), null);
});

test("keeping theirs gives the change that shows their text, using mine sends mine", () => {
  const make = () => {
    const edits = new CellEdits("a", 1);
    edits.type(ChangeSet.of({ from: 0, to: 1, insert: "mine" }, 1));
    edits.replace("theirs", 2);
    return edits;
  };
  const theirs = make();
  const back = theirs.keepTheirs();
  assert.equal(back.length, "mine".length);
  assert.equal(theirs.text, "theirs");
  const mine = make();
  mine.useMine();
  const edit = mine.next(newId);
  assert.equal(edit.version, 2);
  assert.equal(edit.changes.apply(mine.base).toString(), "mine");
});

test("a snapshot that already holds the edit under way is an acknowledgement", () => {
  const edits = new CellEdits("a", 1);
  insert(edits, 1, "b");
  edits.next(newId);
  insert(edits, 2, "c");
  edits.replace("ab", 2);
  assert.equal(edits.text, "abc");
  assert.deepEqual(edits.next(newId).changes.toJSON(), [2, [0, "c"]]);
});

test("people who type at random in one cell lose no keystroke and end with the same text", () => {
  for (let seed = 1; seed <= 60; seed += 1) converge(seed);
});

/** Three people, one server, every message late by a random time. */
function converge(seed) {
  const random = generator(seed);
  const server = new CellServer("def f(x):\n    return x\n");
  const people = [0, 1, 2].map((index) => ({ index, edits: new CellEdits(server.text.toString(), 1), seen: 0, typed: [] }));
  for (let step = 0; step < 120; step += 1) {
    const person = people[Math.floor(random() * people.length)];
    const choice = random();
    if (choice < 0.5) typeMark(person, random);
    else if (choice < 0.8) send(person, server);
    else receive(person, server);
  }
  settle(people, server);
  const text = server.text.toString();
  for (const person of people) {
    assert.equal(person.edits.text, text, `seed ${seed}`);
    for (const mark of person.typed) assert.equal(text.split(mark).length, 2, `seed ${seed}: ${mark}`);
  }
}

function typeMark(person, random) {
  const mark = String.fromCodePoint(0x4e00 + person.index * 1000 + person.typed.length);
  person.typed.push(mark);
  insert(person.edits, Math.floor(random() * (person.edits.text.length + 1)), mark);
}

function send(person, server) {
  const edit = person.edits.next(newId);
  if (!edit) return;
  const { operationId, version, changes } = edit;
  const reply = server.edit({ version, changes: changes.toJSON(), operation_id: operationId });
  if (!reply.ok) learn(person, reply.since);
}

function receive(person, server) {
  learn(person, server.log.slice(person.edits.version - 1));
}

function learn(person, events) {
  for (const event of events) {
    if (event.version !== person.edits.version + 1) continue;
    if (!person.edits.acknowledge(event.operation_id, event.version)) person.edits.merge(event.changes, event.version);
  }
}

function settle(people, server) {
  for (let round = 0; round < 20; round += 1) {
    for (const person of people) {
      receive(person, server);
      send(person, server);
      receive(person, server);
    }
  }
}

/** mulberry32: the same numbers for the same seed. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}
