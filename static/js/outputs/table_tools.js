/** What one does with a table: sort, search, page, copy, download. The rows come from the kernel, a page at a time. */

import { el, grouped, icon, iconButton } from "./dom.js";
import { tableCounts, tableElement } from "./table.js";

/** @typedef {import("./types.js").Table} Table */

const SEARCH_PAUSE_MS = 250;
const CHUNK_ROWS = 5_000;
const DOWNLOAD_MAX_ROWS = 200_000;
const GONE = "The dataframe is no longer in the kernel: run the cell again to sort, search or page.";

/** Adds tools to one drawn table. */
export class TableTools {
  #search = "";
  #asked = 0;
  #pause = 0;

  /**
   * @param {HTMLElement} element  the `.table-wrap`
   * @param {Table} table
   * @param {{cell: string, item: number}} place
   * @param {import("./types.js").Context} context
   */
  constructor(element, table, place, context) {
    this.element = element;
    this.table = table;
    this.place = place;
    this.context = context;
    this.limit = table.page_size ?? Math.max(table.rows.length, 1);
    this.foot = /** @type {HTMLElement} */ (element.querySelector(".table-foot"));
    this.previous = iconButton("left", "Previous page", () => this.#turn(-1));
    this.next = iconButton("right", "Next page", () => this.#turn(1));
    this.where = el("span", { role: "status" });
    this.pages = el("span", { class: "pages" }, this.previous, this.where, this.next);
    this.tools = el("span", { class: "tools" });
    this.foot.append(this.tools);
    this.message = el("span", { class: "table-message", role: "status" });
    this.foot.append(this.message);
    if (this.canAsk) this.tools.append(iconButton("search", "Search in the table", () => this.#openSearch()));
    this.tools.append(iconButton("copy", "Copy the rows shown", () => this.#copy()));
    this.tools.append(iconButton("download", "Download as CSV", () => this.#download()), this.pages);
    this.#refresh();
  }

  get canAsk() {
    return Boolean(this.context.table && this.table.handle);
  }

  /** Heads become buttons, the foot says where we are. */
  #refresh() {
    if (this.canAsk) this.#sortButtons();
    const { row_count: rows, offset = 0 } = this.table;
    const counts = this.foot.querySelector(".table-counts");
    const isPaged = this.canAsk && rows > this.limit;
    if (counts) counts.textContent = isPaged ? tableCounts({ ...this.table, rows: [] }) : tableCounts(this.table);
    this.pages.hidden = !isPaged;
    if (!isPaged) return;
    const page = Math.floor(offset / this.limit);
    const last = Math.ceil(rows / this.limit) - 1;
    // disabled only for those who ask: a button that turns disabled loses the focus
    this.previous.setAttribute("aria-disabled", String(page === 0));
    this.next.setAttribute("aria-disabled", String(page >= last));
    this.where.textContent = `Page ${grouped(page + 1)} of ${grouped(last + 1)}`;
  }

  /** @param {number} step  in pages */
  #turn(step) {
    const offset = (this.table.offset ?? 0) + step * this.limit;
    if (offset >= 0 && offset < this.table.row_count) this.#ask({ offset });
  }

  #sortButtons() {
    for (const th of this.element.querySelectorAll("thead th:not(.is-index)")) {
      const name = th.querySelector(".table-name");
      if (!name) continue;
      const column = name.textContent ?? "";
      const order = th.getAttribute("aria-sort");
      const sorted = order === "descending" ? "down" : order === "ascending" ? "up" : null;
      const button = el("button", { class: "table-sort", type: "button", "data-sorted": sorted }, column, icon(sorted === "up" ? "up" : "down"));
      button.addEventListener("click", () => this.#sort(column, order));
      name.replaceWith(button);
    }
  }

  /** Ascending, then descending, then as it came. @param {string} column @param {string | null} order */
  #sort(column, order) {
    const sort = order === "descending" ? [] : [{ column, descending: order === "ascending" }];
    this.#ask({ offset: 0, sort }, column);
  }

  #openSearch() {
    const existing = this.foot.querySelector("input");
    if (existing) return existing.focus();
    const input = el("input", { class: "input table-search", type: "search", "aria-label": "Search in the table", placeholder: "Search" });
    input.addEventListener("input", () => {
      clearTimeout(this.#pause);
      this.#pause = window.setTimeout(() => {
        this.#search = input.value;
        this.#ask({ offset: 0 });
      }, SEARCH_PAUSE_MS);
    });
    this.tools.prepend(input);
    input.focus();
  }

  /** @param {{offset: number, sort?: import("./types.js").Sort[]}} wanted @param {string} [focus]  column to keep the focus on */
  async #ask({ offset, sort = this.table.sort ?? [] }, focus) {
    const asked = ++this.#asked;
    this.message.textContent = "";
    try {
      const table = await this.#rows(offset, this.limit, sort);
      if (asked !== this.#asked) return; // a newer question is on its way
      this.table = { ...table, handle: table.handle || this.table.handle, offset: table.offset ?? offset, sort: table.sort ?? sort };
    } catch (error) {
      if (asked === this.#asked) this.message.textContent = error instanceof Error && error.message ? error.message : GONE;
      return;
    }
    this.element.querySelector("table")?.replaceWith(tableElement(this.table));
    this.#refresh();
    if (focus) this.#focus(focus);
  }

  /** @param {number} offset @param {number} limit @param {import("./types.js").Sort[]} sort */
  #rows(offset, limit, sort) {
    const ask = /** @type {NonNullable<import("./types.js").Context["table"]>} */ (this.context.table);
    return ask({ ...this.place, handle: this.table.handle, offset, limit, sort, search: this.#search });
  }

  /** @param {string} column */
  #focus(column) {
    const buttons = /** @type {HTMLElement[]} */ ([...this.element.querySelectorAll(".table-sort")]);
    buttons.find((button) => button.textContent === column)?.focus({ preventScroll: true });
  }

  async #copy() {
    await navigator.clipboard.writeText(delimited(this.table, this.table.rows, "\t"));
    this.message.textContent = `${grouped(this.table.rows.length)} rows copied`;
  }

  async #download() {
    let rows = this.table.rows;
    const wanted = Math.min(this.table.row_count, DOWNLOAD_MAX_ROWS);
    if (this.canAsk && rows.length < this.table.row_count) {
      rows = [];
      try {
        while (rows.length < wanted) {
          const part = await this.#rows(rows.length, Math.min(CHUNK_ROWS, wanted - rows.length), this.table.sort ?? []);
          if (!part.rows.length) break;
          rows = rows.concat(part.rows);
          this.message.textContent = `${grouped(rows.length)} of ${grouped(wanted)} rows`;
        }
      } catch {
        this.message.textContent = GONE;
        return;
      }
    }
    save(new Blob(["\ufeff", delimited(this.table, rows, ",")], { type: "text/csv" }), "table.csv");
    this.message.textContent = wanted < this.table.row_count ? `The first ${grouped(wanted)} rows were saved` : "";
  }
}

/** @param {Table} table @param {any[][]} rows @param {string} delimiter */
export function delimited(table, rows, delimiter) {
  const names = [...(table.index ?? []), ...table.columns].map((column) => column.name ?? "");
  return [names, ...rows].map((row) => row.map((value) => field(value, delimiter)).join(delimiter)).join("\r\n");
}

/** @param {any} value @param {string} delimiter */
function field(value, delimiter) {
  let text = value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  // a spreadsheet would run text that starts like a formula
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return text.includes(delimiter) || /["\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Gives the browser a file to save. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
