// Figures of the views: drawn at once as SVG, so that a list or a tick answers within a frame or two; by plotly.js, loaded once, where one zooms in.
import { plain, drawSvg } from "./svgplot.js";
import { csv, digits, el, even, save, savePicture, writtenPicture } from "./text.js";

let loading = null;

function plotly() {
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

/** Draws `traces` as plotly takes them; `hear` holds what to do at "plotly_click" and at "plotly_relayout". */
export async function react(figure, traces, look, config, hear = {}) {
  figure.drawn = [traces, look, config, hear];
  if (!figure.zoomed) return drawSvg(figure);
  await (await plotly()).react(figure, traces, look, config);
  for (const [kind, act] of Object.entries(hear)) { figure.removeAllListeners(kind); figure.on(kind, act); }
}

/** To plotly, with which one zooms, pans and measures, and back. */
async function zoom(figure, button, trouble) {
  if (figure.zoomed) globalThis.Plotly.purge(figure);
  try { await plotly(); figure.zoomed = !figure.zoomed; } catch (error) { return trouble(error.message); }
  button.setAttribute("aria-pressed", String(figure.zoomed));
  figure.replaceChildren();
  await react(figure, ...figure.drawn);
}

export const LOOK = { template: null, margin: { l: 70, r: 16, t: 16, b: 60 }, font: { size: 12, family: "system-ui, sans-serif", color: "#1d1d1d" }, paper_bgcolor: "#fff",
  plot_bgcolor: "#fff", legend: { orientation: "h", y: -0.16 }, hovermode: "closest", uirevision: "kept" };
export const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"] };

/** A figure, hidden until it is drawn, above the buttons that keep it: its numbers, and its picture. */
export function framed(label, name, trouble) {
  const figure = el("div", { class: "figure", role: "group", "aria-label": label });
  const button = (form) => el("button", { type: "button", "aria-label": `${label}: save as ${form.toUpperCase()}`, onclick: () => keep(figure, name, form) }, form.toUpperCase());
  const closer = globalThis.offlineModel ? [] : [el("button", { type: "button", "aria-pressed": "false", "aria-label": `${label}: zoom`, title: "by plotly: zoom, pan and measure", onclick: (e) => zoom(figure, e.currentTarget, trouble) }, "Zoom")];
  return { figure, frame: el("div", { hidden: true }, figure, el("div", { class: "row" }, ...closer, ...["csv", "svg", "png"].map(button))) };
}

async function keep(figure, name, form) {
  const [traces, look] = figure.drawn, wide = figure.clientWidth, high = figure.clientHeight;
  if (form !== "csv") return savePicture(figure.zoomed ? await globalThis.Plotly.toImage(figure, { format: "svg", imageDataOnly: true, width: wide, height: high }) : writtenPicture(figure.querySelector("svg")), name, form, wide, high);
  const rows = traces.filter((t) => t.name).flatMap((t) => t.x.map((x, i) => [plain(t.name), x, t.y[i], plain((t.hovertext ?? t.text)?.[i] ?? "").replaceAll("\n", "; ")])).filter(([, x]) => x !== null);
  save(`${name}.csv`, csv([["series", look.xaxis.title.text, look.yaxis.title.text, "words"], ...rows]), "text/csv");
}

export const SHADES = ["#cfe3f1", "#a3c8e2", "#77add3", "#4d90c0", "#2f73a6", "#1d5685", "#123a5e"];
export const COLOURS = ["#23608f", "#b23a48", "#4c8c4a", "#b07412", "#8f7fb0", "#2b8f8c", "#7a5c3e", "#d1603d"];

const NEAR = 0.3; // decades below which a logarithmic axis has even ticks
const FINE = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];

/** An axis for `values`; a logarithmic one has whole numbers at 1, 2 and 5, never bare digits. */
export function axis(title, log, values) {
  const kept = values.filter((v) => v > 0), look = { title: { text: title }, gridcolor: "#ececec", zeroline: false, automargin: true };
  if (!log || !kept.length) return { ...look, type: "linear", autorange: true };
  const [low, high] = [Math.min(...kept), Math.max(...kept)], pad = Math.max((high / low) ** 0.05, 1.05);
  const decades = Math.log10(high / low), inside = (ticks) => ticks.filter((t) => t >= low / pad && t <= high * pad);
  const every = (some) => inside(Array.from({ length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 }, (_, i) => some.map((s) => s * 10 ** (Math.floor(Math.log10(low)) + i))).flat());
  const steps = decades > 5 ? [1] : decades > 2.5 ? [1, 3] : [1, 2, 5], ticks = [...(decades > NEAR ? [every(steps), every(FINE)] : []), inside(even(low / pad, high * pad))].find((t) => t.length >= 3) ?? []; // never fewer than a reader can interpolate between
  return { ...look, type: "log", autorange: false, range: [Math.log10(low / pad), Math.log10(high * pad)], tickvals: ticks, ticktext: ticks.map((t) => digits(t)) };
}

/** Text from a file of somebody else, as plotly may show it: its few tags are shown as they are written. */
export const escaped = (words) => String(words).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
