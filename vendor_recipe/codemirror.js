/* What the editor needs of CodeMirror 6, and the two things that keep it looking like the server's source:
   a highlighter with the server's classes, and marks for SQL (bound values, calls). */
import { classHighlighter, highlightTree, tagHighlighter, tags } from "@lezer/highlight";
import { defineLanguageFacet, Language, LanguageSupport, syntaxHighlighting } from "@codemirror/language";
import { parser as markdownParser, GFM } from "@lezer/markdown";
import { Decoration, MatchDecorator, ViewPlugin } from "@codemirror/view";

export * from "@codemirror/state";
export * from "@codemirror/view";
export * from "@codemirror/commands";
export * from "@codemirror/language";
export * from "@codemirror/autocomplete";
export * from "@codemirror/search";
export * from "@codemirror/lint";
export * from "@codemirror/collab";
export { python, pythonLanguage, globalCompletion, localCompletionSource } from "@codemirror/lang-python";
export {
  sql, SQLDialect, StandardSQL, PostgreSQL, SQLite, MySQL, keywordCompletionSource, schemaCompletionSource,
} from "@codemirror/lang-sql";
export { classHighlighter, highlightTree, tagHighlighter, tags } from "@lezer/highlight";

// Not @codemirror/lang-markdown: it brings HTML, CSS and JavaScript along, twice the size of the whole bundle.
const markdownData = defineLanguageFacet({ commentTokens: { block: { open: "<!--", close: "-->" } } });
export const markdownLanguage = new Language(markdownData, markdownParser.configure(GFM), [], "markdown");

/** Markdown as a language: headings, lists, emphasis, code, tables. */
export function markdown() {
  return new LanguageSupport(markdownLanguage);
}

const calls = tagHighlighter([
  { tag: tags.function(tags.variableName), class: "tok-function" },
  { tag: tags.function(tags.propertyName), class: "tok-function" },
  { tag: tags.function(tags.definition(tags.variableName)), class: "tok-definition" },
  { tag: tags.self, class: "tok-keyword" },
]);

/** The classes of static/css/source.css, as the server's highlighting.py gives them. */
export const sourceHighlighters = [classHighlighter, calls];
export const sourceHighlighting = sourceHighlighters.map((highlighter) => syntaxHighlighting(highlighter));

const sqlMatcher = new MatchDecorator({
  regexp: /\{[\p{L}_][\p{L}\p{N}_]*\}|[\p{L}_][\p{L}\p{N}_]*(?=\()/gu,
  decoration: (match) => Decoration.mark({ class: match[0].startsWith("{") ? "tok-parameter" : "tok-function" }),
});

/** Marks {name} as a value bound from Python, and calls, in SQL. */
export const sqlMarks = ViewPlugin.fromClass(
  class {
    constructor(view) { this.decorations = sqlMatcher.createDeco(view); }
    update(update) { this.decorations = sqlMatcher.updateDeco(update, this.decorations); }
  },
  { decorations: (plugin) => plugin.decorations },
);
