"""What a study prepares once: demands of all structures of a plan are lowered one after the other."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from recorded_programs import Asked, Recorded

from dse.core.files import read_toml
from dse.evaluation import assembly
from dse.lowering.demand import _beside
from dse.optimize import batch, ground, space
from dse.optimize.curvature import proved_of
from dse.optimize.descent import first_plans
from dse.optimize.ground import candidates, on_structures
from dse.optimize.hull import plan_tables
from dse.optimize.pricing import orders
from dse.optimize.search import search_of, solve_points
from dse.optimize.space import batch_of, every_coefficient, own_plans, prepare_solver, space_of
from dse.study.study import load_study, study_from

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
TRAINING = {"phase": "training", "model": "llama-3.1-8b", "chips": 144, "global_batch": 1152, "sequence": 4096}


def test_a_proof_covers_the_signs_of_every_plan(tiny):
    """Of tp 1, 2 and 4 only the first moves nothing: where it led, "always 0" was what the proof was about, and the
    other way round "always positive"."""
    space = space_of(tiny)
    led = batch_of(space, [0, 1], [own_plans(space)] * 2)
    every = every_coefficient(space, space.demands)
    moved = [np.asarray(d.demands[0].tensor.up_B) for d in (led, every)]
    assert np.unique(moved[0]).size == 1  # the one plan that leads
    assert min(moved[1]) == 0.0 < max(moved[1]) and len(moved[1]) == 2 * space.demands[0].tensor.up_B.size
    assert proved_of(led) != proved_of(every)


def test_what_a_plan_moves_is_counted_once_for_all_arrays_and_orders():
    raw = read_toml(TINY)
    raw["workloads"] = {"training": TRAINING}
    raw["study"]["streams"] = True
    raw["choices"]["pe_array"] = ["128x128", "256x256"]
    space = space_of(study_from(raw))
    plans = candidates(space.ground)[0]
    moved = {dataclasses.replace(p, order="turn") for p in plans}
    assert len(space.structures) == 2 and len(plans) == len(orders(space.study)) * len(moved)
    space.ground.known.clear()
    _beside.cache_clear()
    on_structures(space.ground, space.structures, 0, plans)
    counted = _beside.cache_info()
    assert (counted.misses, counted.hits) == (len(moved), 2 * len(plans) - len(moved))


def test_a_second_run_lowers_no_plan_and_has_the_same_bits(kept_folder, monkeypatch):
    raw = read_toml(TINY)
    raw["workloads"] = {"training": TRAINING}
    raw["choices"]["pe_array"] = ["128x128", "256x256"]
    monkeypatch.setattr(ground, "WORTH_KEEPING", 1)
    monkeypatch.setattr(space, "meanwhile", lambda _: None)  # it lowers one plan, for the form of a program

    def tables():
        assembly._lowered.cache_clear()
        space = space_of(study_from(raw))
        return [*(jax.tree.leaves(d) for d in space.demands), *([t.rows] for t in plan_tables(space))], space.plans

    lowered = []
    for place in (assembly, ground):
        made = place.asked_demand
        monkeypatch.setattr(place, "asked_demand", lambda *a, made=made: lowered.append(a) or made(*a))
    first, plans = tables()
    n = len(lowered)
    again, same = tables()
    assert n > 100 and len(lowered) == n and same == plans
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    for path in kept_folder.glob("*/*"):
        path.write_bytes(path.read_bytes()[:-3])
    assert tables()[1] == plans and len(lowered) == 2 * n
    assembly._lowered.cache_clear()


SERVING = pytest.param("trainium4_serving", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["trainium4_announced", "trainium4_cost", SERVING])
def test_the_program_made_beside_lowering_is_the_one_that_solves(name, monkeypatch):
    program = Recorded()
    monkeypatch.setattr(batch, "_solve_chunk", program)
    monkeypatch.setattr(space, "meanwhile", lambda _: None)  # the thread would be a third, or not, as it happens
    study = load_study(Path(__file__).parents[3] / "sweeps" / f"{name}.toml")
    prepare_solver(study)
    search = search_of(space_of(study))
    with pytest.raises(Asked):
        solve_points(search, [(0, first_plans(search, 0, 0))])
    assert len(program.forms) == 2 and program.forms[0] == program.forms[1]
