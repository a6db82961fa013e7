"""Records of host numbers made without a constructor."""

import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from dse.core.types import host_record
from dse.lowering.collective import Traffic
from dse.lowering.step_demand import StepDemand, StreamDemand, TrafficDemand, traffic_demand
from dse.lowering.tiling import OpDemand

ZERO = TrafficDemand(*Traffic().parts())
OPS = OpDemand(*np.arange(39.0).reshape(13, 3), macs=np.ones((3, 4)))
SINGLE = {f.name: 2.0 for f in dataclasses.fields(StepDemand) if f.default is dataclasses.MISSING}
STEP = SINGLE | {"ops": OPS, "macs": np.ones(4)} | dict.fromkeys(("tensor", "pipeline", "shard", "data"), ZERO)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            TrafficDemand,
            {"up_B": 1, "up_hops": 2.0, "out_B": np.float64(3.0), "out_hops": 4.0, "sent_B": np.asarray(5.0)},
        ),
        (StreamDemand, {}),
        (OpDemand, {f.name: getattr(OPS, f.name) for f in dataclasses.fields(OPS)}),
        (StepDemand, STEP),
    ],
)
def test_is_what_the_constructor_makes(kind, values):
    made, right = host_record(kind, **values), kind(**values)
    assert jax.tree.structure(made) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(right), strict=True):
        assert type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)


def test_values_in_order_of_the_fields():
    assert host_record(TrafficDemand, *range(1, 8)).n_exchanges == 7.0
    assert traffic_demand(Traffic(sent_B=3.0)).sent_B == 3.0


def test_a_field_that_is_unknown_or_has_no_value_is_named():
    with pytest.raises(TypeError, match=r"TrafficDemand: fields .*n_hops"):
        host_record(TrafficDemand, *range(7), n_hops=1.0)
    with pytest.raises(TypeError, match="out_hops"):
        host_record(TrafficDemand, 1.0)


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ("", "disable_loop_unrolling"),
        ("--xla_cpu_max_isa=AVX2", "max_isa"),
        ("--xla_backend_extra_options=xla_x=1", "x=1"),
    ],
)
def test_a_users_flags_of_xla_stay_and_a_program_still_compiles(flags, kept):
    code = "import os, dse; dse.chip('h100'); import jax; jax.jit(lambda x: 2 * x)(1.0); print(os.environ['XLA_FLAGS'])"
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=True).stdout
    assert kept in said and said.count("extra_options") == 1
    assert ("unrolling" in said) is ("extra_options" not in flags)
