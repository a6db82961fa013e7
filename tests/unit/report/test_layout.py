"""Tables on narrow pages: never cut, whatever the width."""

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from dse.explore.remedy import Lever, Remedy
from dse.optimize.search import Candidate
from dse.report.front import remedy_view
from dse.report.layout import Table, narrowed, table_of
from dse.report.markup import written
from dse.report.model_tables import model_view, models_table
from dse.study.study import load_study
from dse.workload.presets import model_reading

ROWS = (
    ("calibration fit-trainium3-neuronx: attention_frac", "22 %", "2.4 % to 75 %", "measured", "+0.125 %", "43 %"),
    ("node N3P: local_sram_area_mm2_per_B", "2.31 mm2/MiB", "1.09 to 4.2 mm2/MiB", "guess", "+0.044 %", "4.3 %"),
)
HEADS = ("number", "value", "range", "kind", "+1 % moves the goal", "its range is worth")


def shown(view, width):
    page = Console(file=io.StringIO(), width=width, highlight=False)
    page.print(view)
    return page.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 70, 80, 100, 120, 200])
def test_nothing_is_cut(width):
    """The sensitivity table as it was in 80 columns: headers "…" and values "2…"."""
    text = shown(table_of(HEADS, ROWS, "said below"), width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    found = re.sub(r"\s", "", text)
    assert all(letter in found for letter in "".join(HEADS).replace(" ", ""))
    if width >= 60:
        words = {w for row in (*ROWS, HEADS, ("said below",)) for cell in row for w in cell.split()}
        assert words <= set(text.split()), "no word is broken where it fits"


def test_headers_give_way_before_numbers():
    made = table_of(("x", "a long header of a column"), [("first of all", "2.31 mm2/MiB")])
    lines = [line.rstrip() for line in shown(made, 26).splitlines()]
    assert "first of all  2.31 mm2/MiB" in lines and len(lines) > 3


def test_many_columns_become_lines():
    made = table_of([f"column_{i}" for i in range(30)], [[f"{i}.25" for i in range(30)]])
    pairs = [line.split() for line in shown(made, 80).splitlines() if line.strip()]
    assert pairs == [[f"column_{i}", f"{i}.25"] for i in range(30)]


@pytest.mark.parametrize(
    ("widths", "least", "room", "found"),
    [
        ([10, 4], [3, 4], 20, [10, 4]),
        ([10, 4], [3, 4], 9, [5, 4]),
        ([10, 8], [2, 2], 12, [6, 6]),
        ([10, 8], [9, 8], 3, [9, 8]),
    ],
)
def test_the_widest_give_way_first(widths, least, room, found):
    assert narrowed(widths, least, room) == found


def test_a_column_without_an_answer_is_not_shown(pytestconfig):
    """Where no lever is enough alone that is said once, not in a row of dashes each."""
    study = load_study(pytestconfig.rootpath / "tests" / "data" / "tiny.toml")
    unread = Candidate.__new__(Candidate)
    levers = tuple(Lever(f"node N3P: fact_{i}_frac", 0.5, 0.9, np.nan, 0.6) for i in range(14))
    none = shown(remedy_view(Remedy(study, 6.0, 3.0, unread, levers, True)), 100)
    assert "none of these is enough alone" in none and not re.search(r" - ", none)
    one = (Lever("limit power_W <= 500", 500.0, 900.0, 700.0, 600.0), *levers)
    assert "700 W" in shown(remedy_view(Remedy(study, 6.0, 3.0, unread, one, True)), 100)


def test_a_table_says_the_same_on_a_terminal_and_on_a_page():
    """Text with brackets is text in both; a total stands apart, a note below."""
    t = Table(("what", "power"), (("a [b]", "700 W"), ("all <c>", "1.2 kW")), totals=1, note="of [both]")
    with Console(width=60, file=io.StringIO()) as console:
        console.print(t)
    lines = [" ".join(x.split()) for x in console.file.getvalue().splitlines()]
    assert [x for x in lines if x and "─" not in x] == ["what power", "a [b] 700 W", "all <c> 1.2 kW", "of [both]"]
    assert "─" in lines[3] or not lines[3]
    html = written(t)
    assert "<td>a [b]</td><td>700 W</td>" in html and "<td>all &lt;c&gt;</td>" in html and "of [both]" in html


def test_names_that_look_like_markup_are_shown_as_they_are():
    """A model file may be called "m[bold]x.json", which Rich would read as a style."""
    reading = model_reading("llama-3.1-8b")
    named = dataclasses.replace(reading, model=dataclasses.replace(reading.model, name="m[bold]x"))
    assert "m[bold]x" in shown(models_table([named]), 200) and "m[bold]x" in shown(model_view(named), 200)
