"""How pipelines are cut into stages."""

import dataclasses

import numpy as np
import pytest

from dse.lowering.activations import balanced_stages, end_layers, equal_cost_stages, footprint, stage_activations_B
from dse.lowering.memory import memory_B
from dse.lowering.plan import Plan
from dse.workload.blocks import Mlp
from dse.workload.presets import model
from dse.workload.transformer import Training, total_parameters


@pytest.mark.parametrize(
    ("layers", "head", "stages", "expected"),
    [
        (28, 3.5, 8, [4, 4, 4, 4, 4, 4, 4, 0]),  # 31.5 over 8: four layers pass 3.94 each time, the head is left alone
        (28, 3.5, 4, [8, 8, 8, 4]),
        (28, 3.5, 1, [28]),
        (4, 10.0, 2, [4, 0]),  # four layers never pass half of 14, so that the head joins them
    ],
)
def test_stages_of_equal_cost_by_hand(layers, head, stages, expected):
    found = equal_cost_stages(layers, head, stages)
    assert found[:, 0].tolist() == expected and found[:, 1].sum() == 1.0


def test_the_head_of_llama_8b_costs_2_4_of_its_layers():
    """525 million weights of the head against 218 million of a block: 34.4 over 4 stages is 8.6, so 9, 9, 8 and 6."""
    llama = model("llama-3.1-8b")
    assert balanced_stages(llama, 4)[:, 0].tolist() == [9.0, 9.0, 8.0, 6.0]
    assert end_layers(Plan(pp=4), llama, True) == (9.0, 6.0)
    assert end_layers(Plan(pp=4), llama, False) == (8.0, 8.0)
    assert np.all(balanced_stages(llama, 4).sum(axis=0) == [32, 1])


def nanotron_3_57b():
    """28 blocks of 113.2 million weights and one table of 402.7 million."""
    llama = model("llama-3.1-8b")
    run = llama.runs[0]
    attention = dataclasses.replace(run.block.mixers[0], n_heads=32, n_kv_heads=32, head_dim=96)
    block = dataclasses.replace(run.block, mixers=(attention,), feed=dataclasses.replace(run.block.feed, ffn=8192))
    return dataclasses.replace(
        llama, hidden=3072, vocab=131072, tied_embeddings=True, runs=(dataclasses.replace(run, block=block, n=28),)
    )


def test_states_of_balanced_stages_are_those_that_a_run_printed():
    """Two stages hold 16 blocks and the table: 2.214e9 weights of 20 B (bf16 2, sums 4, Adam 12, buckets 2).

    Source: nanotron's bench at tp 1, pp 2, ZeRO-0 prints 41.33 GiB allocated after a step.
    """
    three = nanotron_3_57b()
    assert isinstance(three.runs[0].block.feed, Mlp) and total_parameters(three) == pytest.approx(3.57e9, rel=2e-3)
    held = memory_B(Plan(tp=1, pp=2, dp=4, zero=0), Training(three, 256, 4096, "bf16"), footprint("eager"))
    assert (held.total - held.activations_B) / 2**30 == pytest.approx(41.33, rel=0.01)


def test_activations_follow_the_layers_of_each_end():
    workload, eager = Training(model("llama-3.1-8b"), 64, 4096, "bf16"), footprint("eager")
    plan, even = Plan(tp=1, pp=4, dp=2, zero=0), dataclasses.replace(eager, balanced_stages=0.0)
    first, same = (stage_activations_B(plan, workload, 0, f) for f in (eager, even))
    assert first / same == pytest.approx(9 / 8, rel=1e-9)
    assert stage_activations_B(plan, workload, 3, eager) < stage_activations_B(plan, workload, 3, even)
