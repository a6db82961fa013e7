"""Operators by hand: FLOP, bytes and I/O coefficients in the sources' own units."""

import pytest

from dse.workload.op import (
    Kind,
    Product,
    elementwise,
    fused_attention,
    linear,
    pass_receipts,
    passes,
    stored_attention,
)

# GPT-3 175B on one of 8 tensor ranks, one sequence of 2,048: 12 heads of 128
HALF = 1024.0  # positions a query attends to on average
GPT3 = {"heads": 12.0, "kv_heads": 12.0, "head_dim": 128.0, "queries": 2048.0, "context": 2048.0, "sequences": 1.0}


def test_a_product_counts_its_copies():
    assert Product(2, 3, 5).macs == 30
    assert Product(2, 3, 5, count=7).macs == 210


def test_linear_layer_of_gpt3():
    """Tokens 2,048, 12,288 to 4,608 (QKV of one of 8 ranks), bf16.

    FLOP: 2 x 2048 x 12288 x 4608 = 231.9 GFLOP.
    Bytes: weights 2 x 12288 x 4608 = 113.2 MB; in 2 x 2048 x 12288 = 50.3 MB; out 2 x 2048 x 4608 = 18.9 MB.
    """
    op = linear("qkv", 2048, 12288, 4608, "bf16")
    assert 2 * op.macs == pytest.approx(231.9e9, rel=1e-3)
    assert op.hbm_B == 113_246_208 + 50_331_648 + 18_874_368
    assert op.vector_elements == 2048 * 4608  # each result is evicted once
    assert op.kind is Kind.LINEAR and op.n_launches == 1


def test_resident_block_of_sums_by_hand():
    """A cube of side N: every operand is read once per block of sums that needs it, 2 N^3 / side operands in all.

    N = 4,096, bf16, S = 4 MiB: a block of 1,024 x 1,024 fp32 sums; 2 x 4096^3 / 1024 operands of 2 B = 268 MB.
    """
    op = linear("cube", 4096, 4096, 4096, "bf16")
    assert op.reuse_B / (4 * 2**20) ** 0.5 == pytest.approx(2 * 2 * 4096**3 / 1024)
    assert op.reuse_B / (4 * 2**20) ** 0.5 == pytest.approx(268e6, rel=2e-3)


def test_half_the_operand_width_moves_half_the_reuse_traffic():
    """The resident sums are fp32 whatever the operands are."""
    wide, narrow = (linear("x", 512, 512, 512, p) for p in ("bf16", "fp8"))
    assert narrow.reuse_B / wide.reuse_B == pytest.approx(0.5)


def test_grouped_products_repeat_everything():
    """Eight experts of 512 tokens each: eight weights, eight times the work."""
    one, eight = linear("x", 512, 1000, 500, "bf16"), linear("x", 512, 1000, 500, "bf16", count=8)
    for field in ("hbm_B", "reuse_B", "vector_elements"):
        assert getattr(eight, field) == 8 * getattr(one, field)
    assert eight.macs == 8 * one.macs and eight.n_launches == 1


def test_stored_and_computed_width_differ():
    """FP8 products from weights stored in bf16: 2 bytes per weight cross the memory interface, not 1."""
    stored, cast = linear("x", 8, 1000, 500, "fp8"), linear("x", 8, 1000, 500, "fp8", weight_B=2.0)
    assert cast.hbm_B - stored.hbm_B == 1000 * 500
    assert cast.reuse_B == stored.reuse_B


def test_elementwise_by_hand():
    """1e6 elements, 3 passes, 2 reads and 1 write of 2 bytes: 6 MB and 3e6 element passes, no products."""
    op = elementwise("residual", 1e6, 3, 3)
    assert (op.hbm_B, op.vector_elements, op.products, op.reuse_B) == (6e6, 3e6, (), 0.0)


def test_causal_attention_of_gpt3():
    """Scores and values, 12 heads: 2 x 2 x 2048 x 1024 (mean of the causal mask) x 128 x 12 = 12.88 GFLOP forward.

    Q, K, V and result, bf16: 4 x 2 x 2048 x 128 x 12 = 25.2 MB, never the 12 x 2048^2 scores.
    """
    op = fused_attention(**GPT3, n_products=2, softmax_passes=4, attended=HALF)
    assert 2 * op.macs == pytest.approx(12.88e9, rel=1e-3)
    assert op.hbm_B == 4 * 2 * 2048 * 128 * 12
    assert op.vector_elements == 4 * 12 * 2048**2 / 2


def test_flash_attention_traffic_falls_as_head_width_squared_over_memory():
    """Theorem 2: of the order of N^2 d^2 / S element moves.

    Tiles of q' = S / (w d) query rows fill the memory; each streams all attended keys and values past once:
    q / q' x 2 a d w = 2 q a d^2 w^2 / S bytes a head. 12 heads, w = 2, 128 MiB: 24.6 kB.
    """
    op = fused_attention(**GPT3, n_products=2, softmax_passes=4, attended=HALF)
    assert op.kind is Kind.ATTENTION
    assert op.reuse_B / 2**27 == pytest.approx(12 * 2 * 2048 * 1024 * 128**2 * 2**2 / 2**27)


def test_backward_attention_takes_two_and_a_half_times_the_products():
    forward, backward = (fused_attention(**GPT3, n_products=n, softmax_passes=4) for n in (2, 5))
    assert backward.macs == pytest.approx(2.5 * forward.macs)
    assert backward.hbm_B == pytest.approx(2.5 * forward.hbm_B)


def test_decode_attention_reads_the_cache_once():
    """8 KV heads of 128, 8,192 positions, 16 sequences, bf16: 2 x 2 x 8192 x 128 x 8 x 16 = 537 MB and a sliver."""
    op = fused_attention(8.0, 8.0, 128.0, 1.0, 8192.0, 16.0, n_products=2, softmax_passes=4)
    cache = 2 * 2 * 8192 * 128 * 8 * 16
    assert cache < op.hbm_B < 1.001 * cache
    assert op.reuse_B == 0.0
    # 2 FLOP x 2 products per cached element of a head
    assert 2 * op.macs == 2 * 2 * 8192 * 128 * 8 * 16


def test_stored_scores_cost_their_moves():
    """All scores, masked or not: 12 x 2048^2 = 50.3 M, each moved `stored_score_moves` times in bf16."""
    fused = fused_attention(**GPT3, n_products=2, softmax_passes=4)
    stored = stored_attention(**GPT3, n_products=2, softmax_passes=4)
    assert stored.hbm_B - fused.hbm_B == 2 * passes()["stored_score_moves"] * 12 * 2048**2
    assert stored.macs == fused.macs
    assert stored.reuse_B == 0.0 and stored.n_launches > fused.n_launches


def test_every_pass_count_has_a_receipt():
    found = pass_receipts()
    assert {r.name for r in found} == set(passes())
    assert all(r.low <= r.value <= r.high for r in found)


def test_makers_say_the_kind():
    attention = fused_attention(**GPT3, n_products=2, softmax_passes=4)
    assert [attention.kind, elementwise("x", 1, 1, 1).kind] == [Kind.ATTENTION, Kind.ELEMENTWISE]
    assert linear("x", 1, 1, 1, "bf16", kind=Kind.EXPERTS).kind is Kind.EXPERTS
    assert {k for k in Kind if k.has_weight} == {Kind.LINEAR, Kind.EXPERTS, Kind.EXPANSION}
