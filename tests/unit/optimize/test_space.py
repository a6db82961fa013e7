"""What a study prepares once: demands of all structures of a plan are lowered one after the other."""

import dataclasses
from pathlib import Path

from dse.core.files import read_toml
from dse.lowering.demand import _beside
from dse.optimize.ground import candidates, on_structures
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
