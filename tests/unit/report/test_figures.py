"""Figures: blocks add up to the chip, labels keep off points, files are small and the same every time."""

import dataclasses
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dse.evaluation.breakdown import BOUNDS, Operator
from dse.explore.designed import WHITE_SPACE, Cloud
from dse.explore.readings import Point
from dse.hardware.chip import peak_FLOPps
from dse.hardware.presets import chip, chip_names
from dse.physics.area import die_area_mm2
from dse.physics.calibration import family
from dse.physics.evaluate import chip_technology
from dse.report import hover
from dse.report.figures import (
    AREA_BLOCKS,
    BOUND_BLOCKS,
    POWER_BLOCKS,
    area_parts,
    area_power_figure,
    highest_roof_FLOPps,
    power_parts,
)
from dse.report.front_figures import heights
from dse.report.parity import MARKERS, family_colours
from dse.report.readings import readings_figure
from dse.report.style import BLOCKS, FAMILIES, NODES, STYLE, colours, plt, save
from dse.study.metrics import Limit
from dse.study.study import load_study
from dse.technology.presets import names

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


def lab(colour):
    """CIE L*a*b* of an sRGB colour under daylight, by the standard's own formulas."""
    rgb = np.asarray([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.asarray([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.asarray([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("one", "other"), [*combinations(BLOCKS, 2)])
def test_no_two_blocks_look_alike(one, other):
    assert np.linalg.norm(lab(BLOCKS[one]) - lab(BLOCKS[other])) > 15


@pytest.mark.parametrize("palette", [FAMILIES, NODES])
def test_no_two_colours_of_a_palette_look_alike(palette):
    assert min(np.linalg.norm(lab(one) - lab(other)) for one, other in combinations(palette, 2)) > 15


def test_every_chip_of_a_validation_has_a_colour_of_its_family_alone():
    """Trainium2, Trainium3, Gaudi and all TPUs were the same black."""
    done = pd.DataFrame(
        {"chip": [c for c in chip_names() if family(c) != c] + ["trainium2", "trainium3", "inferentia1"]}
    )
    found = family_colours(done)
    assert {family(c) for c in done.chip} <= set(found)
    assert len(set(found.values())) == len(found)
    assert len(set(MARKERS)) == len(MARKERS) >= 16


def test_a_palette_that_runs_out_leaves_nothing_undrawn():
    """`dse serve all` ended in a KeyError at the eighth chip, and a front left out designs on its seventh node."""
    assert list(colours(["a", "b", "c", "a"], ("#000000", "#ffffff")).items()) == [
        ("a", "#000000"), ("b", "#ffffff"), ("c", "#000000"),
    ]  # fmt: skip
    nodes = names("node")
    points = [{"node": n, "delivered_time": 0.5, "package_cost_USD": 100.0 + i} for i, n in enumerate(nodes)]
    page = hover.front({"metrics": ["delivered_time", "package_cost_USD"], "points": points, "knee": 0})
    assert len(nodes) > 6 and all(f"front on {n}" in page for n in nodes)


def test_the_measure_of_colours():
    """White is at 100, two near greys are near: a difference of 2.3 is just seen."""
    assert lab("#ffffff") == pytest.approx([100, 0, 0], abs=0.1)
    assert np.linalg.norm(lab("#c9c9c9") - lab("#dcdcdc")) == pytest.approx(6.6, abs=0.3)


@pytest.mark.parametrize("name", chip_names())
def test_blocks_add_up_to_the_dies(name):
    c = chip(name)
    die = float(die_area_mm2(c, chip_technology(c)))
    assert sum(area_parts(c, "CoWoS-L").values()) == pytest.approx(float(c.n_dies) * die)
    assert all(w >= 0 for w in power_parts(c, "CoWoS-L", "bf16").values())


def test_every_block_has_one_colour():
    used = {*AREA_BLOCKS.values(), *POWER_BLOCKS.values(), *BOUND_BLOCKS.values()}
    assert used <= set(BLOCKS) and WHITE_SPACE not in BLOCKS
    assert len(set(BLOCKS.values())) == len(BLOCKS)
    assert {*BOUNDS, "launch"} == set(BOUND_BLOCKS)


def test_files_are_small_and_repeatable(tmp_path):
    study, design = load_study(TINY), chip("trainium3")
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        with plt.rc_context(STYLE):
            written.append(save(area_power_figure(design, study), folder, "area_power"))
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("limited", "words"),
    [
        ([("power_W", 700.0)], "limit of the study: mean power"),
        ([("power_W", 700.0), ("full_load_fp8_W", 900.0)], "limit of the study: full-load FP8"),
        ([], None),
    ],
)
def test_the_bar_of_full_load_says_which_power_is_limited(limited, words):
    """A limit of 1,200 W on the mean stood as "power limit of the study" in a bar of 5,000 W at full load."""
    limits = tuple(Limit(metric, "at_most", value) for metric, value in limited)
    figure = area_power_figure(chip("trainium3"), dataclasses.replace(load_study(TINY), limits=limits))
    said = [t.get_text() for t in figure.legends[0].get_texts()]
    bars = [line.get_xdata()[0] for line in figure.axes[1].get_lines() if len(line.get_xdata()) == 2]
    plt.close(figure)
    assert [t for t in said if t.startswith("limit")] == ([words] if words else [])
    assert bars == [value for metric, value in limited[-1:]]


def test_the_roof_of_a_design_without_points_is_on_the_figure():
    """All blocks of the shipped design are streamed: the axis ended at the older chip's roof, below the design's."""
    op = Operator("up", "fp8", seconds=1.0, run_s=1.0, run_FLOP=1e15, run_B=1e12, bound="hbm")
    older, design = Cloud(chip("trainium1"), (op,)), Cloud(chip("trainium3"), ())
    assert highest_roof_FLOPps((older, design)) == float(peak_FLOPps(design.chip, "fp8"))


def test_a_design_slower_than_the_baseline_is_on_the_figure():
    """At 100 W the best design delivers 0.6x: the axis began at 1x, and the curve left the figure."""
    points = [Point("power_W", tdp_W, speedup, "", {}) for tdp_W, speedup in ((100.0, 0.6), (300.0, 1.5))]
    low, usual = (readings_figure(p, "trainium3").axes[0].get_ylim()[0] for p in (points, points[1:]))
    plt.close("all")
    assert low < 0.6 and usual <= 1.0


def test_a_line_that_begins_late_says_why():
    """Full load has no design at 1,000 and 1,200 W, and its line simply began at 1,400 W."""
    rows = [("power_W", 1000.0, 5.5), ("full_load_fp8_W", 1000.0, None), ("full_load_fp8_W", 1200.0, None)]
    rows += [("power_W", 1400.0, 6.2), ("full_load_fp8_W", 1400.0, 1.9)]
    ax = readings_figure([Point(r, w, s, "", {}) for r, w, s in rows], "trainium3").axes[0]
    plt.close("all")
    assert [t.get_text() for t in ax.texts if "no design" in t.get_text()] == ["no design up to 1,200 W"]


def test_numbers_that_look_alike_are_alike_along_a_front():
    """8.1900 and 8.1901 TB/s, "8.19" both, stood at the two ends of their axis: what a solver leaves was drawn.

    By hand: 2x to 8x has 4x in its middle.
    """
    speeds, bandwidths_Bps = np.asarray([2.0, 4.0, 8.0]), np.asarray([8.19e12, 8.1901e12, 8.19e12])
    assert np.allclose(heights([speeds, bandwidths_Bps]), [[0.0, 0.5, 1.0], [0.5, 0.5, 0.5]])
