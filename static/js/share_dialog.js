/**
 * The Share dialog: people by name with their role, links with role, end and revocation. For the owner; the rules are the
 * server's (members.py, sharing.py).
 */

import { h, icon } from "./dom.js";
import { callApi } from "./rest.js";
import { toast } from "./toasts.js";
import { messageOf } from "./version_dialog.js";
import { counted } from "./words.js";

/** @typedef {import("./page.js").Page} Page */

const ROLES = [["viewer", "Viewer: reads"], ["runner", "Runner: also runs"], ["editor", "Editor: also edits"]];
const ENDS = [["", "No end"], ["1", "1 day"], ["7", "7 days"], ["30", "30 days"], ["365", "1 year"]];
const DAY_MS = 86_400_000;

/** @param {Page} page */
export function openShare(page) {
  const api = page.data.urls.api;
  const body = h("div", { class: "share-body" });
  const said = h("p", { class: "field-error", role: "alert" });
  const close = h("button", { class: "icon-button", type: "button", "aria-label": "Close", title: "Close", onclick: () => dialog.close() }, icon("close"));
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { class: "dialog", "aria-labelledby": "share-title", "data-ui-dialog": "share" },
    h("div", { class: "dialog-head" }, h("h2", { id: "share-title" }, "Share"), close), said, body));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();

  /** Does one thing, then draws what the server says there is. @param {() => Promise<any>} act */
  const after = async (act) => {
    said.textContent = "";
    try {
      await act();
      const [people, { links }] = await Promise.all([callApi("GET", `${api}members/`), callApi("GET", `${api}links/`)]);
      body.replaceChildren(...peoplePart(people, api, after), ...linksPart(links, api, after));
    } catch (error) {
      said.textContent = messageOf(error);
    }
  };
  after(async () => {});
}

/** @param {{owner: any, members: any[]}} people @param {string} api @param {(act: () => Promise<any>) => void} after @returns {Node[]} */
function peoplePart({ owner, members }, api, after) {
  const who = field("share-user", "Username or e-mail address", { autocomplete: "off" });
  const role = choice("Role of the person", ROLES);
  const add = h("form", { class: "share-add" }, who, role, h("button", { class: "button is-primary", type: "submit" }, "Add"));
  add.addEventListener("submit", (event) => {
    event.preventDefault();
    after(() => callApi("POST", `${api}members/`, { user: who.value.trim(), role: role.value }));
  });
  const rows = members.map((member) => {
    const at = `${api}members/${member.user}/`;
    const chosen = choice(`Role of ${member.name}`, ROLES, member.role);
    chosen.classList.add("role");
    chosen.addEventListener("change", () => after(() => callApi("PATCH", at, { role: chosen.value })));
    const remove = h("button", { class: "icon-button", type: "button", "aria-label": `Remove ${member.name}`, title: "Remove", onclick: () => after(() => callApi("DELETE", at)) }, icon("close"));
    const about = member.by_link ? `${member.username}, by a link` : member.username;
    return h("li", {}, h("div", { class: "who" }, member.name, h("span", {}, about)), chosen, remove);
  });
  const own = h("li", {}, h("div", { class: "who" }, owner.name, h("span", {}, owner.username)), h("span", { class: "role" }, "Owner"));
  return [h("h3", {}, "People"), add, h("ul", { class: "share-list", "aria-label": "People" }, own, ...rows)];
}

/** @param {any[]} links @param {string} api @param {(act: () => Promise<any>) => void} after @returns {Node[]} */
function linksPart(links, api, after) {
  const role = choice("Role of the link", [["guest", "Anyone reads, without an account"], ...ROLES]);
  const end = choice("End of the link", ENDS, "7");
  const made = h("div", { class: "share-made", role: "status" });
  const make = h("form", { class: "share-add" }, role, end, h("button", { class: "button is-primary", type: "submit" }, "Make a link"));
  make.addEventListener("submit", async (event) => {
    event.preventDefault();
    const isGuest = role.value === "guest";
    const expires_at = end.value ? new Date(Date.now() + Number(end.value) * DAY_MS).toISOString() : null;
    let url = "";
    await after(async () => {
      ({ url } = await callApi("POST", `${api}links/`, { role: isGuest ? "viewer" : role.value, allows_guests: isGuest, expires_at }));
    });
    if (url) showMade(url);
  });
  const rows = links.map((link) => {
    const at = `${api}links/${link.id}/`;
    const revoke = h("button", { class: "button is-small is-danger", type: "button", onclick: () => after(() => callApi("DELETE", at)) }, "Revoke");
    return h("li", {}, h("div", { class: "who" }, link.name || linkWords(link), h("span", {}, aboutLink(link))), revoke);
  });
  return [h("h3", {}, "Links"), make, made, h("ul", { class: "share-list", "aria-label": "Links" }, ...rows)];
}

/** The one time that a link's text is there to be copied. @param {string} url */
function showMade(url) {
  const box = document.querySelector(".share-made");
  const text = field("share-url", "The new link", { readonly: true });
  text.value = url;
  const copy = () => navigator.clipboard.writeText(url).then(() => toast("The link is copied."), () => text.select());
  box?.replaceChildren(
    h("p", { class: "field-hint" }, "Copy it now: only a fingerprint of it is kept, so that it cannot be shown again."),
    h("div", { class: "share-add" }, text, h("button", { class: "button", type: "button", onclick: copy }, icon("copy"), "Copy")),
  );
  text.select();
}

/** @param {{role: string, allows_guests: boolean}} link */
export function linkWords({ role, allows_guests: isOpen }) {
  return isOpen ? "Anyone with the link reads" : `People with an account: ${role}`;
}

/** @param {{expires_at: string | null, is_expired: boolean, uses: number}} link */
export function aboutLink({ expires_at: end, is_expired: isOver, uses }) {
  const words = end ? `${isOver ? "ended" : "ends"} ${new Date(end).toLocaleDateString()}` : "no end";
  return `${words}, opened ${counted(uses, "time")}`;
}

/** @param {string} id @param {string} label @param {Record<string, any>} more */
function field(id, label, more) {
  return /** @type {HTMLInputElement} */ (h("input", { class: "input", id, "aria-label": label, placeholder: label, required: true, maxlength: 254, ...more }));
}

/** @param {string} label @param {string[][]} options @param {string} [value] */
function choice(label, options, value) {
  const made = h("select", { class: "input", "aria-label": label }, ...options.map(([key, words]) => h("option", { value: key, selected: key === value }, words)));
  return /** @type {HTMLSelectElement} */ (made);
}
