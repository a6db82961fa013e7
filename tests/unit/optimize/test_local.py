"""Goals of the user's own: a posynomial is proved and certified, anything else is recognised and only local."""

import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.optimize.batch import solve_batch
from dse.optimize.descent import run_search
from dse.optimize.local import Own, local_answer, solve_local
from dse.optimize.search import search_of
from dse.optimize.solution import Status
from dse.optimize.space import batch_of, space_of
from dse.study.convex import coordinates
from dse.study.metrics import METRICS, chip_state
from dse.study.study import load_study

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


@functools.cache
def study():
    return load_study(TINY)


def step_s(x, state):
    return state.loads[0].step_s


@functools.cache
def certified():
    return solve_local(study(), step_s)


def waves(x, state):
    """Step time with ripples in the number of cores: several valleys, and no posynomial."""
    return step_s(x, state) * (1.2 + jnp.sin(6.0 * jnp.log(x["n_cores"])))


def test_a_posynomial_goal_is_certified_and_the_same_as_the_studys_own():
    search = search_of(space_of(study()))
    best = run_search(search)[0]
    found = certified()
    assert found.status is Status.OPTIMAL and found.unproved == ()
    # One workload, so the least step time is the least ratio to the baseline's: t = goal x t_baseline.
    assert found.goal == pytest.approx(np.exp(best.log_goal) * search.space.ground.baselines[0][1], rel=1e-5)
    assert found.chip is not None and found.chip.n_dies == found.choice.n_dies
    # 18.76 cores in the numbers were 19 in the chip: odd on two dies, and more silicon than the 900 mm2 asked for
    n_cores = found.numbers["n_cores"]
    # not to the last bit: chip and numbers take the exponential of one logarithm on their own
    assert float(found.chip.n_cores) == pytest.approx(n_cores, rel=1e-14) and n_cores == pytest.approx(18.76, rel=1e-3)
    assert float(METRICS["silicon_mm2"](chip_state(found.chip))) <= 900.0 * (1 + 1e-6)


def test_gradients_alone_reach_what_the_interior_point_certifies():
    """Adam with multipliers and SLSQP, told nothing of convexity, from random starts: the certified goal and design."""
    search = search_of(space_of(study()))
    best = run_search(search)[:1]
    found = local_answer(search, Own(search.core, step_s), best, ("not asked",), (3, 1))
    assert found.status is Status.LOCAL and (found.n_starts, len(found.ends)) == (4, 4)
    assert found.n_agree == 4  # one valley, so every start ends in it
    assert found.goal == pytest.approx(certified().goal, rel=1e-5)
    assert found.choice == certified().choice and found.plans == certified().plans
    for name in ("n_cores", "hbm_bandwidth_Bps"):
        assert found.numbers[name] == pytest.approx(certified().numbers[name], rel=5e-3), name


def test_a_wavy_goal_is_recognised_not_certified_and_its_best_valley_is_found():
    found = solve_local(study(), waves, n_starts=6)
    assert found.status is Status.LOCAL
    assert any(text.startswith("goal:") and "waves" in text for text in found.unproved)
    assert found.n_starts == 14 and found.n_agree >= 1
    assert found.goal == pytest.approx(best_by_grid(), rel=2e-3)
    assert np.sin(6.0 * np.log(found.numbers["n_cores"])) < -0.9  # the floor of a valley


def best_by_grid() -> float:
    """Least wavy goal over a fine grid of cores: with the cores fixed, what is left is convex."""
    search = search_of(space_of(study()))
    candidates = run_search(search)
    own = Own(search.core, step_s)
    lower, upper = search.box
    place = coordinates(search.core).index("n_cores")
    cores = np.linspace(lower[place], upper[place], 256)
    best = np.inf
    for c in candidates:
        low, high = np.tile(lower, (256, 1)), np.tile(upper, (256, 1))
        low[:, place] = high[:, place] = cores
        data = batch_of(search.space, [c.choice_index] * 256, [c.plan_index] * 256)
        o = solve_batch(own.logs, data, low, high, (low + high) / 2)
        goals = np.exp(o.objective) * (1.2 + np.sin(6.0 * cores))
        best = min(best, float(np.min(goals[o.feasible])))
    return best


def test_refusals():
    with pytest.raises(SpecError, match="one positive finite number"):
        solve_local(study(), lambda x, s: -step_s(x, s))
    with pytest.raises(SpecError, match="one positive finite number"):
        solve_local(study(), lambda x, s: jnp.stack([step_s(x, s)] * 2))
