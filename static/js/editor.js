/**
 * One CodeMirror editor in a cell's source box: the languages, keys and looks of it. What is typed is handed on as
 * change sets; what others typed comes back the same way and stays out of this person's undo. Loaded when first needed.
 */

import {
  Annotation, Compartment, EditorSelection, EditorState, EditorView, Prec, Transaction, acceptCompletion, autocompletion, bracketMatching,
  closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, completionStatus, defaultKeymap, drawSelection,
  history, historyKeymap, indentLess, indentMore, indentOnInput, indentUnit, keymap, markdown, placeholder, python,
  pythonLanguage, sourceHighlighting, sql, sqlMarks, startCompletion,
} from "../vendor/codemirror.js";
import { drawCarets, othersCarets } from "./caret_layer.js";
import { hideSignature, kernelCompletions, kernelHover, localNames, showSignature, signatureField } from "./completion.js";
import { normalised } from "./positions.js";

/** @typedef {import("./types.js").CellType} CellType */

const fromElsewhere = Annotation.define();
/** @type {Record<string, string>} */
export const PLACEHOLDERS = { python: "Type Python", sql: "Type SQL. {name} binds a value", markdown: "Write text in Markdown" };

/**
 * @typedef {object} EditorOptions
 * @property {string} cell
 * @property {CellType} type
 * @property {string} text
 * @property {string} label
 * @property {string} nonce  for the style elements that CodeMirror makes
 * @property {boolean} readOnly
 * @property {import("./completion.js").Sources} sources
 * @property {(changes: import("../vendor/codemirror.js").ChangeSet) => void} onType
 * @property {() => void} onMove  the selection is elsewhere
 * @property {(edge: "up" | "down") => boolean} onEdge  the caret would leave the text; true when it went elsewhere
 */

export class CellEditor {
  view;
  #options;
  #language = new Compartment();
  #writing = new Compartment();

  /** @param {HTMLElement} box  the source box, whose content it replaces @param {EditorOptions} options */
  constructor(box, options) {
    this.#options = options;
    this.view = new EditorView({ state: this.#state() });
    box.replaceChildren(this.view.dom);
  }

  get hasFocus() {
    return this.view.hasFocus;
  }

  get text() {
    return this.view.state.doc.toString();
  }

  /** Whether a list of completions or a signature is open, which Escape closes first. */
  get isAsking() {
    return completionStatus(this.view.state) !== null || Boolean(this.view.state.field(signatureField, false));
  }

  focus() {
    this.view.focus();
  }

  /** @param {"start" | "end" | number} place */
  putCaret(place) {
    const { length } = this.view.state.doc;
    const anchor = place === "start" ? 0 : place === "end" ? length : Math.min(place, length);
    this.view.dispatch({ selection: EditorSelection.cursor(anchor), scrollIntoView: true });
  }

  /** Selects a part of the text and shows it. @param {number} from @param {number} to */
  select(from, to) {
    this.view.dispatch({ selection: EditorSelection.single(from, to), scrollIntoView: true });
  }

  /** Puts the caret where the pointer is. @param {{x: number, y: number}} point */
  putCaretAt(point) {
    const at = this.view.posAtCoords(point, false);
    this.view.dispatch({ selection: EditorSelection.cursor(at) });
  }

  /** @param {number} line  from 1 */
  putCaretOnLine(line) {
    const { doc } = this.view.state;
    this.putCaret(doc.line(Math.min(Math.max(line, 1), doc.lines)).from);
  }

  /** The text before and after the caret's selection start. */
  get parts() {
    const { from } = this.view.state.selection.main;
    return [this.text.slice(0, from), this.text.slice(from)];
  }

  get caret() {
    return this.view.state.selection.main.head;
  }

  get selection() {
    const { anchor, head } = this.view.state.selection.main;
    return { anchor, head };
  }

  /** Shows where other people are in the text. @param {import("./caret_layer.js").Caret[]} carets */
  showCarets(carets) {
    drawCarets(this.view, carets);
  }

  /** Applies what did not come from this keyboard. @param {import("../vendor/codemirror.js").ChangeSet} changes */
  apply(changes) {
    if (changes.length !== this.view.state.doc.length) return;
    this.view.dispatch({ changes, annotations: [fromElsewhere.of(true), Transaction.addToHistory.of(false), Transaction.remote.of(true)] });
  }

  /** @param {CellType} type */
  setType(type) {
    this.#options.type = type;
    this.view.dispatch({ effects: this.#language.reconfigure(this.#languageOf(type)) });
  }

  /** @param {boolean} readOnly */
  setReadOnly(readOnly) {
    this.view.dispatch({ effects: this.#writing.reconfigure(writing(readOnly)) });
  }

  destroy() {
    this.view.destroy();
  }

  #state() {
    const { text, label, nonce, readOnly } = this.#options;
    return EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(keymap.of(this.#keys())),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...withoutRunKeys(defaultKeymap)]),
        EditorState.lineSeparator.of("\n"),
        EditorState.tabSize.of(4),
        this.#writing.of(writing(readOnly)),
        EditorView.contentAttributes.of({ "aria-label": label, autocorrect: "off", autocapitalize: "off", spellcheck: "false" }),
        EditorView.cspNonce.of(nonce),
        EditorView.clipboardInputFilter.of(normalised),
        EditorView.updateListener.of((update) => this.#updated(update)),
        EditorView.domEventObservers({ focus: caretAtOnce }),
        indentUnit.of("    "), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(),
        signatureField, othersCarets(), sourceHighlighting, this.#language.of(this.#languageOf(this.#options.type)),
      ],
    });
  }

  /** @param {CellType} type */
  #languageOf(type) {
    const { cell, sources } = this.#options;
    const hint = placeholder(PLACEHOLDERS[type] ?? "");
    if (type === "markdown") return [markdown(), EditorView.lineWrapping, hint, autocompletion({ override: [] })];
    const complete = kernelCompletions(cell, sources);
    if (type === "sql") return [sql(), sqlMarks, hint, autocompletion({ override: [complete] })];
    const local = pythonLanguage.data.of({ autocomplete: localNames });
    return [python(), hint, local, autocompletion({ override: [complete, localNames] }), kernelHover(cell, sources)];
  }

  /** Tab completes after a name, indents at the start of a line, and never holds on to the focus after Escape. */
  #keys() {
    return [
      { key: "Tab", run: acceptCompletion },
      { key: "Tab", run: (/** @type {EditorView} */ view) => isAfterName(view) && startCompletion(view) },
      { key: "Tab", run: indentOrSpaces },
      { key: "Shift-Tab", run: (/** @type {EditorView} */ view) => this.#shiftTab(view) },
      { key: "Escape", run: (/** @type {EditorView} */ view) => closeCompletion(view) || hideSignature(view) },
      { key: "ArrowUp", run: (/** @type {EditorView} */ view) => isAtEdge(view, "up") && this.#options.onEdge("up") },
      { key: "ArrowDown", run: (/** @type {EditorView} */ view) => isAtEdge(view, "down") && this.#options.onEdge("down") },
    ];
  }

  /** @param {EditorView} view */
  #shiftTab(view) {
    if (isAtIndent(view) || !view.state.selection.main.empty) return indentLess(view);
    showSignature(this.#options.cell, this.#options.sources, view);
    return true;
  }

  /** @param {import("../vendor/codemirror.js").ViewUpdate} update */
  #updated(update) {
    if (update.selectionSet) this.#options.onMove();
    if (!update.docChanged) return;
    const typed = update.transactions.filter((transaction) => transaction.docChanged && !transaction.annotation(fromElsewhere));
    for (const transaction of typed) this.#options.onType(transaction.changes);
  }
}

/**
 * A closed dialog gives the focus back but no caret, which CodeMirror puts in a frame later: keys until then were lost.
 * @param {FocusEvent} _event @param {EditorView} view
 */
function caretAtOnce(_event, view) {
  if (!view.contentDOM.contains(getSelection()?.anchorNode ?? null)) view.focus();
}

/** @param {EditorView} view */
function indentOrSpaces(view) {
  const { main } = view.state.selection;
  if (!main.empty || isAtIndent(view)) return indentMore(view);
  const column = main.head - view.state.doc.lineAt(main.head).from;
  view.dispatch(view.state.replaceSelection(" ".repeat(4 - (column % 4))), { userEvent: "input" });
  return true;
}

/** @param {EditorView} view */
function isAfterName(view) {
  const { main, } = view.state.selection;
  if (!main.empty) return false;
  const line = view.state.doc.lineAt(main.head);
  return /[\p{L}\p{N}_.]$/u.test(line.text.slice(0, main.head - line.from));
}

/** @param {EditorView} view */
function isAtIndent(view) {
  const { head } = view.state.selection.main;
  const line = view.state.doc.lineAt(head);
  return line.text.slice(0, head - line.from).trim() === "";
}

/** @param {EditorView} view @param {"up" | "down"} edge */
function isAtEdge(view, edge) {
  const { state } = view;
  const { main } = state.selection;
  if (!main.empty || completionStatus(state) === "active") return false;
  const line = state.doc.lineAt(main.head);
  return edge === "up" ? line.number === 1 : line.number === state.doc.lines;
}

/** Whether one may write in the text. @param {boolean} readOnly */
function writing(readOnly) {
  return [EditorState.readOnly.of(readOnly), EditorView.editable.of(!readOnly)];
}

/** Running is the page's (keys.js); CodeMirror's own use of those keys would add a line. @param {readonly any[]} bindings */
function withoutRunKeys(bindings) {
  return bindings.filter(({ key }) => !["Mod-Enter", "Shift-Enter", "Alt-Enter", "Escape"].includes(key));
}
