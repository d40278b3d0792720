/**
 * The shapes that cross the wire, as docs/architecture.md (sections 2 to 4) states them. Types only.
 *
 * @typedef {"python" | "sql" | "markdown"} CellType
 * @typedef {"new" | "current" | "stale" | "failed" | "blocked"} Freshness
 * @typedef {{kind: string, message: string, names: string[], cells: string[], line: number | null}} CellError
 * @typedef {{kind: string, cell: string | null, name: string | null, by?: string}} Cause
 *
 * @typedef {object} CellState
 * @property {"idle" | "queued" | "running"} status
 * @property {Freshness} freshness
 * @property {boolean} loaded
 * @property {number | null} place  1 is next in the queue
 * @property {CellError[]} errors
 * @property {{cell: string, name: string}[]} blocked_by
 * @property {string[]} disabled_by
 * @property {Cause | null} stale_because
 * @property {string | null} attempt
 * @property {"ok" | "error" | "interrupted" | "died" | null} outcome
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {number | null} duration_ms
 * @property {number | null} execution_count
 * @property {Cause | null} reason
 * @property {string[]} warnings
 * @property {string} [note]
 *
 * @typedef {object} Cell
 * @property {string} id
 * @property {CellType} type
 * @property {string | null} source  null while it was not sent: the cell is far from the window (texts.js)
 * @property {string} [head]  of a far cell: a text's headings, one a line, else its first line
 * @property {number} version
 * @property {string} result_name
 * @property {string | null} connection
 * @property {boolean} disabled
 * @property {boolean} code_hidden
 * @property {string[]} definitions
 * @property {string[]} references
 * @property {CellState} state
 * @property {any[]} [outputs]  absent while the cell is far from the window
 *
 * @typedef {object} Notebook
 * @property {string} id
 * @property {string} name
 * @property {"auto" | "lazy"} run_mode
 *
 * @typedef {{state: string, detail: string, cell?: string | null, memory_bytes?: number, limit_bytes?: number, asks?: {cell: string, attempt: string, prompt: string, password: boolean}}} Kernel
 * @typedef {{anchor: number, head: number, version: number}} TextSelection  units of the cell's text at that version
 * @typedef {{window: string, person: string | number, cell: string | null, selection: TextSelection | null}} PersonWindow
 * @typedef {{id: string | number, name: string, initials: string, color: number | string, windows?: PersonWindow[]}} Person
 * @typedef {{notebook: Notebook, seq: number, cells: Cell[], kernel: Kernel, user: any, connections?: {id: string, name: string, driver: string}[], urls: Record<string, any>, settings: Record<string, any>}} PageData
 * @typedef {{type: string, [field: string]: any}} NotebookEvent
 */
export {};
