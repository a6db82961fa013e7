"""Lowering by hand: what one step of a plan asks of a chip, before any chip is looked at."""

import dataclasses

import jax
import numpy as np
import pytest

from dse.core.errors import PlanError
from dse.core.types import stack_records
from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import OPTIMIZER_TRAFFIC_B, demand, plan_demand
from dse.lowering.plan import Plan
from dse.lowering.tiling import array_shape
from dse.lowering.training_traffic import _n_buckets, data_traffic
from dse.physics.calibration import calibration
from dse.physics.step import step_time
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training, forward_FLOP_per_token

GPT3 = model("gpt-3-175b")
A100_64, A100_1024 = system("dgx-a100", 64), system("dgx-a100", 1024)
REF = chip_reference(A100_64.chip, calibration("prior-cuda"))


def lowered(batch, plan, on=A100_64, **kind):
    return demand(Training(GPT3, batch, 2048, "bf16", **kind), plan, on, REF)


def numbers(d):
    return np.concatenate([np.ravel(np.asarray(x)) for x in jax.tree.leaves(d)])


PIPELINE = Plan(tp=8, pp=8, dp=1, zero=0, interleave=3)


def test_tensor_traffic_of_gpt3_by_hand():
    """12 layers, 8 gathers or scatters each of s h = 2048 x 12288 in bf16 (50.3 MB), 7/8 of it sent: 4.23 GB."""
    d = lowered(64, PIPELINE)
    assert float(d.tensor.up_B) == pytest.approx(12 * 8 * 7 / 8 * 2 * 2048 * 12288)
    assert float(d.tensor.sent_B) == pytest.approx(float(d.tensor.up_B))
    assert float(d.tensor.out_B) == 0.0


def test_tensor_traffic_of_stages_of_unequal_length_by_hand():
    """Llama 3 405B, 126 layers on 16 stages: 14 have 8, two 7 and a table each, whose head is 0.66 of a layer.

    Those of 8 set the pace, 8 gathers or scatters a layer of 8192 x 16384 in bf16; the others have (126 - 8)/15 each.
    """
    d = demand(Training(model("llama-3.1-405b"), 16, 8192), Plan(tp=8, pp=16), system("dgx-h100", 128), REF)
    assert float(d.tensor.up_B) == pytest.approx(8 * 8 * 7 / 8 * 2 * 8192 * 16384)
    assert float(d.idle_frac) == pytest.approx(118 / 15 / 8)


def test_full_recomputation_repeats_the_forward_collectives():
    whole, some = (lowered(64, dataclasses.replace(PIPELINE, recompute=r)) for r in ("full", "selective"))
    assert float(whole.tensor.up_B) == pytest.approx(12 / 8 * float(some.tensor.up_B))


@pytest.mark.parametrize(("software", "n_downs", "n_sums"), [("fused", 2, 12), ("sharded", 1, 11), ("compiled", 1, 11)])
def test_a_layer_that_is_computed_again_may_leave_out_what_no_gradient_needs(software, n_downs, n_sums):
    """Llama 2 70B on eight ranks: forward twice, backward twice, but the last product, and its scatter, once forward.

    Gathers and scatters, four of a block each way. Fused attention: 2 products forward, 5 backward, half masked.
    Source: [pytorch2026checkpoint] for the early stop; [jax2026remat].
    """
    s, tokens, hidden, ffn = system("dgx-h100"), 4096, 8192, 28672 // 8
    plan = Plan(tp=8, recompute="full")
    d = plan_demand(Training(model("llama-2-70b"), 1, tokens), plan, s, array_shape(s.chip.core.tensor), REF, software)
    weights = hidden * (1024 + 2 * 128 + 1024 + 3 * ffn)
    block = 4 * weights - (2 - n_downs) * hidden * ffn + (2 * 2 + 5) * 1024 * tokens / 2
    assert float(d.macs.sum()) == pytest.approx(tokens * (80 * block + 3 * hidden * 32000 / 8))
    assert float(d.tensor.up_B) == pytest.approx(80 * n_sums * 7 / 8 * 2 * tokens * hidden)


def test_an_offloading_plan_computes_no_mixer_again():
    """Llama 2 70B on eight ranks: gate and up twice forward, down and what mixes once, flash attention twice.

    Backward all twice. Two scatters fewer than the twelve gathers and scatters of full recomputation: of down and out.
    Source: [google2026maxtext] maxtext_trillium_model_configs: custom lists keep q, k, v and the output projection.
    """
    s, tokens, hidden, ffn = system("dgx-h100"), 4096, 8192, 28672 // 8
    plan = Plan(tp=8, recompute="full", offload=True)
    d = plan_demand(
        Training(model("llama-2-70b"), 1, tokens), plan, s, array_shape(s.chip.core.tensor), REF, "compiled"
    )
    mixer, up, down = hidden * (1024 + 2 * 128 + 1024), 2 * hidden * ffn, hidden * ffn
    block = 3 * mixer + 4 * up + 3 * down + (2 * 2 + 5) * 1024 * tokens / 2
    assert float(d.macs.sum()) == pytest.approx(tokens * (80 * block + 3 * hidden * 32000 / 8))
    assert float(d.tensor.up_B) == pytest.approx(80 * 10 * 7 / 8 * 2 * tokens * hidden)


def test_jax_leaves_out_the_last_product_of_a_block_that_it_computes_again():
    """Two products forward, four backward: of the block's own gradient program five products are left, not six."""
    block = jax.checkpoint(lambda w, x: x + jax.nn.silu(x @ w[0]) @ w[1])
    w, x = (np.ones((4, 8)), np.ones((8, 4))), np.ones((2, 4))
    program = str(jax.make_jaxpr(jax.grad(lambda w, x: jax.numpy.sin(block(w, x)).sum(), (0, 1)))(w, x))
    assert program.count("dot_general") == 2 + 5


def test_recomputing_half_of_the_layers_repeats_half_of_the_forward_pass():
    """Forward, backward and half a forward again, of equal traffic: 2.5 of 2 parts."""
    half, some = (
        lowered(64, dataclasses.replace(PIPELINE, recompute=r, recompute_frac=0.5)) for r in ("full", "selective")
    )
    assert float(half.tensor.up_B) == pytest.approx(2.5 / 2 * float(some.tensor.up_B))


def test_copies_of_sharded_states_talk_once_a_step():
    """Eight copies on a node each: weights gather inside the node, 1/8 of the fp32 gradients cross the network."""
    whole = Plan(tp=1, pp=1, dp=64, zero=3)
    spread_out, copied = (lowered(64, dataclasses.replace(whole, n_copies=c)) for c in (1, 8))
    assert float(spread_out.shard.out_B) > 0 and float(spread_out.data.out_B) == 0
    n = float(copied.optimizer_B) / OPTIMIZER_TRAFFIC_B  # weights of a shard
    assert float(copied.shard.out_B) == 0 and float(copied.shard.up_B) > 0
    assert float(copied.data.out_B) == pytest.approx(2 * 7 / 8 * 4 * n)
    assert n == pytest.approx(8 * float(spread_out.optimizer_B) / OPTIMIZER_TRAFFIC_B)


def test_frozen_weights_have_no_gradients():
    """Adapters of rank 16: no weight gradient of the blocks (a third of the linear work), next to no data traffic."""
    plan = Plan(tp=8, pp=1, dp=8)
    whole, frozen = lowered(64, plan), lowered(64, plan, adapter_rank=16)
    assert 0.66 < float(frozen.macs.sum()) / float(whole.macs.sum()) < 0.75
    assert float(frozen.data.out_B) < 0.01 * float(whole.data.out_B)
    assert float(frozen.optimizer_B) < 0.05 * float(whole.optimizer_B)


def test_stage_messages_are_split_over_tensor_ranks():
    """s h / t = 6.3 MB in bf16, forward and backward, once per virtual stage; the 8 ranks of a node leave it."""
    d = lowered(64, PIPELINE)
    assert float(d.pipeline.out_B) == pytest.approx(2 * 3 * 2 * 2048 * 12288 / 8)
    assert float(d.pipeline.out_hops) == 6
    assert float(lowered(64, Plan(tp=8, pp=1, dp=8)).pipeline.out_B) == 0.0


def test_without_sequence_parallelism_the_receivers_gather_the_parts():
    """The network carries the same eighths; then each node gathers 7/8 of s h over its own links, 2 x 3 times."""
    split, whole = lowered(64, PIPELINE), lowered(64, dataclasses.replace(PIPELINE, sequence_parallel=False))
    assert float(whole.pipeline.out_B) == pytest.approx(float(split.pipeline.out_B))
    assert float(split.pipeline.up_B) == 0.0
    assert float(whole.pipeline.up_B) == pytest.approx(2 * 3 * 7 / 8 * 2 * 2048 * 12288)


def test_stages_of_one_domain_stay_inside():
    """tp 2, two stages: both fit in a node of 8."""
    d = demand(Training(model("llama-3.1-8b"), 8, 2048), Plan(tp=2, pp=2, dp=2), system("dgx-a100", 8), REF)
    assert float(d.pipeline.up_B) > 0 and float(d.pipeline.out_B) == 0.0


@pytest.mark.parametrize(("pp", "v", "bubble"), [(8, 1, 7.0), (8, 3, 7 / 3), (1, 1, 0.0), (4, 4, 0.75)])
def test_bubble_in_micro_batches(pp, v, bubble):
    d = lowered(64, Plan(tp=8, pp=pp, dp=8 // pp, interleave=v))
    assert float(d.bubble_micro) == pytest.approx(bubble)


def test_micro_batches_and_tokens():
    """1,536 sequences over 16 replicas, one at a time: 96 micro batches; 1536 x 2048 = 3.15 M tokens."""
    d = lowered(1536, Plan(tp=8, pp=8, dp=16), A100_1024)
    assert float(d.n_micro) == 96
    assert float(d.tokens) == 1536 * 2048


def test_one_replica_needs_no_data_traffic():
    d = lowered(64, PIPELINE)
    assert float(d.data.up_B) == float(d.data.out_B) == 0.0


def test_sharded_optimizer_moves_gradients_in_fp32_and_weights_in_bf16():
    """16 replicas, each in a node of its own: (4 + 2) B x 15/16 of a chip's weights cross the network."""
    plan = Plan(tp=8, pp=8, dp=16, zero=1)
    d, whole = lowered(1536, plan, A100_1024), lowered(1536, dataclasses.replace(plan, zero=0), A100_1024)
    # a chip's weights: the optimizer moves 30 B of each of its 1/16
    weights = float(d.optimizer_B) / OPTIMIZER_TRAFFIC_B * 16
    assert weights == pytest.approx(175e9 / 64, rel=0.05)
    assert float(d.data.out_B) == pytest.approx(6 * 15 / 16 * weights)
    # whole states: an all-reduce of fp32 gradients, 8 B each way around, and 16 times the optimizer's traffic
    assert float(whole.data.out_B) == pytest.approx(8 * 15 / 16 * weights)
    assert float(whole.optimizer_B) == pytest.approx(16 * float(d.optimizer_B))


def test_adam_moves_30_bytes_a_weight():
    """fp32: read gradient, master and two moments (16), write master and moments (12), and the bf16 weight (2)."""
    assert OPTIMIZER_TRAFFIC_B == 30
    weights = float(lowered(64, PIPELINE).optimizer_B) / 30
    # 12 of 96 layers and the embedding's share, over 8 ranks
    assert weights == pytest.approx((12 * 12 * 12288**2 + GPT3.vocab * 12288) / 8, rel=0.01)


def test_window_is_the_backward_share():
    """Backward is two thirds of a micro batch, a little less with the head's products and recomputation counted."""
    plain = float(lowered(64, dataclasses.replace(PIPELINE, recompute="none")).window_micro)
    assert 0.6 < plain < 2 / 3
    full = float(lowered(64, dataclasses.replace(PIPELINE, recompute="full")).window_micro)
    assert 0.44 < full < 0.5


def test_model_flop_of_gpt3_by_hand():
    """Per token 6 x 174.6e9 weights and 6 s h l of causal attention; 64 x 2,048 tokens on 64 chips: 2.19 PFLOP each.

    6 x 174.6e9 = 1.048e12 and 6 x 96 x 2048 x 12288 = 1.45e10, times 2,048.
    """
    d = lowered(64, PIPELINE)
    per_token = 6 * (96 * 12 * 12288**2 + 12288 * GPT3.vocab) + 6 * 96 * 2048 * 12288
    assert float(d.model_FLOP) == pytest.approx(per_token * 2048, rel=1e-6)
    assert 2 * np.sum(d.macs) * 64 > float(d.model_FLOP)  # recomputation and masked products come on top


def test_useful_attention_stops_at_the_window():
    """gpt-oss-20b: 64 heads of 64, 12 of 24 blocks with a window of 128, 4,096 tokens.

    A token attends to 2,048 on average, or to 128 - 128^2 / 8192 = 126: 2 (64 + 64) x 64 x 12 (2048 + 126) FLOP.
    """
    oss = model("gpt-oss-20b")
    d = demand(Training(oss, 8, 4096), Plan(dp=8), system("dgx-a100", 8), REF)
    attention = 2 * 128 * 64 * 12 * (2048 + 126)
    assert float(d.model_FLOP) == pytest.approx(3 * (forward_FLOP_per_token(oss, 0, 0) + attention) * 4096)
    decode = demand(Decode(oss, 8, 4096), Plan(dp=8), system("dgx-a100", 8), REF)
    attention = 2 * 128 * 64 * 12 * (4096 + 128)
    assert float(decode.model_FLOP) == pytest.approx(forward_FLOP_per_token(oss, 0, 0) + attention)


def test_useful_attention_counts_values_at_their_own_width():
    """DeepSeek-V3: queries and keys are 192 wide, values 128: 2 x (192 + 128) x 128 heads x 61 blocks per position."""
    deepseek = model("deepseek-v3")
    extra = forward_FLOP_per_token(deepseek, 1, 0) - forward_FLOP_per_token(deepseek, 0, 0)
    assert extra == pytest.approx(2 * 320 * 128 * 61, rel=1e-4)


def test_decode_flop_and_tokens():
    """One token of each of 256 sequences, 8,192 attended: twice the weights, and 4 l h s of attention."""
    llama = model("llama-3.1-70b")
    d = demand(Decode(llama, 256, 8192), Plan(tp=8, dp=2), system("trn2-16"), REF)
    assert float(d.tokens) == 256
    assert float(d.model_FLOP) == pytest.approx(forward_FLOP_per_token(llama, 8192, 0) * 256 / 16)
    assert forward_FLOP_per_token(llama, 0, 0) == pytest.approx(2 * (70.55e9 - llama.vocab * llama.hidden), rel=1e-3)


def test_decode_reduces_twice_per_layer_over_the_tensor_ranks():
    """80 layers, 128 sequences of 8,192 wide in bf16 = 2.1 MB, 8 ranks of a torus: at least 2 x 7/8 of it each time."""
    d = demand(Decode(model("llama-3.1-70b"), 256, 8192), Plan(tp=8, dp=2), system("trn2-16"), REF)
    assert float(d.tensor.sent_B) >= 160 * 2 * 7 / 8 * 128 * 8192 * 2 * (1 - 1e-12)
    assert float(d.tensor.out_B) == 0.0


def test_every_coefficient_is_finite_and_not_negative():
    for plan in (PIPELINE, Plan(tp=1, pp=1, dp=64, recompute="none"), Plan(tp=4, pp=16, dp=1, interleave=2)):
        assert np.isfinite(numbers(lowered(64, plan))).all()
        assert (numbers(lowered(64, plan)) >= 0).all()


def test_a_plan_that_does_not_divide_is_refused_in_one_line():
    with pytest.raises(PlanError, match="tp=5"):
        lowered(64, Plan(tp=5, pp=8, dp=1))


def test_stacked_demands_keep_their_order():
    plans = [Plan(tp=8, pp=8 // dp, dp=dp) for dp in (1, 2, 4)]
    each = [lowered(64, p) for p in plans]
    stacked = stack_records(each)
    for i, d in enumerate(each):
        np.testing.assert_array_equal(numbers(jax.tree.map(lambda x, i=i: x[i], stacked)), numbers(d))


def uneven(layers, pp, vocab=51200):
    """MACs of the slowest of `pp` stages of a GPT-3 with so many layers, its head's and one layer's own."""
    sizes = ((layers, pp), (8, 8), (16, 8))
    stages = [demand(Training(gpt3_of(n, vocab), 64, 2048), Plan(tp=8, pp=p, dp=1), A100_64, REF) for n, p in sizes]
    whole, one, two = (float(np.asarray(d.macs).sum()) for d in stages)
    return whole, one - (two - one), two - one


def gpt3_of(layers, vocab):
    return dataclasses.replace(GPT3, vocab=vocab, runs=tuple(dataclasses.replace(r, n=layers) for r in GPT3.runs))


def test_no_operator_of_an_uneven_pipeline_rests():
    """An operator that never ran had a time without a logarithm: every solve of a study with such plans failed."""
    d = demand(Training(gpt3_of(22, 51200), 64, 2048), Plan(tp=8, pp=8, dp=1), A100_64, REF)
    assert (np.asarray(d.ops.runs) > 0).all()


def test_the_last_stage_of_an_uneven_pipeline_has_one_layer_less():
    """22 layers on 8 stages: 3 on six of them, 2 and the head on the last, and GPT-3's head is a third of a layer."""
    whole, head, layer = uneven(22, 8)
    assert 0 < head < layer and whole == pytest.approx(3 * layer)
    whole, head, layer = uneven(24, 8)
    assert whole == pytest.approx(3 * layer + head)
    whole, head, layer = uneven(22, 8, vocab=256000)  # 256,000 columns against 12 x 12,288 and the scores
    assert head > layer and whole == pytest.approx(2 * layer + head)


def test_the_head_makes_no_stage_slower_where_software_balances_stages():
    """Llama's 8B over 8 stages: its head costs 2.4 layers, beside 4 layers with Megatron."""
    workload = Training(model("llama-3.1-8b"), 64, 4096, "bf16")
    plan = Plan(tp=1, pp=8, dp=1)
    place = system("dgx-h100"), array_shape(system("dgx-h100").chip.core.tensor)
    balanced, even = (plan_demand(workload, plan, *place, REF, s) for s in ("eager", "fused"))
    assert float(balanced.macs.sum()) < 0.9 * float(even.macs.sum())


def waiting(plan, wait_s=3e-4, on=A100_64):
    """A step on a system whose host waits for every rank."""
    slow = dataclasses.replace(on, fabric=dataclasses.replace(on.fabric, wait_s=wait_s))
    return plan_demand(Training(GPT3, 64, 2048), plan, slow, array_shape(on.chip.core.tensor), REF)


def test_a_host_that_waits_for_every_rank_by_hand():
    """12 layers, 8 collectives each, 8 ranks of 0.3 ms: 230 ms a micro batch; over two replicas 2 x 0.6 ms a layer."""
    d = waiting(PIPELINE)
    assert float(d.wait_s) == pytest.approx(12 * 8 * 8 * 3e-4)
    assert float(waiting(PIPELINE, 0.0).wait_s) == float(waiting(Plan(tp=1, pp=8, dp=8, zero=0)).wait_s) == 0.0
    two = dataclasses.replace(PIPELINE, pp=4, dp=2, zero=1)
    assert float(waiting(two).data.upper_s) == pytest.approx(24 * 2 * 3e-4)


def test_gradients_leave_in_buckets_of_at_most_a_block_each():
    """GPT-3's 175e9 weights over 64 ranks are 68 buckets of 80 MB, but 12 blocks: each pays the latency of its ring."""
    assert _n_buckets(175e9 / 64, 80e6, 12.0) == 12.0
    assert _n_buckets(175e9 / 64, 1e9, 12.0) == pytest.approx(2 * 175e9 / 64 / 1e9)
    assert _n_buckets(1e6, 80e6, 12.0) == 1.0


def test_shards_of_gradients_leave_no_room_for_those_of_the_next_micro_batch():
    """ZeRO-2, 4 micro batches, 8 ranks of a node: 7/8 of fp32 gradients four times, of bf16 weights once."""
    w, on = Training(model("llama-3.1-8b"), 32, 2048), system("dgx-h100", 8)
    one, two = (demand(w, Plan(dp=8, zero=z), on, REF) for z in (1, 2))

    def sent_B(d):
        return float(d.n_micro * d.shard.sent_B + d.data.sent_B)

    assert sent_B(one) == pytest.approx(7 / 8 * 6 * 8.03e9, rel=1e-3)
    assert sent_B(two) == pytest.approx(7 / 8 * (4 * 4 + 2) * 8.03e9, rel=1e-3)


def test_buckets_change_latencies_and_not_bytes():
    plan = Plan(tp=8, pp=1, dp=128, zero=1)
    one, many = (
        data_traffic(Training(GPT3, 128, 2048), plan, 96.0, A100_1024.fabric, REF, call_B)[1] for call_B in (1e15, 80e6)
    )
    assert many.out_B == pytest.approx(one.out_B)
    assert 80 * one.out_hops < many.out_hops <= 96 * one.out_hops  # shorter messages may take another algorithm


def test_a_run_that_waits_takes_the_longer_of_host_and_device():
    """Waiting adds to what the host starts, beside what the device does: bounded by their sum."""
    c, chip = calibration("prior-cuda"), A100_64.chip
    calm, slow = (step_time(waiting(PIPELINE, w), chip, c) for w in (0.0, 3e-4))
    waited = 64 * 12 * 8 * 8 * 3e-4
    assert 0 < float(slow.host_exposed_s) - float(calm.host_exposed_s) <= waited * (1 + 1e-9)


def on_h100(software, **kind):
    """Llama 3.2 3B on H100, 73.6 of whose 80 GiB are usable: with four sequences at once a stage needs 64.3."""
    plan = Plan(**({"pp": 4, "dp": 4, "micro_batch": 4, "recompute": "none"} | kind))
    on = system("dgx-h100", plan.pp * plan.dp)
    work = Training(model("llama-3.2-3b"), 256, 4096)
    return plan_demand(work, plan, on, array_shape(on.chip.core.tensor), REF, software)


@pytest.mark.parametrize(
    ("software", "kind", "needs_GiB", "stall_s"),
    [
        ("eager", {}, 64.3, 1.0),  # 0.87 of what is usable
        ("eager", {"micro_batch": 2}, 38.3, 0.0),
        (
            "eager",
            {"pp": 1, "dp": 8, "micro_batch": 2},
            61.1,
            0.0,
        ),  # 0.83; every micro batch gets the blocks of the last
        ("fused", {"micro_batch": 6}, 67.0, 0.0),
    ],
)
def test_an_eager_pipeline_with_hardly_any_room_stalls_at_every_micro_batch(software, kind, needs_GiB, stall_s):
    """[tazi2025ultrascale], a model of this size: 20 to 43 s a step instead of 4 in nine of nine such pipelines."""
    d = on_h100(software, **kind)
    assert float(d.memory_B) / 2**30 == pytest.approx(needs_GiB, abs=0.1)
    assert float(d.pipeline.upper_s) == stall_s


def test_a_stage_with_the_head_alone_counts_the_messages_of_the_fullest():
    """16 stages of 28 layers and a vocabulary of 131,072: the head takes longer than two layers and has no messages."""
    llama = dataclasses.replace(model("llama-3.2-3b"), vocab=131_072)
    plan, on = Plan(tp=2, pp=16, dp=1, zero=0, recompute="none"), system("dgx-h100", 32)
    shape = array_shape(on.chip.core.tensor)
    d = plan_demand(Training(llama, 64, 4096), plan, on, shape, REF, "eager")
    whole = plan_demand(Training(llama, 64, 4096), Plan(tp=2, dp=16), on, shape, REF, "fused")
    assert float(d.tensor.up_B) == pytest.approx(float(whole.tensor.up_B) * 2 / 28)
    assert float(d.idle_frac) == pytest.approx((28 - 2) / 15 / 2)


def test_layers_under_adapters_start_as_two_graphs_each():
    """80 layers of Llama 2 70B, a graph for either pass: 160 in all [nvidia2025graphs]; the head starts as ever."""
    s, plan = system("hgx-b200"), Plan(dp=8)
    full, adapted = (Training(model("llama-2-70b"), 8, 8192, "fp8", adapter_rank=r) for r in (0, 16))
    n_host = {
        (kind, w.adapter_rank): float(plan_demand(w, plan, s, array_shape(s.chip.core.tensor), REF, kind).n_host)
        for kind in ("fused", "eager")
        for w in (full, adapted)
    }
    assert 160 < n_host["fused", 16] < 160 + 0.02 * n_host["fused", 0]
    assert n_host["eager", 16] > 20 * 80
