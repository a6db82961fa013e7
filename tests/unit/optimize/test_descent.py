"""What a search leaves out: choices that no plan works for, plans that are others by name alone, solves that lose."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dse.core.files import read_toml
from dse.optimize.descent import local_search, run_search
from dse.optimize.hull import least_demand
from dse.optimize.search import leaders, search_of, solve_points
from dse.optimize.space import space_of
from dse.study.study import study_from

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
TRAINING = {"phase": "training", "model": "llama-3.1-8b", "chips": 144, "global_batch": 1152, "sequence": 4096}


@pytest.fixture(scope="module")
def half():
    """A study half of whose choices, without FP4, miss a floor: 64 cores have 8 times the rate of Trainium3's 8."""
    raw = read_toml(TINY)
    raw["workloads"] = {"training": TRAINING}
    raw["study"]["streams"] = True  # two orders, each searched for itself
    raw["choices"]["n_dies"] = [2, 4]
    raw["choices"]["native_fp4"] = [True, False]
    raw["limits"] = [
        {"metric": "power", "at_most": "7000 W"},
        {"metric": "peak_fp4", "at_least": "12x"},
    ]
    search = search_of(space_of(study_from(raw)))
    run_search(search)
    return search


def test_a_choice_that_no_plan_works_for_is_solved_once(half):
    works = []
    for i, choice in enumerate(half.space.study.choices):
        goals = [c.log_goal for c in half.seen.values() if c.choice_index == i]
        works.append(min(goals) < np.inf)
        assert (len(goals) > 1) == works[-1] and (choice.native_fp4 or not works[-1])
    assert 0 < sum(works) < len(works)


def test_every_plan_of_such_a_choice_is_impossible(half):
    never = [i for i, c in enumerate(half.space.study.choices) if not c.native_fp4]
    every = [(i, (k,)) for i in never for k in range(len(half.space.plans[0]))]
    assert len(every) > 2 * len(never)
    assert all(bool(c.optimum.impossible) for c in solve_points(search_of(half.space), every))


def test_what_was_left_half_solved_is_no_better_than_the_best_of_its_choice(half):
    best = {c.choice_index: c.log_goal for c in leaders(half)}
    late = [p for p, c in half.seen.items() if not bool(c.optimum.converged) and best[c.choice_index] < np.inf]
    assert late
    # without a number to beat, every one is solved to its end
    for c in solve_points(search_of(half.space), late):
        assert not c.log_goal < best[c.choice_index] - 1e-9


def test_the_least_demand_asks_for_no_more_than_any_plan(half):
    (every,) = half.space.demands
    least = least_demand(every)
    assert np.array_equal(np.asarray(least.memory_B), np.asarray(every.memory_B).min(axis=1))


def test_plans_that_ask_for_the_same_are_one():
    """Under fused attention selective recomputation keeps as much as none: half of all plans were solved twice."""
    raw = read_toml(TINY)
    raw["workloads"] = {"training": TRAINING}
    space = space_of(study_from(raw))
    (plans,), (demands,) = space.plans, space.demands
    leaves = [np.moveaxis(np.asarray(x), 1, 0).reshape(len(plans), -1) for x in jax.tree.leaves(demands)]
    rows = np.concatenate(leaves, axis=1)
    assert len(np.unique(rows, axis=0)) == len(plans)
    assert space.ground.baselines[0][0] in plans


def test_local_search_takes_the_best_swap_while_it_gains(half):
    """Goals by position of the plan: of 0.5, 0.2 and 0.9 the least wins, and what gains less than rounding does not."""
    plans = half.space.plans[0]
    assert len(plans) > 4
    goals, asked = {0: 0.5, 1: 0.2, 2: 0.9, 3: 0.2 - 1e-12}, []

    def at(k):
        return SimpleNamespace(choice_index=0, plan_index=(k,), goal=goals.get(k, 1.0))

    def solve(best, near):
        asked.append((best.plan_index[0], {p[0] for _, p in near}))
        return min([best, *(at(p[0]) for _, p in near if p != (3,) or best.plan_index == (1,))], key=lambda x: x.goal)

    found = local_search(half.space, at(0), solve, lambda x: x.goal)
    assert found.plan_index == (1,)
    # each round has all plans but its own
    everything = set(range(len(plans)))
    assert asked == [(0, everything - {0}), (1, everything - {1})]
    stuck = SimpleNamespace(choice_index=0, plan_index=(0,), goal=np.inf)
    assert local_search(half.space, stuck, solve, lambda x: x.goal) is stuck and len(asked) == 2
