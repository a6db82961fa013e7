"""Coefficients and times of prefill and decode against hand calculations."""

import math

import pytest

from dse.evaluation.assembly import chip_reference, evaluate
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.memory import memory_B
from dse.lowering.plan import Plan, plans
from dse.physics.calibration import calibration
from dse.workload.blocks import Experts
from dse.workload.presets import model
from dse.workload.transformer import Decode, Prefill

LLAMA = model("llama-3.1-70b")
OSS = model("gpt-oss-120b")
ON = system("dgx-h100")
REF = chip_reference(ON.chip, calibration("prior-cuda"))


def test_useful_FLOP_of_a_prompt():
    """70B, 1000 tokens: 2 x 68.5e9 per token, 4 x 80 x 8192 x 500 for attention, one head of 2 x 1.05e9."""
    d = demand(Prefill(LLAMA, 1, 1000), Plan(tp=8), ON, REF)
    head = 2 * LLAMA.vocab * LLAMA.hidden
    want = 1000 * (2 * 70.55e9 - 2 * head + 4 * 80 * 8192 * 500) + head
    assert float(d.model_FLOP) * 8 == pytest.approx(want, rel=2e-3)
    assert float(d.tokens) == 1000


def test_tensor_ranks_all_reduce_the_prompt():
    """NVSwitch adds up: in 2 x 80 all-reduces of 2000 x 8192 x 2 B a chip sends its part and an eighth of the sum."""
    d = demand(Prefill(LLAMA, 2, 1000), Plan(tp=8, micro_batch=2), ON, REF)
    assert float(d.tensor.sent_B) == pytest.approx(160 * 2000 * 8192 * 2 * (1 + 1 / 8))


def test_tokens_travel_to_experts_as_narrow_as_the_experts_are():
    """Nemotron 3 Super projects 4096 to 1024 before its 22 of 512 experts, 64 on each of 8 ranks.

    A rank has one that a token visits in all but C(448, 22) of C(512, 22) cases, and gets its 1024 x 2 B once (before:
    for each of 22 visits).
    """
    m = model("nemotron-3-super-120b-a12b")
    plans_ = (Plan(dp=8, ep=8), Plan(dp=8))
    far, near = (demand(Prefill(m, 8, 1000), plan, ON, REF).tensor.sent_B for plan in plans_)
    n_moe = sum(run.n for run in m.runs if isinstance(run.block.feed, Experts))
    met = 1 - math.comb(448, 22) / math.comb(512, 22)
    assert float(far - near) == pytest.approx(2 * n_moe * 1000 * 1024 * 2 * 7 * met)


@pytest.mark.parametrize(("stored", "cached_B"), [("bf16", 2), ("fp8", 1)])
def test_cached_keys_and_values_go_around_as_narrow_as_they_are_stored(stored, cached_B):
    """Two ranks: half of 1000 new positions of 2 B and 3000 cached ones is sent, 2 x 8 x 128 values in 80 layers."""
    work = Prefill(LLAMA, 1, 1000, kv_precision=stored, cached=3000)
    d = demand(work, Plan(tp=4, cp=2), ON, REF)
    each_B = 1000 * 2 + 3000 * cached_B
    assert float(d.shard.sent_B) == pytest.approx(each_B * 80 * 2 * 8 / 4 * 128 / 2)


def test_chunks_are_passes():
    d = demand(Prefill(LLAMA, 1, 8192, chunk=1024), Plan(tp=8), ON, REF)
    assert float(d.n_micro) == 8
    piped = demand(Prefill(LLAMA, 1, 8192, chunk=1024), Plan(tp=4, pp=2), ON, REF)
    assert (float(piped.n_micro), float(piped.bubble_micro)) == (8, 1)


def test_decode_turns_every_group_through_all_stages():
    d = demand(Decode(LLAMA, 8, 1024), Plan(tp=4, pp=2, micro_batch=8), ON, REF)
    assert (float(d.n_micro), float(d.bubble_micro)) == (2, 0)
    one = demand(Decode(LLAMA, 1, 1024), Plan(tp=4, pp=2), ON, REF)
    assert (float(one.n_micro), float(one.bubble_micro)) == (1, 1)  # a stage works once and waits for the other


@pytest.mark.parametrize(("batch", "groups"), [(1, 1), (2, 2), (4, 4), (8, 4)])
def test_a_stage_reads_its_weights_once_per_group_however_long_the_pipeline(batch, groups):
    """4 stages of 20 of 80 layers: each reads 17.1e9 x 2 B of its layers and 2.1e9 B of the head once per group.

    Energy follows the bytes; the time of a step is four turns of a stage, busy or idle.
    """
    on, plan = system("dgx-h100", 4), Plan(pp=4, micro_batch=batch)
    d = demand(Decode(LLAMA, batch, 16), plan, on, REF)
    read_B = 2 * (20 * 855_638_016 + 8192 * 128_256)
    assert float(d.n_micro * (d.ops.runs @ d.ops.hbm_B)) == pytest.approx(groups * read_B, rel=2e-3)
    assert float(d.n_micro + d.bubble_micro) == 4
    assert float(d.n_micro * d.macs.sum()) == pytest.approx(batch * read_B / 2, rel=2e-3)


def test_tokens_travel_to_8_bit_experts_in_8_bit_and_back_in_16():
    """DeepSeek-V3 in FP8 on 8 ranks: 58 blocks x 8 visits x 7168 x (1 + 2) B, 4 tokens, 7/8 leave the chip."""
    d = demand(Decode(model("deepseek-v3"), 32, 1024, "fp8"), Plan(dp=8, ep=8, micro_batch=4), ON, REF)
    assert float(d.tensor.sent_B) == pytest.approx(58 * 8 * 7168 * 3 * 4 * 7 / 8)


def test_a_domain_gets_a_token_of_a_prompt_once():
    """32 ranks in 4 nodes: 8 of 256 experts leave one node out in C(192, 8) of C(256, 8) cases: 2.71 of 3 others.

    Nodes pass tokens on to ranks of 8 experts, once to each, 7/8 of them inside. Decode sends every visit by itself.
    """
    on = system("dgx-h100", 32)
    plan, each_B = Plan(dp=32, ep=32), 58 * 7168 * (1 + 2)
    d = demand(Prefill(model("deepseek-v3"), 32, 4096, "fp8"), plan, on, REF)
    nodes, ranks = (n * (1 - math.comb(256 - 256 // n, 8) / math.comb(256, 8)) for n in (4, 32))
    assert float(d.tensor.out_B) == pytest.approx(4096 * each_B * nodes * 3 / 4)
    assert float(d.tensor.up_B) == pytest.approx(4096 * each_B * ranks * 7 / 8)
    d = demand(Decode(model("deepseek-v3"), 32, 4096, "fp8"), plan, on, REF)
    assert float(d.tensor.out_B) == pytest.approx(each_B * 8 * 24 / 32)


def test_expert_ranks_exchange_tokens_out_and_back():
    """gpt-oss: 36 blocks x 2 exchanges of 32 tokens x 2880 x 4 experts x 2 B, 7/8 of which leave the chip."""
    d = demand(Decode(OSS, 256, 1024), Plan(dp=8, ep=8, micro_batch=32), ON, REF)
    assert float(d.tensor.sent_B) == pytest.approx(36 * 2 * 32 * 2880 * 4 * 2 * 7 / 8)


def test_memory_of_a_prompt_by_hand():
    # cache 2 x 4096 tokens x 327,680 B / 8; weights 17.6e9; 8192 tokens x (4 x 8192 + layer) fit in a GB or two
    m = memory_B(Plan(tp=8, micro_batch=2), Prefill(LLAMA, 2, 4096))
    assert m.kv_B == 2 * 4096 * 327_680 / 8
    assert m.weights_B == pytest.approx(2 * 70.5537e9 / 8, rel=1e-3)
    chunked = memory_B(Plan(tp=8, micro_batch=2), Prefill(LLAMA, 2, 4096, chunk=512))
    assert chunked.kv_B == m.kv_B
    assert 6 * chunked.activations_B < m.activations_B < 8 * chunked.activations_B


def test_the_last_block_of_the_cache_is_whole():
    # 16 tokens per block: 17 tokens take 2 blocks
    assert memory_B(Plan(), Decode(LLAMA, 1, 17)).kv_B == 32 * 327_680


def test_stages_and_context_ranks_share_the_cache():
    whole = memory_B(Plan(), Decode(LLAMA, 8, 65536)).kv_B
    assert memory_B(Plan(pp=2), Decode(LLAMA, 8, 65536)).kv_B == pytest.approx(whole / 2)
    assert memory_B(Plan(cp=4), Decode(LLAMA, 8, 65536)).kv_B == pytest.approx(whole / 4)


@pytest.mark.parametrize(
    "workload", [Prefill(LLAMA, 8, 4096), Prefill(OSS, 8, 65536, chunk=8192), Decode(OSS, 8, 1024)]
)
def test_every_enumerated_plan_is_priced(workload):
    found = plans(workload, ON)
    assert len(found) == len(set(found)) > 1
    for p in found:
        assert float(demand(workload, p, ON, REF).memory_B) > 0


def test_a_long_prompt_runs_near_the_matrix_peak():
    """64k tokens of 70B in bf16 on 8 H100: MFU below the prior's 82 % and above half of it."""
    e = evaluate(ON, Prefill(LLAMA, 1, 65536, chunk=8192), Plan(tp=8), calibration=calibration("prior-cuda")).result
    assert 0.41 < float(e.mfu_frac) < 0.82
