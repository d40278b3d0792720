/**
 * The theme buttons of every page's menu. The choice is the cookie `theme`, which the server writes into the page, so the
 * first paint is already right.
 */

const YEAR_S = 365 * 24 * 3600;

/** @param {string} theme  system, light or dark */
function choose(theme) {
  const isSystem = theme === "system";
  if (isSystem) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie = `theme=${isSystem ? "" : theme}; path=/; max-age=${isSystem ? 0 : YEAR_S}; samesite=lax`;
  mark();
}

function mark() {
  const now = document.documentElement.dataset.theme ?? "system";
  for (const button of document.querySelectorAll("[data-set-theme]")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("data-set-theme") === now));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-set-theme]") : null;
  if (button) choose(button.getAttribute("data-set-theme") ?? "system");
});
mark();
