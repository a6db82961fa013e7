"""Memory of a plan against the published activation counts and hand calculations."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.lowering.activations import (
    footprint,
    in_flight,
    input_B,
    layer_activation_B_per_token,
    stage_activations_B,
)
from dse.lowering.memory import Memory, chip_parameters, memory_B
from dse.lowering.plan import Plan, parse_plan
from dse.lowering.plan_keys import RECOMPUTE
from dse.workload.blocks import Block, Mlp
from dse.workload.mixers import Attention
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training, total_parameters, uniform

GPT3 = Training(model("gpt-3-175b"), global_batch=64, sequence=2048)
LLAMA_8B = model("llama-3.1-8b")
LLAMA_70B = model("llama-3.1-70b")
TRAIN_8B = Training(LLAMA_8B, global_batch=64, sequence=8192)
MIXTRAL = Training(model("mixtral-8x7b"), global_batch=64, sequence=4096)
DEEPSEEK = model("deepseek-v3")


def training_activations_B(plan, workload):
    """Activations on the fuller of first and last stage."""
    return max(stage_activations_B(plan, workload, stage) for stage in {0, plan.pp - 1})


def gpt(hidden, n_heads, n_layers):
    """A GPT of table 3 of the activation paper."""
    block = Block((Attention(n_heads, n_heads, hidden // n_heads),), Mlp(4 * hidden, 2))
    return dataclasses.replace(GPT3.model, hidden=hidden, runs=uniform(block, n_layers))


# Korthikanti et al. table 3: 22B, 175B, 530B, 1T at s = 2048. 5as/h is 80 for 175B and 64 for 530B (section 5).
SIZES = [
    (6144, 64, 48, 5 * 64 * 2048 / 6144),
    (12288, 96, 96, 80.0),
    (20480, 128, 105, 64.0),
    (25600, 160, 128, 64.0),
]


@pytest.mark.parametrize(("hidden", "heads", "layers", "scores"), SIZES)
@pytest.mark.parametrize("tp", [1, 8])
def test_layer_of_a_gpt_as_published(hidden, heads, layers, scores, tp):
    m = gpt(hidden, heads, layers)
    per_token = {r: layer_activation_B_per_token(m, tp, r, 2048) for r in RECOMPUTE}
    # table 2, per s b: h/t (34 + 5as/h), 34 h/t, and 2h split over t by sequence parallelism
    assert per_token["none"] == pytest.approx(hidden / tp * (34 + scores))
    assert per_token["selective"] == pytest.approx(34 * hidden / tp)
    assert per_token["full"] == pytest.approx(2 * hidden / tp)


@pytest.mark.parametrize(("index", "saved"), [(1, 0.70), (2, 0.65)])
def test_selective_recompute_saves_what_the_paper_says(index, saved):
    # section 5: "reduces ... by 70% and 65%" for GPT-3 and MT-NLG
    hidden, heads, layers, _ = SIZES[index]
    m = gpt(hidden, heads, layers)
    kept = layer_activation_B_per_token(m, 8, "selective", 2048) / layer_activation_B_per_token(m, 8, "none", 2048)
    assert 1 - kept == pytest.approx(saved, abs=0.005)


def test_layer_of_llama_8b_by_hand():
    # norms 2 x 2h, inputs of QKV and MLP 2 x 2h: 8 x 4096 = 32768; Q and O 2 x 2 x 4096 = 16384;
    # K and V 2 x 2 x 1024 = 4096; gate, up and their product 3 x 2 x 14336 = 86016; no dropout
    assert layer_activation_B_per_token(LLAMA_8B, 1, "selective", 8192) == 32768 + 16384 + 4096 + 86016
    # softmax results: 2 B x 32 heads x 8192 keys
    none = layer_activation_B_per_token(LLAMA_8B, 1, "none", 8192)
    assert none - layer_activation_B_per_token(LLAMA_8B, 1, "selective", 8192) == 2 * 32 * 8192


def test_kv_replication_stops_the_split():
    # 8 KV heads: at tp = 32 each rank still keeps one, 2 x 2 B x 128 per token
    at_8, at_32 = (layer_activation_B_per_token(LLAMA_8B, tp, "selective", 8192) for tp in (8, 32))
    assert at_8 == 139264 / 8
    assert at_32 == (139264 - 4096) / 32 + 4 * 128


def test_activations_of_175b_without_pipeline():
    # eq. 5 plus section 4.3 at p = 1: s b h/t (34 L + 1 + 4 (1 + V/h)), s b = 2048, h = 12288, t = 8, L = 96
    plan = Plan(tp=8, micro_batch=1)
    by_hand = 2048 * 12288 / 8 * (34 * 96 + 1 + 4 * (1 + 51200 / 12288))
    assert training_activations_B(plan, GPT3) == pytest.approx(by_hand)


def test_activations_of_175b_interleaved_as_in_table_3():
    # t = 8, p = 8, m = 3, first stage: s b h/t (34 L (1 + 7/24) + mask of (8 + 7/3) micro batches)
    plan = Plan(tp=8, pp=8, interleave=3)
    by_hand = 2048 * 12288 / 8 * (34 * 96 * (1 + 7 / 24) + 8 + 7 / 3)
    assert training_activations_B(plan, GPT3) == pytest.approx(by_hand)


def test_full_recompute_keeps_inputs_and_replays_one_layer():
    # p = 8 micro batches x 12 layers x 2h, the embedding mask 8 h, and one layer of 34 h, all s b / t
    plan = Plan(tp=8, pp=8, recompute="full")
    assert training_activations_B(plan, GPT3) == pytest.approx(2048 * 12288 / 8 * (8 * 12 * 2 + 8 + 34))


def test_logits_can_make_the_last_stage_the_fuller_one():
    # p = 2, one micro batch: both stages hold it, the last adds 4 (h + V)
    plan, one = Plan(tp=1, pp=2, recompute="full"), Training(LLAMA_8B, global_batch=1, sequence=1024)
    by_hand = 1024 * (16 * 2 * 4096 + 4 * (4096 + 128256) + 139264)
    assert training_activations_B(plan, one) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("pp", "v", "n_micro", "stage", "held"),
    [
        (8, 1, 64, 0, 8),
        (8, 1, 64, 7, 1),
        (8, 1, 3, 0, 3),  # never more than there are
        (8, 3, 64, 0, 8 * (1 + 7 / 24)),
        (8, 3, 64, 7, (2 * 8 + 1) / 3),
        (1, 1, 64, 0, 1),
    ],
)
def test_micro_batches_in_flight(pp, v, n_micro, stage, held):
    assert in_flight(Plan(pp=pp, interleave=v), n_micro, stage) == pytest.approx(held)


def test_weights_of_175b_under_the_megatron_plan():
    # 12 layers x 12 h^2 / 8 + norms 12 x 2h + one table 51200 h / 8 and 2048 positions + last norm h; 2 B each
    h = 12288
    plan = parse_plan("tp=8,pp=8,dp=16,zero=0")
    n = 12 * (12 * h**2 / 8 + 2 * h) + (51200 + 2048) * h / 8 + h
    m = memory_B(plan, GPT3)
    assert m.weights_B == pytest.approx(2 * n)
    assert m.gradients_B == pytest.approx(4 * n)
    assert m.optimizer_B == pytest.approx(12 * n)
    assert n == pytest.approx(2.800e9, rel=1e-3)  # 174.6e9 / 64 = 2.73e9, and a table's share more


def test_one_chip_holds_every_parameter():
    for name in ("gpt-3-175b", "llama-3.1-70b", "qwen3-32b", "mixtral-8x7b", "deepseek-v3", "gpt-oss-20b"):
        assert chip_parameters(Plan(), model(name)) == pytest.approx(total_parameters(model(name)))


def test_zero_shards_only_the_optimizer():
    whole, sharded = (memory_B(Plan(tp=8, dp=4, zero=z), GPT3) for z in (0, 1))
    assert sharded.optimizer_B == pytest.approx(whole.optimizer_B / 4)
    assert dataclasses.replace(sharded, optimizer_B=whole.optimizer_B) == whole


def test_experts_are_split_over_expert_and_tensor_ranks():
    # tp = 2, ep = 4. A block: attention 41,943,040 and router 32,768 over 2, two norms of 4096, and 8 experts
    # 1,409,286,144 over 2 x 4; then both tables 2 x 32000 x 4096 over 2 and the last norm
    block = (41_943_040 + 32_768) / 2 + 2 * 4096 + 1_409_286_144 / 8
    by_hand = 32 * block + 32_000 * 4096 + 4096
    assert chip_parameters(Plan(tp=2, dp=4, ep=4), MIXTRAL.model) == pytest.approx(by_hand)


def test_dense_and_shared_parts_are_not_split_over_expert_ranks():
    # DeepSeek-V3 on ep = 64: 58 blocks with 256 experts of 3 x 7168 x 2048 each keep a 64th
    routed = 58 * 256 * 3 * 7168 * 2048
    whole, spread = (chip_parameters(Plan(dp=64, ep=ep), DEEPSEEK) for ep in (1, 64))
    assert whole == pytest.approx(total_parameters(DEEPSEEK))
    assert whole - spread == pytest.approx(routed * 63 / 64)


def test_zero_stages_shard_one_more_thing_each():
    # 8 replicas of n = 8.03e9: 2 n, 4 n and 12 n bytes, an eighth of the last two from stages 2 and 1 on; at stage 3
    # the fp32 masters are the shards, and two of 32 layers are whole in bf16
    n = total_parameters(LLAMA_8B)
    by_stage = {0: (2, 4, 12), 1: (2, 4, 12 / 8), 2: (2, 4 / 8, 12 / 8), 3: (2 * 2 / 32, 4 / 8, 12 / 8)}
    for zero, held in by_stage.items():
        m = memory_B(Plan(dp=8, zero=zero), TRAIN_8B)
        assert (m.weights_B, m.gradients_B, m.optimizer_B) == pytest.approx(tuple(b * n for b in held))


def test_eager_software_keeps_spare_copies_of_a_llama_layer():
    # Llama 3.1 8B in eager PyTorch on 8 ranks, per token: 139,264 / 8, silu(gate) 2 x 14336 / 8, and the inputs of
    # QKV and of the MLP whole instead of an eighth, 2 x 2 x 4096 x 7/8
    kept = layer_activation_B_per_token(LLAMA_8B, 8, "selective", 8192, software=footprint("eager"))
    assert kept == pytest.approx(139264 / 8 + 2 * 14336 / 8 + 2 * 2 * 4096 * 7 / 8)


def test_eager_software_holds_gradient_buckets_and_copies_of_logits():
    # 2 B per weight of buckets with replicas, none without; 10 instead of 4 B per logit of 8192 tokens
    eager, n = footprint("eager"), total_parameters(LLAMA_8B)
    one, eight = (memory_B(Plan(dp=dp), TRAIN_8B, eager) for dp in (1, 8))
    assert eight.gradients_B - one.gradients_B == pytest.approx(2 * n)
    assert one.gradients_B == pytest.approx(4 * n)
    bare = dataclasses.replace(footprint("fused"), logit_B=10.0)
    more = memory_B(Plan(), TRAIN_8B, bare).activations_B - memory_B(Plan(), TRAIN_8B).activations_B
    assert more == pytest.approx(6 * 8192 * 128256)


def test_eight_bit_products_keep_eight_bit_inputs():
    # a block of Llama 3.1 8B: norm inputs 4h, inputs of QKV and MLP 2 x 1h, Q, K, V and attention output 20,480 and
    # one 8-bit copy of the output, gate and up 2 x 2 x 14336 and their product 14336 in 8 bit
    by_hand = 4 * 4096 + 2 * 4096 + 20480 + 4096 + 4 * 14336 + 14336
    assert layer_activation_B_per_token(LLAMA_8B, 1, "selective", 8192, in_B=1.0) == by_hand
    assert [input_B(p) for p in ("fp32", "bf16", "fp8", "fp4")] == [2.0, 2.0, 1.0, 0.5]


def test_offloaded_layers_leave_two_on_the_chip():
    # everything but two layers of 139,264 B per token, and the head's 4 (h + V), waits in host memory
    here = training_activations_B(Plan(offload=True), TRAIN_8B)
    assert here == pytest.approx(8192 * (2 * 139264 + 4 * (4096 + 128256)))
    assert here < training_activations_B(Plan(), TRAIN_8B)


def test_offloaded_layers_that_are_computed_again_bring_their_mixers_results_back():
    # two layers' inputs 2h, queries, keys, values and output 20,480 B; a whole layer, 139,264 B; the head's 4 (h + V)
    here = training_activations_B(Plan(offload=True, recompute="full"), TRAIN_8B)
    assert here == pytest.approx(8192 * (2 * (2 * 4096 + 20480) + 139264 + 4 * (4096 + 128256)))


def test_dropout_masks_are_kept_only_where_there_is_dropout():
    # 2h of masks per block and h on the embedding, one byte each
    dry = dataclasses.replace(GPT3, model=dataclasses.replace(GPT3.model, dropout=False))
    saved = training_activations_B(Plan(tp=8), GPT3) - training_activations_B(Plan(tp=8), dry)
    assert saved == pytest.approx(2048 * 12288 / 8 * (2 * 96 + 1))


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_context_ranks_split_activations(recompute):
    one, four = (Plan(tp=8, cp=cp, recompute=recompute) for cp in (1, 4))
    assert training_activations_B(four, TRAIN_8B) == pytest.approx(training_activations_B(one, TRAIN_8B) / 4)


def test_context_ranks_are_replicas_of_the_weights():
    # 2 replicas x 4 context ranks share optimizer states by 8, weights stay whole
    one, eight = memory_B(Plan(zero=0), TRAIN_8B), memory_B(Plan(dp=2, cp=4, zero=1), TRAIN_8B)
    assert eight.optimizer_B == pytest.approx(one.optimizer_B / 8)
    assert (eight.weights_B, eight.gradients_B) == (one.weights_B, one.gradients_B)


def test_experts_on_every_rank_of_a_copy_are_not_split():
    """8 experts on 8 ranks in two copies of states over 8 replicas: a rank's expert has no other holder to share with.

    Mixtral: 32 layers x 3 x 4096 x 14336 = 5.64e9 weights a rank of experts; the rest is over the 4 ranks of a copy.
    """
    plan = Plan(dp=8, ep=8, zero=1, n_copies=2)
    mine = 32 * 3 * 4096 * 14336
    rest = chip_parameters(plan, MIXTRAL.model) - mine
    assert memory_B(plan, MIXTRAL).optimizer_B == pytest.approx(12 * (mine + rest / 4))


def test_latent_weights_of_deepseek_over_tensor_ranks():
    """Squeezing weights are whole on each of 8 ranks: 61 x 7168 x (1536 + 512 + 64) x 7/8 = 0.81e9 more in FP8."""
    eight, one = (memory_B(Plan(tp=tp), Decode(DEEPSEEK, 8, 1024, "fp8", "fp8")).weights_B for tp in (8, 1))
    assert eight - one / 8 == pytest.approx(61 * 7168 * 2112 * 7 / 8, rel=0.01)


def test_without_sequence_parallelism_norms_and_inputs_are_whole():
    """[korthikanti2022] table 2: s b h (10 + 24/t) with tensor ranks alone, 34/t of s b h with sequence parallelism.

    Before: 34/t for both, 4.25 h of a token on 8 ranks where 13 h stay.
    """
    plan, h = Plan(tp=8, pp=8, zero=0), GPT3.model.hidden
    alone, both = (
        stage_activations_B(dataclasses.replace(plan, sequence_parallel=s), GPT3, 1) / (2048 * 12 * 7)
        for s in (False, True)
    )
    assert alone == pytest.approx(h * (10 + 24 / 8)) and both == pytest.approx(h * 34 / 8)


def test_layer_of_mixtral_by_hand():
    # norms and inputs 8 x 4096, Q and output 4 x 4096, K and V 4 x 1024, and two experts: 3 x 2 x 14336 each, and what
    # each was sent, 2 x 4096
    by_hand = 8 * 4096 + 4 * 4096 + 4 * 1024 + 2 * (3 * 2 * 14336 + 2 * 4096)
    assert layer_activation_B_per_token(MIXTRAL.model, 1, "selective", 4096) == by_hand
    assert layer_activation_B_per_token(MIXTRAL.model, 8, "selective", 4096) == pytest.approx(by_hand / 8)


@pytest.mark.parametrize("zero", [1, 3])
def test_all_chips_together_hold_every_optimizer_state(zero):
    # 8 replicas, 8 expert ranks: each chip holds 1/8 of the experts and no other chip holds the same
    m = memory_B(Plan(dp=8, ep=8, zero=zero), MIXTRAL)
    assert 8 * m.optimizer_B >= 12 * total_parameters(MIXTRAL.model) * (1 - 1e-9)


def test_latent_cache_is_replicated_over_tensor_ranks():
    # 64 sequences x 8192 tokens x 70,272 B on each of 8 ranks
    assert memory_B(Plan(tp=8), Decode(DEEPSEEK, 64, 8192)).kv_B == 64 * 8192 * 70_272


def test_training_precision_changes_kept_inputs_only():
    plan = Plan(tp=8, pp=8)
    narrow, wide = memory_B(plan, dataclasses.replace(GPT3, precision="fp8")), memory_B(plan, GPT3)
    assert narrow.activations_B < wide.activations_B
    assert dataclasses.replace(narrow, activations_B=wide.activations_B) == wide


def test_total_is_the_sum():
    assert Memory(1.0, 2.0, 3.0, 4.0, 5.0).total == 15.0


def test_decode_of_llama_70b_by_hand():
    # cache: 64 sequences x 8192 tokens x 327,680 B over 8 ranks = 21.5e9; weights 2 B x 70.55e9 / 8 = 17.6e9
    m = memory_B(Plan(tp=8), Decode(LLAMA_70B, batch=64, context=8192))
    assert m.kv_B == 64 * 8192 * 327_680 / 8
    assert m.weights_B == pytest.approx(2 * 70.5537e9 / 8, rel=1e-3)
    assert (m.gradients_B, m.optimizer_B) == (0.0, 0.0)
    assert 0 < m.activations_B < 0.01 * m.total


@pytest.mark.parametrize(
    ("precision", "stored"), [("bf16", 2.0), ("fp8", 1.0), ("mxfp8", 1 + 1 / 32), ("fp4", 0.5 + 1 / 32)]
)
def test_decode_weights_carry_their_block_scales(precision, stored):
    m = memory_B(Plan(), Decode(LLAMA_70B, batch=1, context=1, weight_precision=precision))
    assert m.weights_B == pytest.approx(stored * total_parameters(LLAMA_70B))


def test_decode_cache_is_replicated_beyond_the_kv_heads():
    at_8, at_64 = (memory_B(Plan(tp=tp), Decode(LLAMA_70B, 64, 8192)).kv_B for tp in (8, 64))
    assert at_8 == at_64


def test_sliding_windows_bound_the_cache():
    # gpt-oss-20b: 12 of 24 blocks see 128 tokens, 8 KV heads x 64 x 2 x 2 B = 2,048 B per token and block
    model_20b = model("gpt-oss-20b")
    for context, kept in ((64, 24 * 64), (128, 24 * 128), (8192, 12 * 8192 + 12 * 128)):
        assert memory_B(Plan(), Decode(model_20b, 1, context)).kv_B == 2048 * kept


def test_replicas_share_the_cache():
    one, four = (memory_B(Plan(tp=8, dp=dp), Decode(LLAMA_70B, 64, 8192, kv_precision="fp8")).kv_B for dp in (1, 4))
    assert one == 4 * four == 64 * 8192 * 163_840 / 8


MODELS = st.sampled_from(["gpt-3-175b", "llama-3.1-70b", "llama-3.1-405b", "qwen3-32b"])
LOG2 = st.integers(0, 5)


@given(MODELS, LOG2, LOG2, st.sampled_from((1, 2, 4)), st.sampled_from(RECOMPUTE))
def test_training_memory_falls_with_tp(name, tp_log2, pp_log2, micro, recompute):
    workload = Training(model(name), global_batch=256, sequence=4096)
    plan = Plan(tp=2**tp_log2, pp=2**pp_log2, micro_batch=micro, recompute=recompute)
    wider = memory_B(dataclasses.replace(plan, tp=2 * plan.tp), workload)
    assert wider.total < memory_B(plan, workload).total


@given(MODELS, LOG2, LOG2, st.integers(2, 64))
def test_training_memory_falls_with_zero_and_with_recompute(name, tp_log2, pp_log2, dp):
    workload = Training(model(name), global_batch=64 * dp, sequence=4096)
    plan = Plan(tp=2**tp_log2, pp=2**pp_log2, dp=dp)
    assert memory_B(plan, workload).total < memory_B(dataclasses.replace(plan, zero=0), workload).total
    stored = dataclasses.replace(workload, fused_attention=False)
    by_kind = [memory_B(dataclasses.replace(plan, recompute=r), stored).activations_B for r in RECOMPUTE]
    assert by_kind[0] > by_kind[1]
    assert by_kind[1] > by_kind[2]
    fused = [memory_B(dataclasses.replace(plan, recompute=r), workload).activations_B for r in RECOMPUTE]
    assert fused[0] == fused[1] == by_kind[1]  # fused attention never stores the scores


@given(MODELS, st.integers(0, 6), st.integers(1, 64))
def test_decode_memory_never_rises_with_tp(name, tp_log2, batch):
    workload = Decode(model(name), batch=batch, context=4096)
    plan = Plan(tp=2**tp_log2)
    assert memory_B(dataclasses.replace(plan, tp=2 * plan.tp), workload).total < memory_B(plan, workload).total


def test_frozen_weights_need_no_states_and_half_recomputed_layers_lie_between():
    """2 B per weight instead of 18; with half of the layers recomputed, the mean of both activations and the replay."""
    plan = Plan(tp=8, zero=0)
    m = memory_B(plan, dataclasses.replace(GPT3, adapter_rank=16))
    assert m.gradients_B + m.optimizer_B < 0.02 * m.weights_B
    full, half, none = (
        training_activations_B(dataclasses.replace(plan, recompute=r, recompute_frac=f), GPT3)
        for r, f in (("full", 1.0), ("full", 0.5), ("selective", 1.0))
    )
    assert full < half < none


def test_copies_hold_more_of_the_sharded_states():
    one, four = (memory_B(Plan(dp=64, zero=3, n_copies=c), TRAIN_8B) for c in (1, 4))
    assert four.optimizer_B == pytest.approx(4 * one.optimizer_B)


def test_frozen_products_of_the_mlp_keep_no_inputs():
    """Llama 3.1 8B, bf16: without the MLP's input, h = 4096, and that of its last product, f = 14336, 2 B each.

    The activation's inputs stay, 4f, as do norms' inputs and all of attention, whose products adapters stand beside.
    """
    trained, frozen = (training_activations_B(Plan(), dataclasses.replace(TRAIN_8B, adapter_rank=r)) for r in (0, 16))
    assert trained - frozen == pytest.approx(32 * 8192 * 2 * (4096 + 14336))


def test_a_weight_of_an_adapter_takes_what_any_trained_weight_takes():
    """2 B in 16 bit, 4 B of gradient and 12 B of Adam, beside a base of 2 B; one of rank 16 on Llama 3.1 8B.

    32 layers x 16 x (4096 + 6144 + 4096 + 4096) = 9,437,184 weights.
    """
    n = 32 * 16 * (4096 + 6144 + 4096 + 4096)
    m = model("llama-3.1-8b")
    one = memory_B(Plan(), Training(m, 1, 512, adapter_rank=16))
    two = memory_B(Plan(), Training(m, 1, 512, adapter_rank=32))
    assert two.weights_B - one.weights_B == 2 * n
    assert (two.gradients_B - one.gradients_B, two.optimizer_B - one.optimizer_B) == (4 * n, 12 * n)
