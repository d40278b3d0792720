import assert from "node:assert/strict";
import { test } from "node:test";

import { ChangeSet, Text } from "../../static/vendor/codemirror.js";
import { applyChanges, replacement } from "../../static/js/changes.js";
import { codePointsBefore, lineAt, normalised, offsetOfCodePoint, utf8Bytes } from "../../static/js/positions.js";

const TEXTS = ["", "a", "line\nline\n", "né 🎉\r", "🎉🎉\n\n😀x", "price = 1\nrate = price * 2"];

test("a change set is applied as CodeMirror applies it", () => {
  for (const before of TEXTS) {
    for (const after of TEXTS) {
      const change = replacement(before, after);
      const set = ChangeSet.of(change ?? [], before.length, "\n");
      assert.equal(set.apply(Text.of(before.split("\n"))).toString(), after);
      assert.equal(applyChanges(before, set.toJSON()), after);
    }
  }
});

test("a change set on a text of another length is refused", () => {
  assert.throws(() => applyChanges("abc", [5, [0, "x"]]), RangeError);
});

test("a replacement never cuts a surrogate pair", () => {
  const { from, to } = replacement("a😀b", "a😁b");
  assert.deepEqual([from, to], [1, 3]);
});

test("offsets are converted between UTF-16 units and code points", () => {
  const text = "a🎉b";
  assert.deepEqual([0, 1, 3, 4].map((offset) => codePointsBefore(text, offset)), [0, 1, 2, 3]);
  assert.deepEqual([0, 1, 2, 3, 9].map((index) => offsetOfCodePoint(text, index)), [0, 1, 3, 4, 4]);
  assert.equal(utf8Bytes(text), 6);
});

test("lines count from one", () => {
  assert.deepEqual([0, 1, 2, 4].map((offset) => lineAt("a\nb\nc", offset)), [1, 1, 2, 3]);
});

test("text is made what the server stores", () => {
  assert.equal(normalised("a\r\nb\rc\0\ud800"), "a\nb\nc\ufffd");
});
