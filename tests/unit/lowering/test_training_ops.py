"""What one rank runs: shapes after sharding, and totals that do not depend on it."""

import dataclasses

import pytest

from dse.lowering.plan import Plan
from dse.lowering.serving_ops import serving_ops
from dse.lowering.training_ops import Shard, block_elementwise, norm_residual, shard, training_ops
from dse.workload.blocks import Run
from dse.workload.op import Kind, passes
from dse.workload.presets import model, model_names
from dse.workload.recurrences import Recurrence
from dse.workload.storage import stored_B
from dse.workload.transformer import Decode, Training, forward_FLOP_per_token, is_causal

GPT3, LLAMA, MIXTRAL, DEEPSEEK = (model(n) for n in ("gpt-3-175b", "llama-3.1-70b", "mixtral-8x7b", "deepseek-v3"))


def macs(placed, phase, attention):
    """MACs of a phase on average over blocks, of attention or of everything else."""
    chosen = [p for p in placed if p.phase == phase and (p.op.kind is Kind.ATTENTION) == attention]
    return sum(p.share * m.macs for p in chosen for m in p.op.products)


def shapes(placed, phase="forward"):
    return {p.op.name: p.op.products[0] for p in placed if p.op.products and p.phase == phase}


@pytest.mark.parametrize(("precision", "bits"), [("fp32", 32), ("bf16", 16), ("mxfp8", 8.25), ("fp4", 4.25)])
def test_block_scales_cost_a_quarter_bit(precision, bits):
    """OCP MX: 32 elements share one 8-bit scale."""
    assert stored_B(precision) == bits / 8


def test_only_part_of_a_plan_decides_shapes():
    assert shard(Plan(tp=4, pp=8, dp=2, micro_batch=2, recompute="none"), "compiled") == Shard(
        4, micro_batch=2, scores_again=False
    )
    assert not shard(Plan(tp=4, recompute="full"), "fused").scores_again  # the replayed forward pass has them
    assert shard(Plan(tp=4, recompute="selective"), "fused").scores_again


def test_gpt3_layer_on_one_of_eight_ranks():
    """h 12,288, 96 heads of 128, f = 4 h: QKV 3 x 1,536 columns, out 1,536 rows, MLP 6,144."""
    p = shapes(training_ops(Training(GPT3, 64, 2048), Shard(8)))
    assert (p["qkv"].moving, p["qkv"].contract, p["qkv"].stationary) == (2048, 12288, 4608)
    assert (p["out"].contract, p["out"].stationary) == (1536, 12288)
    assert (p["up"].contract, p["up"].stationary) == (12288, 6144)
    assert (p["down"].contract, p["down"].stationary) == (6144, 12288)


def test_gradients_are_products_of_the_same_three_lengths():
    """Input gradient contracts over outputs, weight gradient over tokens."""
    placed = training_ops(Training(GPT3, 64, 2048), Shard(8))
    b = shapes(placed, "backward")
    assert (b["qkv dgrad"].moving, b["qkv dgrad"].contract, b["qkv dgrad"].stationary) == (2048, 4608, 12288)
    assert (b["qkv wgrad"].moving, b["qkv wgrad"].contract, b["qkv wgrad"].stationary) == (12288, 2048, 4608)


def test_gated_mlp_has_two_matrices_up():
    """Llama 3.1 70B: ffn 28,672 and gate and up in one product; 8 KV heads beside 64 query heads."""
    p = shapes(training_ops(Training(LLAMA, 64, 8192), Shard(8)))
    assert p["up"].stationary == 2 * 28672 / 8
    assert p["down"].contract == 28672 / 8
    assert p["qkv"].stationary == (8 + 2 * 1) * 128


def test_key_and_value_heads_are_replicated_beyond_their_number():
    """64 ranks, 8 KV heads: each rank still holds one, so K and V columns stop shrinking at 2 x 128."""
    assert shapes(training_ops(Training(LLAMA, 64, 8192), Shard(64)))["qkv"].stationary == (1 + 2 * 1) * 128


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_linear_flop_is_six_per_weight_and_token(tp):
    """Forward 2, backward 4 FLOP per weight and token, over all ranks; h^2 (4 + 8) weights a layer for GPT."""
    placed = training_ops(Training(GPT3, 64, 2048), Shard(tp, micro_batch=2))
    tokens, weights = 2 * 2048, 12 * 12288**2
    assert 2 * tp * macs(placed, "forward", False) == pytest.approx(2 * weights * tokens)
    assert 2 * tp * macs(placed, "backward", False) == pytest.approx(4 * weights * tokens)
    assert 2 * tp * macs(placed, "head", False) == pytest.approx(6 * 12288 * GPT3.vocab * tokens)


@pytest.mark.parametrize(
    ("fused", "again", "ratio"), [(True, False, 2.5), (True, True, 2.5), (False, False, 2), (False, True, 3)]
)
def test_attention_backward_over_forward(fused, again, ratio):
    """Backward is 4 products to forward's 2; recomputing adds the scores (fused) or the whole forward (stored)."""
    placed = training_ops(Training(GPT3, 64, 2048, "bf16", fused), Shard(8, scores_again=again))
    assert macs(placed, "backward", True) / macs(placed, "forward", True) == pytest.approx(ratio)


def test_fused_attention_skips_the_masked_half():
    fused, stored = (training_ops(Training(GPT3, 64, 2048, "bf16", f), Shard(8)) for f in (True, False))
    assert macs(fused, "forward", True) == pytest.approx(macs(stored, "forward", True) / 2)


def test_context_ranks_split_queries_and_tokens_but_not_keys():
    one, four = (training_ops(Training(LLAMA, 64, 8192), Shard(8, cp=cp)) for cp in (1, 4))
    assert macs(one, "forward", True) == pytest.approx(4 * macs(four, "forward", True))
    assert macs(one, "forward", False) == pytest.approx(4 * macs(four, "forward", False))


def test_routed_experts_by_hand():
    """Mixtral 8x7B: 2 of 8 experts a token; 4,096 tokens on 2 expert ranks give each of 4 experts 2,048, 5 % more on
    the fullest rank."""
    placed = training_ops(Training(MIXTRAL, 64, 4096), Shard(1, ep=2))
    p = shapes(placed)
    assert p["expert up"].moving == pytest.approx(4096 * 2 * 2 / 8 * passes()["expert_imbalance"])
    assert p["expert up"].count == 4
    assert p["expert up"].stationary == 2 * 14336 and p["expert down"].contract == 14336
    assert "up" not in p


def test_expert_ranks_do_not_change_the_work():
    """As many experts fewer as tokens more: MACs of a rank stay."""
    one, eight = (training_ops(Training(MIXTRAL, 64, 4096), Shard(1, ep=ep)) for ep in (1, 8))
    assert macs(one, "forward", False) == pytest.approx(macs(eight, "forward", False))


def test_shared_experts_and_dense_blocks_have_their_share():
    """DeepSeek-V3: 3 of 61 blocks are dense, the others have 256 routed experts and one shared of 2,048."""
    placed = training_ops(Training(DEEPSEEK, 64, 4096), Shard(1))
    share = {p.op.name: p.share for p in placed if p.phase == "forward"}
    assert share["up"] == pytest.approx(3 / 61)
    assert share["expert up"] == share["shared up"] == pytest.approx(58 / 61)
    assert share["out"] == 1


def test_latent_attention_squeezes_before_it_expands():
    """7,168 to 1,536 + 512 + 64; 1,536 to 128 heads of 192; 512 to 128 heads of 128 + 128; 128 x 128 to 7,168."""
    p = shapes(training_ops(Training(DEEPSEEK, 64, 4096), Shard(1)))
    assert (p["squeeze"].contract, p["squeeze"].stationary) == (7168, 2112)
    assert (p["query"].contract, p["query"].stationary) == (1536, 128 * 192)
    assert (p["expand"].contract, p["expand"].stationary) == (512, 128 * 256)
    assert (p["out"].contract, p["out"].stationary) == (128 * 128, 7168)


def test_windowed_blocks_attend_to_less():
    """gpt-oss-20b: every other block sees 128 positions, w - w^2 / 2 s = 126 on average instead of s / 2 = 2,048."""
    m = model("gpt-oss-20b")
    placed = [p for p in training_ops(Training(m, 64, 4096), Shard(1)) if p.op.kind is Kind.ATTENTION]
    window, whole = (p for p in placed if p.phase == "forward")
    assert whole.share == window.share == 0.5
    assert window.op.products[0].stationary == pytest.approx(126)
    assert whole.op.products[0].stationary == 2048


def recurs(m):
    """Whether some block keeps a state."""
    return any(isinstance(x, Recurrence) for r in m.runs for x in r.block.mixers)


@pytest.mark.parametrize("name", model_names())
def test_forward_macs_equal_the_formula_for_mfu(name):
    """The operators of one token, summed, are the FLOP that MFU is counted in (router and imbalance left out)."""
    m = model(name)
    sequence = 4096
    placed = training_ops(Training(m, 64, sequence), Shard(1))
    linear, attention = macs(placed, "forward", False), macs(placed, "forward", True)
    experts = sum(
        p.share * q.macs for p in placed if p.phase == "forward" and "expert" in p.op.name for q in p.op.products
    )
    linear -= experts * (1 - 1 / passes()["expert_imbalance"])
    head = sequence * m.hidden * m.vocab
    total = 2 * (m.n_layers * (linear + attention) + head) / sequence
    # chunks of a recurrence share work that MFU does not count, and its convolutions have no matrix
    exact = not recurs(m)
    assert total == pytest.approx(forward_FLOP_per_token(m, 0, sequence), rel=1e-9 if exact else 0.02)


@pytest.mark.parametrize("parallel", [True, False])
def test_elementwise_work_of_gpt3_by_hand(parallel):
    """One of 8 ranks, 2,048 tokens: two LayerNorms (6 passes) and residuals (1) over 12,288, split over the ranks only
    with sequence parallelism; RoPE (3) over 12 + 12 heads of 128; activation (12) over 6,144."""
    n = passes()
    assert [n[k] for k in ("norm_forward", "residual", "rope", "activation_forward")] == [4, 1, 3, 12]
    placed = training_ops(Training(GPT3, 64, 2048), Shard(8, sequence_parallel=parallel))
    ops = [p.op for p in placed if p.op.kind is Kind.ELEMENTWISE and p.phase == "forward"]
    narrow = 2048 * 12288 / (8 if parallel else 1)
    assert sum(op.vector_elements for op in ops) == 2 * narrow * (6 + 1) + 2048 * 24 * 128 * 3 + 2048 * 6144 * 12
    # bf16: two reads and two writes around each norm and residual, RoPE in place, MLP in and out
    assert sum(op.hbm_B for op in ops) == 2 * (2 * narrow * 4 + 2048 * 24 * 128 * 2 + 2048 * 6144 * 2)


def test_training_weights_are_read_in_bf16_whatever_the_products():
    wide, narrow = (training_ops(Training(LLAMA, 64, 8192, p), Shard(8))[0].op for p in ("bf16", "fp8"))
    assert narrow.hbm_B == wide.hbm_B
    assert (wide.precision, narrow.precision) == ("bf16", "fp8")


def test_8_bit_products_pay_for_their_casts():
    """Inputs of linear layers are cast once forward and twice backward; bf16 casts nothing."""
    work = {}
    for precision in ("bf16", "fp8"):
        placed = training_ops(Training(LLAMA, 64, 8192, precision), Shard(8))
        small = [p for p in placed if p.op.kind is Kind.ELEMENTWISE]
        work[precision] = {s: sum(p.op.vector_elements for p in small if p.phase == s) for s in ("forward", "backward")}
    # inputs of a rank per token: QKV and MLP 2 x 8,192, out 1,024, down 3,584
    cast = 8192 * (2 * 8192 + 1024 + 3584) * passes()["cast"]
    assert work["fp8"]["forward"] - work["bf16"]["forward"] == pytest.approx(cast)
    assert work["fp8"]["backward"] - work["bf16"]["backward"] == pytest.approx(2 * cast)


def test_decode_reads_all_weights_once():
    """Llama 3.1 70B at FP4, one token: 69.5e9 weights (no input table) x 4.25 bits = 36.9 GB of 37.5 in all."""
    placed = serving_ops(Decode(LLAMA, 1, 1, "fp4", "fp8"), Plan())
    read = sum((1 if p.phase == "head" else LLAMA.n_layers * p.share) * p.op.hbm_B for p in placed)
    weights = 70.55e9 - LLAMA.vocab * LLAMA.hidden
    assert read == pytest.approx(weights * 4.25 / 8, rel=0.01)


def attention_of(workload, tp=1, dp=1):
    (found,) = (p.op for p in serving_ops(workload, Plan(tp=tp, dp=dp)) if p.op.name == "attention")
    return found


def test_decode_reads_the_cache_in_its_own_precision():
    """80 layers, 2 x 8 heads x 128 wide, 8 bits: 164 kB a token; 16 x 8,192 tokens are 21.5 GB."""
    op = attention_of(Decode(LLAMA, 16, 8192, "fp4", "fp8"))
    assert LLAMA.n_layers * op.hbm_B == pytest.approx(80 * 2 * 8 * 128 * 16 * 8192, rel=2e-3)


def test_a_group_of_queries_shares_its_keys():
    """8 query heads per KV head stream together past one copy of the keys."""
    op = attention_of(Decode(LLAMA, 16, 8192), tp=8)
    assert op.products[0].moving == 8
    assert op.products[0].count == 1 * 16


def test_latent_decode_reads_one_narrow_cache():
    """DeepSeek-V3 caches 512 + 64 numbers a token and layer in bf16: 1,152 B, read once for all 128 heads."""
    op = attention_of(Decode(DEEPSEEK, 16, 8192))
    # queries of 576 and results of 512, 2 B each: a result is a mean of latents, without their rotary part
    in_and_out = 16 * 128 * (576 + 512) * 2
    assert op.hbm_B == pytest.approx(16 * 8192 * 1152 + in_and_out)
    assert op.macs == 16 * 128 * 8192 * (576 + 512)
    assert op.products[0].moving == 128


def test_replicas_split_the_batch():
    one, four = (serving_ops(Decode(LLAMA, 64, 8192), Plan(tp=8, dp=dp)) for dp in (1, 4))
    assert macs(one, "forward", False) == pytest.approx(4 * macs(four, "forward", False))
    assert macs(one, "forward", True) == pytest.approx(4 * macs(four, "forward", True))


@pytest.mark.parametrize("name", model_names())
def test_every_operator_moves_bytes_and_has_a_name(name):
    m = model(name)
    workload = Training(m, 64, 2048)
    parts = [*training_ops(workload, Shard(1, micro_batch=2)), *training_ops(workload, Shard(2, scores_again=False))]
    if is_causal(m):
        parts += serving_ops(Decode(m, 8, 128), Plan(tp=2))
    for p in parts:
        assert p.op.name and p.op.hbm_B > 0 and p.op.vector_elements > 0 and p.op.n_launches >= 1
        assert p.phase in ("forward", "backward", "head") and p.share > 0
        assert p.share <= (2 if recurs(m) else 1)  # two gates of a recurrence are one operator


def test_precision_of_the_products_does_not_change_them():
    a, b = (training_ops(Training(LLAMA, 64, 8192, p), Shard(8)) for p in ("bf16", "fp8"))
    assert [p.op.products for p in a] == [p.op.products for p in b]
    assert dataclasses.replace(a[0].op, precision="fp8", reuse_B=0) == dataclasses.replace(b[0].op, reuse_B=0)


def test_a_norm_fused_with_its_residual_by_hand():
    """1,024 elements, RMSNorm: 2 norms of 4 passes, each with an addition; two tensors read and one written, bf16."""
    forward, backward = (norm_residual(LLAMA, 1024.0, 2.0, phase) for phase in ("forward", "backward"))
    assert (forward.vector_elements, forward.hbm_B, forward.n_launches) == (2 * 1024 * 5, 2 * 1024 * 3 * 2, 2.0)
    assert backward.vector_elements == 2 * 1024 * (8 + 1)
    assert norm_residual(GPT3, 1024.0, 2.0, "forward").vector_elements == 2 * 1024 * (6 + 1)


def with_norms(m, n):
    return dataclasses.replace(m, runs=tuple(Run(dataclasses.replace(r.block, n_norms=n), r.n) for r in m.runs))


def test_norms_of_results_add_their_passes_and_one_pass_over_the_branch():
    """2 norms of 4 passes more; the fused kernel saves the addition's own read and write: 5 moves a half, not 4."""
    plain, sandwich = (
        block_elementwise(with_norms(LLAMA, n), Shard(1), 16.0, "forward", lambda _: "bf16") for n in (2, 4)
    )
    more = sum(op.vector_elements for op in sandwich) - sum(op.vector_elements for op in plain)
    assert more == pytest.approx(2 * 4 * 16 * LLAMA.hidden)
    moved = sum(op.hbm_B for op in sandwich) - sum(op.hbm_B for op in plain)
    assert moved == pytest.approx(2 * 2 * 16 * LLAMA.hidden)
    assert [op.name for op in sandwich] == ["elementwise", "norm"]
