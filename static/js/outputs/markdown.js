/**
 * Markdown and maths. The rules are those of notebooks_app/markdown_html.py: the same parser, the same allowlist;
 * the server's HTML and ours are compared by tests. Bundles load when the first text needs them.
 */

import { el, textOf } from "./dom.js";

const VENDOR = new URL("../../vendor/", import.meta.url);
const TAGS = ("a abbr b blockquote br code dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img " +
  "kbd li mark ol p pre s small span strong sub summary sup table tbody td th thead tr u ul").split(" ");
/** @type {Record<string, string[]>} */
const ATTRIBUTES = {
  a: ["href", "title"], abbr: ["title"], details: ["open"], img: ["src", "alt", "title", "width", "height"], ol: ["start"],
  td: ["colspan", "rowspan"], th: ["colspan", "rowspan", "scope"],
};
/** @type {Record<string, string[]>} */
const CLASSES = { div: ["math", "block"], span: ["math", "inline"], td: ["is-number", "is-center"], th: ["is-number", "is-center"] };
const SCHEME = /^[a-z][a-z0-9+.-]*:/i;
const LINK = /^(?:https?|mailto):/i;
const PICTURE = /^data:image\/(png|jpeg|gif|webp);/i;
const MATHS_DEPTH = 300;
/** @type {Record<string, string>} */
const ALIGN = { "text-align:right": "is-number", "text-align:center": "is-center" };

/** @type {Promise<{render: (text: string) => DocumentFragment}> | null} */
let loading = null;
/** @type {Promise<any> | null} */
let loadingMaths = null;

/**
 * Markdown as elements that cannot hurt, with its maths set.
 * @param {string} text
 * @returns {Promise<DocumentFragment>}
 */
export async function renderMarkdown(text) {
  const fragment = await parseMarkdown(text);
  await typeset(fragment);
  return fragment;
}

/** Markdown with its maths still as text. @param {string} text */
export async function parseMarkdown(text) {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return (await loading).render(text);
}

/**
 * Sets the maths of every `.math` element below `root` that is still text. Wrong TeX stays as text, in red.
 * @param {ParentNode} root
 */
export async function typeset(root) {
  const elements = /** @type {HTMLElement[]} */ ([...root.querySelectorAll(".math:not([data-ui-set])")]);
  if (!elements.length) return;
  for (const element of elements) element.dataset.uiSet = ""; // before waiting: another call may look meanwhile
  loadingMaths ??= loadMaths();
  const katex = await loadingMaths;
  for (const element of elements) {
    const set = el("span"); // apart from the page, which a tree of any depth would crash when it is laid out
    katex.render((element.textContent ?? "").trim(), set, {
      displayMode: element.classList.contains("block"), throwOnError: false, errorColor: "inherit", strict: "ignore", trust: false,
      maxSize: 50, maxExpand: 500,
    });
    if (isShallow(set)) element.replaceChildren(...set.childNodes);
  }
  for (const element of elements.filter(isTooLong)) element.classList.add("is-long"); // all are set: one layout
}

/** Whether a formula in a line is longer than its line, where it cannot break. @param {HTMLElement} element */
function isTooLong(element) {
  const line = element.closest(".prose");
  return element.classList.contains("inline") && line !== null && element.getBoundingClientRect().width > line.clientWidth;
}

/** Whether a tree is at most MATHS_DEPTH elements deep. Formulas that people write have some fifty. @param {Element} root */
function isShallow(root) {
  let level = [root];
  for (let depth = 0; level.length; depth += 1) {
    if (depth > MATHS_DEPTH) return false;
    level = level.flatMap((one) => [...one.children]);
  }
  return true;
}

/** @param {any} value */
export function drawLatex(value) {
  const text = textOf(value).trim();
  const isInline = text.startsWith("$") && !text.startsWith("$$");
  const tex = text.replace(/^\$+|\$+$/g, "").trim();
  return el("div", { class: "prose" }, el(isInline ? "span" : "div", { class: isInline ? "math inline" : "math block" }, tex));
}

async function loadMaths() {
  const sheet = el("link", { rel: "stylesheet", href: new URL("katex/katex.css", VENDOR).href });
  document.head.append(sheet);
  return (await import(new URL("katex/katex.js", VENDOR).href)).default;
}

async function load() {
  const { MarkdownIt, dollarmathPlugin, DOMPurify } = await import(new URL("markdown.js", VENDOR).href);
  const parser = new MarkdownIt({ html: true, linkify: false, typographer: false });
  parser.use(dollarmathPlugin, { allow_labels: false, allow_space: false, double_inline: true });
  parser.core.ruler.push("alignment_classes", alignmentClasses);
  const purify = DOMPurify(window);
  purify.addHook("uponSanitizeAttribute", keepAttribute);
  purify.addHook("afterSanitizeAttributes", (/** @type {Element} */ node) => {
    if (node.nodeName === "A") node.setAttribute("rel", "noopener noreferrer");
  });
  const options = { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["class", "rel", ...new Set(Object.values(ATTRIBUTES).flat())], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true };
  return { render: (/** @type {string} */ text) => purify.sanitize(parser.render(text), options) };
}

/** A table's alignment as a class: the page's content policy forbids style attributes. @param {any} state */
function alignmentClasses(state) {
  for (const token of state.tokens) {
    const style = token.attrGet("style");
    if (style === null) continue;
    token.attrs = token.attrs.filter((/** @type {[string, string]} */ [name]) => name !== "style");
    if (ALIGN[style]) token.attrSet("class", ALIGN[style]);
  }
}

/** Only the attributes, classes and addresses of the allowlist. @param {Element} node @param {any} event */
function keepAttribute(node, event) {
  const tag = node.nodeName.toLowerCase();
  const name = event.attrName;
  if (name === "class") {
    const kept = event.attrValue.split(/\s+/).filter((/** @type {string} */ word) => CLASSES[tag]?.includes(word));
    event.attrValue = kept.join(" ");
    event.keepAttr = kept.length > 0;
    return;
  }
  event.keepAttr = ATTRIBUTES[tag]?.includes(name) ?? false;
  if (name === "href" || name === "src") {
    const value = event.attrValue.replace(/[\u0000-\u0020]/g, "");
    event.keepAttr &&= !SCHEME.test(value) || LINK.test(value) || (tag === "img" && PICTURE.test(value));
  }
}
