"""Figures: blocks add up to the chip, labels keep off points, files are small and the same every time."""

from pathlib import Path

import pytest

from dse.evaluation.breakdown import BOUNDS
from dse.hardware.presets import chip, chip_names
from dse.physics.area import die_area_mm2
from dse.physics.evaluate import chip_technology
from dse.report.figures import (
    AREA_BLOCKS,
    BOUND_BLOCKS,
    POWER_BLOCKS,
    WHITE_SPACE,
    area_parts,
    area_power_figure,
    power_parts,
)
from dse.report.style import BLOCKS, STYLE, plt, save
from dse.study.study import load_study

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


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
