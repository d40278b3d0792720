import assert from "node:assert/strict";
import { test } from "node:test";

import { Pace } from "../../static/js/outputs/pace.js";

test("what is asked for too often is done so often a second, and the last always", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const done = [];
  const pace = new Pace(2, (value) => done.push(value));
  for (const value of [1, 2, 3, 4, 5]) pace.ask(value);
  assert.deepEqual(done, [1, 2]);
  context.mock.timers.tick(1_000);
  assert.deepEqual(done, [1, 2, 5]);
  context.mock.timers.tick(10_000);
  assert.deepEqual(done, [1, 2, 5]);
  pace.ask(6);
  assert.deepEqual(done, [1, 2, 5, 6]);
});

test("what asks again while it is done is not done without end", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let count = 0;
  const pace = new Pace(1, () => {
    count += 1;
    pace.ask();
  });
  pace.ask();
  for (let second = 1; second <= 5; second += 1) {
    assert.equal(count, second);
    context.mock.timers.tick(1_000);
  }
});
