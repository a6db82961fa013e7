"""What one rank runs: shapes after tensor parallelism, and totals that do not depend on it."""

import pytest

from dse.mapping.rank import decode_ops, stored_B, training_ops
from dse.performance.demand import forward_FLOP_per_token
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training

GPT3, LLAMA = model("gpt-3-175b"), model("llama-3.1-70b")


def macs(ops, but=()):
    return sum(p.macs for op in ops if op.name not in but for p in op.products)


def shapes(ops):
    return {op.name: op.products[0] for op in ops if op.products}


@pytest.mark.parametrize(("precision", "bits"), [("fp32", 32), ("bf16", 16), ("fp8", 8.25), ("fp4", 4.25)])
def test_block_scales_cost_a_quarter_bit(precision, bits):
    """OCP MX: 32 elements share one 8-bit scale."""
    assert stored_B(precision) == bits / 8


def test_gpt3_layer_on_one_of_eight_ranks():
    """h 12,288, 96 heads of 128, f = 4 h: QKV 3 x 1,536 columns, out 1,536 rows, MLP 6,144."""
    forward, _, _ = training_ops(Training(GPT3, 64, 2048), 8, 1, True)
    p = shapes(forward)
    assert (p["qkv"].moving, p["qkv"].contract, p["qkv"].stationary) == (2048, 12288, 4608)
    assert (p["out"].contract, p["out"].stationary) == (1536, 12288)
    assert (p["up"].contract, p["up"].stationary) == (12288, 6144)
    assert (p["down"].contract, p["down"].stationary) == (6144, 12288)


def test_gated_mlp_has_two_matrices_up():
    """Llama 3.1 70B: ffn 28,672 and gate and up in one product; 8 KV heads beside 64 query heads."""
    forward, _, _ = training_ops(Training(LLAMA, 64, 8192), 8, 1, True)
    p = shapes(forward)
    assert p["up"].stationary == 2 * 28672 / 8
    assert p["down"].contract == 28672 / 8
    assert p["qkv"].stationary == (8 + 2 * 1) * 128


def test_key_and_value_heads_are_replicated_beyond_their_number():
    """64 ranks, 8 KV heads: each rank still holds one, so K and V columns stop shrinking at 2 x 128."""
    forward, _, _ = training_ops(Training(LLAMA, 64, 8192), 64, 1, True)
    assert shapes(forward)["qkv"].stationary == (1 + 2 * 1) * 128


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_linear_flop_is_six_per_weight_and_token(tp):
    """Forward 2, backward 4 FLOP per weight and token, over all ranks; h^2 (4 + 8) weights a layer for GPT."""
    forward, backward, head = training_ops(Training(GPT3, 64, 2048), tp, 2, True)
    tokens, weights = 2 * 2048, 12 * 12288**2
    assert 2 * tp * macs(forward, ("attention",)) == pytest.approx(2 * weights * tokens)
    assert 2 * tp * macs(backward, ("attention",)) == pytest.approx(4 * weights * tokens)
    assert 2 * tp * macs(head) == pytest.approx(6 * 12288 * GPT3.vocab * tokens)


@pytest.mark.parametrize(
    ("fused", "again", "ratio"), [(True, False, 2), (True, True, 2.5), (False, False, 2), (False, True, 3)]
)
def test_attention_backward_over_forward(fused, again, ratio):
    """Backward is 4 products to forward's 2; recomputing adds the scores (fused) or the whole forward (stored)."""
    forward, backward, _ = training_ops(Training(GPT3, 64, 2048, "bf16", fused), 8, 1, again)
    f, b = (sum(p.macs for op in ops if op.name == "attention" for p in op.products) for ops in (forward, backward))
    assert b / f == pytest.approx(ratio)


def test_fused_attention_skips_the_masked_half():
    ops = {fused: training_ops(Training(GPT3, 64, 2048, "bf16", fused), 8, 1, True)[0] for fused in (True, False)}
    f, s = (sum(p.macs for op in ops[k] if op.name == "attention" for p in op.products) for k in (True, False))
    assert f == pytest.approx(s / 2)


def test_forward_macs_equal_the_formula_for_mfu():
    """The operators of one token, summed, are the FLOP that MFU is counted in (causal: s / 2 positions)."""
    forward, _, head = training_ops(Training(LLAMA, 64, 8192), 1, 1, True)
    total = 2 * (LLAMA.n_layers * macs(forward) + macs(head[:1])) / 8192
    assert total == pytest.approx(forward_FLOP_per_token(LLAMA, 8192 / 2), rel=1e-9)


def test_training_weights_are_read_in_bf16_whatever_the_products():
    wide, narrow = (training_ops(Training(LLAMA, 64, 8192, p), 8, 1, True)[0][0] for p in ("bf16", "fp8"))
    assert narrow.hbm_B == wide.hbm_B
    assert (wide.precision, narrow.precision) == ("bf16", "fp8")


def test_decode_reads_all_weights_once():
    """Llama 3.1 70B at FP4, one token: 69.5e9 weights (no input table) x 4.25 bits = 36.9 GB of 37.5 in all."""
    block, head = decode_ops(Decode(LLAMA, 1, 1, "fp4", "fp8"), 1, 1)
    read = LLAMA.n_layers * sum(op.hbm_B for op in block) + head[0].hbm_B
    weights = 70.55e9 - LLAMA.vocab * LLAMA.hidden
    assert read == pytest.approx(weights * 4.25 / 8, rel=0.01)


def test_decode_reads_the_cache_in_its_own_precision():
    """80 layers, 2 x 8 heads x 128 wide, 8.25 bits: 169 kB a token; 16 x 8,192 tokens are 22.1 GB."""
    block, _ = decode_ops(Decode(LLAMA, 16, 8192, "fp4", "fp8"), 1, 1)
    (attention,) = (op for op in block if op.name == "attention")
    assert LLAMA.n_layers * attention.hbm_B == pytest.approx(80 * 2 * 8 * 128 * 8.25 / 8 * 16 * 8192, rel=2e-3)


def test_a_group_of_queries_shares_its_keys():
    """8 query heads per KV head stream together past one copy of the keys."""
    block, _ = decode_ops(Decode(LLAMA, 16, 8192), 8, 1)
    (attention,) = (op for op in block if op.name == "attention")
    assert attention.products[0].moving == 8
    assert attention.products[0].count == 1 * 16


def test_replicas_split_the_batch():
    one, four = (decode_ops(Decode(LLAMA, 64, 8192), 8, dp)[0] for dp in (1, 4))
    assert macs(one) == pytest.approx(4 * macs(four))


@pytest.mark.parametrize("again", [True, False])
def test_every_operator_moves_bytes_and_has_a_name(again):
    parts = [*training_ops(Training(GPT3, 64, 2048), 8, 1, again), *decode_ops(Decode(GPT3, 8, 128), 8, 1)]
    for ops in parts:
        assert all(op.name and op.hbm_B > 0 and op.vector_elements > 0 and op.n_launches >= 1 for op in ops)
