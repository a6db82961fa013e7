"""A rack that several workloads share is sized for the hungriest of them without a kink in what is solved."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from dse.optimize.descent import run_search
from dse.optimize.search import leaders, search_of
from dse.optimize.space import data_of, space_of
from dse.study.convex import PROVISIONED, coordinates, named_numbers, ratio_rows, separate
from dse.study.study import study_from

TINY = tomllib.loads((Path(__file__).parents[2] / "data" / "tiny.toml").read_text())
PREFILL = {"phase": "prefill", "model": "llama-3.1-8b", "chips": 4, "prompt": 4096, "batch": 4, "weights": "fp8"}


def shared(goal, **more):
    """The tiny study with a workload that reads prompts beside the one that decodes."""
    return study_from(
        {
            **TINY,
            "study": {**TINY["study"], "minimise": goal},
            "workloads": {**TINY["workloads"], "prefill": PREFILL},
            "limits": [x for x in TINY["limits"] if x["metric"] != "power"],
            **more,
        }
    )


def test_what_a_rack_is_sized_for_is_a_coordinate_where_it_is_paid_for_by_several():
    core = shared("cost_per_token").core()
    assert PROVISIONED in coordinates(core)
    assert [r.workload for r in ratio_rows(core) if r.what == PROVISIONED] == ["decode", "prefill"]
    assert PROVISIONED not in coordinates(shared("delivered_time").core())
    one = {"decode": TINY["workloads"]["decode"]}
    assert PROVISIONED not in coordinates(shared("cost_per_token", workloads=one).core())


@pytest.fixture(scope="module")
def search():
    """The cheapest chip for two workloads alike: where their powers are equal a maximum has no slope."""
    twice = {n: TINY["workloads"]["decode"] for n in ("decode", "again")}
    found = search_of(space_of(shared("cost_per_token", workloads=twice)))
    run_search(found)
    return found


def test_coordinates_without_it_are_those_of_the_hungriest(search):
    best, core = leaders(search)[0], search.core
    data, x = data_of(search.space, best.choice_index, best.plan_index), named_numbers(core, np.asarray(best.optimum.z))
    goal, *ratios = separate(core, x, data)
    rows = [i for i, r in enumerate(ratio_rows(core)) if r.what == PROVISIONED]
    powers = [float(ratios[i] * x[PROVISIONED]) for i in rows]
    assert max(powers) == pytest.approx(float(x[PROVISIONED]), rel=1e-6)
    own, *ratios = separate(core, {k: v for k, v in x.items() if k != PROVISIONED}, data)
    assert float(own) == pytest.approx(float(goal), rel=1e-6)
    assert max(float(ratios[i]) for i in rows) == 1.0


def test_a_tie_of_two_powers_is_solved_like_any_other_point(search):
    """Solves went to and fro between the sides of the kink until they gave up after 80 steps, unproved."""
    for c in leaders(search):
        assert bool(c.optimum.converged) and int(c.optimum.n_iterations) < 40
