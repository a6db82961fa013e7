// Heavy figures by plotly.js, loaded once and only where a view needs it.
let loading = null;

export function plotly() {
  if (globalThis.Plotly) return Promise.resolve(globalThis.Plotly);
  loading ??= new Promise((ready, failed) => {
    const script = document.createElement("script");
    script.src = "plotly.js";
    script.onload = () => ready(globalThis.Plotly);
    script.onerror = () => { loading = null; failed(new Error("plotly is not there: install the extra `explore`")); };
    document.head.append(script);
  });
  return loading;
}

export const LOOK = { template: null, margin: { l: 70, r: 16, t: 16, b: 60 }, font: { size: 12, family: "system-ui, sans-serif", color: "#1d1d1d" }, paper_bgcolor: "#fff",
  plot_bgcolor: "#fff", legend: { orientation: "h", y: -0.16 }, hovermode: "closest", uirevision: "kept" };
export const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"], toImageButtonOptions: { format: "svg" } };
export const COLOURS = ["#23608f", "#b23a48", "#4c8c4a", "#b07412", "#8f7fb0", "#2b8f8c", "#7a5c3e", "#d1603d"];
export const axis = (title, log, more = {}) => ({ title: { text: title }, type: log ? "log" : "linear", gridcolor: "#ececec", zeroline: false, dtick: log ? undefined : null, minor: { showgrid: false }, exponentformat: "SI", ...more });

/** Text from a file of somebody else, as plotly may show it: its few tags are shown as they are written. */
export const escaped = (words) => String(words).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
