"""Figures of notebooks: in the house style, shown once, and the style leaves nothing behind."""

import matplotlib as mpl
import pytest

import dse
from dse.report.style import BLOCKS, HARMS, HELPS, NODES, VERDICTS, plt


@pytest.mark.slow
def test_roofline_of_a_chip_shows_its_ridge_and_every_operator():
    system, before = dse.system("trn3-gen2-144", 4), plt.get_fignums()
    figure = dse.plots.roofline(system, dse.Decode(dse.model("llama-3.1-8b"), 64, 4096, "fp8", "fp8"))
    (ax,) = figure.axes
    ridge = float(dse.peak_FLOPps(system.chip, "fp8") / system.chip.hbm_bandwidth_Bps)
    assert ax.get_xlim()[0] < ridge < ax.get_xlim()[1]
    assert len(ax.collections) >= 5
    assert "HBM" in ax.get_xlabel() and ax.get_ylabel() == "FLOP/s of one chip"
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words and len(words) == len(set(words))
    assert plt.get_fignums() == before, "closed, so that a notebook shows it once"


@pytest.mark.slow
def test_roofline_of_streamed_blocks_has_roofs_without_points():
    """No operator of a streamed block has HBM traffic of its own: the figure was an error of Python's."""
    system, workload = dse.system("trn3-gen2-144", 4), dse.Decode(dse.model("llama-3.1-8b"), 64, 4096)
    figure = dse.plots.roofline(system, workload, dse.parse_plan("tp=4,pp=1,dp=1,order=stream"))
    (ax,) = figure.axes
    assert not ax.collections and len(ax.get_lines()) == 1
    assert any("streamed" in t.get_text() for t in ax.texts)
    assert ax.get_ylim()[0] < float(dse.peak_FLOPps(system.chip, "bf16")) < ax.get_ylim()[1]


def test_style_ends_with_its_block():
    before = mpl.rcParams["axes.spines.top"]
    with dse.plots.style():
        assert not mpl.rcParams["axes.spines.top"]
    assert mpl.rcParams["axes.spines.top"] == before


def test_a_figure_after_the_first_is_shown_too():
    """The end of the first block put back what stood before a notebook showed figures: it showed no other."""
    try:
        with dse.plots.style():
            plt.ion()  # as a notebook's backend does at its first figure
        assert plt.isinteractive()
        with dse.plots.style():
            plt.ioff()
        assert not plt.isinteractive()
    finally:
        plt.ioff()


def test_save_writes_png_and_svg(tmp_path):
    with dse.plots.style():
        figure, ax = plt.subplots()
        ax.plot([1, 2], color=dse.plots.DESIGN)
    assert [p.name for p in dse.plots.save(figure, tmp_path, "a")] == ["a.png", "a.svg"]


def test_meanings_of_colours_do_not_collide():
    assert HELPS != HARMS and len(set(VERDICTS.values())) == len(VERDICTS) and len(set(NODES)) == len(NODES)
    assert BLOCKS["HBM"] == HARMS and VERDICTS["miss"] == HARMS
