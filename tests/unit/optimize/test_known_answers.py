"""Five studies that were answered wrongly once: false infeasible, and optimal though far from the best.

All five take two minutes of processor and are for the night; by day one stands for them.
"""

import dataclasses
import os
from pathlib import Path

import pytest

from dse.optimize.around import with_limit
from dse.optimize.descent import run_search
from dse.optimize.relax import relaxations
from dse.optimize.search import search_of
from dse.optimize.solution import Status
from dse.optimize.solve import solve
from dse.optimize.space import space_of
from dse.study.convex import Kind
from dse.study.study import load_study

pytestmark = pytest.mark.slow
LIMITS = Path(__file__).parents[2] / "data" / "limits"
NAMES = [p.stem for p in sorted(LIMITS.glob("*.toml"))] if "DSE_RANDOM_STUDIES" in os.environ else ["norelax1"]
GAP, LIMIT_S = 0.05, 300.0
"""The gap is reached in some twenty seconds; a machine that stalls must not change the answer."""
KNOWN = {"norelax1": 0.3992, "norelax2": 0.1750, "mini": 0.1750}
"""Goals that `dse optimize --gap 0.001` proves of today's model, where it once said that there is no design."""


@pytest.fixture(scope="module")
def answers():
    """Studies of one form: all but the first share its compiled programs."""
    return {n: solve(load_study(LIMITS / f"{n}.toml"), gap_frac=GAP, limit_s=LIMIT_S) for n in NAMES}


@pytest.mark.parametrize("name", [n for n in NAMES if n in KNOWN])
def test_a_design_that_exists_is_found(answers, name):
    s = answers[name]
    assert s.chip is not None and KNOWN[name] * (1 - 1e-3) <= s.goal <= KNOWN[name] * (1 + GAP + 1e-3)
    for x in (x for x in s.limits if x.kind is Kind.USER):
        assert x.value <= x.limit * (1 + 1e-6) if x.sense == "at_most" else x.value >= x.limit * (1 - 1e-6), x.name


@pytest.mark.parametrize("asked_USD", [9450.0, 9000.0])
def test_the_cheapest_way_out_does_not_hang_on_where_the_search_stood(asked_USD):
    """Broken counts meet 9,450 USD and not 9,000; before, only the counts beside that design were asked."""
    study = load_study(LIMITS / "mini.toml")
    place = next(i for i, x in enumerate(study.limits) if x.metric == "package_cost_USD")
    search = search_of(space_of(with_limit(study, place, dataclasses.replace(study.limits[place], value=asked_USD))))
    (found,) = relaxations(search, run_search(search))
    assert found.name == "package_cost_USD" and found.needed == pytest.approx(9482.2, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_called_optimal_is(answers, name):
    s = answers[name]
    assert s.status in (Status.OPTIMAL, Status.UNFINISHED)
    assert s.certificate is not None and s.certificate.overall is not None
    assert 0 < s.certificate.overall.lower_bound <= s.goal * (1 + 1e-9)
    assert s.status is Status.UNFINISHED or s.certificate.overall.gap <= 0.01


@pytest.mark.skipif("loose" not in NAMES, reason="for the night: DSE_RANDOM_STUDIES=200")
def test_a_larger_budget_is_not_worse_by_more_than_is_open(answers):
    """The answer for the larger one was 1.78 times that of the smaller."""
    tight, loose = answers["tight"], answers["loose"]
    assert loose.certificate.overall.lower_bound <= tight.goal
    assert loose.goal <= tight.goal * (1 + GAP)
