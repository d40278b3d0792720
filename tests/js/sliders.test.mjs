import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document ??= /** @type {any} */ ({ documentElement: { dataset: {} } });
const { slidersOf } = await import("../../static/js/sliders.js");

const RATE = 'rate = 0.15  #@param {type:"slider", min:0.01, max:0.99, step:0.01}';

test("a marked assignment is a slider, with its literal in place", () => {
  const source = `a = 1\n${RATE}\nshift = -2 # @param {type: 'slider', min: -5, max: 5}`;
  const [rate, shift] = slidersOf(source);
  assert.deepEqual([rate.name, rate.min, rate.max, rate.step], ["rate", "0.01", "0.99", "0.01"]);
  assert.equal(source.slice(rate.from, rate.to), "0.15");
  assert.equal(source.slice(shift.from, shift.to), "-2");
  assert.equal(shift.step, "1");
});

test("other comments, texts and calls are none", () => {
  for (const source of ["rate = 1", 'rate = 1 #@param {type:"number"}', 'rate = f(1) #@param {type:"slider"}', `"""\n${RATE}\n"""`, `  ${RATE}`]) {
    assert.deepEqual(slidersOf(source), []);
  }
});
