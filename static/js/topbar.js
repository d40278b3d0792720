/**
 * The bar on top: is my text safe, what does the kernel do, who is here, what can be run. It draws from the store and
 * the socket; what its buttons do is in actions.js.
 */

import { h, part, setIcon, setText } from "./dom.js";
import { counted, sizeWords } from "./words.js";

/** People shown before "+2". */
const PEOPLE_SHOWN = 3;
/** A save that takes longer than this is said; a shorter one would only flicker. */
const SAVING_MS = 400;
/** @type {Record<string, string>} */
const KERNEL_ICONS = { starting: "running", running: "running", paused: "clock", dead: "warning" };
/** @type {Record<string, string>} */
const KERNEL_WORDS = { stopped: "Stopped", starting: "Starting", idle: "Idle", running: "Running", paused: "Paused", dead: "Dead" };

/** @param {import("./page.js").Page} page */
export function keepTopbar(page) {
  const { store, socket, editing, runs } = page;
  const saved = () => drawSaved(socket.state, editing.unsaved, editing.stuck);
  let savingTimer = /** @type {any} */ (null);
  editing.addEventListener("unsaved", () => {
    clearTimeout(savingTimer);
    if (editing.unsaved && socket.state === "online") savingTimer = setTimeout(saved, SAVING_MS);
    else saved();
  });
  socket.addEventListener("state", saved);
  store.addEventListener("kernel", () => drawKernel(store));
  store.addEventListener("notebook", () => drawNotebook(store));
  store.addEventListener("people", () => drawPeople(store, page.data.user));
  const drawRuns = () => drawRunButtons(runs.stale.length, store);
  for (const type of ["state", "inserted", "removed", "updated", "reset", "kernel"]) store.addEventListener(type, gathered(drawRuns));
  saved();
  drawKernel(store);
  drawRuns();
}

/** @param {string} state @param {number} unsaved @param {number} stuck */
function drawSaved(state, unsaved, stuck) {
  const { words, title, name, isWarning } = savedWords(state, unsaved, stuck);
  const box = part("saved");
  if (!box) return;
  box.classList.toggle("is-warning", isWarning);
  box.title = title;
  setIcon(box.querySelector("svg"), name);
  setText(part("saved-words", box), words);
}

/**
 * What the bar says about the safety of the text.
 * @param {string} state  of the connection
 * @param {number} unsaved  cells with text that the server lacks
 * @param {number} stuck  those of them that wait for a person
 */
export function savedWords(state, unsaved, stuck = 0) {
  if (state === "online" && !unsaved) return { words: "Saved, online", title: "Every edit is stored. Connected.", name: "saved", isWarning: false };
  if (state === "online" && stuck) {
    return { words: `${counted(stuck, "edit")} not stored`, title: "Kept in this browser: see the notice at the cell.", name: "offline", isWarning: true };
  }
  if (state === "online") return { words: "Saving", title: "Being stored now.", name: "saved", isWarning: false };
  const kept = unsaved ? `, ${counted(unsaved, "edit")} kept here` : "";
  const title = unsaved ? "Kept in this browser and sent when the connection is back." : "Every edit is stored. Not connected.";
  if (state === "connecting") return { words: `Connecting${kept}`, title, name: unsaved ? "offline" : "saved", isWarning: false };
  return { words: `Offline${kept}`, title, name: "offline", isWarning: true };
}

/** @param {import("./store.js").NotebookStore} store */
function drawKernel(store) {
  const box = part("kernel");
  const { state = "stopped", detail = "", cell, memory_bytes: used, limit_bytes: limit } = store.kernel ?? {};
  if (!box) return;
  box.dataset.kernel = state;
  const number = store.number(cell);
  const running = number ? `Running cell ${number}` : "Running";
  setText(part("kernel-words", box), state === "running" ? running : detail || KERNEL_WORDS[state] || state);
  setText(part("kernel-memory", box), used ? `${sizeWords(used)}${limit ? ` of ${sizeWords(limit)}` : ""}` : "");
  const shape = box.querySelector('[data-part="kernel-icon"]');
  shape?.classList.toggle("is-blank", !KERNEL_ICONS[state]);
  if (KERNEL_ICONS[state]) setIcon(shape, KERNEL_ICONS[state]);
}

/** @param {number} stale @param {import("./store.js").NotebookStore} store */
function drawRunButtons(stale, store) {
  const runStale = part("run-stale");
  const stop = part("stop");
  if (runStale instanceof HTMLButtonElement) {
    runStale.disabled = stale === 0;
    runStale.classList.toggle("is-primary", stale > 0);
    setText(part("stale-count", runStale), stale ? String(stale) : "");
  }
  const isBusy = store.cells.some((cell) => cell.state.status !== "idle");
  if (stop instanceof HTMLButtonElement) stop.disabled = !isBusy && store.kernel?.state !== "running";
}

/** @param {import("./store.js").NotebookStore} store */
function drawNotebook({ notebook }) {
  setText(part("name"), notebook.name);
  document.title = `${notebook.name} · Rillbook`;
  const isLazy = notebook.run_mode === "lazy";
  setText(part("run-mode-word"), isLazy ? "Lazy" : "Auto");
  const button = part("run-mode");
  if (!button) return;
  button.dataset.runMode = notebook.run_mode;
  button.title = isLazy ? "Lazy: a run marks what depends on it as stale" : "Auto: a run carries everything that depends on it";
}

/** @param {import("./store.js").NotebookStore} store @param {any} user */
function drawPeople(store, user) {
  const people = [...store.people].sort((one, other) => Number(String(other.id) === String(user?.id)) - Number(String(one.id) === String(user?.id)));
  const shown = people.slice(0, PEOPLE_SHOWN).map((person) => {
    const isMe = String(person.id) === String(user?.id);
    const cells = (person.windows ?? []).flatMap(({ cell }) => store.number(cell) || []).sort((one, other) => one - other);
    const place = cells.length ? `, in cell ${[...new Set(cells)].join(", ")}` : "";
    const label = isMe ? "You" : `${person.name}${place}`;
    return avatar(`person is-${person.color}`, person.initials, label);
  });
  const rest = people.slice(PEOPLE_SHOWN);
  if (rest.length) {
    const names = rest.map((person) => person.name).join(", ");
    shown.push(avatar("person is-more", `+${rest.length}`, `${rest.length} more: ${names}`));
  }
  part("people")?.replaceChildren(...shown);
}

/** @param {string} css @param {string} text @param {string} label */
function avatar(css, text, label) {
  return h("li", {}, h("span", { class: css, role: "img", "aria-label": label, title: label }, text));
}

/**
 * Turns the notebook's name into a field; Enter or leaving keeps the new name, Escape the old one.
 * @param {import("./store.js").NotebookStore} store
 * @param {(name: string) => void} rename
 */
export function renameInPlace(store, rename) {
  const button = part("name");
  if (!button || button.hidden) return;
  const field = /** @type {HTMLInputElement} */ (h("input", { class: "input topbar-name-field", "aria-label": "Name of the notebook", maxlength: 200 }));
  field.value = store.notebook.name;
  let isOver = false;
  const end = (/** @type {boolean} */ keep) => {
    if (isOver) return;
    isOver = true;
    const name = field.value.trim();
    field.remove();
    button.hidden = false;
    if (keep && name && name !== store.notebook.name) rename(name);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.stopPropagation();
    end(event.key === "Enter");
    button.focus();
  });
  field.addEventListener("blur", () => end(true));
  button.hidden = true;
  button.after(field);
  field.focus();
  field.select();
}

/** Calls once a frame, however often it is asked. @param {() => void} act */
export function gathered(act) {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      act();
    });
  };
}

/** Theme buttons of the menu: kept in a cookie, which the server reads. */
export function listenForThemes() {
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-set-theme]") : null;
    if (!(button instanceof HTMLElement)) return;
    const theme = button.dataset.setTheme ?? "system";
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const age = theme === "system" ? 0 : 31_536_000;
    document.cookie = `theme=${theme}; path=/; max-age=${age}; samesite=lax`;
  });
}
