"""Predicted peak memory against what training runs print, and against the plain fact that a run fits its chip."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.cases import Case, fitting, training_cases
from dse.calibrate.measurements import complete, peak_memory_B, read
from dse.hardware.presets import chip
from dse.lowering.headroom import usable_frac
from dse.lowering.memory import memory_B
from dse.lowering.plan import Plan
from dse.workload.presets import model
from dse.workload.transformer import Training

MEDIAN_BAR = 0.15


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return training_cases(complete(read("training")))[0]


def test_no_plan_that_ran_is_declared_infeasible(cases):
    over = {c.point_id: float(c.demand.memory_B) / float(c.chip.hbm_capacity_B) for c in cases}
    assert len(over) > 600
    assert {point: share for point, share in over.items() if share > usable_frac()} == {}


@pytest.mark.parametrize(
    ("source", "n", "bias"), [("hf-ultrascale-nanotron-bench", 447, -0.06), ("simumax-b200", 16, -0.05)]
)
def test_peak_memory_within_15_percent_where_printed(cases, source, n, bias):
    """Expected: 11 % on the sweep of eager PyTorch, 5 % on Megatron, both a little low: fragments are not modelled."""
    mine = [c for c in cases if c.source == source]
    error = np.asarray([float(c.demand.memory_B) / c.measured_memory_B - 1 for c in mine])
    assert len(error) == n
    assert np.median(np.abs(error)) < MEDIAN_BAR
    assert np.median(error) == pytest.approx(bias, abs=0.03)


def point(*rows):
    return pd.DataFrame([{"metric": m, "unit": u, "value": v} for m, u, v in rows])


def test_reserved_memory_counts_and_a_nanotron_gb_is_a_gib():
    """8.57 "GB" that nanotron prints are bytes over 1024^3; what others call a GB is one."""
    both = point(("memory_allocated", "GB", 5.0), ("memory_reserved", "GB", 8.57))
    assert peak_memory_B(both, "nanotron") == 8.57 * 2**30
    assert peak_memory_B(both, "megatron") == 8.57e9
    assert peak_memory_B(point(("memory_allocated", "GiB", 5.0)), "megatron") == 5 * 2**30
    assert peak_memory_B(point(("step_time", "s", 5.0)), "megatron") is None


def test_what_is_not_printed_is_chosen_so_that_the_run_fits():
    """Llama 3.1 70B on 8 ranks, 4 x 8,192 tokens: 80 layers keep 274 kB / 8 per token, 90 GB.

    Only full recomputation fits 80 GiB, but a printed choice stands; so does what eager software keeps, while it fits.
    """
    workload, plan = Training(model("llama-3.1-70b"), 512, 8192), Plan(tp=8, dp=8, micro_batch=4)
    h100 = chip("h100")
    assert fitting(plan, workload, h100, "fused", printed=False)[0].recompute == "full"
    assert fitting(plan, workload, h100, "fused", printed=True)[0] == plan
    small = Training(model("llama-3.1-8b"), 64, 4096)
    assert fitting(plan, small, h100, "fused", printed=False)[0] == plan
    assert fitting(Plan(tp=8, micro_batch=1), small, h100, "eager", printed=True)[1].n_gathered_inputs == 1
    assert fitting(Plan(tp=8, micro_batch=16), small, h100, "eager", printed=True)[1].n_gathered_inputs == 0


def test_inputs_of_the_activation_are_narrowed_before_anything_is_computed_twice():
    """LoRA on Llama 2 70B in FP8, 8,192 tokens a B200: as 16 bit, two inputs of 28,672 x 80 layers x 8,192 tokens take
    75 GB of 203, and 166 GB are usable; half of it is saved as submitters of MLPerf do (FP8_ACT=1). BF16 keeps 16 bit.
    """
    workload, plan = Training(model("llama-2-70b"), 8, 8192, "fp8", adapter_rank=16), Plan(dp=8, micro_batch=1)
    chosen, kept = fitting(plan, workload, chip("b200"), "fused", printed=False)
    assert chosen == plan and kept.activation_input_B == 1
    usual = dataclasses.replace(kept, activation_input_B=2.0)
    saved = memory_B(plan, workload, usual).total - memory_B(plan, workload, kept).total
    assert saved == pytest.approx(2 * 28672 * 80 * 8192, rel=1e-12)
    assert fitting(plan, workload, chip("b300"), "fused", printed=False) == (plan, usual)
    wide = dataclasses.replace(workload, precision="bf16")
    assert fitting(plan, wide, chip("b200"), "fused", printed=False)[0].recompute == "full"
