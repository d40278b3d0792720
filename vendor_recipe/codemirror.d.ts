/* Types of codemirror.js, for `make lint` alone: what vendor_recipe/codemirror.js exports. */
import type { Extension } from "@codemirror/state";
import type { LanguageSupport } from "@codemirror/language";

export * from "@codemirror/state";
export * from "@codemirror/view";
export * from "@codemirror/commands";
export * from "@codemirror/language";
export * from "@codemirror/autocomplete";
export * from "@codemirror/search";
export * from "@codemirror/lint";
export * from "@codemirror/collab";
export { python, pythonLanguage, globalCompletion, localCompletionSource } from "@codemirror/lang-python";
export { sql, SQLDialect, StandardSQL, PostgreSQL, SQLite, MySQL, keywordCompletionSource, schemaCompletionSource } from "@codemirror/lang-sql";
export function markdown(): LanguageSupport;
export const sourceHighlighting: Extension;
export const sourceHighlighters: readonly object[];
export const markdownLanguage: import("@codemirror/language").Language;
export function highlightTree(tree: object, highlighters: readonly object[], put: (from: number, to: number, classes: string) => void): void;
export const sqlMarks: Extension;
