/**
 * Types of the output renderer; the data is that of docs/architecture.md, sections 2 and 3. No code.
 *
 * @typedef {{url: string, size_bytes: number}} OutputFile
 * @typedef {{omitted_bytes: number, omitted_lines: number, start?: number, tail: string}} Cut
 *
 * @typedef {object} Output
 * @property {number} index
 * @property {"stream" | "display_data" | "execute_result" | "error"} kind
 * @property {string} [name]  stdout or stderr, of a stream
 * @property {string} [text]
 * @property {Cut | null} [cut]
 * @property {Record<string, any>} [data]  by MIME type
 * @property {Record<string, any>} [metadata]
 * @property {string | null} [display_id]
 * @property {string} [ename]
 * @property {string} [evalue]
 * @property {string[]} [traceback]
 * @property {Record<string, OutputFile>} [files]  MIME types too large for `data`
 *
 * @typedef {{op: "text", item: number, name: string, from: number, text: string}} TextOp
 * @typedef {{op: "cut", item: number, omitted_bytes: number, omitted_lines: number, start: number, from: number, tail: string}} CutOp
 * @typedef {{op: "item", item: number, output: Output}} ItemOp
 * @typedef {{op: "clear"}} ClearOp
 * @typedef {TextOp | CutOp | ItemOp | ClearOp} Op
 *
 * @typedef {{name: string, type: string, numeric: boolean}} Column
 * @typedef {{column: string, descending: boolean}} Sort
 * @typedef {object} Table
 * @property {string} handle  empty once the kernel has forgotten the dataframe
 * @property {Column[]} columns
 * @property {Column[]} [index]
 * @property {any[][]} rows
 * @property {number} row_count
 * @property {number} column_count
 * @property {number} [offset]
 * @property {number} [page_size]
 * @property {Sort[]} [sort]
 *
 * @typedef {{cell: string, item: number, handle: string, offset: number, limit: number, sort: Sort[], search: string}} TableRequest
 *
 * @typedef {object} Context  what the renderer asks of the page
 * @property {string} frameUrl  address of the sandboxed frame document
 * @property {string | null} [attempt]  the attempt that the operations belong to
 * @property {(request: TableRequest) => Promise<Table>} [table]  absent where nobody may ask the kernel
 *
 * @typedef {{id: string, number?: number | string}} CellRef
 *
 * @typedef {object} View  one drawn item
 * @property {HTMLElement} element
 * @property {Promise<unknown>} [ready]  when parts that load late are there
 * @property {(output: Output) => boolean} [update]  draws the new value in place; false when it cannot
 * @property {import("./text.js").TextView} [text]
 */
export {};
