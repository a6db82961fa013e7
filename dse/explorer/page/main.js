// The page: one question, several views. Each view is made when it is first looked at.
import { Design } from "./design.js";
import { Front } from "./front.js";
import { worksOf } from "./link.js";
import { cellsOpen, legend } from "./receipts.js";
import { Risk } from "./risk.js";
import { Serving } from "./serving.js";
import { Offline, Server } from "./source.js";
import { learnUnits } from "./text.js";
import { Truth } from "./truth.js";
import { el } from "./text.js";

const source = globalThis.offlineModel ? new Offline(globalThis.offlineModel.held, globalThis.offlineModel.model) : new Server();
const trouble = (words) => { const p = document.getElementById("trouble"); p.textContent = words; p.hidden = !words; };

/** What is explored, under the workloads that the address asks for. */
async function asked() {
  const first = await source.state();
  if (source.alone) { if (/[#&]work\./.test(location.hash)) trouble("An offline page answers the workloads it was written with: those of the link are left out."); return first; }
  const known = await source.get("workloads"), wanted = worksOf(known, location.hash);
  if (!wanted) return { ...first, asked_works: known };
  trouble("The link asks for other workloads: every plan is lowered anew, which takes as long as the start did.");
  try { await source.post("workloads", { workloads: wanted }); trouble(""); } catch (error) { trouble(`The link's workloads are left out: ${error.message}`); }
  return { ...await source.state(), asked_works: await source.get("workloads") };
}

async function begin() {
  const state = await asked();
  learnUnits(state);
  document.title = `${state.title} – dse explorer`;
  document.getElementById("title").textContent = state.title;
  const design = new Design(source, state, trouble);
  const show = (name) => { open(name); };
  const views = { Design: () => design, ...(state.is_chip ? {} : { Front: () => new Front(source, state, design, show, trouble), Risk: () => new Risk(source, state, trouble) }),
    Serving: () => new Serving(source, state, trouble), Truth: () => new Truth(source, state, trouble) };
  const made = { Design: design }, tabs = {}, content = document.getElementById("content");
  function open(name) {
    made[name] ??= views[name]();
    for (const [n, tab] of Object.entries(tabs)) { tab.setAttribute("aria-selected", String(n === name)); tab.tabIndex = n === name ? 0 : -1; }
    content.setAttribute("aria-labelledby", tabs[name].id);
    content.replaceChildren(made[name].node);
    made[name].opened?.();
  }
  const names = Object.keys(views);
  for (const name of names) {
    tabs[name] = el("button", { role: "tab", id: `tab-${name}`, "aria-controls": "content", type: "button", onclick: () => open(name) }, name);
    tabs[name].addEventListener("keydown", (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step) return;
      const next = names[(names.indexOf(name) + step + names.length) % names.length];
      open(next);
      tabs[next].focus();
    });
  }
  content.setAttribute("role", "tabpanel");
  cellsOpen(content);
  document.getElementById("views").append(...Object.values(tabs));
  document.querySelector("header").append(legend());
  open("Design");
  await design.begin();
  globalThis.explorer = design; // for scripts that drive the page
  document.body.dataset.ready = "yes";
}

begin().catch((error) => trouble(error.message));
