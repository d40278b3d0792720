/**
 * What is pressed before the notebook page's scripts are up: kept, shown as pressed, and pressed again once they are.
 * A plain script in the head, so that it listens from the first moment; notebook.js takes it from there.
 */
(() => {
  /** @type {HTMLElement | null} */
  let pressed = null;
  const root = document.documentElement;

  /** @param {MouseEvent} event */
  const keep = (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-action]") : null;
    if (!(button instanceof HTMLElement)) return;
    event.preventDefault();
    pressed?.classList.remove("is-pending");
    pressed = button;
    pressed.classList.add("is-pending");
  };
  document.addEventListener("click", keep, { capture: true });
  root.addEventListener("rill:ready", () => {
    document.removeEventListener("click", keep, { capture: true });
    pressed?.classList.remove("is-pending");
    if (pressed?.isConnected) pressed.click();
  }, { once: true });
})();
