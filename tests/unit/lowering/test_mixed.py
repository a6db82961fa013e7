"""Lowered passes that do two things at once lie between either and both."""

import dataclasses

import numpy as np
import pytest

import dse
from dse.core.errors import PlanError
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.lowering.mixed import chunk_demand, verify_demand
from dse.lowering.tiling import array_shape
from dse.physics.calibration import default_calibration
from dse.physics.step import step_time

SYSTEM = dse.system("trn2-ultraserver", 8)
C = default_calibration("trainium2")
REF, ARRAY = chip_reference(SYSTEM.chip, C), array_shape(SYSTEM.chip.core.tensor)
PLAN = dse.Plan(tp=8)


def seconds(d) -> float:
    return float(step_time(d, SYSTEM.chip, C).total_s)


@pytest.mark.parametrize("name", ["llama-3.3-70b", "gpt-oss-120b"])
def test_a_chunk_rides_for_less_than_a_pass_of_its_own(name):
    """The decode pass alone < both together < one after the other; weights and hops are paid once."""
    model = dse.model(name)
    decode, chunk = dse.Decode(model, 64, 2150, "fp8", "fp8"), dse.Prefill(model, 1, 512, "fp8", "fp8", chunk=512)
    both = chunk_demand(decode, chunk, PLAN, SYSTEM, ARRAY, REF)
    alone, own = demand(decode, PLAN, SYSTEM, REF, ARRAY), demand(chunk, PLAN, SYSTEM, REF, ARRAY)
    assert max(seconds(alone), seconds(own)) < seconds(both) + float(C.request_s) + float(C.call_s)
    assert seconds(alone) < seconds(both) < seconds(alone) + seconds(own)
    assert float(both.tensor.sent_B) == pytest.approx(float(alone.tensor.sent_B) + float(own.tensor.sent_B))
    assert float(both.tensor.up_hops) == max(float(alone.tensor.up_hops), float(own.tensor.up_hops))
    assert np.asarray(both.macs) == pytest.approx(np.asarray(alone.macs) + np.asarray(own.macs))
    assert float(both.n_requests) == 0 and float(both.n_calls) == 1


def test_a_pipeline_carries_no_chunks():
    model = dse.model("llama-3.3-70b")
    two = dse.Plan(tp=4, pp=2)
    with pytest.raises(PlanError, match="pp=2"):
        chunk_demand(dse.Decode(model, 64, 2000), dse.Prefill(model, 1, 512, chunk=512), two, SYSTEM, ARRAY, REF)


def test_verifying_costs_more_than_one_token_and_less_than_all_of_them():
    decode = dse.Decode(dse.model("llama-3.3-70b"), 8, 8000, "fp8", "fp8")
    plan = dataclasses.replace(PLAN, micro_batch=8)
    one, four = (verify_demand(decode, n, plan, SYSTEM, ARRAY, REF) for n in (1, 4))
    assert seconds(one) == seconds(demand(decode, plan, SYSTEM, REF, ARRAY))
    assert seconds(one) < seconds(four) < 2 * seconds(one)
    assert float(four.memory_B) == float(one.memory_B)
