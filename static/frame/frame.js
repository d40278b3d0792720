/*
 * Runs inside the sandboxed output frame: its origin is its own, it can reach neither the page nor the network.
 * Takes values from the page, draws them, tells its height. A classic script: modules would need CORS here.
 */
"use strict";

(() => {
  const vendor = new URL(document.currentScript.dataset.vendor, document.currentScript.src);
  const output = document.getElementById("output");
  const VEGA_WIDTH_MAX = 900;
  const PLOTLY_HEIGHT_PX = 420;
  /** What is drawn now. @type {{mime: string, value: any} | null} */
  let shown = null;
  let theme = { scheme: "light", tokens: {} };
  /** How to make a picture of what is drawn. @type {((format: string) => Promise<string>) | null} */
  let picture = null;
  let drawing = Promise.resolve();

  const tell = (message) => parent.postMessage(message, "*");

  // no policy of the frame reaches WebRTC, which sends packets to any host (docs/security.md says what remains)
  for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection"]) {
    Object.defineProperty(window, name, { value: undefined, writable: false, configurable: false });
  }

  // ---- From the page ----

  addEventListener("message", (event) => {
    if (event.source !== parent) return;
    const message = event.data;
    if (message?.type === "render") {
      shown = { mime: message.mime, value: message.value };
      theme = message.theme;
      draw();
    } else if (message?.type === "theme") {
      theme = message.theme;
      if (shown && isChart(shown.mime)) draw();
      else applyTheme();
    } else if (message?.type === "export") exportPicture(message.format, message.id);
  });

  const isChart = (mime) => mime.includes("plotly") || mime.includes("vega");

  /** One after the other: a new value may come while a library still loads. */
  function draw() {
    drawing = drawing.then(drawNow).catch((error) => fail(error));
  }

  async function drawNow() {
    applyTheme();
    const { mime, value } = shown;
    output.classList.toggle("is-chart", isChart(mime));
    if (mime.includes("plotly")) await drawPlotly(value);
    else if (mime.includes("vega")) await drawVega(value, mime);
    else if (mime === "application/javascript") drawScript(value);
    else drawHtml(value);
    measure();
  }

  function applyTheme() {
    const root = document.documentElement;
    root.style.colorScheme = theme.scheme;
    for (const [name, value] of Object.entries(theme.tokens)) root.style.setProperty(`--${name}`, value);
  }

  function fail(error) {
    const text = document.createElement("pre");
    text.className = "frame-error";
    text.textContent = String(error?.message ?? error);
    output.replaceChildren(text);
    measure();
  }

  // ---- HTML and JavaScript ----

  // old outputs write into the page while it loads; this page has loaded, and would be thrown away
  document.write = document.writeln = (...parts) => {
    output.append(document.createRange().createContextualFragment(parts.join("")));
  };

  function drawHtml(html) {
    // a fragment made from the document runs its scripts, in order, where they stand
    output.replaceChildren(document.createRange().createContextualFragment(html));
  }

  function drawScript(code) {
    output.replaceChildren();
    new Function("element", code)(output);
  }

  // ---- Charts ----

  const libraries = {};

  function load(name) {
    libraries[name] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, vendor).href;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name} could not be loaded.`));
      document.head.append(script);
    });
    return libraries[name];
  }

  const token = (name) => theme.tokens[name] ?? "";
  const series = () => [1, 2, 3, 4, 5, 6, 7].map((number) => token(`chart-${number}`));
  const font = () => token("font-text") || "sans-serif";

  async function drawPlotly(figure) {
    await load("plotly");
    const layout = { ...(figure.layout ?? {}) };
    if (followsTheme(layout.template)) layout.template = plotlyTemplate(layout.template);
    layout.autosize = layout.width === undefined;
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["toImage"], ...(figure.config ?? {}) };
    if (!document.getElementById("chart")) output.replaceChildren(Object.assign(document.createElement("div"), { id: "chart" }));
    // without a height of its own the chart folds to nothing when Plotly draws it a second time
    document.getElementById("chart").style.height = `${layout.height ?? PLOTLY_HEIGHT_PX}px`;
    const data = structuredClone(figure.data ?? []);
    if (layout.template !== figure.layout?.template) data.forEach(recolour);
    await Plotly.react("chart", data, layout, config);
    if (figure.frames?.length) await Plotly.addFrames("chart", figure.frames);
    picture = (format) => {
      const { width, height } = document.getElementById("chart").getBoundingClientRect();
      return Plotly.toImage("chart", { format, width: Math.round(width), height: Math.round(height), scale: format === "png" ? 2 : 1 });
    };
  }

  /** Plotly's default template is taken for "no wish"; any other is the author's. */
  function followsTheme(template) {
    return !template || template.layout === undefined || template.layout.plot_bgcolor === "#E5ECF6";
  }

  // Plotly Express writes the default colours into each trace; they are as little a wish as the default template
  const EXPRESS = ["#636efa", "#EF553B", "#00cc96", "#ab63fa", "#FFA15A", "#19d3f3", "#FF6692"];

  function recolour(trace) {
    for (const part of [trace.line, trace.marker, trace.marker?.line]) {
      const at = EXPRESS.indexOf(part?.color);
      if (at >= 0) part.color = token(`chart-${at + 1}`);
    }
  }

  function plotlyTemplate(given) {
    const axis = {
      gridcolor: token("chart-grid"), linecolor: token("color-line-strong"), zerolinecolor: token("color-line-strong"),
      tickcolor: token("color-line-strong"), automargin: true, title: { standoff: 12 },
    };
    return {
      data: given?.data && theme.scheme === "light" ? given.data : {},
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: series(), font: { color: token("color-text"), family: font(), size: 12 },
        xaxis: axis, yaxis: axis, hoverlabel: { bgcolor: token("color-page"), font: { color: token("color-text") } },
        legend: { bgcolor: "rgba(0,0,0,0)" }, margin: { t: 48, r: 16, b: 48, l: 56 },
        polar: { bgcolor: "rgba(0,0,0,0)" }, geo: { bgcolor: "rgba(0,0,0,0)", lakecolor: "rgba(0,0,0,0)" },
      },
    };
  }

  async function drawVega(spec, mime) {
    await load("vega");
    const axis = { labelColor: token("color-text-muted"), titleColor: token("color-text"), gridColor: token("chart-grid"), domainColor: token("color-line-strong"), tickColor: token("color-line-strong") };
    const config = {
      background: "transparent", font: font(), axis, legend: { labelColor: token("color-text"), titleColor: token("color-text") },
      title: { color: token("color-text"), subtitleColor: token("color-text-muted") }, header: { labelColor: token("color-text"), titleColor: token("color-text") },
      range: { category: series() }, view: { stroke: "transparent" }, mark: { color: token("chart-1") }, text: { color: token("color-text") },
    };
    const { view } = await vegaEmbed(output, filled(spec, mime), { mode: mime.includes("vegalite") ? "vega-lite" : "vega", config, actions: false, renderer: "svg" });
    picture = (format) => (format === "svg" ? view.toSVG().then((svg) => `data:image/svg+xml,${encodeURIComponent(svg)}`) : view.toImageURL("png", 2));
  }

  /** A single chart without a width of its own takes the column's. */
  function filled(spec, mime) {
    const isSingle = mime.includes("vegalite") && (spec.mark || spec.layer) && !spec.encoding?.row && !spec.encoding?.column && !spec.encoding?.facet;
    if (!isSingle || spec.width !== undefined) return spec;
    output.style.maxWidth = `${VEGA_WIDTH_MAX}px`;
    return { ...spec, width: "container", autosize: { type: "fit", contains: "padding", ...(spec.autosize ?? {}) } };
  }

  // ---- Pictures of charts, asked for by the page ----

  async function exportPicture(format, id) {
    if (!picture || !["png", "svg"].includes(format)) return;
    const url = await picture(format);
    const [head, body] = [url.slice(0, url.indexOf(",")), url.slice(url.indexOf(",") + 1)];
    const text = head.includes(";base64") ? atob(body) : decodeURIComponent(body);
    const bytes = head.includes(";base64") ? Uint8Array.from(text, (char) => char.charCodeAt(0)) : new TextEncoder().encode(text);
    parent.postMessage({ type: "exported", id, data: bytes.buffer }, "*", [bytes.buffer]);
  }

  // ---- To the page ----

  let lastHeight = -1;

  function measure() {
    const height = Math.ceil(output.getBoundingClientRect().height);
    if (height !== lastHeight) tell({ type: "height", height });
    lastHeight = height;
  }

  new ResizeObserver(measure).observe(output);

  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!link || link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    tell({ type: "link", href: link.href });
  });

  let isBlockedTold = false;

  document.addEventListener("securitypolicyviolation", (event) => {
    if (isBlockedTold || event.blockedURI === "inline" || event.blockedURI === "eval") return;
    isBlockedTold = true;
    tell({ type: "note", text: "Part of this output comes from another site and is not loaded: outputs may not reach the network." });
  });

  tell({ type: "ready" });
})();
