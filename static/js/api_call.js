/** A cell's edit as a call of the API that one can paste into a shell: real addresses and version, no secret. */

/**
 * @param {{origin: string, api: string, cell: string, version: number, source: string}} about  `api` is the notebook's path in the API
 * @returns {string} two curl commands: one changes the cell, one runs what that made stale
 */
export function apiCall({ origin, api, cell, version, source }) {
  const head = '-H "Authorization: Bearer $RILLBOOK_TOKEN" -H "Content-Type: application/json"';
  return [
    "# export RILLBOOK_TOKEN=…  (make one with: python manage.py create_token NAME --scope edit)",
    `curl -X PATCH ${origin}${api}cells/${cell}/ \\\n  ${head} \\\n  -d ${quoted(JSON.stringify({ version, source }))}`,
    `curl -X POST ${origin}${api}runs/ \\\n  ${head} \\\n  -d ${quoted(JSON.stringify({ stale: true, wait: true }))}`,
    "",
  ].join("\n");
}

/** One word of a POSIX shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
