/**
 * What goes by REST: edits that are too large for a socket's message, to the same service and with the same answers,
 * and what has no command of the socket, such as versions and the bin.
 */

import { CommandError } from "./socket.js";

/** The server refuses socket messages over 1 MiB and drops the connection; some room for the frame around. */
export const MESSAGE_BYTES_AT_MOST = 1024 * 1024 - 4096;

/** @type {Record<number, string>} */
const CODES = { 400: "bad_request", 403: "forbidden", 404: "not_found", 409: "conflict", 413: "too_large" };

/**
 * Sends one edit of a cell.
 * @param {string} api  the notebook's address in the API
 * @param {{cell: string, version: number, changes: any, operation_id: string}} edit
 * @returns {Promise<any>} the cell's new version, as the socket's reply has it
 * @throws {CommandError}
 */
export function sendEdit(api, { cell, ...fields }) {
  return callApi("PATCH", `${api}cells/${cell}/`, fields);
}

/**
 * One request to the API as the person of this page.
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} url
 * @param {object | null} [body]
 * @returns {Promise<any>} the answer's body
 * @throws {CommandError}
 */
export async function callApi(method, url, body = null) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", "X-CSRFToken": csrfToken(), ...(body && { "Content-Type": "application/json" }) };
  const answer = await fetch(url, {
    method,
    headers,
    body: body && JSON.stringify(body),
  }).catch(() => {
    throw new CommandError("offline", "There is no connection to the server.");
  });
  const answered = await answer.json().catch(() => ({}));
  if (answer.ok) return answered;
  const error = answered.error ?? answered;
  throw new CommandError(CODES[answer.status] ?? "unavailable", error.message ?? error.detail ?? "The server could not do this.", error);
}

/** As the cookie has it now: signing in on another tab changes it while this page is open. */
function csrfToken() {
  const cookies = new Map(document.cookie.split("; ").map((cookie) => /** @type {[string, string]} */ (cookie.split("="))));
  return cookies.get("__Host-rillbook-csrf") ?? cookies.get("rillbook-csrf") ?? "";
}
