/* The parser and the sanitiser that static/js/outputs/markdown.js configures. */
export { default as MarkdownIt } from "markdown-it";
export { default as dollarmathPlugin } from "markdown-it-dollarmath";
export { default as DOMPurify } from "dompurify";
