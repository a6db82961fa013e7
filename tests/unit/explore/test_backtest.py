"""Back-tests: cases and studies fit together, verdicts by hand, and the technologies that were built are chosen."""

from pathlib import Path

import pytest

from dse.explore.backtest import QUANTITIES, Backtest, Row, backtest, cases, quantities
from dse.hardware.presets import chip, system
from dse.optimize.solve import solve_continuous
from dse.report.backtest import backtest_json, backtest_view, headline, ratio_figure
from dse.study.study import load_study

SWEEPS = Path(__file__).parents[3] / "sweeps"


def test_verdicts_by_hand():
    # 10 of 8 is 1.25x, just a hit; 4 of 8 is half, just near; 17 of 8 is 2.1x.
    assert Row("n_cores", 10.0, 8.0, "").verdict == "hit"
    assert Row("n_cores", 8.0, 10.0, "").verdict == "hit"
    assert Row("n_cores", 4.0, 8.0, "").verdict == "near"
    assert Row("n_cores", 17.0, 8.0, "").verdict == "miss"
    assert Row("silicon_mm2", 17.0, 8.0, "", True).verdict == "given"


def test_quantities_of_trainium2():
    # Eight cores of 128 x 128 at 2.4 GHz, 28 MiB each; BF16 2 x 8 x 16384 x 2.4e9 = 629 TFLOP/s, FP8 twice that.
    q = quantities(chip("trainium2"), "CoWoS-S")
    assert tuple(q) == QUANTITIES
    assert q["tensor_pes"] == 8 * 128 * 128
    assert q["peak_bf16_FLOPps"] == pytest.approx(629.1456e12)
    assert q["peak_fp8_FLOPps"] == pytest.approx(2 * 629.1456e12)
    assert q["sram_B"] == 8 * 28 * 2**20


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.study)
def test_cases_fit_their_studies(case):
    study = load_study(SWEEPS / f"{case.study}.toml")
    built = chip(case.built)
    assert system(case.system).chip.name == case.built != study.baseline.chip.name
    assert set(case.reasons) <= set(QUANTITIES)
    # The answer that was built is one of those the explorer may give.
    assert built.node in {c.node for c in study.choices} and built.hbm in {c.hbm for c in study.choices}
    assert built.link in {c.link for c in study.choices} and float(built.n_dies) in {c.n_dies for c in study.choices}
    q = quantities(built, study.package)
    for free in study.free:
        assert free.lower <= q[free.name] <= free.upper, free.name
    # Budgets are the built chip's: silicon and cost by this package's models, to the digits printed in the study.
    limits = {x.metric: x.value for x in study.limits}
    assert limits["silicon_mm2"] == pytest.approx(q["silicon_mm2"], rel=2e-3)
    assert limits["package_cost_USD"] == pytest.approx(q["package_cost_USD"], rel=2e-3)
    assert limits["full_load_fp8_W"] == float(built.power_limit_W)


@pytest.mark.slow
def test_what_a_backtest_reports(tiny):
    """The tiny study as if it were Trainium2's, for what comes of an answer; the real ones are golden tests."""
    answer = backtest(cases()[0], tiny, answer=solve_continuous)
    assert isinstance(answer, Backtest)
    assert {r.name for r in answer.rows if r.given} == {x.metric for x in tiny.limits} & set(QUANTITIES)
    assert all(r.ratio == pytest.approx(r.proposed / r.built) for r in answer.rows)
    assert "Trainium2" in headline(answer)
    told = backtest_json(answer)
    assert sum(told["tally"].values()) == sum(not r.given for r in answer.rows) and backtest_view(answer) is not None
    assert len(ratio_figure([answer]).axes) == 1
