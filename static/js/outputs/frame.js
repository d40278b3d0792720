/**
 * Output that runs script (HTML, JavaScript, Plotly, Vega): in a sandboxed frame without our origin.
 *
 * One static document (templates/frame.html, static/frame/frame.js) is loaded for each; data goes in by postMessage, and
 * only messages of that very window are heard. What comes out of it is not believed: a height is bounded, a link is shown and
 * opened by the reader, a picture is saved only when asked for here; each is heeded so often a second, and a frame that
 * floods the page is ended.
 */

import { el, textButton } from "./dom.js";
import { guardFocus } from "./focus_guard.js";
import { Burst, Pace } from "./pace.js";
import { save } from "./table_tools.js";

/** @typedef {import("./types.js").Output} Output */

const MAX_OF_WINDOW = 0.8;
const MAX_HEIGHT_PX = 20_000;
const RESIZES_A_SECOND = 30;
const WORDS_A_SECOND = 10;
/** A value may be large, and a frame that leads itself elsewhere and back needs it anew. */
const VALUES_A_SECOND = 1;
/** Beyond this the page does little else. What an animated frame sends while the page is busy for half a minute is less. */
const FLOOD_A_SECOND = 2_000;
/** Beyond this no reader asked for the keyboard. */
const THEFTS_A_SECOND = 2;
const HREF_CHARACTERS = 8_000;
const EXPORT_TIMEOUT_MS = 10_000;
const EXPORT_TYPES = /** @type {Record<string, string>} */ ({ png: "image/png", svg: "image/svg+xml" });
const TOKENS = ["color-page", "color-text", "color-text-muted", "color-accent", "color-line", "color-line-strong", "color-sunken", "color-hover",
  "chart-1", "chart-2", "chart-3", "chart-4", "chart-5", "chart-6", "chart-7", "chart-grid", "chart-axis", "font-text", "font-code"];

/** @type {Set<OutputFrame>} */
const frames = new Set();

/** One framed output. It listens until it leaves the page. */
export class OutputFrame {
  #isReady = false;
  #isShownInFull = false;
  #height = 0;
  #asked = "";
  #mayFocus = false;
  #heard = new Burst(FLOOD_A_SECOND);
  #thefts = new Burst(THEFTS_A_SECOND);
  /** @type {{mime: string, value: any} | null} */ #content = null;
  /** By the type of message. @type {Map<string, Pace<any>>} */
  #paces = new Map([
    ["ready", new Pace(VALUES_A_SECOND, () => this.#begin())],
    ["height", new Pace(RESIZES_A_SECOND, ({ height }) => this.#setHeight(height))],
    ["link", new Pace(WORDS_A_SECOND, ({ href }) => this.#offerLink(href))],
    ["note", new Pace(WORDS_A_SECOND, ({ text }) => this.#note(text))],
  ]);

  /**
   * @param {HTMLElement} element  the `.output-frame` to fill
   * @param {string} mime
   * @param {import("./types.js").Context} context
   */
  constructor(element, mime, context) {
    this.element = element;
    this.mime = mime;
    this.iframe = el("iframe", { sandbox: "allow-scripts", title: titleOf(mime), loading: "lazy", src: context.frameUrl, referrerpolicy: "no-referrer" });
    this.more = el("p", { class: "output-more", hidden: true });
    this.notes = el("div", { class: "output-notes", role: "status" });
    const parts = [this.iframe, this.more, this.notes];
    if (isChart(mime)) parts.push(this.#tools());
    element.replaceChildren(...parts);
    watch();
    frames.add(this);
  }

  /** Draws a value; the frame may still be loading. @param {string} mime @param {any} value */
  render(mime, value) {
    this.#content = { mime, value };
    if (this.#isReady) this.post({ type: "render", ...this.#content, theme: theme() });
  }

  /** @param {Record<string, any>} message */
  post(message) {
    // "*": the frame has an origin of its own that has no name; it holds nothing but this output
    this.iframe.contentWindow?.postMessage(message, "*");
  }

  /** A message of our window, which content can forge too. @param {any} message */
  receive(message) {
    if (this.#heard.isOver()) this.#end("it sent more messages than the page can read.");
    if (message === null || typeof message !== "object") return;
    if (message.type === "exported") this.#save(message);
    else this.#paces.get(message.type)?.ask(message);
  }

  #begin() {
    this.#isReady = true;
    if (this.#content) this.render(this.#content.mime, this.#content.value);
  }

  /** The frame took the keyboard, unasked: it goes back to where somebody wrote. @param {HTMLElement} from */
  tookFocus(from) {
    if (this.#mayFocus) return;
    from.focus({ preventScroll: true });
    if (this.#thefts.isOver()) this.#end("it took the keyboard again and again.");
    else this.#offerFocus();
  }

  #offerFocus() {
    const give = textButton("Give it", () => {
      this.#mayFocus = true;
      this.notes.replaceChildren();
      this.iframe.focus();
    });
    this.notes.replaceChildren(el("p", { class: "cell-note" }, el("span", {}, "This output asked for the keyboard. "), give));
  }

  /** @param {string} why */
  #end(why) {
    frames.delete(this);
    this.iframe.remove();
    this.#note(`This output was ended: ${why}`);
  }

  #tools() {
    const tools = el("p", { class: "output-tools" });
    for (const format of ["png", "svg"]) {
      const button = textButton(format.toUpperCase(), () => {
        this.#asked = `${format}:${crypto.randomUUID()}`;
        const asked = this.#asked;
        this.post({ type: "export", format, id: asked });
        setTimeout(() => asked === this.#asked && (this.#asked = ""), EXPORT_TIMEOUT_MS);
      });
      button.title = `Download as ${format.toUpperCase()}`;
      tools.append(button);
    }
    return tools;
  }

  /** @param {unknown} height  in CSS pixels, as the frame measured itself */
  #setHeight(height) {
    if (typeof height !== "number" || !Number.isFinite(height) || height < 0) return;
    this.#height = Math.min(Math.ceil(height), MAX_HEIGHT_PX);
    this.#fit();
  }

  #fit() {
    const limit = Math.round(innerHeight * MAX_OF_WINDOW);
    const isClipped = this.#height > limit;
    this.iframe.style.height = `${this.#isShownInFull ? this.#height : Math.min(this.#height, limit)}px`;
    this.element.classList.add("is-drawn");
    this.more.hidden = !isClipped;
    if (!isClipped || this.more.firstChild) return;
    const button = textButton("Show in full", () => {
      this.#isShownInFull = !this.#isShownInFull;
      button.textContent = this.#isShownInFull ? "Fit to the window" : "Show in full";
      this.#fit();
    });
    this.more.append(button);
  }

  /** A link pressed inside is opened by a second press, on its true address. @param {unknown} href */
  #offerLink(href) {
    if (typeof href !== "string" || href.length > HREF_CHARACTERS || !/^(https?|mailto):/i.test(href)) return;
    const link = el("a", { href, target: "_blank", rel: "noopener noreferrer" }, href.slice(0, 200));
    this.notes.replaceChildren(el("p", { class: "cell-note" }, el("span", {}, "Open ", link)));
  }

  /** @param {unknown} text */
  #note(text) {
    if (typeof text !== "string") return;
    this.notes.replaceChildren(el("p", { class: "cell-note" }, el("span", {}, text.slice(0, 300))));
  }

  /** @param {any} message */
  #save(message) {
    const format = this.#asked.split(":")[0];
    if (!this.#asked || message.id !== this.#asked || !(message.data instanceof ArrayBuffer)) return;
    this.#asked = "";
    save(new Blob([message.data], { type: EXPORT_TYPES[format] }), `chart.${format}`);
  }
}

/** @param {string} mime */
export function isChart(mime) {
  return mime.startsWith("application/vnd.plotly") || mime.startsWith("application/vnd.vega");
}

/** @param {string} mime */
function titleOf(mime) {
  return isChart(mime) ? "Chart" : "Output";
}

/** The tokens' values now, and whether they are for a dark page. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const probe = document.body.appendChild(el("span", { hidden: true }));
  /** @type {Record<string, string>} */
  const tokens = {};
  for (const name of TOKENS) {
    const raw = style.getPropertyValue(`--${name}`).trim();
    probe.style.color = "";
    if (name.startsWith("font")) tokens[name] = raw;
    else {
      probe.style.color = `var(--${name})`;
      tokens[name] = getComputedStyle(probe).color;
    }
  }
  probe.remove();
  return { scheme: isDark() ? "dark" : "light", tokens };
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

let isWatching = false;

/** One listener for all frames: messages, and changes of the theme. */
function watch() {
  if (isWatching) return;
  isWatching = true;
  addEventListener("message", (event) => {
    for (const frame of frames) {
      if (!frame.element.isConnected) frames.delete(frame);
      else if (event.source !== null && event.source === frame.iframe.contentWindow) return frame.receive(event.data);
    }
  });
  guardFocus((iframe, from) => [...frames].find((frame) => frame.iframe === iframe)?.tookFocus(from));
  const tell = () => {
    const now = theme();
    for (const frame of frames) frame.post({ type: "theme", theme: now });
  };
  new MutationObserver(tell).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
}
