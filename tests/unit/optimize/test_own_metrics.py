"""Metrics of a user's own: proved or named by the walker, in limits and as a goal; a system chosen with its chip."""

import dataclasses

import jax.numpy as jnp
import pytest

from dse.core.errors import SpecError
from dse.explore.questions import sides
from dse.optimize.descent import run_search
from dse.optimize.reported import unproved_terms
from dse.optimize.search import search_of
from dse.optimize.solution import Status
from dse.optimize.solve import solve
from dse.optimize.space import batch_of, own_plans, space_of


def unproved(study):
    space = space_of(study)
    n = len(study.choices)
    return unproved_terms(study.core(), batch_of(space, range(n), [own_plans(space)] * n))


def test_the_walker_proves_what_is_convex_and_names_what_is_not(tiny):
    own = {
        "stack_power_W": lambda s: s.loads[0].power_W / s.chip.n_stacks,
        "odd": lambda s: 1.0 / (1.0 + s.chip.n_cores),
        "worse": lambda s: 100.0 - s.chip.n_stacks,
    }
    fine = tiny.changed(metrics={"stack_power_W": own["stack_power_W"]}, limits=["stack_power <= 200 W"])
    assert fine.limits[-1].name == "stack_power_W <= 200" and unproved(fine) == ()
    goal = fine.changed(minimise="stack_power_W")
    assert goal.core().goal == "stack_power_W" and unproved(goal) == ()
    broken = tiny.changed(metrics=own, limits=["odd <= 0.5", "worse <= 99"])
    first, second = unproved(broken)
    assert first == "odd: concave" and second.startswith("worse: sub")


def test_full_load_in_whatever_precision_is_proved_as_limit_and_as_goal(tiny):
    assert unproved(tiny.changed(limits=["full_load <= 900 W"])) == ()
    assert unproved(tiny.changed(minimise="full_load")) == ()


@pytest.mark.parametrize("name", ["power_W", "my metric"])
def test_a_name_that_is_taken_or_none_is_refused(tiny, name):
    with pytest.raises(SpecError, match=f"metrics.{name}"):
        tiny.changed(metrics={name: lambda s: s.die_mm2})


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda s: s.chip.nothing, "metrics.mine_W: the function fails: 'Chip' object has no attribute 'nothing'"),
        (lambda s: jnp.ones(3) * s.die_mm2, "metrics.mine_W: expected one number, not 3 of them"),
        (lambda s: -s.loads[0].power_W, "in the middle of all bounds"),
        (lambda s: "a text", "metrics.mine_W: the function fails"),
    ],
)
def test_a_function_that_fails_is_named_in_one_line(tiny, read, said):
    """Before: a traceback of JAX's, and for a negative one a search that found nothing and did not say why."""
    with pytest.raises(SpecError) as error:
        run_search(search_of(space_of(tiny.changed(metrics={"mine_W": read}, limits=["mine <= 600 W"]))))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_the_best_of_all_systems_is_the_best_of_each(tiny):
    """The choice of a system is certified: solved together it is what the better of the two is alone."""
    both = tiny.changed(
        choices={"system": ["trn3-gen2-144", "torus-64"], "n_dies": 2}, minimise="cost_per_token_USD",
        limits=["rack_power <= 100 kW"],
    )  # fmt: skip
    together = solve(both, gap_frac=1e-3)
    alone = {name: solve(side, gap_frac=1e-3).goal for name, side in sides(both, "system").items()}
    assert together.status is Status.OPTIMAL and together.goal == pytest.approx(min(alone.values()), rel=2e-3)
    assert together.choice.system == min(alone, key=alone.__getitem__) == together.rack.system
    assert together.rack.power_W <= 100e3 and together.rack.n_chips in (32.0, 72.0)
    assert dataclasses.asdict(together.rack)["rack_tokens_per_s"].keys() == {"decode"}
