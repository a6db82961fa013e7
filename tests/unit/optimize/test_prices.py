"""Prices are what solving again says: of limits, technology, memory and the bounds of free numbers, to 1 %."""

import dataclasses
import math
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from dse.core.free import Free
from dse.optimize.batch import WIDTH, solve_batch
from dse.optimize.descent import run_search
from dse.optimize.search import search_of
from dse.optimize.solve import solve_continuous
from dse.optimize.space import data_of, relative, space_of
from dse.study.convex import MEMORY, Kind, all_strict, coordinates, model_of
from dse.study.metrics import Limit
from dse.study.study import load_study

pytestmark = pytest.mark.slow
STEP = 1e-3
"""Every limit is moved by this share to either side."""
SWEEPS = Path(__file__).parents[3] / "sweeps"


def moved(search, data, report, factor):
    """Data and box of the problem with one limit multiplied; None for rows whose limit is no single number."""
    lower, upper = (b.copy() for b in search.box)
    if report.kind is Kind.BOUND:
        edge = upper if report.sense == "at_most" else lower
        edge[coordinates(search.core).index(report.name)] += math.log(factor)
    elif report.kind is Kind.USER:
        names = [(x.metric, x.sense) for x in search.space.study.limits]
        scale = np.where(np.arange(len(names)) == names.index((report.name, report.sense)), factor, 1.0)
        data = dataclasses.replace(data, limits=data.limits * scale)
    elif report.name == "reticle":
        package = dataclasses.replace(data.tech.package, reticle_mm2=data.tech.package.reticle_mm2 * factor)
        data = dataclasses.replace(data, tech=dataclasses.replace(data.tech, package=package))
    elif report.name.startswith(f"{MEMORY} of "):
        w = search.core.workloads.index(report.name.removeprefix(f"{MEMORY} of "))
        own = dataclasses.replace(data.demands[w], memory_B=data.demands[w].memory_B / factor)
        data = dataclasses.replace(data, demands=(*data.demands[:w], own, *data.demands[w + 1 :]))
    else:
        return None
    return data, lower, upper


def compared(study, space):
    """Price and central difference of every limit that the answer prices, by name, choice and plans held."""
    reports = [r for r in solve_continuous(study, space=space).limits if abs(r.price) > 1e-3]
    search = search_of(space)
    best = run_search(search)[0]
    data = data_of(search.space, best.choice_index, best.plan_index)
    ends = [[moved(search, data, r, f) for f in (1 + STEP, 1 - STEP)] for r in reports]
    asked = [(r, pair) for r, pair in zip(reports, ends, strict=True) if pair[0] is not None]
    flat = [x for _, pair in asked for x in pair]
    batch = jax.tree.map(lambda *xs: np.stack(xs), *(d for d, _, _ in flat))
    lower, upper = (np.stack([x[i] for x in flat]) for i in (1, 2))
    start = (lower + upper) / 2
    o = solve_batch(model_of(search.core), batch, lower, upper, start, loose=all_strict(search.core), size=WIDTH)
    assert np.all(o.converged)
    slopes = (o.objective[::2] - o.objective[1::2]) / math.log((1 + STEP) / (1 - STEP))
    return {(r.name, r.sense): (r.price, float(s)) for (r, _), s in zip(asked, slopes, strict=True)}


def agree(found):
    for name, (price, slope) in found.items():
        assert price == pytest.approx(slope, rel=1e-2, abs=1e-4), name


@pytest.fixture(scope="module")
def space(tiny):
    return space_of(tiny)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_prices_of_random_studies(tiny, space, seed):
    rng = np.random.default_rng(seed)
    limits = tuple(dataclasses.replace(x, value=x.value * rng.uniform(0.8, 1.6)) for x in tiny.limits[:2])
    study = dataclasses.replace(tiny, limits=(*limits, tiny.limits[2]))
    found = compared(study, relative(space, study))
    assert any(abs(price) > 0.05 for price, _ in found.values())
    agree(found)


def test_memory_and_bounds_have_prices_too(tiny, space):
    """The cheapest chip: stacks are bought for what the model fills, and there are no fewer than two cores."""
    free = tuple(Free(f.name, f.lower / 100, f.upper) if f.name != "n_cores" else f for f in tiny.free)
    limits = (*tiny.limits[:2], Limit("hbm_capacity_B", "at_least", 1.0))
    study = dataclasses.replace(tiny, free=free, goal="package_cost_USD", limits=limits)
    found = compared(study, relative(space, study))
    assert {("memory of decode", "at_most"), ("n_cores", "at_least")} <= set(found)
    assert all(abs(price) > 0.05 for price, _ in found.values())
    agree(found)


@pytest.mark.parametrize("name", ["trainium4_announced", *(["trainium4"] if os.environ.get("DSE_GOLDEN") else [])])
def test_prices_of_a_shipped_study(name):
    """By day the one without workloads, whose program is small."""
    study = load_study(SWEEPS / f"{name}.toml")
    found = compared(study, space_of(study))
    assert len(found) > 2
    agree(found)
