/**
 * The one owner of the notebook's socket: connects, says hello, reconnects, matches replies to requests,
 * acknowledges bytes and notices silence. It does not know what events mean (store.js).
 */

import { utf8Bytes } from "./positions.js";

const RECONNECT_MS = 400;
const RECONNECT_MAX_MS = 15_000;
const REPLY_MS = 20_000;
/** A kernel is placed and started before a run is answered: the server says itself when that took too long. */
export const PLACING_MS = 180_000;
/** A greeting may be long and the line slow; silence tells a dead one. */
const HELLO_MS = 300_000;
/** The server's heart beats every 5 s. */
const SILENCE_MS = 20_000;
const ACK_BYTES = 64 * 1024;
const ACK_MS = 1_000;
/** Why the server closed: the person may not be here any more, or their session is another one now (a new password). */
const ACCESS_ENDED = 4403;
/** Handshakes in a row that must be refused after it to be believed: the new cookie may come a moment later. */
const REFUSALS = 3;

/** A command that was refused or got no answer. `code` is an error code of the protocol, `offline` or `timeout`. */
export class CommandError extends Error {
  /** @param {string} code @param {string} message @param {any} [detail] */
  constructor(code, message, detail = {}) {
    super(message);
    this.name = "CommandError";
    this.code = code;
    this.detail = detail;
  }
}

/**
 * How long to wait before the next attempt: doubling, at most 15 s, spread over half of it.
 * @param {number} attempt  failures so far
 * @param {number} random  from 0 to 1
 */
export function reconnectDelay(attempt, random = Math.random()) {
  const full = Math.min(RECONNECT_MAX_MS, RECONNECT_MS * 2 ** attempt);
  return full / 2 + (full / 2) * random;
}

/**
 * Events: `state` (connecting | online | offline | closed), `frame` (anything that is not a reply),
 * `waiting` (offline, with the time of the next attempt).
 */
export class NotebookSocket extends EventTarget {
  /** @type {"connecting" | "online" | "offline" | "closed"} */
  state = "connecting";
  /** When the connection was lost, in ms since the epoch; null while online. @type {number | null} */
  offlineSince = null;
  /** What the server calls this window among those of the notebook. @type {string | null} */
  window = null;

  #url;
  #hello;
  #create;
  /** @type {WebSocket | null} */ #socket = null;
  /** In the order they were sent. @type {Map<string, {resolve: (reply: any) => void, reject: (error: Error) => void, timer: any}>} */
  #waiting = new Map();
  #isGreeting = false;
  #failures = 0;
  /** Since the server said that access ended, that end among them. */
  #refusals = 0;
  #received = 0;
  #acknowledged = 0;
  #nextId = 0;
  /** @type {any} */ #retryTimer = null;
  /** @type {any} */ #silenceTimer = null;
  /** @type {any} */ #ackTimer = null;

  /**
   * @param {string} url  exact, with ws: or wss:
   * @param {{hello: () => object, create?: (url: string) => WebSocket}} options  `hello` gives the fields of hello
   */
  constructor(url, { hello, create = (address) => new WebSocket(address) }) {
    super();
    this.#url = url;
    this.#hello = hello;
    this.#create = create;
  }

  connect() {
    clearTimeout(this.#retryTimer);
    if (this.#socket || this.state === "closed") return;
    const socket = this.#create(this.#url);
    this.#socket = socket;
    this.#received = 0;
    this.#acknowledged = 0;
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = (event) => this.#closed(socket, event.code);
    this.#listenForSilence();
  }

  /** Resolves once there is a connection. @returns {Promise<void>} */
  online() {
    return this.#until(() => this.state === "online");
  }

  /** Resolves once the first connection stands or has failed. @returns {Promise<void>} */
  begun() {
    return this.#until(() => this.state !== "connecting");
  }

  /** @param {() => boolean} isSo @returns {Promise<void>} */
  #until(isSo) {
    if (isSo()) return Promise.resolve();
    return new Promise((resolve) => {
      const check = () => {
        if (!isSo()) return;
        this.removeEventListener("state", check);
        resolve();
      };
      this.addEventListener("state", check);
    });
  }

  /** Drops the connection for good. */
  close() {
    this.#setState("closed");
    this.#drop();
  }

  /** Tries again at once, as when the machine says it is online. */
  retry() {
    if (this.#socket) return;
    this.#failures = 0;
    this.connect();
  }

  /** Asks for what was missed, once however many gaps are seen. The answer is a `frame`: catch_up or snapshot. */
  async resynchronise() {
    if (this.#isGreeting || this.state !== "online") return;
    this.#isGreeting = true;
    await this.#request("hello", this.#hello(), { timeoutMs: HELLO_MS }).catch(() => this.#drop());
    this.#isGreeting = false;
  }

  /**
   * Sends one command and waits for its reply.
   * @param {string} type
   * @param {object} [fields]
   * @param {{timeoutMs?: number}} [options]
   * @returns {Promise<any>} the reply
   * @throws {CommandError}
   */
  request(type, fields = {}, options = {}) {
    if (this.state !== "online") {
      return Promise.reject(new CommandError("offline", "There is no connection to the server."));
    }
    return this.#request(type, fields, options);
  }

  /** @param {string} type @param {object} fields @param {{timeoutMs?: number}} [options] */
  #request(type, fields, { timeoutMs = REPLY_MS } = {}) {
    const id = `c${(this.#nextId += 1)}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#expire(id), timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#send({ type, id, ...fields });
    });
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  /** @param {string} id */
  #expire(id) {
    const waiting = this.#waiting.get(id);
    const [first] = this.#waiting.keys();
    if (waiting && first !== id) {
      // The server answers one after the other: it has not come to this one while an earlier one waits.
      waiting.timer = setTimeout(() => this.#expire(id), REPLY_MS);
      return;
    }
    this.#waiting.delete(id);
    waiting?.reject(new CommandError("timeout", "The server did not answer in time."));
  }

  /** @param {WebSocket} socket */
  async #opened(socket) {
    this.#refusals = 0;
    try {
      const reply = await this.#request("hello", this.#hello(), { timeoutMs: HELLO_MS });
      this.window = reply.window ?? null;
    } catch {
      if (this.#socket === socket) this.#drop();
      return;
    }
    if (this.#socket !== socket) return;
    this.#failures = 0;
    this.offlineSince = null;
    this.#setState("online");
  }

  /** @param {WebSocket} socket @param {string} text */
  #receive(socket, text) {
    if (socket !== this.#socket) return;
    this.#listenForSilence();
    this.#count(text);
    const frame = JSON.parse(text);
    if (frame.type === "reply") this.#reply(frame);
    else this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  /** @param {any} frame */
  #reply(frame) {
    const waiting = this.#waiting.get(frame.id);
    if (!waiting) return;
    this.#waiting.delete(frame.id);
    clearTimeout(waiting.timer);
    if (frame.ok) waiting.resolve(frame);
    else waiting.reject(new CommandError(frame.error.code, frame.error.message, frame.error));
  }

  /** @param {string} text */
  #count(text) {
    this.#received += utf8Bytes(text);
    if (this.#received - this.#acknowledged >= ACK_BYTES) this.#acknowledge();
    else this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_MS);
  }

  #acknowledge() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    this.#acknowledged = this.#received;
    this.#send({ type: "ack", bytes: this.#received });
  }

  #listenForSilence() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#drop(), SILENCE_MS);
  }

  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    socket.close();
    this.#closed(socket, 1000);
  }

  /** @param {WebSocket} socket @param {number} code */
  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    clearTimeout(this.#silenceTimer);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    this.#refuseWaiting();
    if (this.state === "closed") return;
    if (code === ACCESS_ENDED || this.#refusals > 0) this.#refusals += 1;
    if (this.#refusals > REFUSALS) {
      this.#setState("closed");
      return;
    }
    this.offlineSince ??= Date.now();
    this.#setState("offline");
    this.#retryTimer = setTimeout(() => this.connect(), reconnectDelay(this.#failures));
    this.#failures += 1;
  }

  #refuseWaiting() {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new CommandError("offline", "The connection was lost before the answer came."));
    }
  }

  /** @param {"connecting" | "online" | "offline" | "closed"} state */
  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state } }));
  }
}
