/** Pictures. SVG comes as a picture too, so that it cannot run script. */

import { el, textButton, textOf } from "./dom.js";

const MAX_OF_WINDOW = 0.8;

/**
 * @param {import("./types.js").Output} output
 * @param {string} mime
 */
export function drawImage(output, mime) {
  const data = output.data ?? {};
  const wanted = output.metadata?.[mime] ?? {};
  let size = null;
  let url = output.files?.[mime]?.url;
  if (mime in data) {
    const value = textOf(data[mime]);
    const encoded = mime === "image/svg+xml" ? base64(value) : value.replace(/\s/g, "");
    if (mime === "image/png") size = pngSize(encoded);
    url = `data:${mime};base64,${encoded}`;
  }
  const alt = String(wanted.alt || textOf(data["text/plain"])).trim();
  const given = Number.isInteger(wanted.width) && Number.isInteger(wanted.height);
  const [width, height] = given ? [wanted.width, wanted.height] : (size ?? [null, null]);
  return el("img", {
    class: "output-image", src: url, alt: [...alt].slice(0, 300).join("") || "Picture",
    width: width && height ? width : null, height: width && height ? height : null,
  });
}

/** A picture taller than the window shows is made smaller; a button shows it in full. @param {HTMLElement} element */
export function addFullSize(element) {
  const image = element.querySelector("img");
  if (!image) return;
  const check = () => {
    const column = element.clientWidth || image.naturalWidth;
    const height = image.naturalHeight * Math.min(1, column / (image.naturalWidth || 1));
    if (height <= innerHeight * MAX_OF_WINDOW || element.querySelector(".text-button")) return;
    const button = textButton("Show in full", () => {
      const isFull = image.classList.toggle("is-full");
      button.textContent = isFull ? "Fit to the window" : "Show in full";
    });
    element.append(el("p", { class: "output-more" }, button));
  };
  if (image.complete) check();
  else image.addEventListener("load", check, { once: true });
}

/** Base64 of text's UTF-8 bytes. @param {string} text */
function base64(text) {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

/** Width and height out of a PNG's header. @param {string} value  base64 @returns {[number, number] | null} */
function pngSize(value) {
  try {
    const header = atob(value.slice(0, 32));
    if (!header.startsWith("\x89PNG") || header.length < 24) return null;
    const number = (/** @type {number} */ at) => [...header.slice(at, at + 4)].reduce((sum, char) => sum * 256 + char.charCodeAt(0), 0);
    return [number(16), number(20)];
  } catch {
    return null;
  }
}
