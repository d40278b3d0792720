import assert from "node:assert/strict";
import { test } from "node:test";

import { Runs } from "../../static/js/runs.js";
import { NotebookSocket, reconnectDelay } from "../../static/js/socket.js";

/** A socket whose far side is the test. */
class Line {
  readyState = 1;
  sent = [];
  close() {
    this.readyState = 3;
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  open() {
    this.onopen();
  }
  receive(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
  drop(code = 1006) {
    this.readyState = 3;
    this.onclose({ code });
  }
}

function make() {
  const lines = [];
  const socket = new NotebookSocket("ws://x/", { hello: () => ({ cursor: 7 }), create: () => lines[lines.push(new Line()) - 1] });
  return { socket, lines };
}

async function online() {
  const made = make();
  made.socket.connect();
  const [line] = made.lines;
  line.open();
  line.receive({ type: "reply", id: line.sent[0].id, ok: true });
  await tick();
  return { ...made, line };
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

test("it says hello with its cursor and is online when that is answered", async () => {
  const { socket, line } = await online();
  assert.deepEqual([line.sent[0].type, line.sent[0].cursor, socket.state], ["hello", 7, "online"]);
  socket.close();
});

test("a run that is asked for while the page comes up is sent once there is a connection", async () => {
  const { socket, lines } = make();
  socket.connect();
  const store = { cells: [], cell: () => null, notebook: { run_mode: "lazy" } };
  const running = new Runs(store, socket, { flush: async () => 3, takeTyped: () => true }).run(["a"]);
  await tick();
  const [line] = lines;
  assert.deepEqual(line.sent, []);
  line.open();
  line.receive({ type: "reply", id: line.sent[0].id, ok: true });
  for (let n = 0; n < 3; n++) await tick();
  assert.deepEqual([line.sent[1].type, line.sent[1].cells], ["run", [{ cell: "a", version: 3 }]]);
  line.receive({ type: "reply", id: line.sent[1].id, ok: true });
  await running;
  socket.close();
});

test("a reply settles the request with its id and no other", async () => {
  const { socket, line } = await online();
  const first = socket.request("run", { cells: [] });
  const second = socket.request("stop");
  const ids = line.sent.slice(1).map(({ id }) => id);
  line.receive({ type: "reply", id: ids[1], ok: true, seq: 2 });
  line.receive({ type: "reply", id: ids[0], ok: false, error: { code: "conflict", message: "It changed.", version: 3 } });
  assert.equal((await second).seq, 2);
  await assert.rejects(first, (error) => error.code === "conflict" && error.detail.version === 3);
  socket.close();
});

test("requests that wait are refused when the line drops, and another is tried", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { socket, lines, line } = await online();
  const waiting = assert.rejects(socket.request("edit"), (error) => error.code === "offline");
  line.drop();
  await waiting;
  assert.equal(socket.state, "offline");
  context.mock.timers.tick(1_000);
  assert.equal(lines.length, 2);
  socket.close();
});

test("silence is a lost connection", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { socket } = await online();
  context.mock.timers.tick(19_000);
  assert.equal(socket.state, "online");
  context.mock.timers.tick(2_000);
  assert.equal(socket.state, "offline");
  socket.close();
});

/** So many seconds in which the server says nothing but that it lives. */
async function pass(context, line, seconds) {
  for (let second = 0; second < seconds; second += 5) {
    context.mock.timers.tick(5_000);
    line.receive({ type: "heartbeat", seq: 7 });
    await tick();
  }
}

test("a run waits for its kernel's place as long as the server looks for one, and what was sent after it too", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { socket, line } = await online();
  const store = { cells: [], cell: () => undefined, notebook: { run_mode: "lazy" } };
  const running = new Runs(store, socket, {}).runAll();
  await tick();
  const [edited, asked] = [socket.request("edit"), socket.request("edit")];
  const refused = assert.rejects(asked, (error) => error.code === "timeout");
  await pass(context, line, 90);
  const [run, edit] = line.sent.filter(({ type }) => type === "run_all" || type === "edit");
  line.receive({ type: "reply", id: run.id, ok: true, run: "r" });
  line.receive({ type: "reply", id: edit.id, ok: true, seq: 8 });
  await running;
  assert.equal((await edited).seq, 8);
  await pass(context, line, 40); // nothing before it waits any more
  await refused;
  socket.close();
});

test("bytes received are acknowledged in UTF-8, at once when there are many", async () => {
  const { socket, line } = await online();
  const frame = { type: "events", seq: null, events: [], pad: "é".repeat(40_000) };
  line.receive(frame);
  const ack = line.sent.at(-1);
  assert.equal(ack.type, "ack");
  assert.ok(ack.bytes > 80_000 && ack.bytes < 80_200);
  socket.close();
});

test("a socket that was told to leave does not come back once its next handshakes are refused, too", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { socket, lines, line } = await online();
  line.drop(4403);
  for (const number of [1, 2, 3]) {
    assert.equal(socket.state, "offline");
    context.mock.timers.tick(15_000);
    lines[number].drop(1006);
  }
  context.mock.timers.tick(60_000);
  assert.deepEqual([socket.state, lines.length], ["closed", 4]);
});

test("a socket that was told to leave for its session was replaced is back with the new cookie, each time", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { socket, lines, line } = await online();
  line.drop(4403);
  for (const number of [1, 2, 3, 4]) {
    context.mock.timers.tick(15_000);
    lines.at(-1).drop(1006); // the answer with the new cookie is on its way
    context.mock.timers.tick(15_000);
    const next = lines.at(-1);
    next.open();
    next.receive({ type: "reply", id: next.sent[0].id, ok: true });
    await tick();
    assert.deepEqual([socket.state, lines.length], ["online", 1 + 2 * number]);
    next.drop(4403);
  }
  socket.close();
});

test("waiting doubles up to a limit and is spread", () => {
  assert.deepEqual([0, 1, 2, 9].map((attempt) => reconnectDelay(attempt, 1)), [400, 800, 1_600, 15_000]);
  assert.equal(reconnectDelay(2, 0), 800);
});

test("many gaps ask for what was missed once", async () => {
  const { socket, line } = await online();
  socket.resynchronise();
  socket.resynchronise();
  assert.equal(line.sent.filter(({ type }) => type === "hello").length, 2);
  line.receive({ type: "reply", id: line.sent.at(-1).id, ok: true });
  await tick();
  socket.resynchronise();
  assert.equal(line.sent.filter(({ type }) => type === "hello").length, 3);
  socket.close();
});
