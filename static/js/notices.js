/**
 * Notices: decisions and news that stay until they are dealt with, above the cells or under the one they are about.
 * Which ones there are is decided by those who call; the offline banner and the dead kernel are at home here.
 */

import { h, icon, part } from "./dom.js";

/**
 * @typedef {object} Notice
 * @property {string} id  one with the same id is replaced
 * @property {string} [css]
 * @property {string} icon
 * @property {string} title
 * @property {string} text
 * @property {Node} [body]
 * @property {{label: string, isPrimary?: boolean, act: () => void}[]} actions  each closes the notice
 * @property {Element} [after]  the element it stands after; else it stands above the cells
 */

/** Shows a notice. @param {Notice} given @returns {HTMLElement} */
export function notice({ id, css = "", icon: name, title, text, body, actions, after }) {
  closeNotice(id);
  const buttons = actions.map(({ label, isPrimary, act }) =>
    h("button", { class: isPrimary ? "button is-primary" : "button", type: "button", onclick: () => (closeNotice(id), act()) }, label),
  );
  const element = h(
    "div",
    { class: `notice ${css}`.trim(), role: "alert", "data-ui-notice": id },
    icon(name),
    h("div", {}, h("h3", {}, title), text && h("p", {}, text), body, buttons.length > 0 && h("div", { class: "actions" }, ...buttons)),
  );
  if (after) after.after(element);
  else part("notices")?.append(element);
  return element;
}

/** @param {string} id */
export function closeNotice(id) {
  document.querySelector(`[data-ui-notice="${CSS.escape(id)}"]`)?.remove();
}

/**
 * Says that a kernel died, in the server's words, with one button to go on.
 * @param {import("./store.js").NotebookStore} store
 * @param {import("./runs.js").Runs} runs
 */
export function watchKernel(store, runs) {
  const draw = () => {
    const { state, detail, cell } = store.kernel ?? {};
    if (state !== "dead") {
      closeNotice("kernel");
      return;
    }
    const number = store.number(cell);
    const resume = { label: `Restart and run up to cell ${number}`, isPrimary: true, act: () => runs.resume(cell ?? "") };
    const restart = { label: number ? "Restart only" : "Restart", isPrimary: !number, act: () => runs.restart() };
    notice({
      id: "kernel",
      icon: /memory/i.test(detail) ? "memory" : "warning",
      title: detail || "The kernel ended",
      text: "Sources and outputs are safe; variables are gone.",
      actions: number ? [resume, restart] : [restart],
    });
  };
  store.addEventListener("kernel", draw);
  draw();
}

/**
 * The banner that stays while there is no connection.
 * @param {import("./socket.js").NotebookSocket} socket
 * @param {import("./editing.js").Editing} editing
 */
export function watchConnection(socket, editing) {
  const words = h("span");
  const retry = h("button", { class: "button is-small is-outlined", type: "button", onclick: () => socket.retry() }, "Try now");
  const banner = h("div", { class: "banner", role: "status", "data-ui-banner": "offline" }, icon("offline"), words, h("span", { class: "actions" }, retry));
  /** @type {any} */
  let timer = null;
  const draw = () => {
    const seconds = Math.round((Date.now() - (socket.offlineSince ?? Date.now())) / 1000);
    const kept = editing.unsaved;
    const rest = kept ? ` ${kept === 1 ? "1 edit is" : `${kept} edits are`} kept in this browser and sent when the connection is back.` : "";
    words.replaceChildren(h("strong", {}, `Offline for ${seconds} s.`), ` You can go on typing.${rest}`);
  };
  socket.addEventListener("state", () => {
    clearInterval(timer);
    banner.remove();
    if (socket.state === "closed") showEnded();
    if (socket.state !== "offline") return;
    timer = setInterval(() => {
      if (Date.now() - (socket.offlineSince ?? 0) < 2_000) return;
      draw();
      if (!banner.isConnected) part("banners")?.append(banner);
    }, 1_000);
  });
}

function showEnded() {
  notice({
    id: "ended",
    css: "is-warning",
    icon: "warning",
    title: "This notebook is no longer open to you",
    text: "You were signed out, or your access ended. What you typed and was not stored is kept in this browser.",
    actions: [{ label: "Reload", isPrimary: true, act: () => location.reload() }],
  });
}
