import assert from "node:assert/strict";
import { test } from "node:test";

import { fillFarCells } from "../../static/js/far.js";

const tick = () => new Promise((resolve) => setImmediate(resolve));

test("far cells that could not be fetched for a moment are asked for again, without a scroll", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let see;
  globalThis.IntersectionObserver = class {
    constructor(told) {
      see = told;
    }
    observe() {}
    unobserve() {}
  };
  const element = { dataset: { cell: "a" }, getBoundingClientRect: () => ({ bottom: 0, height: 0 }) };
  const view = { id: "a", isFar: true, element, cell: { outputs: null } };
  const list = Object.assign(new EventTarget(), { views: [view], view: () => view, complete: (one) => (one.isFar = false) });
  const store = Object.assign(new EventTarget(), { fill: (cells) => (view.cell = cells[0]) });
  const answers = [null, null, { cells: [{ id: "a", outputs: [] }] }];
  let asked = 0;
  const socket = Object.assign(new EventTarget(), {
    state: "online",
    request: async () => answers[asked++] ?? Promise.reject(new Error("unavailable")),
  });
  fillFarCells(list, store, socket);
  see([{ target: element, isIntersecting: true }]);
  for (let second = 0; second < 10; second += 1) {
    context.mock.timers.tick(1_000);
    await tick();
  }
  assert.deepEqual([asked, view.isFar, view.cell.outputs], [3, false, []]);
});
