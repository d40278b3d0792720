/* Builds static/vendor from the locked packages: `npm ci && npm run build`. Running twice gives the same bytes. */
import { build } from "esbuild";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = join(HERE, "..", "static", "vendor");
const MODULES = join(HERE, "node_modules");
// Not the tsconfig.json above: its settings are for type checks.
const common = { bundle: true, minify: true, tsconfigRaw: "{}", legalComments: "none", target: "es2022", logLevel: "warning", absWorkingDir: HERE };

const BUNDLES = {
  "codemirror.js": ["@codemirror/state", "@codemirror/view", "@codemirror/commands", "@codemirror/language", "@codemirror/autocomplete",
    "@codemirror/search", "@codemirror/lint", "@codemirror/collab", "@codemirror/lang-python", "@codemirror/lang-sql",
    "@lezer/markdown", "@lezer/highlight"],
  "markdown.js": ["markdown-it", "markdown-it-dollarmath", "dompurify"],
  "katex/katex.js": ["katex"],
  "vega.js": ["vega", "vega-lite", "vega-embed"],
  "plotly.js": ["plotly.js-dist-min"],
};

async function about(name) {
  const text = await readFile(join(MODULES, name, "package.json"), "utf8");
  const { version, license } = JSON.parse(text);
  return { name, version, license };
}

async function licenseText(name) {
  const files = await readdir(join(MODULES, name));
  const file = files.find((entry) => /^licen[cs]e/i.test(entry));
  return file ? readFile(join(MODULES, name, file), "utf8") : "";
}

async function writeReadme() {
  const lines = [
    "# Vendored bundles", "",
    "Built by `vendor_recipe/` (`cd vendor_recipe && npm ci && npm run build`) from the versions its lock file names. Loaded on demand only:",
    "CodeMirror when an editor wakes, KaTeX and markdown-it for text that needs them, Plotly and Vega inside output frames.", "",
    "| file | package | version | licence |", "| --- | --- | --- | --- |",
  ];
  const notices = [];
  for (const [file, names] of Object.entries(BUNDLES)) {
    for (const name of names) {
      const { version, license } = await about(name);
      lines.push(`| ${file} | ${name} | ${version} | ${license} |`);
      notices.push(`${name} ${version} (${license})\n\n${(await licenseText(name)).trim()}\n`);
    }
  }
  lines.push("", "Licence texts: `LICENSES.txt`. CodeMirror's bundle also holds its own helpers (`vendor_recipe/codemirror.js`).", "");
  await writeFile(join(OUT, "README.md"), lines.join("\n"));
  await writeFile(join(OUT, "LICENSES.txt"), notices.join(`\n${"-".repeat(80)}\n\n`));
}

await rm(OUT, { recursive: true, force: true });
await mkdir(join(OUT, "katex", "fonts"), { recursive: true });
await cp(join(HERE, "codemirror.d.ts"), join(OUT, "codemirror.d.ts"));
await build({ ...common, entryPoints: ["codemirror.js"], format: "esm", outfile: join(OUT, "codemirror.js") });
await build({
  ...common, entryPoints: ["markdown.js"], format: "esm", outfile: join(OUT, "markdown.js"),
  // markdown-it-dollarmath names a file by its path in markdown-it 13
  alias: { "markdown-it/lib/common/utils.js": "./node_modules/markdown-it/lib/common/utils.mjs" },
});
await build({ ...common, entryPoints: ["katex.js"], format: "esm", outfile: join(OUT, "katex", "katex.js") });
await build({ ...common, entryPoints: ["vega.js"], format: "iife", outfile: join(OUT, "vega.js") });
await cp(join(MODULES, "plotly.js-dist-min", "plotly.min.js"), join(OUT, "plotly.js"));

// woff2 alone: every browser that has light-dark() reads it
const css = await readFile(join(MODULES, "katex", "dist", "katex.min.css"), "utf8");
await writeFile(join(OUT, "katex", "katex.css"), css.replace(/,url\(fonts\/[\w-]+\.(?:woff|ttf)\) format\("[^"]+"\)/g, ""));
for (const font of await readdir(join(MODULES, "katex", "dist", "fonts"))) {
  if (font.endsWith(".woff2")) await cp(join(MODULES, "katex", "dist", "fonts", font), join(OUT, "katex", "fonts", font));
}
await writeReadme();
