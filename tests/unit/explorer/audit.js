// What axe-core would call serious, as far as it can be told from a page alone. Returns one line for every finding.
() => {
  const found = [], say = (rule, e) => found.push(`${rule}: ${(e.outerHTML ?? String(e)).slice(0, 140)}`);
  const all = (s) => [...document.querySelectorAll(s)], shown = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const words = (e) => e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") ?? "").split(" ").map((i) => document.getElementById(i)?.textContent ?? "").join("").trim()
    || [...(e.labels ?? [])].map((l) => l.textContent).join("").trim() || e.textContent.trim() || e.title || "";

  // document: language, title, one main, one first heading, no heading level left out
  if (!document.documentElement.lang) say("html-has-lang", document.documentElement);
  if (!document.title.trim()) say("document-title", document.head);
  if (all("main").length !== 1) say("landmark-one-main", document.body);
  const heads = all("h1, h2, h3, h4").filter(shown).map((h) => Number(h.tagName[1]));
  if (heads.filter((n) => n === 1).length !== 1) say("page-has-heading-one", document.body);
  heads.forEach((n, i) => { if (i && n > heads[i - 1] + 1) say("heading-order", `h${heads[i - 1]} then h${n}`); });

  // names, and what they refer to
  const ids = all("[id]").map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) say("duplicate-id", id);
  for (const e of all("button, a[href], input, select, textarea, dialog, [role=img], [role=region], [role=tablist], [role=tabpanel], summary")) if (!words(e)) say("name", e);
  for (const e of all("label")) if (!e.control) say("label-of-nothing", e);
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "aria-owns"])
    for (const e of all(`[${name}]`)) for (const id of e.getAttribute(name).split(" ")) if (!document.getElementById(id)) say(`${name} of nothing`, e);
  for (const e of all("img")) if (!e.hasAttribute("alt")) say("image-alt", e);

  // roles that need one another
  for (const e of all("[role=tablist]")) if (![...e.children].every((c) => c.getAttribute("role") === "tab" && c.hasAttribute("aria-selected"))) say("tablist", e);
  for (const e of all("[role=tab]")) if (!e.closest("[role=tablist]")) say("tab-parent", e);
  if (all("[role=tab][aria-selected=true]").length !== 1) say("one-tab-selected", document.body);
  for (const e of all("th")) if (!e.textContent.trim() && e.closest("tr").children[0] !== e && e.closest("tr").children.length > 1 && e !== e.closest("tr").lastElementChild) say("empty-table-header", e);
  for (const e of all("[aria-hidden=true]")) if (e.querySelector("button, input, select, a[href], [tabindex='0']")) say("aria-hidden-focus", e);

  // the keyboard: nothing jumps the queue, and what scrolls can be reached
  for (const e of all("[tabindex]")) if (Number(e.getAttribute("tabindex")) > 0) say("tabindex", e);
  for (const e of all("body *")) {
    const look = getComputedStyle(e);
    if (!/auto|scroll/.test(look.overflowX + look.overflowY) || !shown(e) || (e.scrollWidth <= e.clientWidth + 1 && e.scrollHeight <= e.clientHeight + 1)) continue;
    if (e.tabIndex < 0 && !e.querySelector("button, input, select, a[href], [tabindex='0']")) say("scrollable-region-focusable", e);
  }

  // what a finger must hit: 24 pixels either way (WCAG 2.2, 2.5.8)
  for (const e of all("button, select, input:not([type=checkbox])").filter(shown)) { const b = e.getBoundingClientRect(); if (b.height < 22 || b.width < 24) say(`target-size ${b.width}x${b.height}`, e); }

  // contrast AA of all words, those in figures too
  const part = (x) => (x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4);
  const light = (c) => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]), rgb = (s) => s.match(/[\d.]+/g).map(Number);
  const back = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
  for (const e of all("body *")) {
    if (!shown(e) || e.disabled || e.tagName === "title" || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const look = getComputedStyle(e), ink = rgb(e.namespaceURI.endsWith("svg") ? look.fill : look.color), [a, b] = [light(ink), light(back(e))].sort((x, y) => y - x);
    const large = parseFloat(look.fontSize) >= 24 || (parseFloat(look.fontSize) >= 18.66 && Number(look.fontWeight) >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) say(`color-contrast ${((a + 0.05) / (b + 0.05)).toFixed(2)}`, e);
  }
  return found;
}
