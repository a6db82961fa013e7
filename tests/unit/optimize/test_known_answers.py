"""Five studies that were answered wrongly once: false infeasible, and optimal though far from the best."""

import dataclasses
from pathlib import Path

import pytest

from dse.core.free import Free
from dse.optimize.solution import Status
from dse.optimize.solve import solve
from dse.study.convex import Kind
from dse.study.study import load_study

pytestmark = pytest.mark.slow
LIMITS = Path(__file__).parents[2] / "data" / "limits"
GAP = 0.01
KNOWN = {"norelax1": (0.5619, 5.0), "norelax2": (0.2377, 6.0), "mini": (0.2377, 6.0)}
"""Goal and stacks that `dse optimize` proves to a thousandth, in minutes: where it said that there is no design."""


@pytest.mark.parametrize("name", KNOWN)
def test_a_design_that_exists_is_found(name):
    study = load_study(LIMITS / f"{name}.toml")
    s = solve(study, gap_frac=GAP, limit_s=120.0)
    goal, stacks = KNOWN[name]
    assert s.status is Status.OPTIMAL and s.goal == pytest.approx(goal, rel=GAP + 1e-3)
    assert s.chip is not None and float(s.chip.n_stacks) == stacks
    for x in (x for x in s.limits if x.kind is Kind.USER):
        assert x.value <= x.limit * (1 + 1e-6) if x.sense == "at_most" else x.value >= x.limit * (1 - 1e-6), x.name
    if name == "norelax1":
        held = tuple(Free(f.name, stacks, stacks) if f.name == "n_stacks" else f for f in study.free)
        by_hand = solve(dataclasses.replace(study, free=held), gap_frac=GAP, limit_s=120.0)
        assert s.goal <= by_hand.goal * (1 + GAP)


def test_a_larger_budget_is_never_worse():
    """The answer for the larger one was 0.285 where the smaller one has a design of 0.160."""
    tight, loose = (solve(load_study(LIMITS / f"{n}.toml"), gap_frac=GAP, limit_s=120.0) for n in ("tight", "loose"))
    assert loose.goal <= tight.goal * (1 + GAP)
    for s in (tight, loose):
        assert s.certificate is not None and s.certificate.overall is not None
        assert s.certificate.overall.lower_bound <= s.goal and s.certificate.overall.gap <= 0.05
