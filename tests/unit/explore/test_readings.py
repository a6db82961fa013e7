"""Readings of a power limit: what each of them binds."""

from pathlib import Path

import pytest

from dse.core.errors import SpecError
from dse.explore.ablation import ablation
from dse.explore.reading_limits import OPEN, limits_of, opened
from dse.explore.readings import READINGS, Point, carried, readings
from dse.optimize.solve import solve_continuous
from dse.study.metrics import HEAT, LOADS
from dse.study.study import load_study

STUDY = Path(__file__).parents[3] / "sweeps" / "trainium4.toml"


@pytest.mark.parametrize("reading", READINGS)
def test_a_reading_opens_what_is_stricter_and_full_load_alone_is_cooled_for(reading):
    study = opened(load_study(STUDY), 1800.0)
    found = dict(zip((x.metric for x in study.limits), limits_of(study, reading, 1800.0), strict=False))
    # full load is that of every precision: FP4 was left open under it, as if it were stricter than FP8
    at = len(LOADS) - 1 if reading == "full_load_fp8_W" else LOADS.index(reading)
    assert [found[m] for m in LOADS] == [1800.0 if k <= at else OPEN * 1800.0 for k in range(len(LOADS))]
    assert found[HEAT] == (1.5 if reading == "full_load_fp8_W" else 1.5 * OPEN)


def test_more_watts_or_a_milder_reading_are_never_slower():
    mean, hot, full = READINGS
    rows = [(mean, 1200.0, 5.52), (mean, 1400.0, 5.51), (hot, 1400.0, 5.0), (full, 1200.0, None), (full, 1400.0, 5.6)]
    found = carried([Point(r, w, s, f"{r} {w}", {}) for r, w, s in rows])
    assert [(p.reading, p.tdp_W) for p in found] == [(r, w) for r, w, _ in rows], "each point stays what was asked"
    assert [p.speedup for p in found] == [5.52, 5.6, 5.6, None, 5.6]
    assert found[1].choice == found[2].choice == f"{full} 1400.0", "the design comes with its speed"


def test_a_study_that_asks_for_no_speed_has_no_speed_up():
    """Before, a cost of 2.5e-7 USD per token came out as a speed-up of four million, one over it."""
    study = load_study("trainium4_cost")
    with pytest.raises(SpecError, match="minimises cost_per_token_USD"):
        readings(study, [1800.0])
    with pytest.raises(SpecError, match="minimises cost_per_token_USD"):
        ablation(study, 1800.0)


@pytest.mark.slow
def test_a_reading_is_as_fast_as_the_study_that_has_it():
    """Before, the mean of a step at 1,800 W was 5.98 here and 6.12 for the study of that reading: other plans."""
    mean, _, full = readings(load_study(STUDY), [1800.0])
    assert mean.speedup == pytest.approx(solve_continuous(load_study("trainium4_mean_power")).delivered, rel=1e-3)
    assert full.speedup == pytest.approx(solve_continuous(load_study(STUDY)).delivered, rel=1e-3)
