/** The API call that is copied runs in a real shell. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { apiCall } from "../../static/js/api_call.js";

test("the copied commands are words of a shell, whatever the source holds", () => {
  const source = "it's = \"$HOME\" + `x` \\ \n# %s 'quoted' ''";
  const call = apiCall({ origin: "http://h:1", api: "/api/v1/notebooks/n/", cell: "c", version: 3, source });
  const script = `curl() { for word in "$@"; do printf '%s\\0' "$word"; done; }\nRILLBOOK_TOKEN=secret\n${call}`;
  const words = execFileSync("bash", ["-c", script], { encoding: "utf8" }).split("\0");
  assert.deepEqual(words.slice(0, 3), ["-X", "PATCH", "http://h:1/api/v1/notebooks/n/cells/c/"]);
  assert.equal(words[4], "Authorization: Bearer secret");
  assert.deepEqual(JSON.parse(words[8]), { version: 3, source });
  assert.equal(words[11], "http://h:1/api/v1/notebooks/n/runs/");
});
