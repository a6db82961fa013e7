"""The back-tests that ship: the technologies that were built are chosen, what misses has its reason."""

import pytest

from dse.explore.backtest import Backtest, backtest, cases
from dse.optimize.solve import solve_continuous
from dse.study.study import load_study

from .conftest import AGAIN, ROOT

SWEEPS = ROOT / "sweeps"
AS_BUILT = {
    "backtest_trainium2": [True, True, True, False],
    "backtest_trainium3": [True, True, True, True],
}
"""Node, HBM, links and PE array as built? Counts are broken here: few large cores round badly, so that whole counts may
take other arrays. If this turns, say so in the README."""


@AGAIN
@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=lambda c: c.study)
def test_the_technologies_that_were_built_are_chosen(case):
    answer = backtest(case, load_study(SWEEPS / f"{case.study}.toml"), answer=solve_continuous)
    assert isinstance(answer, Backtest)
    assert [mine == theirs for _, mine, theirs in answer.named] == AS_BUILT[case.study]
    rows = {r.name: r for r in answer.rows}
    assert rows["clock_Hz"].ratio == pytest.approx(1.0, abs=0.3)
    assert rows["peak_fp8_FLOPps"].verdict == "hit"
    assert 0.5 < rows["sram_B"].ratio < 1.25  # reading ahead needs what was built; plain plans took a sixth of it
    # The known misses: peaks in BF16, since modes of PEs are inherited and FP8 is not doubled again.
    assert rows["peak_bf16_FLOPps"].verdict == "miss" and rows["peak_bf16_FLOPps"].ratio > 2
    # The explorer may not claim less than what was built in the same budgets: that would be a failed search.
    assert answer.solution.delivered >= answer.built_delivered
    assert all(r.reason for r in answer.rows if r.verdict in ("near", "miss"))
