/* For output frames: one global, vegaEmbed, with Vega and Vega-Lite inside. */
import vegaEmbed from "vega-embed";
globalThis.vegaEmbed = vegaEmbed;
