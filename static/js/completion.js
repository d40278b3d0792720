/**
 * Help while typing, from the live kernel over the socket: completions, signatures and hover. Also while a cell runs;
 * a kernel that is cold answers nothing, and then the names the notebook defines are offered.
 */

import { hoverTooltip, localCompletionSource, showTooltip, StateEffect, StateField } from "../vendor/codemirror.js";
import { h } from "./dom.js";

const ANSWER_MS = 3_000;
const DOC_LINES = 24;
// eslint-disable-next-line no-control-regex
const ANSI = /\u001b\[[0-9;]*[A-Za-z]/g;

/** @typedef {{socket: import("./socket.js").NotebookSocket, store: import("./store.js").NotebookStore}} Sources */
/** @typedef {import("../vendor/codemirror.js").EditorView} EditorView */

/** Jupyter's and jedi's type words as CodeMirror's. @type {Record<string, string>} */
const TYPES = { instance: "variable", statement: "variable", module: "namespace", param: "variable", path: "text", magic: "keyword" };

/**
 * Completions of the kernel, or of the notebook's names where it knows none.
 * @param {string} cell
 * @param {Sources} sources
 */
export function kernelCompletions(cell, sources) {
  return async (/** @type {import("../vendor/codemirror.js").CompletionContext} */ context) => {
    const word = context.matchBefore(/[\p{L}\p{N}_]*/u);
    const isAfterDot = context.matchBefore(/\.[\p{L}\p{N}_]*/u) !== null;
    if (!context.explicit && !isAfterDot && (word?.text.length ?? 0) < 2) return null;
    const found = await ask(sources, "complete", cell, context.state.doc.toString(), context.pos);
    if (context.aborted) return null;
    if (found?.matches?.length) return fromKernel(found);
    return isAfterDot ? null : fromNotebook(sources.store, word?.from ?? context.pos);
  };
}

/** Names of this cell that are bound in its own syntax. */
export const localNames = localCompletionSource;

/** @param {{matches: {text: string, type: string}[], from: number, to: number}} found */
function fromKernel({ matches, from, to }) {
  const options = matches.map(({ text, type }) => ({ label: text, type: TYPES[type] ?? type }));
  return { from, to, options, validFor: /^[\p{L}\p{N}_]*$/u };
}

/** @param {import("./store.js").NotebookStore} store @param {number} from */
function fromNotebook(store, from) {
  const options = store.cells.flatMap((cell) =>
    cell.definitions.map((name) => ({ label: name, type: "variable", detail: `cell ${store.number(cell.id)}` })),
  );
  return { from, options, validFor: /^[\p{L}\p{N}_]*$/u };
}

/** What a name is, when the pointer rests on it. @param {string} cell @param {Sources} sources */
export function kernelHover(cell, sources) {
  return hoverTooltip(async (view, pos) => {
    const word = view.state.wordAt(pos);
    if (!word) return null;
    const text = await inspect(sources, cell, view, word.to);
    return text ? { pos: word.from, end: word.to, above: true, create: () => ({ dom: card(text) }) } : null;
  }, { hoverTime: 500 });
}

/** @type {import("../vendor/codemirror.js").StateEffectType<any>} */
const setSignature = StateEffect.define();

/** The field that shows a signature until the text or the caret's line changes. */
export const signatureField = StateField.define({
  create: () => /** @type {any} */ (null),
  update(shown, transaction) {
    for (const effect of transaction.effects) if (effect.is(setSignature)) return effect.value;
    return transaction.docChanged || transaction.selection ? null : shown;
  },
  provide: (field) => showTooltip.from(field),
});

/** Shows the signature of the call at the caret. @param {string} cell @param {Sources} sources @param {EditorView} view */
export async function showSignature(cell, sources, view) {
  const { head } = view.state.selection.main;
  const text = await inspect(sources, cell, view, head);
  if (!text || view.state.selection.main.head !== head) return;
  view.dispatch({ effects: setSignature.of({ pos: head, above: true, create: () => ({ dom: card(text) }) }) });
}

/** Closes the signature; false when there was none. @param {EditorView} view */
export function hideSignature(view) {
  if (!view.state.field(signatureField, false)) return false;
  view.dispatch({ effects: setSignature.of(null) });
  return true;
}

/** @param {Sources} sources @param {string} cell @param {EditorView} view @param {number} pos */
async function inspect(sources, cell, view, pos) {
  const found = await ask(sources, "inspect", cell, view.state.doc.toString(), pos);
  const text = found?.data?.["text/plain"];
  return typeof text === "string" ? text.replaceAll(ANSI, "").trim() : "";
}

/** @param {Sources} sources @param {string} type @param {string} cell @param {string} source @param {number} cursor */
function ask({ socket }, type, cell, source, cursor) {
  return socket.request(type, { cell, source, cursor }, { timeoutMs: ANSWER_MS }).catch(() => null);
}

/** @param {string} text */
function card(text) {
  const lines = text.split("\n");
  const cut = lines.length > DOC_LINES ? `${lines.slice(0, DOC_LINES).join("\n")}\n…` : text;
  return h("pre", { class: "editor-help" }, cut);
}
