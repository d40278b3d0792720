/** The notebook page: makes the parts and joins them. What each does is in its own module. */

import { perform } from "./actions.js";
import { Announcer } from "./announce.js";
import { listenForPresses } from "./buttons.js";
import { Carets } from "./carets.js";
import { CellOutputs } from "./cell_output.js";
import { CellList } from "./cells.js";
import { listenForConflicts } from "./conflicts.js";
import { part } from "./dom.js";
import { listenForDrags } from "./drag.js";
import { Drafts } from "./drafts.js";
import { Editing } from "./editing.js";
import { Editors } from "./editors.js";
import { fillFarCells } from "./far.js";
import { keepGraph } from "./graph.js";
import { keepHistory } from "./history.js";
import { listenForInput } from "./input.js";
import { KeyTable, listenForKeys } from "./keys.js";
import { watchConnection, watchKernel } from "./notices.js";
import { keepOutline } from "./outline.js";
import { Page, mayDo } from "./page.js";
import { Panels } from "./panels.js";
import { tellPresence } from "./presence.js";
import { keepRole } from "./roles.js";
import { Runs } from "./runs.js";
import { Selection } from "./selection.js";
import { keepSliders } from "./sliders.js";
import { NotebookSocket } from "./socket.js";
import { NotebookStore } from "./store.js";
import { Structure } from "./structure.js";
import { Texts } from "./texts.js";
import { tick } from "./ticker.js";
import { keepTopbar, listenForThemes } from "./topbar.js";
import { keepVariables } from "./variables.js";

/** What was pressed early (static/early.js) waits for the connection this long at most. */
const EARLY_MS = 3_000;

start();

function start() {
  const data = /** @type {import("./types.js").PageData} */ (JSON.parse(document.getElementById("page-data")?.textContent ?? "{}"));
  const root = /** @type {HTMLElement} */ (part("cells"));
  const store = new NotebookStore(data);
  const socket = new NotebookSocket(socketUrl(data), { hello: () => ({ cursor: store.seq, role: data.user?.role }) });
  const list = new CellList(root, store);
  const texts = new Texts(store, socket);
  const editing = new Editing(store, socket, new Drafts(data.notebook.id), texts, data.urls.api);
  const outputs = new CellOutputs(store, list, socket, data.urls.frame);
  const editors = new Editors({ store, list, editing, socket }, { nonce: nonce(), readOnly: !mayDo(data, "edit") });
  const selection = new Selection(store, list, editors, texts);
  const structure = new Structure({ store, socket, editing, editors, selection, texts });
  const runs = new Runs(store, socket, editing);
  const page = new Page({ store, socket, list, editing, editors, selection, structure, runs, texts, data });

  joinStore(store, socket, editing);
  joinCells(page, root);
  joinPanels(page);
  listenForKeys(new KeyTable(page.actions), {
    isAsking: () => editors.get(editors.focused)?.isAsking ?? false,
    isMuted: () => selection.isMuted,
    perform: (action) => perform(action, page),
  });
  keepTopbar(page);
  keepRole(page);
  listenForThemes();
  watchKernel(store, runs);
  watchConnection(socket, editing);
  new Carets(page);
  tellPresence(page);
  keepSliders(page);
  new Announcer(store, socket);

  outputs.hydrate();
  editors.hydrate();
  for (const view of list.views) view.localiseTimes();
  socket.connect();
  editing.adoptDrafts();
  document.documentElement.dataset.uiReady = "true";
  const patience = new Promise((resolve) => setTimeout(resolve, EARLY_MS));
  Promise.race([socket.online(), patience]).then(() => document.documentElement.dispatchEvent(new Event("rill:ready")));
}

/** @param {NotebookStore} store @param {NotebookSocket} socket @param {Editing} editing */
function joinStore(store, socket, editing) {
  socket.addEventListener("frame", (event) => store.receive(/** @type {CustomEvent} */ (event).detail));
  store.addEventListener("gap", () => socket.resynchronise());
  store.addEventListener("reload", () => location.reload());
  store.addEventListener("unknown-text", async (event) => {
    const { cell } = /** @type {CustomEvent} */ (event).detail;
    const reply = await socket.request("cells", { cells: [cell] }).catch(() => null);
    if (reply) store.fill(reply.cells);
  });
  window.addEventListener("online", () => socket.retry());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && socket.retry());
  window.addEventListener("beforeunload", (event) => {
    if (editing.unsaved && socket.state !== "online") event.preventDefault();
  });
}

/** @param {Page} page @param {HTMLElement} root */
function joinCells(page, root) {
  const { store, socket, list, selection, structure, runs, editors } = page;
  listenForPresses(page);
  listenForConflicts(page);
  listenForDrags(root, list, selection, structure);
  listenForInput(store, list, socket, () => page.may("run"));
  fillFarCells(list, store, socket);
  store.addEventListener("state", () => tick(root));
  tick(root);
  selection.addEventListener("left", (event) => {
    const { cell } = /** @type {CustomEvent} */ (event).detail;
    editors.showProse(cell);
    if (page.may("run")) runs.leave(cell);
  });
}

/** @param {Page} page */
function joinPanels(page) {
  const { store, socket, selection } = page;
  const panels = (page.panels = new Panels());
  keepOutline(store, selection, panels);
  keepVariables(store, socket, panels);
  keepGraph(store, selection, panels);
  keepHistory(page, panels);
}

/** @param {import("./types.js").PageData} data */
function socketUrl(data) {
  const url = new URL(data.urls.socket ?? `/ws/notebooks/${data.notebook.id}/`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : url.protocol === "http:" ? "ws:" : url.protocol;
  return url.href;
}

/** @returns {string} */
function nonce() {
  const entry = document.querySelector("script[data-entry]");
  return entry instanceof HTMLScriptElement ? (entry.nonce ?? "") : "";
}
