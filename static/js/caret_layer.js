/**
 * Other people's carets and selections in one editor, drawn in layers over and under the text: nothing of the text
 * moves, and screen readers pass them by (the top bar says who is in which cell). Where they are is carets.js's.
 */

import { EditorSelection, RectangleMarker, StateEffect, StateField, layer } from "../vendor/codemirror.js";

/** @typedef {import("../vendor/codemirror.js").EditorView} EditorView */
/** @typedef {{window: string, name: string, color: number | string, anchor: number, head: number}} Caret  in units of the text shown */

/** @type {import("../vendor/codemirror.js").StateEffectType<Caret[]>} */
const setCarets = StateEffect.define();

/** @type {import("../vendor/codemirror.js").StateField<Caret[]>} */
const caretField = StateField.define({
  create: () => /** @type {Caret[]} */ ([]),
  update(carets, { changes, docChanged, effects }) {
    for (const effect of effects) if (effect.is(setCarets)) return effect.value;
    if (!docChanged || !carets.length) return carets;
    return carets.map((caret) => ({ ...caret, anchor: changes.mapPos(caret.anchor, -1), head: changes.mapPos(caret.head, -1) }));
  },
});

/** What an editor needs to show carets of others. */
export function othersCarets() {
  return [
    caretField,
    layer({ above: false, class: "cm-others", update: isChanged, markers: (view) => carets(view).flatMap((caret) => selected(view, caret)) }),
    layer({ above: true, class: "cm-others", update: isChanged, markers: (view) => carets(view).flatMap((caret) => CaretMarker.of(view, caret)) }),
  ];
}

/** Draws these carets and no others. @param {EditorView} view @param {Caret[]} shown */
export function drawCarets(view, shown) {
  const { length } = view.state.doc;
  const inside = shown.map((caret) => ({ ...caret, anchor: Math.min(caret.anchor, length), head: Math.min(caret.head, length) }));
  const before = view.state.field(caretField);
  if (JSON.stringify(before) !== JSON.stringify(inside)) view.dispatch({ effects: setCarets.of(inside) });
}

/** @param {EditorView} view */
function carets(view) {
  return view.state.field(caretField);
}

/** @param {import("../vendor/codemirror.js").ViewUpdate} update */
function isChanged(update) {
  return update.docChanged || update.geometryChanged || update.startState.field(caretField) !== update.state.field(caretField);
}

/** @param {EditorView} view @param {Caret} caret */
function selected(view, { anchor, head, color }) {
  if (anchor === head) return [];
  return RectangleMarker.forRange(view, `cm-other-selection person-${color}`, EditorSelection.range(anchor, head));
}

class CaretMarker {
  /** @param {Caret} caret @param {RectangleMarker} place */
  constructor(caret, place) {
    this.caret = caret;
    this.place = place;
  }

  /** @param {EditorView} view @param {Caret} caret */
  static of(view, caret) {
    const places = RectangleMarker.forRange(view, "", EditorSelection.cursor(caret.head));
    return places.slice(0, 1).map((place) => new CaretMarker(caret, place));
  }

  /** @param {any} other */
  eq(other) {
    return this.caret.window === other.caret.window && this.caret.name === other.caret.name && this.place.eq(other.place);
  }

  draw() {
    const box = document.createElement("div");
    const { name, color, window } = this.caret;
    box.className = `cm-other-caret person-${color}`;
    box.dataset.window = window;
    const flag = document.createElement("span");
    flag.textContent = name;
    box.append(flag);
    const { left, top, height } = this.place;
    Object.assign(box.style, { left: `${left}px`, top: `${top}px`, height: `${height}px` });
    return box;
  }
}
