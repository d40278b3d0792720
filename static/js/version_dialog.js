/** Dialogs of versions: naming one (Ctrl+S), and looking at one, what changed since, and bringing it back. */

import { h, icon } from "./dom.js";
import { diffLines, differenceWords, fieldWords, momentWords, nameOfNow } from "./history_words.js";
import { newId } from "./ids.js";
import { callApi } from "./rest.js";
import { toast } from "./toasts.js";
import { TYPE_WORDS, counted } from "./words.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {{id: string, name: string, author: string | null, created_at: string, cell_count: number}} Version */

/**
 * Asks for a name and keeps the notebook as it is under it. Enter keeps, Escape does not.
 * @param {Page} page
 */
export function openNaming(page) {
  const suggested = nameOfNow();
  const field = /** @type {HTMLInputElement} */ (h("input", {
    class: "input", id: "version-name", maxlength: 200, autocomplete: "off", placeholder: suggested, "aria-describedby": "version-hint",
  }));
  const said = h("p", { class: "field-error", role: "alert" });
  const save = h("button", { class: "button is-primary", type: "submit" }, "Keep this version");
  const form = h(
    "form",
    { method: "dialog", class: "version-form" },
    h("div", { class: "field" }, h("label", { class: "field-label", for: "version-name" }, "Name"), field,
      h("p", { class: "field-hint", id: "version-hint" }, "Every edit is saved already. A version can be compared with and brought back. Outputs are not part of it.")),
    said,
    h("div", { class: "dialog-foot is-end" }, h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"), save),
  );
  const dialog = openDialog("Name this version", "naming", [form]);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    save.toggleAttribute("disabled", true);
    try {
      const name = field.value.trim() || suggested;
      await sendAll(page);
      await callApi("POST", `${page.data.urls.api}versions/`, { name });
      dialog.close();
      toast(`Version “${name}” is kept.`);
      page.store.dispatchEvent(new CustomEvent("versions"));
    } catch (error) {
      said.textContent = messageOf(error);
      save.toggleAttribute("disabled", false);
      field.focus();
    }
  });
  field.focus();
}

/**
 * Shows a version and what changed since.
 * @param {Page} page
 * @param {Version} version
 */
export async function openVersion(page, version) {
  const body = h("div", { class: "version-body", role: "status" }, h("p", { class: "meta" }, "Comparing with now …"));
  const foot = h("div", { class: "dialog-foot" });
  const about = [version.author, momentWords(version.created_at), counted(version.cell_count, "cell")].filter(Boolean).join(" · ");
  const dialog = openDialog(version.name, "version", [h("p", { class: "version-about" }, about), body, foot]);
  dialog.classList.add("is-wide");
  try {
    const difference = await callApi("GET", `${page.data.urls.api}versions/${version.id}/diff/`);
    const isSame = !["added", "removed", "moved", "changed"].some((part) => difference[part].length);
    body.replaceChildren(h("p", { class: "version-summary" }, differenceWords(difference)), ...sections(difference));
    foot.replaceChildren(...buttons(page, version, dialog, foot, isSame));
  } catch (error) {
    body.replaceChildren(h("p", { class: "field-error" }, messageOf(error)));
  }
}

/**
 * Sends what is typed and not stored yet, so that a version holds it and a restore meets it.
 * @param {Page} page
 */
export async function sendAll({ store, editing }) {
  await Promise.all(store.order.filter((id) => editing.isUnsaved(id)).map((id) => editing.flush(id)));
}

/** What went wrong, for people. @param {unknown} error */
export function messageOf(error) {
  if (error instanceof Error) return error.message;
  throw error;
}

/** @param {string} title @param {string} name @param {Node[]} children */
function openDialog(title, name, children) {
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { class: "dialog", "aria-labelledby": `${name}-title`, "data-ui-dialog": name }));
  const close = h("button", { class: "icon-button", type: "button", "aria-label": "Close", title: "Close", onclick: () => dialog.close() }, icon("close"));
  dialog.append(h("div", { class: "dialog-head" }, h("h2", { id: `${name}-title` }, title), close), ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** @param {any} difference @returns {Node[]} */
function sections({ changed, removed, added, moved }) {
  return [
    section("Changed", changed, changedCell),
    section("Deleted since", removed, (cell) => lineOf(cell, "removed")),
    section("Added since", added, (cell) => lineOf(cell, "added")),
    section("Moved", moved, (cell) => lineOf(cell, "", `was cell ${cell.old_number}`)),
  ].flat();
}

/** @param {string} title @param {any[]} cells @param {(cell: any) => Node} draw @returns {Node[]} */
function section(title, cells, draw) {
  return cells.length ? [h("h3", {}, title), h("ul", { class: "version-cells" }, ...cells.map((cell) => h("li", {}, draw(cell))))] : [];
}

/** @param {any} cell @param {string} css @param {string} [more] */
function lineOf({ number, type, head }, css, more = "") {
  const words = [TYPE_WORDS[type], more].filter(Boolean).join(", ");
  return h("p", { class: `version-line ${css && `is-${css}`}`.trim() }, h("span", { class: "meta" }, `cell ${number}`), h("code", {}, head || "(empty)"), h("span", { class: "meta" }, words));
}

/** @param {any} cell */
function changedCell(cell) {
  const { number, diff, fields, is_cut: isCut, lines_added: added, lines_removed: removed } = cell;
  const counts = added + removed > 0 && h("span", { class: "meta" }, `+${added} −${removed}`);
  const lines = diff ? diffLines(diff).map(diffLine) : [];
  return h(
    "div",
    {},
    h("p", { class: "version-line" }, h("span", { class: "meta" }, `cell ${number}`), h("code", {}, cell.head || "(empty)"), counts),
    ...fieldWords(fields).map((words) => h("p", { class: "version-field" }, words)),
    lines.length > 0 && h("pre", { class: "source diff", tabindex: "0", "aria-label": `What changed in cell ${number}` }, ...lines),
    isCut && h("p", { class: "meta" }, diff ? "The rest is not shown: the texts differ in more than fits here." : "The texts are too long, or too different, to be compared here."),
  );
}

/** @param {import("./history_words.js").DiffLine} line */
function diffLine({ kind, text }) {
  const sign = { added: "+", removed: "−", same: " ", place: "" }[kind];
  return h("span", { class: `line is-${kind}` }, kind !== "place" && h("span", { class: "sign" }, sign), text);
}

/** @param {Page} page @param {Version} version @param {HTMLDialogElement} dialog @param {HTMLElement} foot @param {boolean} isSame @returns {Node[]} */
function buttons(page, version, dialog, foot, isSame) {
  const close = h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Close");
  const remove = page.data.user?.role === "owner" && h("button", { class: "button is-danger", type: "button", onclick: () => ask(deleting) }, "Delete …");
  const restore = page.may("edit") && !isSame && h("button", { class: "button is-primary", type: "button", onclick: () => ask(restoring) }, "Restore …");
  const deleting = { words: "The notebook keeps what it has; this version is gone for good.", label: "Delete the version", act: () => removeVersion(page, version) };
  const restoring = { words: "The cells become what they were. What is there now is kept as a version first.", label: "Restore", act: () => restoreVersion(page, version) };
  const ask = (/** @type {typeof deleting} */ { words, label, act }) => {
    const yes = h("button", { class: "button is-primary", type: "button", onclick: () => (dialog.close(), act()) }, label);
    const no = h("button", { class: "button", type: "button", onclick: () => foot.replaceChildren(...present) }, "Cancel");
    foot.replaceChildren(h("p", { class: "version-ask" }, words), h("span", { class: "version-buttons" }, no, yes));
    yes.focus();
  };
  const present = /** @type {Node[]} */ ([remove || h("span"), h("span", { class: "version-buttons" }, close, restore)]);
  return present;
}

/** @param {Page} page @param {Version} version */
async function restoreVersion(page, version) {
  const operation = newId();
  try {
    await sendAll(page);
    await callApi("POST", `${page.data.urls.api}versions/${version.id}/restore/`, { operation_id: operation });
    page.structure.did(operation);
    toast(`“${version.name}” is restored.`, { label: "Undo", key: "Z", act: () => page.structure.undo() });
  } catch (error) {
    toast(messageOf(error));
  }
  page.store.dispatchEvent(new CustomEvent("versions"));
}

/** @param {Page} page @param {Version} version */
async function removeVersion(page, version) {
  try {
    await callApi("DELETE", `${page.data.urls.api}versions/${version.id}/`);
    toast(`The version “${version.name}” was deleted.`);
  } catch (error) {
    toast(messageOf(error));
  }
  page.store.dispatchEvent(new CustomEvent("versions"));
}
