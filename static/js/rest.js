/**
 * Edits that are too large for a socket's message go by REST, to the same service and with the same answers.
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
export async function sendEdit(api, { cell, ...fields }) {
  const answer = await fetch(`${api}cells/${cell}/`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken() },
    body: JSON.stringify(fields),
  }).catch(() => {
    throw new CommandError("offline", "There is no connection to the server.");
  });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = body.error ?? body;
  throw new CommandError(CODES[answer.status] ?? "unavailable", error.message ?? error.detail ?? "The server could not store this.", error);
}

function csrfToken() {
  const field = document.querySelector('input[name="csrfmiddlewaretoken"]');
  if (field instanceof HTMLInputElement) return field.value;
  return /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}
