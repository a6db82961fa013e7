"""Random studies: no false optimal, no false infeasible, never worse for a looser limit.

Twenty by default, `DSE_RANDOM_STUDIES=200` for the nightly run. All have the form of the tiny
study, so that nothing compiles anew: a limit that does not matter is one that is very loose.
"""

import dataclasses
import math
import os

import numpy as np
import pytest

from dse.core.free import Free
from dse.optimize.around import loosened, with_limit
from dse.optimize.solution import Status
from dse.optimize.solve import solve, solve_continuous
from dse.optimize.space import relative, space_of

from .conftest import narrowed

pytestmark = pytest.mark.slow
N = int(os.environ.get("DSE_RANDOM_STUDIES", "20"))
GAP = 1e-3
LIMIT_S = 600.0
"""Every study takes a few seconds; a machine that stalls must not make one unfinished."""
ROOM = 1e-4
"""A design that just meets its limits has no interior: a little more than is needed."""
HEAVY = 3.0
"""Limits are spread by about this factor: a third of the studies has no design."""


@pytest.fixture(scope="module")
def space(tiny):
    return space_of(tiny)


def random_study(study, seed):
    """The study with limits and boxes of counts drawn anew."""
    rng = np.random.default_rng(seed)
    limits = tuple(dataclasses.replace(x, value=x.value * HEAVY ** rng.uniform(-1, 1)) for x in study.limits)
    cores, stacks = int(rng.integers(2, 20)), int(rng.integers(2, 7))
    boxes = {
        "n_cores": (float(cores), cores + float(rng.integers(0, 9))),
        "n_stacks": (float(stacks), stacks + float(rng.integers(0, 3))),
    }
    return dataclasses.replace(narrowed(study, **boxes), limits=limits)


def relaxed(study, relaxations):
    """The study as its relaxations ask, a thousandth looser."""
    assert relaxations
    for r in relaxations:
        enough = r.needed * (1.001 if r.sense == "at_most" else 1 / 1.001)
        limits = [
            dataclasses.replace(x, value=enough) if (x.metric, x.sense) == (r.name, r.sense) else x
            for x in study.limits
        ]
        ends = (lambda f, e=enough: (f.lower, e)) if r.sense == "at_most" else (lambda f, e=enough: (e, f.upper))
        free = [Free(f.name, *ends(f)) if f.name == r.name else f for f in study.free]
        assert tuple(limits) != study.limits or tuple(free) != study.free
        study = dataclasses.replace(study, limits=tuple(limits), free=tuple(free))
    return study


FIXED = {"reticle", "shoreline", "interposer", "stack capacity"}
"""Rows that a study does not write and somebody could loosen."""


def written(study):
    """Names of what a study itself can loosen."""
    return {x.metric for x in study.limits} | {f.name for f in study.free}


def test_a_choice_that_cannot_be_built_hides_no_way_out(tiny, space):
    """Two dies would do but for their five stacks: before, nothing was said of what one die needs."""
    study = random_study(tiny, 286)
    s = solve(study, space=relative(space, study), gap_frac=GAP, limit_s=LIMIT_S)
    assert s.status is Status.INFEASIBLE and [r.name for r in s.relaxations] == ["reticle"]


@pytest.mark.parametrize("seed", range(N))
def test_a_random_study_is_answered_rightly(tiny, space, every_design, every_change, seed):
    study = random_study(tiny, seed)
    s = solve(study, space=relative(space, study), gap_frac=GAP, limit_s=LIMIT_S)
    truth = every_design(study)
    assert s.status in (Status.OPTIMAL, Status.INFEASIBLE)
    assert (s.status is Status.INFEASIBLE) == math.isinf(truth)
    if s.status is Status.INFEASIBLE:
        assert sum(abs(math.log(r.needed / r.limit)) for r in s.relaxations) <= every_change(study) + 2e-3
        if not written(study).issuperset(r.name for r in s.relaxations):
            # what the study wrote is not enough, so that what others fixed is named too: a share of it above all of it
            fixed = [r for r in s.relaxations if r.name not in written(study)]
            assert {r.name for r in fixed} <= FIXED and all(r.needed > r.limit == 1.0 for r in fixed)
            return
        way_out = relaxed(study, s.relaxations)
        assert solve(way_out, space=relative(space, way_out), gap_frac=0.5, limit_s=LIMIT_S).chip is not None
        return
    assert truth * (1 - 1e-6) <= s.goal <= truth * (1 + GAP + 1e-6)
    assert solve_continuous(study, space=relative(space, study)).goal <= s.goal * (1 + 1e-6)
    looser = with_limit(study, seed % 3, loosened(study.limits[seed % 3], 1.2))
    more = solve(looser, space=relative(space, looser), gap_frac=GAP, limit_s=LIMIT_S)
    assert more.status is Status.OPTIMAL and more.goal <= s.goal * (1 + GAP + 1e-6)
