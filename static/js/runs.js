/**
 * Running: sends unsent text first and names the versions wanted; stop, restart; what leaving a changed cell does; the
 * question before a long cascade. What runs and in which order is the server's decision.
 */

import { downstream } from "./dependencies.js";
import { notice } from "./notices.js";
import { CommandError, PLACING_MS } from "./socket.js";
import { toast } from "./toasts.js";
import { counted, durationWords, shownState } from "./words.js";

/** A cascade that took longer than this last time is announced before it starts. */
const LONG_MS = 30_000;
/** The server analyses a text 300 ms after the last key. */
const ANALYSIS_MS = 500;

export class Runs {
  #store;
  #socket;
  #editing;

  /**
   * @param {import("./store.js").NotebookStore} store
   * @param {import("./socket.js").NotebookSocket} socket
   * @param {import("./editing.js").Editing} editing
   */
  constructor(store, socket, editing) {
    this.#store = store;
    this.#socket = socket;
    this.#editing = editing;
  }

  /** Runs cells (text cells among them are passed over). @param {string[]} ids @param {{asked?: boolean}} [options] */
  async run(ids, { asked = true } = {}) {
    const cells = ids.filter((id) => this.#store.cell(id)?.type !== "markdown");
    if (!cells.length) return;
    if (!(await this.#isAgreed(cells, asked))) return;
    await this.#try(async () => {
      const versions = [];
      for (const cell of cells) {
        versions.push({ cell, version: await this.#editing.flush(cell) });
        this.#editing.takeTyped(cell);
      }
      await this.#request("run", { cells: versions });
    });
  }

  runAll() {
    return this.#afterText(() => this.#request("run_all"));
  }

  runStale() {
    return this.#afterText(() => this.#request("run_stale"));
  }

  stop() {
    return this.#try(() => this.#socket.request("stop"));
  }

  /** @param {string} cell */
  takeOut(cell) {
    return this.#try(() => this.#socket.request("take_out", { cell }));
  }

  /** @param {{runAll?: boolean}} [options] */
  restart({ runAll = false } = {}) {
    const hadNames = this.#store.cells.some(({ state }) => state.loaded);
    return this.#afterText(async () => {
      await this.#request("restart", { run_all: runAll });
      if (!runAll && hadNames) toast("Restarted. Variables are gone.", { label: "Run all", act: () => this.runAll() });
    });
  }

  /** Restarts a kernel that died and runs up to a cell. @param {string} cell */
  async resume(cell) {
    const upTo = this.#store.order.slice(0, this.#store.number(cell));
    await this.#try(() => this.#request("restart", { run_all: false }));
    await this.run(upTo.filter((id) => shownState(/** @type {any} */ (this.#store.cell(id))) !== "disabled"));
  }

  /** Stale cells, which Run stale would run. @returns {string[]} */
  get stale() {
    return this.#store.cells.filter((cell) => shownState(cell) === "stale").map((cell) => cell.id);
  }

  /**
   * In auto mode, leaving a cell runs it if this person changed it: only one that ran before, and not one with an error
   * of its own.
   * @param {string} id
   */
  async leave(id) {
    const cell = this.#store.cell(id);
    if (!this.#editing.takeTyped(id) || !cell || cell.type === "markdown" || cell.disabled) return;
    const ranBefore = cell.state.freshness !== "new" && cell.state.attempt !== null;
    if (this.#store.notebook.run_mode !== "auto" || !ranBefore || this.#socket.state !== "online") return;
    const version = await this.#editing.flush(id).catch(() => null);
    if (version !== null && (await this.#isWorthRunning(id, version))) await this.run([id], { asked: false });
  }

  /**
   * Whether the new text, once the server has analysed it, is stale and sound. Nobody may have run or changed it since.
   * @param {string} id
   * @param {number} version
   */
  async #isWorthRunning(id, version) {
    await new Promise((resolve) => setTimeout(resolve, ANALYSIS_MS));
    const cell = this.#store.cell(id);
    if (!cell || cell.version !== version || cell.state.status !== "idle") return false;
    return !cell.state.errors.length && cell.state.freshness !== "current";
  }

  /** What may have to start a kernel first. @param {string} type @param {object} [fields] */
  #request(type, fields = {}) {
    return this.#socket.request(type, fields, { timeoutMs: PLACING_MS });
  }

  /** @param {() => Promise<any>} act */
  #afterText(act) {
    return this.#try(async () => {
      for (const { id } of this.#store.cells) if (this.#editing.isUnsaved(id)) await this.#editing.flush(id);
      await act();
    });
  }

  /** What is asked for while the page has only just come waits for its connection. @param {() => Promise<any>} act */
  async #try(act) {
    await this.#socket.begun();
    try {
      await act();
    } catch (error) {
      const offline = error instanceof CommandError && error.code === "offline";
      toast(offline ? "Offline: running needs the connection." : /** @type {Error} */ (error).message);
    }
  }

  /** Says first what a cascade costs that took long last time. @param {string[]} cells @param {boolean} asked */
  async #isAgreed(cells, asked) {
    if (!asked || this.#store.notebook.run_mode !== "auto") return true;
    const all = downstream(this.#store.cells, cells);
    const last = all.map((id) => this.#store.cell(id)?.state.duration_ms ?? 0);
    const total = last.reduce((sum, ms) => sum + ms, 0);
    const own = cells.reduce((sum, id) => sum + (this.#store.cell(id)?.state.duration_ms ?? 0), 0);
    if (total - own < LONG_MS) return true;
    const slowest = all[last.indexOf(Math.max(...last))];
    return askCascade(all.length, total, this.#store.number(slowest), Math.max(...last));
  }
}

/** @param {number} count @param {number} totalMs @param {number} slowest @param {number} slowestMs @returns {Promise<boolean>} */
function askCascade(count, totalMs, slowest, slowestMs) {
  return new Promise((resolve) => {
    notice({
      id: "cascade",
      css: "is-neutral",
      icon: "clock",
      title: `This runs ${counted(count, "cell")}, about ${durationWords(totalMs)}`,
      text: `Cell ${slowest} alone took ${durationWords(slowestMs)} last time.`,
      actions: [
        { label: count === 1 ? "Run it" : `Run all ${count}`, isPrimary: true, act: () => resolve(true) },
        { label: "Cancel", act: () => resolve(false) },
      ],
    });
  });
}
