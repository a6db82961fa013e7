"""The page of a results folder: whole, offline, and readable in a browser at two widths."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from dse.cli import main
from dse.core.errors import SpecError
from dse.core.text import digits
from dse.report import hover
from dse.report.markup import figure, records, table, value_text
from dse.report.page import write_page
from dse.report.sections import SECTIONS

RESULTS = Path(__file__).parents[3] / "results"
ANSWERS = ("trainium4", "validation/training", "scaleup_domain")
FRONT = {
    "study": "toy",
    "metrics": ["delivered_time", "package_cost_USD"],
    "worst_gap": 1e-8,
    "knee": 1,
    "points": [
        {"delivered_time": t, "package_cost_USD": c, "node": n, "hbm": "HBM4", "n_dies": 2, "n_cores": k}
        for t, c, n, k in ((0.5, 4000.0, "N3P", 20.0), (0.25, 8000.0, "N2", 40.0), (0.2, 16000.0, "N2", 60.0))
    ],
    "changes": [],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shipped answers of several kinds, a small front, and an answer of a kind that the page does not know."""
    root = tmp_path_factory.mktemp("page") / "results"
    for name in ANSWERS:
        shutil.copytree(RESULTS / name, root / name)
    long = root / "front_delivered_time_package_cost_USD"
    long.mkdir()
    (long / "front.json").write_text(json.dumps(FRONT))
    (long / "manifest.json").write_text(json.dumps({"study": "toy", "git_commit": "0" * 40}))
    (root / "other").mkdir()
    (root / "other" / "rent.json").write_text(
        json.dumps({"rent_USD": 2.5, "parts": [{"name": "<power>", "share": 0.2}]})
    )
    return root


@pytest.fixture(scope="module")
def html(folder):
    return write_page(folder).read_text()


def test_every_answer_has_a_section(html):
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", html)
    expected = [
        "Front over delivered speed-up and package cost",
        "Front over delivered speed-up and package cost: trainium4",
        "Rent: other",
        "Design: trainium4",
        "Validation: validation/training",
        "Guesses",
        "Sources",
    ]
    assert set(expected) <= set(titles)
    assert any(t.startswith("Sweep: scaleup_domain") for t in titles)


SHIPPED = sorted(p for name in SECTIONS for p in RESULTS.rglob(name))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(RESULTS)))
def test_every_shipped_answer_can_be_shown(path):
    """Collectives have no simple baseline to say a median of."""
    _, made = SECTIONS[path.name]
    assert "<table" in made(json.loads(path.read_text()))


def test_numbers_are_those_of_the_answers(folder, html):
    answer = json.loads((RESULTS / "trainium4" / "solution.json").read_text())
    assert f"{digits(answer['metrics']['delivered_speedup'])}x the baseline" in html
    guesses = {g for p in folder.rglob("manifest.json") for g in json.loads(p.read_text()).get("guesses", ())}
    assert "mean of a step" in html and "sram_leakage" not in html, "words, not names of fields"
    assert f"{len(guesses)} numbers behind these answers are guesses" in html
    assert "1 mW per Mibit at 85 C" in html, "the receipt of a guess stands beside it"
    assert "2x</td><td style" not in html and "$" not in "".join(re.findall(r"<td[^>]*>([^<]*)</td>", html))


def test_text_is_escaped_and_nothing_is_fetched(html):
    assert "&lt;power&gt;" in html and "<power>" not in html
    without_script = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert re.findall(r'(?:src|srcset|action)="(?!data:)[^"]*"|<link[^>]*href="(?!data:)', without_script) == []
    assert "@import" not in without_script and "url(" not in without_script


def test_plotly_is_there_once_and_only_where_needed(html, folder, tmp_path):
    assert html.count("plotly.js v") <= 2 and html.count(hover.HOVER) >= 2
    alone = write_page(folder / "validation", tmp_path / "alone.html").read_text()
    assert "plotly" not in alone.lower() and len(alone) < 2_000_000


def test_the_same_answers_give_the_same_page(folder, html, tmp_path):
    assert write_page(folder, tmp_path / "again.html").read_text() == html


@pytest.mark.parametrize(("make", "words"), [
    (lambda p: p / "none", "no such folder"),
    (lambda p: p, "no answers there"),
])  # fmt: skip
def test_folders_without_answers_say_so(tmp_path, make, words):
    with pytest.raises(SpecError, match=words):
        write_page(make(tmp_path))


@pytest.mark.parametrize("text", ["{", '{"design": {}}', '{"explanation": 3}'])
def test_damaged_answers_are_one_line(tmp_path, text):
    (tmp_path / "solution.json").write_text(text)
    with pytest.raises(SpecError, match=r"solution\.json.*run its command again"):
        write_page(tmp_path)


def test_the_command_writes_the_page(tmp_path, capsys):
    shutil.copytree(RESULTS / "trainium4", tmp_path / "mine")
    assert main(["report", str(tmp_path / "mine"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(tmp_path / "mine" / "report.html")
    assert said["size_B"] == (tmp_path / "mine" / "report.html").stat().st_size > 100_000
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_cells_have_the_units_of_their_names():
    assert value_text("hbm_bandwidth_Bps", 4.9e12) == "4.9 TB/s"
    assert value_text("median_abs_err", 0.075) == "7.5 %"
    assert value_text("sequence", 4096) == value_text("sequence", 4096.0) == "4,096", "was 4,100"
    assert value_text("n_cores", 38.24) == "38.2" and value_text("loss", float("inf")) == "infinite"
    assert value_text("x", None) == "-" and value_text("ok", True) == "yes"
    assert "<td>&lt;b&gt;</td>" in table(["a"], [["<b>"]])
    assert "2 of 3 rows" in records([{"a": 1}, {"a": 2}, {"a": 3}], most=2)


def test_large_svgs_give_way_to_their_png(tmp_path):
    (tmp_path / "a.svg").write_text("<svg>" + " " * 500_000 + "</svg>")
    assert "image/svg+xml" in figure(tmp_path / "a.svg", "a")
    (tmp_path / "a.png").write_bytes(b"png")
    assert "image/png" in figure(tmp_path / "a.svg", "a")


def test_two_fronts_of_one_page_are_drawn_in_places_of_their_own():
    """Places were named after titles and ticks alone: the second front was drawn over the first."""
    other = {**FRONT, "points": [{**p, "package_cost_USD": 1.1 * p["package_cost_USD"]} for p in FRONT["points"]]}
    first, second = (re.findall(r'id="(hover-\w+)"', hover.front(a)) for a in (FRONT, other))
    assert first and second and not set(first) & set(second)


def test_the_way_out_of_an_infeasible_study_is_enough():
    """1,801 W are needed and 1,800 W asked for: the nearest three digits of the need were those of the question."""
    way = {"name": "power_W", "limit": 1800.0, "needed": 1801.0, "sense": "at_most"}
    _, made = SECTIONS["solution.json"]
    html = made({"explanation": "infeasible", "relaxations": [way]})
    assert "<td>power</td>" in html and ">1,800 W<" in html and ">1,810 W<" in html


def test_hover_figures_are_thinned():
    rows = pd.DataFrame({"x": range(1, 10_001), "y": range(1, 10_001)})
    assert len(hover.scatter(rows, "x", "y", None, ["x"])) < 400_000


def test_points_without_a_value_of_the_axis_in_colour_are_drawn():
    """Training has a sequence and decode has none: its points were left out of the figure."""
    rows = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0], "sequence": [4096.0, 4096.0, None]})
    made = hover.scatter(rows, "x", "y", "sequence", ["x"])
    assert '"name":"sequence 4,096"' in made and '"name":"no sequence"' in made


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_page_in_a_browser(browser, folder, html, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    said, asked = [], []
    tab.on("console", lambda m: said.append(m.text))
    tab.on("pageerror", lambda e: said.append(str(e)))
    tab.on("request", lambda r: asked.append(r.url))
    tab.goto((folder / "report.html").as_uri(), wait_until="load")
    tab.wait_for_selector(".hover .main-svg")
    assert said == []
    assert [u for u in asked if not u.startswith(("data:", "blob:")) and not u.endswith("/report.html")] == []
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    images = tab.evaluate("[...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().height])")
    assert len(images) >= 3 and all(natural > 0 and height > 100 for natural, height in images)
    plots = tab.evaluate("[...document.querySelectorAll('.hover .main-svg')].map(p => p.getBoundingClientRect().width)")
    assert plots and all(200 < w <= width for w in plots)
    assert tab.evaluate("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)") >= 14
    tab.close()
