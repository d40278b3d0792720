/** Text that grows: streams with their cut middle, and links to all of it. Plain text of results is drawn here too. */

import { ansiNodes, plainStyle } from "./ansi.js";
import { el, grouped, sizeWords, textButton } from "./dom.js";

/** @typedef {import("./types.js").Output} Output */
/** @typedef {import("./types.js").Cut} Cut */

const SHOW_ALL_MAX_BYTES = 8e6; // more is opened on its own: a page with it would be slow

/**
 * One stream item. Appending draws only the last, open line again: whole lines stay as they are.
 */
export class TextView {
  /** @type {string} */ text = "";
  #head = el("div");
  /** @type {ChildNode[]} */ #below = [];
  #settledLength = 0;
  #settledNodes = 0;
  #settledStyle = plainStyle();

  /** @param {HTMLElement} element  the item's `.output-item` */
  constructor(element) {
    this.element = element;
  }

  /** Draws all of it. @param {Output} output */
  set(output) {
    this.name = output.name ?? "stdout";
    this.#head = el("div", { class: this.#css });
    this.element.replaceChildren(this.#head);
    this.#forget();
    this.text = output.text ?? "";
    this.#draw();
    this.setCut(output.cut ?? null, output.files?.["text/plain"]?.url);
  }

  /** text[:from] + text. Who looks at its end goes on looking at it. @param {number} from  in UTF-16 units @param {string} text */
  splice(from, text) {
    const { element } = this;
    const isAtEnd = element.scrollTop + element.clientHeight > element.scrollHeight - 24;
    this.text = this.text.slice(0, from) + text;
    if (from < this.#settledLength) this.#forget();
    this.#draw();
    if (isAtEnd) element.scrollTop = element.scrollHeight;
  }

  /** @param {Cut | null} cut @param {string} [url]  where all of it is */
  setCut(cut, url) {
    for (const node of this.#below) node.remove();
    this.#below = cut ? [cutLine(cut, url), el("div", { class: this.#css }, ansiNodes(cut.tail))] : [];
    this.element.append(...this.#below);
  }

  get #css() {
    return this.name === "stderr" ? "output-text is-stderr" : "output-text";
  }

  #forget() {
    this.#settledLength = 0;
    this.#settledNodes = 0;
    this.#settledStyle = plainStyle();
  }

  #draw() {
    while (this.#head.childNodes.length > this.#settledNodes) this.#head.lastChild?.remove();
    const lines = this.text.lastIndexOf("\n") + 1;
    if (lines > this.#settledLength) {
      this.#head.append(ansiNodes(this.text.slice(this.#settledLength, lines), this.#settledStyle));
      this.#settledLength = lines;
      this.#settledNodes = this.#head.childNodes.length;
    }
    const open = { ...this.#settledStyle, flags: new Set(this.#settledStyle.flags) };
    this.#head.append(ansiNodes(this.text.slice(lines), open));
  }
}

/** @param {Cut} cut @param {string} [url] */
function cutLine(cut, url) {
  const words = `${grouped(cut.omitted_lines)} lines, ${sizeWords(cut.omitted_bytes)} left out`;
  const line = el("p", { class: "output-cut" }, el("span", {}, words));
  if (url) line.append(" ", el("a", { class: "text-button", href: url }, "Show all"));
  return line;
}

/**
 * A MIME type that is in a file, said in words with a link to it.
 * @param {string} mime @param {import("./types.js").OutputFile} file
 */
export function fileLink(mime, file) {
  const words = `${mime}, ${sizeWords(file.size_bytes)}`;
  return el("p", { class: "output-cut" }, el("span", {}, words), " ", el("a", { class: "text-button", href: file.url }, "Show all"));
}

/** @param {string} text */
export function plainText(text) {
  return el("div", { class: "output-text" }, ansiNodes(text));
}

/**
 * Text higher than its box scrolls inside it, and a button opens the box; lines wider than it can be wrapped.
 * @param {HTMLElement} element  the item's `.output-item`
 */
export function boundText(element) {
  const tools = el("p", { class: "output-open" });
  const full = textButton("Show in full height", () => {
    element.classList.add("is-open");
    element.removeAttribute("tabindex");
    full.remove();
  });
  const wrap = textButton("Wrap long lines", () => {
    wrap.textContent = element.classList.toggle("is-wrapped") ? "Do not wrap lines" : "Wrap long lines";
  });
  const observer = new ResizeObserver(() => {
    if (!element.isConnected) return void observer.disconnect();
    const isTall = element.scrollHeight > element.clientHeight + 4 && !element.classList.contains("is-open");
    const isWide = [...element.children].some((child) => child.scrollWidth > child.clientWidth + 1);
    if (isTall && !full.isConnected) {
      element.tabIndex = 0;
      tools.prepend(full);
    }
    if (isWide && !wrap.isConnected) tools.append(wrap);
    if (tools.hasChildNodes() && !tools.isConnected) element.after(tools);
  });
  for (const child of element.children) observer.observe(child);
}

/**
 * Lets "Show all" put the whole text in place of head and tail; what is very large opens on its own as before.
 * @param {HTMLElement} element @param {import("./types.js").OutputFile | undefined} file
 */
export function addShowAll(element, file) {
  const link = element.querySelector(".output-cut a");
  if (!file || !link || file.size_bytes > SHOW_ALL_MAX_BYTES) return;
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const response = await fetch(file.url).catch(() => null);
    if (!response?.ok) return void (link.textContent = "Could not be loaded. Try again");
    const css = element.querySelector(".output-text")?.className ?? "output-text";
    element.replaceChildren(el("div", { class: css }, ansiNodes(await response.text())));
  });
}
