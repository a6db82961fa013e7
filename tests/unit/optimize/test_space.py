"""What a study prepares once: demands of all structures of a plan are lowered one after the other."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from dse.core.files import read_toml
from dse.core.kept import keep_in
from dse.evaluation import assembly
from dse.lowering.demand import _beside
from dse.optimize import ground
from dse.optimize.ground import candidates, on_structures
from dse.optimize.hull import plan_tables
from dse.optimize.kept_plans import orders
from dse.optimize.space import space_of
from dse.study.study import study_from

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
TRAINING = {"phase": "training", "model": "llama-3.1-8b", "chips": 144, "global_batch": 1152, "sequence": 4096}


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


@pytest.fixture
def kept_folder(tmp_path):
    keep_in(tmp_path / "kept")
    yield tmp_path / "kept"
    keep_in(None)


def test_a_second_run_lowers_no_plan_and_has_the_same_bits(kept_folder, monkeypatch):
    raw = read_toml(TINY)
    raw["workloads"] = {"training": TRAINING}
    raw["choices"]["pe_array"] = ["128x128", "256x256"]
    monkeypatch.setattr(ground, "WORTH_KEEPING", 1)

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
