import assert from "node:assert/strict";
import { test } from "node:test";

import { ChangeSet } from "../../static/vendor/codemirror.js";
import { Drafts } from "../../static/js/drafts.js";
import { Editing } from "../../static/js/editing.js";
import { CommandError } from "../../static/js/socket.js";
import { Texts } from "../../static/js/texts.js";
import { NotebookStore } from "../../static/js/store.js";
import { CellServer, cell, page } from "./helpers.mjs";

/** The socket's far side is CellServer; `online` and the moment of each answer are the test's. */
class Wire extends EventTarget {
  state = "online";
  requests = [];
  refuse = null;

  constructor(server) {
    super();
    this.server = server;
  }

  async request(type, fields) {
    this.requests.push([type, fields]);
    if (this.state !== "online") throw new CommandError("offline", "offline");
    if (this.refuse) throw this.refuse;
    if (type === "cells") return { cells: [cell("a", { source: this.server.text.toString(), version: this.server.version })] };
    const reply = this.server.edit(fields);
    if (reply.ok) return reply;
    throw new CommandError("conflict", "It changed.", { since: reply.since });
  }

  set(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state } }));
  }
}

class Memory {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  key(index) {
    return [...this.#items.keys()][index] ?? null;
  }
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, value);
  }
  removeItem(key) {
    this.#items.delete(key);
  }
}

function make(source = "abc", storage = new Memory(), tab = "tab") {
  const server = new CellServer(source);
  const wire = new Wire(server);
  const store = new NotebookStore(page([cell("a", { source })]));
  const editing = new Editing(store, wire, new Drafts("n", storage, tab), new Texts(store, wire));
  return { server, wire, store, editing, storage };
}

const type = (editing, at, insert) => editing.type("a", ChangeSet.of({ from: at, insert }, editing.text("a").length));
const once = (target, name) => new Promise((resolve) => target.addEventListener(name, ({ detail }) => resolve(detail), { once: true }));

test("a run waits until what was typed is stored, and names its version", async () => {
  const { editing, server } = make();
  type(editing, 3, "d");
  assert.equal(await editing.flush("a"), 2);
  assert.equal(server.text.toString(), "abcd");
  assert.equal(editing.unsaved, 0);
});

test("keys typed one after another travel as one edit", async () => {
  const { editing, wire, server } = make("");
  for (const [at, letter] of [..."hello"].entries()) type(editing, at, letter);
  await editing.flush("a");
  assert.equal(wire.requests.length, 1);
  assert.equal(server.text.toString(), "hello");
});

test("an edit on an old version is rebased over what came since and sent again", async () => {
  const { editing, server, store } = make("abc");
  server.edit({ version: 1, changes: [[0, "> "], 3], operation_id: "other" });
  type(editing, 3, "d");
  await editing.flush("a");
  assert.equal(server.text.toString(), "> abcd");
  assert.equal(store.cell("a").source, "> abcd");
});

test("a refusal that comes after the change it tells of asks for nothing and keeps what both typed", async () => {
  const { editing, wire, server, store } = make("[]");
  const request = wire.request.bind(wire);
  wire.request = async (kind, fields) => {
    if (kind === "edit" && server.version === 1) {
      // Somebody types at the same place, and is heard of before the answer to our edit.
      server.edit({ version: 1, changes: [1, [0, "T"], 1], operation_id: "other" });
      const refused = request(kind, fields);
      store.learn([{ type: "cell.edited", cell: "a", version: 2, changes: [1, [0, "T"], 1], source: null, operation_id: "other" }]);
      return refused;
    }
    return request(kind, fields);
  };
  let conflicts = 0;
  editing.addEventListener("conflict", () => (conflicts += 1));
  type(editing, 1, "m");
  await editing.flush("a");
  assert.equal([...server.text.toString()].sort().join(""), "T[]m");
  assert.equal(editing.text("a"), server.text.toString());
  assert.deepEqual(wire.requests.map(([kind]) => kind), ["edit", "edit"]);
  assert.equal(conflicts, 0);
});

test("what is typed offline is kept in the browser and sent when the connection is back", async () => {
  const { editing, wire, server, storage } = make("abc");
  wire.set("offline");
  type(editing, 3, "!");
  await assert.rejects(editing.flush("a"));
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(JSON.parse(storage.getItem(storage.key(0))).text, "abc!");
  wire.set("online");
  await once(editing, "settled");
  assert.equal(server.text.toString(), "abc!");
  assert.equal(storage.length, 0);
});

test("a draft that a closed tab left behind is sent by the next one", async () => {
  const storage = new Memory();
  const left = { cell: "a", version: 1, base: "abc", sent: "abc", text: "abcd", operationId: null, tab: "gone", at: 0 };
  storage.setItem("rillbook:draft:n:a:gone", JSON.stringify(left));
  const { editing, server } = make("abc", storage);
  const shown = once(editing, "remote");
  assert.deepEqual(await editing.adoptDrafts(), ["a"]);
  assert.deepEqual((await shown).changes.toJSON(), [3, [0, "d"]]);
  await editing.flush("a");
  assert.equal(server.text.toString(), "abcd");
});

test("a draft whose edit had arrived after all is not applied twice", async () => {
  const storage = new Memory();
  const left = { cell: "a", version: 1, base: "abc", sent: "abcd", text: "abcde", operationId: "op", tab: "gone", at: 0 };
  storage.setItem("rillbook:draft:n:a:gone", JSON.stringify(left));
  const { editing, server, store } = make("abc", storage);
  server.edit({ version: 1, changes: [3, [0, "d"]], operation_id: "op" });
  store.receive({ type: "events", seq: 1, events: [server.log[0]] });
  await editing.adoptDrafts();
  await editing.flush("a");
  assert.equal(server.text.toString(), "abcde");
});

test("a text that was refused is sent again once the person may edit, and after a reconnection", async () => {
  for (const goOn of [({ editing }) => editing.tryAgain(), ({ wire }) => (wire.set("offline"), wire.set("online"))]) {
    const made = make();
    made.wire.refuse = new CommandError("forbidden", "Your role here is viewer.");
    type(made.editing, 3, "d");
    await once(made.editing, "refused");
    assert.equal(made.editing.stuck, 1);
    made.wire.refuse = null;
    goOn(made);
    assert.equal(await made.editing.flush("a"), 2);
    assert.deepEqual([made.server.text.toString(), made.editing.stuck, made.editing.unsaved], ["abcd", 0, 0]);
  }
});

test("a refused text stays with the person and is not sent for ever", async () => {
  const { editing, wire } = make();
  wire.refuse = new CommandError("too_large", "A source may have 1 MiB.");
  type(editing, 3, "d");
  const { message } = await once(editing, "refused");
  assert.equal(message, "A source may have 1 MiB.");
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.deepEqual([wire.requests.length, editing.text("a"), editing.stuck], [1, "abcd", 1]);
});

test("a text whose cell was deleted is offered back", async () => {
  const { editing, wire, store } = make();
  wire.set("offline");
  type(editing, 3, "d");
  const orphan = once(editing, "orphan");
  store.receive({ type: "events", seq: 1, events: [{ type: "cell.deleted", cells: ["a"] }] });
  assert.equal((await orphan).text, "abcd");
});
