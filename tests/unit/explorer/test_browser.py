"""The page in Chromium: what a slider moves, the optimum, links, pins, undo, hostile names, one offline file."""

import csv
import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dse.core.origin import digest
from dse.core.provenance import KINDS
from dse.explorer.app import PAGE
from dse.explorer.offline import emitted, held, module, page_html
from dse.explorer.session import sizes_of_phases
from dse.explorer.state import state_of
from dse.optimize.space import own_plans
from dse.study.design import Choice

from .conftest import SHIPPED

pytestmark = pytest.mark.slow
WITHIN_S = 300.0
"""Seconds after which what was to come is taken never to: a slow machine must not look like that."""
AS_COMMITTED = 1e-3
"""What a committed answer may have moved by before it is computed anew, as golden tests have it."""
HOSTILE = '<img src=x onerror="globalThis.broken=1"></script><script>globalThis.broken=1</script>'
AUDIT = (Path(__file__).with_name("audit.js")).read_text().partition("\n")[2]
SERIOUS = """() => axe.run({ resultTypes: ["violations"] }).then((r) => r.violations
  .filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 140)}`))"""
FOCUSED = """() => {
  const e = document.activeElement, every = [...document.querySelectorAll("*")];
  return e === document.body ? null : [every.indexOf(e), getComputedStyle(e).outlineStyle];
}"""


@pytest.fixture(scope="module")
def address(answers):
    """The explorer at a free port of this machine."""
    import uvicorn

    from dse.explorer.app import Pages
    from dse.explorer.session import Guard, listening, new_token

    with listening(0) as place:
        port, token = place.getsockname()[1], new_token()
        settings = uvicorn.Config(
            Guard(Pages(answers).app(), token, port), log_level="error", lifespan="off", ws="none"
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}/{token}/"
        server.should_exit = True
        thread.join(WITHIN_S)


@pytest.fixture
def tab(browser, address):
    """`tab(fragment, width)` opens the page; what it says or asks of others fails the test."""
    opened, said, asked = [], [], []

    def open_tab(link="", width=1280, where=address):
        page = browser.new_page(viewport={"width": width, "height": 900}, accept_downloads=True)
        page.set_default_timeout(WITHIN_S * 1e3)
        page.on("console", lambda m: said.append(m.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto(where + link)
        page.wait_for_selector("body[data-ready]")
        opened.append(page)
        return page

    yield open_tab
    for page in opened:
        page.close()
    assert said == []
    assert [u for u in asked if not u.startswith((address, "data:", "blob:", "file:"))] == []


def settled(page, expression: str, wanted, within_s: float = WITHIN_S):
    """Wait until a value is as wanted: the page's policy allows no polling from inside."""
    until = time.monotonic() + within_s
    while (found := page.evaluate(expression)) != wanted and time.monotonic() < until:
        page.wait_for_timeout(30)
    assert found == wanted


def comes(page, true: Callable[[], bool]):
    """Wait until something is true of the page, however slow the machine."""
    until = time.monotonic() + WITHIN_S
    while not true() and time.monotonic() < until:
        page.wait_for_timeout(30)
    assert true()


TILE = "() => document.querySelector('#tiles b').textContent"


def test_a_slider_changes_figures_and_can_be_undone(tab):
    page = tab()
    before = page.evaluate(TILE)
    drawn = page.inner_html("section[aria-label='Roofline'] .picture")
    page.focus("#free-n_cores")
    for _ in range(8):
        page.keyboard.press("PageUp")
    comes(page, lambda: page.evaluate(TILE) != before)
    comes(page, lambda: page.inner_html("section[aria-label='Roofline'] .picture") != drawn)
    comes(page, lambda: "n_cores=" in page.url)
    for _ in range(8):
        page.keyboard.press("Control+z")
    settled(page, TILE, before)
    page.click("text=Redo")
    assert page.evaluate("explorer.past.length") == 1


def test_the_page_shows_what_python_says(tab, answers, start):
    from dse.explorer.ask import ask_of

    page = tab()
    mine = answers.evaluate(ask_of(answers.subject, start))["reading"]
    assert page.evaluate("explorer.answer.reading") == json.loads(json.dumps(mine))


def test_the_optimum_and_its_link(tab):
    page = tab()
    page.click("text=Re-optimise")
    page.wait_for_selector("text=Whole counts")
    comes(page, lambda: "#" in page.url and page.evaluate("explorer.answer.speedup") > 1.05)
    numbers = page.evaluate("explorer.design.x")
    assert page.evaluate("explorer.answer.speedup") > 1.05
    limits = page.inner_text("#limits")
    assert "binds" in limits and "broken" not in limits
    link = "#" + page.url.partition("#")[2]
    again = tab(link)
    assert again.evaluate("explorer.design.x") == numbers
    assert again.evaluate(TILE) == page.evaluate(TILE)
    page.click("text=Start over")
    comes(page, lambda: "#" not in page.url)  # a link carries only what differs


def test_typed_values_have_units(tab):
    page = tab()
    field = page.locator("input[aria-label='HBM capacity, value']")
    field.fill("256 GiB")
    field.press("Enter")
    settled(page, "() => explorer.design.x.hbm_capacity_B", 2.0**38)
    field.fill("nonsense")
    field.press("Enter")
    settled(page, "() => explorer.design.x.hbm_capacity_B", 2.0**38)
    assert field.get_attribute("aria-invalid") == "true"
    said = page.locator("#free-hbm_capacity_B-said")
    assert said.inner_text().startswith(
        '"nonsense" is not taken: write a number above 0, alone in the unit shown or with '
    )
    for text, words in (("9,000 GiB", "Held to "), ("3,6 GiB", "not taken"), ("256 GiB", "")):
        field.fill(text)
        field.press("Enter")
        comes(page, lambda words=words: (words in said.inner_text()) if words else not said.inner_text())
    limit = page.locator("#limit-0")
    for text, value in (("1,250 W", 1250), ("1.1e3 W", 1100), ("950", 950)):
        limit.fill(text)
        limit.press("Enter")
        settled(page, "() => explorer.design.limits[0]", value)
    limit.fill("2 horses")
    limit.press("Enter")
    assert page.inner_text("#limit-0-said").startswith('"2 horses" is not taken')
    settled(page, "() => explorer.design.limits[0]", 950)


def test_pins_chips_and_exports(tab, tmp_path):
    page = tab()
    page.click("button:text-is('Pin')")
    page.select_option("select[aria-label='chip to compare']", "trainium2")
    heads = "[...document.querySelectorAll('#comparison th')].map((t) => t.firstChild?.textContent ?? '')"
    comes(page, lambda: page.evaluate(heads) == ["", "this design", "pin 1", "trainium3", "trainium2"])
    for button, ending in (("TOML", ".toml"), ("Python", ".py"), ("CSV", ".csv")):
        with page.expect_download() as got:
            page.click(f"button:text-is('{button}')")
        assert got.value.suggested_filename.endswith(ending)
        got.value.save_as(tmp_path / f"file{ending}")
    rows = (tmp_path / "file.csv").read_text().splitlines()
    assert rows[0] == "quantity,canonical unit,this design,pin 1,trainium3,trainium2"
    assert len({len(re.sub(r'"[^"]*"', "", r).split(",")) for r in rows}) == 1
    with page.expect_download() as got:
        page.click("button[aria-label='Roofline: save as SVG']")
    got.value.save_as(tmp_path / "roofline.svg")
    assert "FLOP per byte" in (tmp_path / "roofline.svg").read_text()


def test_a_chip_of_ones_own_stands_beside_presets(tab, answers, tmp_path, monkeypatch):
    """As `--compare mine.toml` lets it: a column, its facts, and its numbers on the sliders."""
    path = str(tmp_path / "mine.toml")
    Path(path).write_text('[mine]\nbase = "trainium3"\nhbm_bandwidth = "6.5 TB/s"\n')
    monkeypatch.setattr(answers, "own", (path,))
    monkeypatch.setitem(answers.__dict__, "state", state_of(answers.subject, None, (path,)))
    page = tab()
    for name in (path, "h100"):
        page.select_option("select[aria-label='chip to compare']", name)
        page.wait_for_selector(f"#comparison th:has-text('{name}')")
    row = "() => [...document.querySelectorAll('#comparison tr')].find((t) => t.innerText.startsWith('HBM bandwidth'))"
    assert "6.5 TB/s" in page.evaluate(f"({row})().innerText")
    page.click(f"#comparison button:text-is('{path}')")
    page.wait_for_selector("dialog[open] td:has-text('6.5 TB/s')")
    page.keyboard.press("Escape")
    page.click(f"button[aria-label='take the numbers of {path}']")
    settled(page, "() => explorer.design.x.hbm_bandwidth_Bps", 6.5e12)


@pytest.mark.parametrize(("where", "what"), [
    ("#tiles .tile", "speed over trainium3"), ("#limits .fact", "power ≤ 700 W"), ("#comparison td .fact", "speed-up"),
    ("#comparison th .fact", "trainium3"), ("section[aria-label='Roofline'] .fact", "Roofline"),
])  # fmt: skip
def test_numbers_open_their_receipts(tab, where, what):
    """Each is a button that says its least reliable kind, which keys open and close."""
    page = tab()
    page.wait_for_selector("#comparison th .fact")
    page.wait_for_selector(f"{where}:is(.guess, .estimate, .derived, .press, .paper, .datasheet, .measured)")
    page.locator(where).first.press("Enter")
    page.wait_for_selector("dialog[open] td.kind")
    assert what in page.inner_text("#receipts-title")
    worst = page.locator("#receipts-body td.kind").first.inner_text()
    assert worst in page.locator(where).first.get_attribute("class").split()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")


ROWS_WITHOUT = """() => [...document.querySelectorAll('#content tbody tr')].map((tr) => [...tr.children])
  .filter((cells) => cells.slice(1).some((c) => /^.?\\d/.test(c.textContent)))
  .filter((cells) => !cells.some((c) => c.querySelector('.fact'))).map((cells) => cells[0].textContent)"""


@pytest.mark.parametrize(("view", "where", "what"), [
    ("Front", "#front-points .fact", "delivered speed-up"), ("Serving", "td .fact", "tokens/s per chip"),
    ("Truth", "p .fact:nth-child(3)", "median error"), ("Truth", "td .fact", "score of"),
    ("Risk", "#risk-verdict .fact", "share of draws"), ("Risk", "#risk-drivers .fact", "node: PE area FP8"),
])  # fmt: skip
def test_numbers_of_every_view_open_their_receipts(tab, view, where, what):
    """Those of figures too, in the tables beneath them: no row of numbers is without."""
    page = tab()
    page.click(f"#tab-{view}")
    page.wait_for_selector(".figure svg")
    if view == "Front":
        page.click("summary")
    page.wait_for_selector(f"main {where}:is(.guess, .estimate, .derived, .press, .paper, .datasheet, .measured)")
    assert page.evaluate(ROWS_WITHOUT) == []
    page.locator(f"main {where}").first.press("Enter")
    page.wait_for_selector("dialog[open] td.kind")
    assert what in page.inner_text("#receipts-title")
    assert all(page.locator("#receipts-body tbody tr td:last-child").all_inner_texts()), "every fact has a source"


COST = "tbody tr:has-text('package cost')"


@pytest.mark.parametrize(("view", "row", "cell", "what"), [
    ("Truth", "main table tbody tr", 3, "score of"), ("Design", f"#comparison {COST}", 1, "cost"),
    ("Design", f"#comparison {COST}", 2, "trainium3"), ("Design", "#limits tbody tr", 2, "power"),
    ("Risk", "#risk-drivers tbody tr", 2, "PE area"),
])  # fmt: skip
def test_every_cell_of_a_table_opens_what_its_number_rests_on(tab, view, row, cell, what):
    page = tab()
    page.click(f"#tab-{view}")
    page.wait_for_selector(f"{row} .fact:is(.guess, .estimate, .derived, .press, .paper, .datasheet, .measured)")
    page.locator(row).first.locator("td").nth(cell).click(position={"x": 4, "y": 4})
    page.wait_for_selector("dialog[open] td.kind")
    assert what in page.inner_text("#receipts-title")
    if view == "Truth":
        assert "90th percentile" in page.inner_text("#receipts-body"), "what a score is, is said"


NUMBERS_WITHOUT = """() => [...document.querySelectorAll('#content main > p')].flatMap((p) => [...p.childNodes])
  .filter((n) => !n.classList?.contains('fact')).flatMap((n) => n.textContent.match(/\\d[\\d,.]*/g) ?? [])"""


@pytest.mark.parametrize(("view", "chosen"), [
    ("Truth", ["25", "80"]),  # the dotted lines, and the share that a band holds
    ("Serving", []),
    ("Risk", ["1.5", "100"]),  # the target and the draws that were asked for
])  # fmt: skip
def test_numbers_in_sentences_open_their_receipts(tab, view, chosen):
    page = tab()
    page.click(f"#tab-{view}")
    page.wait_for_selector("main > p .fact")
    marks = page.evaluate("[...document.querySelectorAll('main .figure svg *')].filter((e) => e.words).length")
    without = [n.rstrip(".,") for n in page.evaluate(NUMBERS_WITHOUT)]
    assert [n for n in without if n != str(marks)] == chosen


def test_only_numbers_that_are_chosen_are_without_receipts(tab):
    page = tab()
    page.wait_for_selector("#comparison th .fact")
    assert set(page.evaluate(ROWS_WITHOUT)) == set(page.evaluate("explorer.state.free.map((f) => f.label)"))


@pytest.mark.parametrize("view", ["Serving", "Truth"])
def test_a_mark_of_a_figure_opens_its_receipts(tab, view):
    page = tab()
    page.click(f"#tab-{view}")
    page.wait_for_selector(".figure svg circle")
    page.locator(".figure svg circle").nth(3).click(force=True)
    page.wait_for_selector("dialog[open] td.kind")


@pytest.mark.parametrize(("width", "label"), [(400, r"[←-↙] \S+"), (1280, r"\S+ \([\d.,]+, [\d.,]+\)")])
def test_a_chip_beyond_a_front_never_looks_as_if_it_stood_there(tab, width, label):
    """It has an arrow where there is little room, and its numbers when pointed at; else its numbers."""
    page = tab("", width)
    page.click("#tab-Front")
    far = "() => Number(document.querySelector('.figure').drawn?.[0].at(-1).hovertext.some((t) => t.includes('(')))"
    settled(page, far, 1)
    chips = page.evaluate(
        "(({ text, hovertext }) => [text, hovertext])(document.querySelector('.figure').drawn[0].at(-1))"
    )
    beyond = [
        (a, b) for t, h in zip(*chips, strict=True) for a, b in zip(t.split("<br>"), h.split("<br>"), strict=True)
    ]
    for shown, told in beyond:
        assert re.fullmatch(label if "(" in told else r"[^()]+", shown)
        assert shown.split()[-1 if width == 400 else 0] in told


def test_colours_of_points_leave_the_tables_alone(tab):
    """A list answers within a frame or two: what a colour does not touch stays, marks share what they have alike."""
    page = tab()
    page.click("#tab-Truth")
    page.wait_for_selector(".figure svg circle")
    page.evaluate("document.querySelector('main table').stays = true")
    chips = set(page.evaluate("[...document.querySelectorAll('#truth-chip option')].map((o) => o.textContent)"))
    for by, named in (("chip", True), ("source", False)):
        page.select_option("#truth-by", by)
        words = set(page.evaluate("[...document.querySelectorAll('.figure svg text')].map((t) => t.textContent)"))
        assert bool(words & chips) is named
    assert page.evaluate("document.querySelector('main table').stays")
    alike = page.evaluate("[...document.querySelectorAll('.figure svg g > circle')].map((c) => c.attributes.length)")
    assert len(alike) > 100 and set(alike) == {3}
    page.locator(".figure svg g > circle").nth(3).hover(force=True)
    assert "predicted" in page.inner_text(".tip")


def test_everything_that_is_chosen_can_be_chosen_and_linked(tab):
    """A new field of a choice has words, and none is left out: two choices that differ in it would share a link."""
    page = tab()
    names, words = page.evaluate(
        "async () => { const m = await import('./link.js'); return [m.FIELDS, Object.keys(m.FIELD_WORDS)]; }"
    )
    assert sorted(names) == sorted(words) == sorted(f.name for f in dataclasses.fields(Choice))


def test_kinds_of_facts_have_a_colour_each_that_is_seen(tab):
    """The strip of a number has one part for every kind behind it; AA for what is no text."""
    page = tab()
    page.wait_for_selector("#tiles .tile.guess")
    known = page.evaluate("async () => Object.keys((await import('./receipts.js')).KINDS)")
    assert known[::-1] == list(KINDS)
    tile = page.locator("#tiles .tile").first
    title, strip = tile.get_attribute("title"), tile.evaluate("(b) => b.style.getPropertyValue('--strip')")
    words = re.findall(r"(\d+) (\w+)", title.partition(":")[2])
    assert re.findall(r"var\(--(\w+)\)", strip) == [w for _, w in words]
    assert int(title.split()[0]) == sum(int(n) for n, _ in words)
    shades = page.evaluate("[...document.querySelectorAll('#kinds i')].map((i) => getComputedStyle(i).backgroundColor)")
    assert len(set(shades)) == len(shades) == 5 and all(contrast_on_white(s) >= 3 for s in shades)


def contrast_on_white(colour: str) -> float:
    """WCAG 2.2, 1.4.11."""
    part = [int(x) / 255 for x in re.findall(r"\d+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in part]
    return 1.05 / (float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05)


FROM = """() => {
  const event = new Event('input'), until = performance.now() + 150;
  while (performance.now() < until);
  document.querySelector('input[type=range]').dispatchEvent(event);
}"""


def test_a_picture_is_timed_from_its_input(tab):
    """Not from when the page gets to it: what an input waited for counts."""
    page = tab()
    page.wait_for_timeout(500)
    n = page.evaluate("(globalThis.explorerTimes ?? []).length")
    page.evaluate(FROM)
    comes(page, lambda: page.evaluate("explorerTimes.length") > n)
    assert page.evaluate(f"explorerTimes[{n}].total_ms") > 150


@pytest.mark.parametrize("view", ["Front", "Risk", "Serving", "Truth"])
@pytest.mark.parametrize("zoomed", [False, True])
def test_figures_can_be_kept(tab, tmp_path, view, zoomed):
    """Numbers for a spreadsheet, a picture of lines, and one of points; drawn by the page itself and by plotly."""
    page = tab()
    page.click(f"#tab-{view}")
    page.wait_for_selector(".figure svg")
    if zoomed:
        page.click("button:text-is('Zoom')")
        page.wait_for_selector(".figure .main-svg")
    for form, begins in (("csv", b"series,"), ("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as got:
            page.click(f"#content button:text-is('{form.upper()}')")
        assert got.value.suggested_filename == f"{view.lower()}.{form}"
        got.value.save_as(tmp_path / form)
        assert (tmp_path / form).read_bytes().startswith(begins)
    rows = list(csv.reader((tmp_path / "csv").read_text().splitlines()))
    assert len(rows) > 2 and all(len(r) == 4 for r in rows) and all(float(r[1]) > 0 for r in rows[1:])
    if zoomed:
        page.click("button:text-is('Zoom')")
        page.wait_for_selector(".figure .main-svg", state="detached")
        page.wait_for_selector(".figure svg")


@pytest.fixture(scope="module")
def axe():
    """axe-core, as its package for Playwright brings it."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return (Path(package.__path__[0]) / "axe.min.js").read_text()


@pytest.mark.parametrize("width", [1600, 1280, 400])
def test_every_view_fits_and_has_names(tab, width, axe):
    page = tab("", width)
    page.evaluate(axe)
    for view in ("Design", "Front", "Risk", "Serving", "Truth"):
        page.click(f"#tab-{view}")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), view
        assert page.evaluate(AUDIT) == [], view
        assert page.evaluate(SERIOUS) == [], view
    page.focus("#tab-Truth")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-Design"
    page.wait_for_timeout(100)
    page.locator(".tile").first.press("Enter")
    page.wait_for_selector("dialog[open] td.kind")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")


def test_the_keyboard_goes_through_the_page_in_its_order(tab):
    page = tab()
    page.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(200):
        page.keyboard.press("Tab")
        if (here := page.evaluate(FOCUSED)) is None:
            break
        seen.append(here)
    places = [place for place, _ in seen]
    n = page.evaluate("[...document.querySelectorAll('button, select, input')].filter((e) => !e.disabled).length")
    assert places == sorted(set(places)) and len(places) >= n - 3, "three of four tabs are reached by arrows"
    assert all(outline != "none" for _, outline in seen), "what has the focus is seen"


CONTROLS = {"button", "slider", "textbox", "combobox", "checkbox", "spinbutton", "tab", "link", "DisclosureTriangle"}
NAMED = {*CONTROLS, "tablist", "tabpanel", "region", "table", "image", "dialog"}


def heard(page) -> list[tuple[str, str, str]]:
    """What Chromium gives a screen reader: role and name of everything named, and the named groups around it."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    by_id = {n["nodeId"]: n for n in nodes}
    role, name = ((lambda n, k=k: n.get(k, {}).get("value", "")) for k in ("role", "name"))

    def around(n: dict) -> str:
        while n := by_id.get(n.get("parentId"), {}):
            if role(n) in ("region", "group") and name(n):
                return name(n)
        return ""

    return [(role(n), name(n), around(n)) for n in nodes if not n.get("ignored") and role(n) in NAMED]


@pytest.mark.parametrize("view", ["Design", "Front", "Risk", "Serving", "Truth"])
def test_a_screen_reader_is_given_the_name_and_role_of_everything(tab, view):
    """Each name is there, and none is there twice: neither two fields nor two numbers sound alike."""
    page = tab()
    page.click(f"#tab-{view}")
    page.wait_for_selector("#comparison .fact" if view == "Design" else ".figure svg")
    if view == "Front":
        page.click("summary")
    found = heard(page)
    assert [n for n in found if not n[1]] == []
    controls = [n for n in found if n[0] in CONTROLS]
    twice = {n for n in controls if controls.count(n) > 1}
    assert twice == set()
    seen = page.locator("button:visible, input:visible, select:visible, a:visible, summary:visible").count()
    assert len(controls) >= seen - 1, "what can be worked is said to be; the skip link waits for the focus"
    assert {"tablist", "tabpanel"} <= {n[0] for n in found} and ("tab", view, "") in found
    figures = [n[1] for n in found if n[0] == "image"]
    assert figures and all(len(words) > 20 for words in figures), "a figure is told in words"
    assert page.locator("main [role=status][aria-live=polite], .controls [role=status][aria-live=polite]").count() >= 1


def test_an_answer_is_told_to_who_cannot_see_it_change(tab):
    page = tab()
    comes(page, lambda: "speed over trainium3" in page.inner_text("#heard"))
    before = page.inner_text("#heard")
    page.focus("#free-hbm_bandwidth_Bps")
    for _ in range(8):
        page.keyboard.press("PageUp")
    comes(page, lambda: page.inner_text("#heard") not in ("", before))
    assert page.get_attribute("#free-hbm_bandwidth_Bps", "aria-valuetext").endswith("TB/s")
    page.fill("#limit-0", "1 W")
    page.press("#limit-0", "Enter")
    comes(page, lambda: "power ≤ 1 W: broken" in page.inner_text("#heard"))
    page.click("text=Re-optimise")
    comes(page, lambda: "No design meets these limits" in page.inner_text(".controls [role=status]:not(:empty)"))


@pytest.mark.parametrize(("html", "rule"), [
    ("<button></button>", "name"), ("<input type=text>", "name"), ("<img src=data:,>", "image-alt"),
    ("<p style='color: #999'>pale</p>", "color-contrast"), ("<h4>deep</h4>", "heading-order"),
    ("<button tabindex=3>first</button>", "tabindex"), ("<p id=content></p>", "duplicate-id"),
    ("<label for=none>x</label>", "label-of-nothing"), ("<p aria-controls=none>x</p>", "aria-controls of nothing"),
    ("<button style='min-height:0;height:9px;padding:0'>x</button>", "target-size"), ("<main></main>", "landmark"),
    ("<div style='overflow:auto;height:20px'><p>a<p>b<p>c</div>", "scrollable-region"),
    ("<svg><text y=9 fill=#bbb>pale</text></svg>", "color-contrast"),
])  # fmt: skip
def test_the_audit_finds_what_it_is_for(audited, html, rule):
    assert any(f.startswith(rule) for f in audited(html)), html


@pytest.fixture(scope="module")
def audited(browser):
    """Findings of a page with a flaw, and none of the page without."""
    page = browser.new_page()
    tabs = "<div role=tablist aria-label=views><button role=tab aria-selected=true>a tab</button></div>"
    head = "<title>t</title><style>button { min-height: 24px; }</style>"
    whole = f"<html lang=en>{head}<h1>t</h1>{tabs}<main id=content><div id=flaw></div></main>"
    page.set_content(f"<!doctype html>{whole}")

    def with_flaw(html):
        page.evaluate("(html) => { document.getElementById('flaw').innerHTML = html; }", html)
        return page.evaluate(AUDIT)

    yield with_flaw
    assert with_flaw("") == [], "without a flaw there is no finding"
    page.close()


HAPPENS = """([kind, event]) => {
  const figure = document.querySelector('.figure');
  if (figure.zoomed) figure.emit(kind, event); else figure.drawn[3][kind](event);
}"""


@pytest.mark.parametrize("zoomed", [False, True])
def test_a_front_is_drawn_and_a_point_loaded(tab, zoomed):
    """Drawn by the page itself, and by plotly."""
    page = tab()
    page.click("#tab-Front")
    page.wait_for_selector(".figure svg")
    if zoomed:
        page.click("button:text-is('Zoom')")
        page.wait_for_selector(".figure .main-svg")
    shades = "() => document.querySelector('.figure').drawn[0].filter((t) => Array.isArray(t.marker?.color)).length"
    assert page.evaluate(shades) > 0, "the third metric of the last front is shown by shades"
    page.select_option("#front-y", "2")
    settled(page, "() => document.querySelector('.figure').drawn[1].yaxis.title.text", "full-load FP8 [W]")
    page.select_option("#front-which", "0")
    page.wait_for_selector("p[role=status]:has-text('2 designs')")
    page.fill("#front-budget", "6 kUSD")
    page.press("#front-budget", "Enter")
    assert page.locator("#front-change").inner_text() == "", "no unit of money: no budget"
    page.fill("#front-budget", "6000")
    page.press("#front-budget", "Enter")
    page.wait_for_selector("text=Within it 1 of 2")
    changed = page.inner_text("#front-change")
    assert "cores\t24\t16" in changed and "package cost\t6,500 USD\t5,000 USD" in changed
    page.evaluate(HAPPENS, ["plotly_relayout", {"shapes[0].x0": 7000}])
    page.wait_for_selector("text=Within it 2 of 2")
    page.select_option("#front-x", "0")  # 1 / 0.9 = 1.11x and 1 / 0.8 = 1.25x: a speed-up is typed, not its inverse
    page.fill("#front-budget", "1.2")
    page.press("#front-budget", "Enter")
    page.wait_for_selector("text=Within it 1 of 2")
    page.evaluate(HAPPENS, ["plotly_click", {"points": [{"customdata": 1}]}])
    page.wait_for_selector("#tiles")
    assert page.evaluate("[explorer.design.x.n_cores, explorer.design.choice]") == [24, 1]


CLOUD = """() => {
  const traces = document.querySelector('.figure').drawn[0];
  const dots = traces.find((t) => t.name === 'other designs within the limits');
  const front = traces.filter((t) => t.name.startsWith('front on')).flatMap((t) => t.x.map((x, i) => [x, t.y[i]]));
  return dots ? { dots: dots.x.map((x, i) => [x, dots.y[i]]), front, numbers: dots.customdata } : null;
}"""


def test_points_of_a_front_keep_their_limits_and_their_numbers(tab):
    """Of the committed page: what the Design view says of every point is what the front said, blank silicon and all."""
    page = tab("", 1280, (SHIPPED / "trainium4" / "explorer.html").as_uri())
    front = json.loads((SHIPPED / "trainium4" / "front_delivered_time_package_cost_USD" / "front.json").read_text())
    found = page.evaluate("""async () => {
      const { limitRows } = await import('dse/tables'), { source, state } = explorer;
      const [front] = source.held.fronts.fronts;
      const limits = state.limits.map((m) => m.value), found = [];
      for (const p of front.points) {
        const asked = { ...p, limits }, { reading } = await source.evaluate(asked), { metrics: m, blank_mm2 } = reading;
        const rooms = limitRows(state, asked, { reading }, null).map((r) => r.room);
        found.push([m.delivered_time, m.package_cost_USD, m.die_mm2, blank_mm2, Math.min(...rooms)]);
      }
      return found;
    }""")
    names = ("delivered_time", "package_cost_USD", "die_mm2", "blank_mm2")
    wanted = [[p[n] for n in names] for p in front["points"]]
    assert np.asarray(found)[:, :4] == pytest.approx(np.asarray(wanted), rel=AS_COMMITTED)
    assert min(room for *_, room in found) > -1e-6 and max(blank for *_, blank, _ in found) > 50
    page.click("#tab-Front")
    page.wait_for_selector(".figure svg circle")
    page.evaluate(HAPPENS, ["plotly_click", {"points": [{"customdata": 0}]}])
    page.wait_for_selector("#tiles")
    settled(page, f"() => Math.abs(explorer.answer.speedup * {wanted[0][0]} - 1) < {AS_COMMITTED}", True)
    assert "binds" in page.inner_text("#limits") and "broken" not in page.inner_text("#limits")
    page.click("button:text-is('Pin')")
    page.wait_for_selector("#comparison th:has-text('pin 1')")
    row = page.locator("#comparison tr:has-text('blank silicon/die')").inner_text()
    assert f"\t{wanted[0][3]:.3g} mm2\t" in row
    link = page.url.partition("#")[2]
    again = tab("#" + link, 1280, (SHIPPED / "trainium4" / "explorer.html").as_uri())
    assert again.evaluate("explorer.answer.reading") == page.evaluate("explorer.answer.reading")


def test_blank_silicon_can_be_asked_for(tab):
    """It widens the die, costs money, travels in a link, and can be taken back."""
    page = tab()
    before = page.evaluate("explorer.answer.reading.metrics.die_mm2")
    page.fill("#blank", "50 mm2")
    page.press("#blank", "Enter")
    settled(page, "() => explorer.answer.reading.blank_mm2", 50)
    assert page.evaluate("explorer.answer.reading.metrics.die_mm2") == pytest.approx(before + 50)
    comes(page, lambda: "blank_mm2=50" in page.url)
    assert tab("#" + page.url.partition("#")[2]).evaluate("explorer.answer.reading.blank_mm2") == 50
    page.click("text=Undo")
    settled(page, "() => explorer.answer.reading.blank_mm2", 0)


def test_designs_beneath_a_front_are_drawn(tab):
    """The dominated cloud of the committed page: seen, beaten by the front, within the limits, gone when unticked."""
    page = tab("", 1280, (SHIPPED / "trainium4" / "explorer.html").as_uri())
    page.click("#tab-Front")
    page.wait_for_selector("text=other designs that keep the limits lie beneath it", timeout=60_000)
    found = page.evaluate(CLOUD)
    dots, front = (np.asarray(found[k])[:, None, :] for k in ("dots", "front"))
    (cost, speed), (least, most) = np.moveaxis(dots, -1, 0), np.moveaxis(front[:, 0], -1, 0)
    beaten = ((least <= cost) & (most >= speed)).any(axis=1)
    better = ((cost < 0.99 * least) & (speed > 1.01 * most)).any(axis=1)
    assert len(dots) >= 20 and not better.any(), "none lies above the front"
    assert beaten.mean() > 0.5, "most are beaten by a point itself, the others by what lies between two"
    page.uncheck("#front-beneath")
    settled(page, f"() => ({CLOUD})() === null", True)
    page.check("#front-beneath")
    settled(page, f"() => ({CLOUD})()?.dots.length", len(dots))
    worst = int(np.argmin(speed[:, 0] / cost[:, 0]))
    page.evaluate(HAPPENS, ["plotly_click", {"points": [{"customdata": found["numbers"][worst]}]}])
    page.wait_for_selector("#tiles")
    settled(page, f"() => Math.abs(explorer.answer.speedup / {speed[worst, 0]} - 1) < 1e-6", True)
    assert "limit" in page.inner_text("#limits") and "broken" not in page.inner_text("#limits")


def test_curves_and_scores_that_lie_there_are_drawn(tab):
    page = tab()
    page.click("#tab-Serving")
    page.wait_for_selector(".figure svg")
    assert "trainium3" in page.inner_text("table")
    page.locator(".figure svg circle").first.hover(force=True)  # another mark may lie on it
    page.wait_for_selector(".tip:visible")
    assert "tokens/s per user" in page.inner_text(".tip"), "what is under the pointer is said at once"
    batches = "() => document.querySelector('.figure').drawn[0].flatMap((t) => t.mode.includes('text') ? t.text : [])"
    shown = [b for b in page.evaluate(batches) if b]
    assert len(shown) > 6 and all(int(b) > 0 for b in shown), "batches stand along the curves"
    page.uncheck("#serving-labels")
    settled(page, batches, [])
    page.fill("#serving-limit", "1000")
    page.press("#serving-limit", "Enter")
    page.wait_for_selector("text=none keeps it")
    page.click("#tab-Truth")
    page.wait_for_selector(".figure svg")
    assert "out of sample: every source by fits that never saw it" in page.inner_text("main")
    page.select_option("#truth-kind", "inference")
    counted = json.loads((SHIPPED / "validation/inference/scores.json").read_text(encoding="utf-8"))["total"]
    said = f"text={counted['modelled']:,} of {counted['points']:,} measurements predicted, in sample"
    page.wait_for_selector(said)
    page.evaluate("document.querySelector('#truth-source').append(new Option('nobody'))")
    page.select_option("#truth-source", "nobody")
    page.wait_for_selector(".figure", state="hidden")


def test_a_risk_study_that_lies_there_is_shown(tab):
    """Above 1.5x in 46 of 95 draws that have a design, of 100: what the file says, not what is drawn."""
    page = tab()
    page.click("#tab-Risk")
    page.wait_for_selector(".figure svg")
    said = page.inner_text("#risk-verdict")
    assert "1.5x delivered is within reach in 30 % of 100 draws" in said and "limits can be met in 95 %" in said
    told = page.inner_text("#risk-drivers")
    assert "node: PE area FP8" in told and "less is better" in told


def test_hostile_words_are_words(tab, answers, monkeypatch):
    """Names come from files of strangers: they are shown, and nothing in them runs."""
    hostile = json.loads(json.dumps(answers.state).replace("tiny", "TITLE"))
    hostile["title"], hostile["workloads"][0]["name"], hostile["limits"][0]["label"] = HOSTILE, HOSTILE, HOSTILE
    hostile["free"][0]["label"], hostile["chips"] = HOSTILE, [HOSTILE, *hostile["chips"]]
    monkeypatch.setitem(answers.__dict__, "state", hostile)
    column = {**answers.chip("trainium3"), "name": "trainium3", "works": [{"name": "decode", "why": HOSTILE}]}
    monkeypatch.setitem(answers.columns, "trainium3", column)
    page = tab("#" + "node=%3Cscript%3E&n_cores=-1&choice=999&plans=9.9.9&limit.0=1e999")
    comes(page, lambda: "onerror" in page.inner_text("#comparison"))
    assert page.inner_text("h1") == HOSTILE and page.title().startswith(HOSTILE)
    assert HOSTILE in page.inner_text("#comparison").replace(", ", ",") or "onerror" in page.inner_text("#comparison")
    assert page.evaluate("globalThis.broken") is None
    assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_a_second_origin_is_refused(browser, address, tmp_path):
    """A page from elsewhere can neither read the explorer nor make it work."""
    other = tmp_path / "other.html"
    other.write_text("<p>other</p>")
    page = browser.new_page()
    page.goto(other.as_uri())
    code = """async (where) => {
      try { return (await fetch(where + 'evaluate', {method: 'POST', body: '{}'})).status; } catch { return 'refused'; }
    }"""
    assert page.evaluate(code, address) == "refused"
    page.close()


def test_the_offline_page_needs_nothing(tab, answers, start, tmp_path):
    """Opened as a file it answers as Python does, without a single request."""
    from dse.explorer.ask import ask_of

    subject = answers.subject
    made = emitted(subject, [own_plans(subject.space) for _ in subject.study.choices])
    (tmp_path / "page.html").write_text(page_html(made, held(answers, made)))
    page = tab("", 1280, (tmp_path / "page.html").as_uri())
    theirs = page.evaluate("explorer.answer.reading")
    asked = {**start, "plans": list(own_plans(subject.space))}
    mine = answers.evaluate(ask_of(subject, asked))["reading"]
    assert theirs["works"][0]["step_s"] == pytest.approx(mine["works"][0]["step_s"], rel=1e-9)
    assert theirs["metrics"].keys() == mine["metrics"].keys()
    for name, value in mine["metrics"].items():
        assert theirs["metrics"][name] == pytest.approx(value, rel=1e-9), name
    assert page.evaluate("explorer.answer.speedup") == pytest.approx(1.0, rel=1e-9)
    page.locator(".tile").first.press("Enter")
    page.wait_for_selector("dialog[open] td.kind")
    page.keyboard.press("Escape")
    page.click("#tab-Risk")
    page.wait_for_selector(".figure svg polyline")
    page.click("#tab-Serving")
    line = page.locator(".figure svg line[stroke-width='16']").bounding_box()
    page.mouse.move(line["x"] + line["width"] / 2, line["y"] + 50)
    page.mouse.down()
    page.mouse.move(line["x"] + 200, line["y"] + 50)
    page.mouse.up()
    assert float(page.input_value("#serving-limit")) > 55, "the line of what a user must see was dragged"
    assert page.evaluate(AUDIT) == []
    page.click("#tab-Front")
    page.locator(".figure svg circle").first.click()
    page.wait_for_selector("#tiles")
    assert page.evaluate("[explorer.design.x.n_cores, explorer.design.choice]") == [16, 1]


def test_the_committed_page_is_of_today(tab):
    """The page that the README links to: today's study, today's scripts, and the answer committed beside it."""
    folder = SHIPPED / "trainium4"
    html = (folder / "explorer.html").read_text()
    state = json.loads(re.search(r'id="held">(.*?)</script>', html, re.DOTALL).group(1))["state"]
    assert state["study_sha256"] == digest((SHIPPED.parent / "sweeps" / "trainium4.toml").read_bytes())
    links = json.loads(re.search(r'<script type="importmap">(.*?)</script>', html, re.DOTALL).group(1))["imports"]
    today = {f"dse/{p.stem}": f"data:text/javascript;base64,{module(p)}" for p in PAGE.glob("*.js")}
    assert links == today, "dse explore sweeps/trainium4.toml --export results/trainium4/explorer.html"
    assert len(html) < 2_000_000
    page = tab("", 1280, (folder / "explorer.html").as_uri())
    metrics = json.loads((folder / "solution.json").read_text())["metrics"]
    assert page.evaluate("explorer.answer.speedup") == pytest.approx(metrics["delivered_speedup"], rel=AS_COMMITTED)
    works = page.evaluate("explorer.answer.reading.works.map((w) => w.step_s)")
    assert works == pytest.approx([w["step_s"] for w in metrics["workloads"].values()], rel=AS_COMMITTED)


def test_workloads_are_asked_anew_and_a_link_carries_them(tab, answers):
    """The session is another study's until the first sizes are asked for again, as a link of then asks."""
    page = tab()
    before, batch = page.evaluate("explorer.answer.reading.works[0].step_s"), page.input_value("#work-0-batch")
    field = page.locator("input[aria-label='HBM capacity, value']")
    field.fill("256 GiB")
    field.press("Enter")
    comes(page, lambda: "hbm_capacity" in page.url)
    whole = page.url.partition("#")[2]
    page.fill("#work-0-batch", str(int(batch) // 2))
    with page.expect_event("load"):
        page.click("text=Apply workloads")
    page.wait_for_selector("body[data-ready]")
    assert page.input_value("#work-0-batch") == str(int(batch) // 2)
    assert page.evaluate("explorer.design.x.hbm_capacity_B") == 2.0**38
    assert page.evaluate("explorer.answer.reading.works[0].step_s") < before
    assert f"work.0.batch={int(batch) // 2}" in page.url and "work" not in whole
    again = tab("#" + whole)
    assert again.input_value("#work-0-batch") == batch, "a link asks for the workloads of its time"
    assert again.evaluate("explorer.answer.reading.works[0].step_s") > page.evaluate(
        "explorer.answer.reading.works[0].step_s"
    )


ANOTHER_PHASE = """async ([sizes, asked, phase]) => {
  const { Workloads } = await import('./workloads.js');
  const known = { workloads: [asked], sizes, phases: Object.keys(sizes), models: [asked.model] };
  const made = new Workloads({}, { asked_works: known }, () => {});
  document.querySelector('main').append(made.node);
  const list = made.node.querySelector('select[id$="phase"]');
  list.value = phase;
  list.dispatchEvent(new Event('change'));
  const found = Object.fromEntries(Object.entries(made.rows[0].sizes).map(([n, node]) => [n, node.value]));
  made.node.remove();
  return found;
}"""


def test_a_length_carries_over_to_another_phase(tab):
    """Of a chip: the batch starts anew, the length stays under its new name, whatever stands before it."""
    page, sizes = tab(), sizes_of_phases()
    asked = {"model": "m", "phase": "decode", "chips": 1, "sizes": {"batch": 64, "context": 4096}}
    assert page.evaluate(ANOTHER_PHASE, [sizes, asked, "prefill"]) == {"batch": "1", "prompt": "4096"}
    turned = {p: s[::-1] for p, s in sizes.items()}
    assert page.evaluate(ANOTHER_PHASE, [turned, asked, "training"]) == {"sequence": "4096", "batch": "1"}
    served = {"model": "m", "phase": "service", "chips": 1, "sizes": {}}
    assert page.evaluate(ANOTHER_PHASE, [sizes, served, "training"]) == {"batch": "1", "sequence": "1"}
