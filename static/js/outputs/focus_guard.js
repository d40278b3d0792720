/**
 * Whose the keyboard is: a frame may take it whenever it likes, and browsers let it. So whoever writes in the page keeps it,
 * unless they pressed Tab or moved the pointer onto that frame and have typed nothing since.
 */

const TAB_MS = 500;
/** The focus leaves an element and the window at once; the window alone is left for other windows, too. */
const AT_ONCE_MS = 100;

/** @param {(frame: HTMLIFrameElement, from: HTMLElement) => void} onTaken  hears which frame took it, from where */
export function guardFocus(onTaken) {
  /** @type {{element: Element | null, at: number}} */ let left = { element: null, at: -Infinity };
  /** @type {Element | null} */ let pointed = null;
  let pointer = "";
  let tabAt = -Infinity;

  addEventListener("keydown", (event) => {
    pointed = null;
    if (event.key === "Tab" && !event.defaultPrevented) tabAt = performance.now();
  });
  // A frame that grows until it lies below the pointer is not pointed at: the pointer has not moved.
  const look = (/** @type {PointerEvent} */ event) => {
    const place = `${event.screenX} ${event.screenY}`;
    if (event.type === "pointerover") pointed = place === pointer ? null : /** @type {Element} */ (event.target);
    pointer = place;
  };
  addEventListener("pointerover", look, { capture: true, passive: true });
  addEventListener("pointermove", look, { capture: true, passive: true });
  addEventListener("focusout", ({ target }) => (left = { element: /** @type {Element} */ (target), at: performance.now() }), true);
  addEventListener("blur", () => {
    const [frame, { element, at }, now] = [document.activeElement, left, performance.now()];
    if (!(frame instanceof HTMLIFrameElement) || !isWritten(element) || now - at > AT_ONCE_MS) return;
    // Later: while the focus is on its way it cannot be sent back.
    if (frame !== pointed && now - tabAt > TAB_MS) setTimeout(() => onTaken(frame, element));
  });
}

/** @param {Element | null} element @returns {element is HTMLElement} */
function isWritten(element) {
  return element instanceof HTMLElement && (element.isContentEditable || element.matches("input, textarea, select"));
}
