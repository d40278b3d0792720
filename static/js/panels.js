/** The side panel: which part is open (kept in a cookie for the server's first drawing), folded or not. */

const ONE_YEAR_S = 31_536_000;
const OPEN_KEY = "rillbook:panel";
const NARROW = "(max-width: 1180px)";

/** Events: `shown` {name} (a part came into sight). */
export class Panels extends EventTarget {
  /** The part in sight; empty while folded. */
  shown = "";

  constructor() {
    super();
    document.addEventListener("click", (event) => this.#press(event));
    // A window that gets narrow is not covered by the panel; wide again, it has it again
    const narrow = matchMedia(NARROW);
    narrow.addEventListener("change", () => this.show(narrow.matches || this.#isClosed() ? "" : this.#last(), { remember: false }));
    const isFolded = document.documentElement.dataset.uiPanel === "closed" || narrow.matches;
    this.show(isFolded ? "" : this.#last(), { remember: false });
  }

  /** @param {string} name  empty folds the panel @param {{remember?: boolean}} [options] */
  show(name, { remember = true } = {}) {
    this.shown = name;
    for (const tab of document.querySelectorAll("[data-panel]")) {
      tab.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (tab).dataset.panel === name));
    }
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-panel-part]"))) {
      if (name) part.hidden = part.dataset.panelPart !== name;
    }
    document.querySelector(".panel")?.classList.toggle("is-wide", name === "graph");
    document.documentElement.dataset.uiPanel = name ? "open" : "closed";
    if (remember) this.#remember(name);
    if (name) this.dispatchEvent(new CustomEvent("shown", { detail: { name } }));
  }

  #last() {
    return localStorage.getItem(OPEN_KEY) ?? "outline";
  }

  /** Whether the person folded it, as the server is told. */
  #isClosed() {
    return /(^|; )panel=closed/.test(document.cookie);
  }

  /** @param {string} name */
  #remember(name) {
    if (name) localStorage.setItem(OPEN_KEY, name);
    document.cookie = `panel=${name ? "open" : "closed"}; path=/; max-age=${ONE_YEAR_S}; samesite=lax`;
  }

  /** @param {Event} event */
  #press(event) {
    const target = /** @type {Element} */ (event.target);
    const tab = target.closest("[data-panel]");
    if (tab instanceof HTMLElement) this.show(this.shown === tab.dataset.panel ? "" : (tab.dataset.panel ?? ""));
    else if (target.closest("[data-close-panel]")) this.show("");
    else if (target.closest("[data-open-panel]")) this.show(this.shown ? "" : this.#last());
    else if (target.closest(".panel a") && matchMedia(NARROW).matches) this.show("", { remember: false });
  }
}
