/** A store's worth of cells, and a server that keeps one cell by the rules of docs/architecture.md. */

import { ChangeSet, Text } from "../../static/vendor/codemirror.js";

export const STATE = {
  status: "idle", freshness: "new", loaded: false, place: null, errors: [], blocked_by: [], disabled_by: [],
  stale_because: null, attempt: null, outcome: null, started_at: null, finished_at: null, duration_ms: null,
  execution_count: null, reason: null, warnings: [],
};

export function cell(id, fields = {}) {
  const { state, ...rest } = fields;
  return {
    id, type: "python", source: "", version: 1, result_name: "", connection: null, disabled: false, code_hidden: false,
    definitions: [], references: [], outputs: [], state: { ...STATE, ...state }, ...rest,
  };
}

export function page(cells, fields = {}) {
  return {
    notebook: { id: "n", name: "Test", run_mode: "auto" }, seq: 0, cells, kernel: { state: "stopped", detail: "Stopped" },
    user: {}, urls: {}, settings: {}, ...fields,
  };
}

/** The far side of the wire for one cell: accepts an edit on the current version, else answers with what came since. */
export class CellServer {
  constructor(source) {
    this.text = Text.of(source.split("\n"));
    this.version = 1;
    this.log = [];
  }

  edit({ version, changes, operation_id }) {
    const known = this.log.find((event) => event.operation_id === operation_id);
    if (known) return { ok: true, version: known.version };
    if (version !== this.version) return { ok: false, since: this.log.filter((event) => event.version > version) };
    this.text = ChangeSet.fromJSON(changes).apply(this.text);
    this.version += 1;
    this.log.push({ type: "cell.edited", cell: "a", version: this.version, changes, source: null, operation_id });
    return { ok: true, version: this.version };
  }
}
