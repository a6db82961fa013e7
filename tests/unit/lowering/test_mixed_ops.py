"""Passes that do two things at once: weights once, everything else twice."""

import pytest

import dse
from dse.lowering.mixed_ops import chunk_ops, fused_linear, verify_ops, weight_B
from dse.lowering.plan import Plan
from dse.lowering.serving_ops import serving_ops
from dse.workload.op import linear


def test_weight_of_a_linear_layer():
    """100 x 200 weights of 1 B and 4 rows of bf16 in and out: 20,000 + 2 x 4 x 300 = 22,400 B."""
    op = linear("up", 4, 100, 200, "fp8", 1.0)
    assert op.hbm_B == 22_400 and weight_B(op) == 20_000
    assert weight_B(linear("expert up", 4, 100, 200, "fp8", 1.0, count=3)) == 20_000


def test_fused_linear_is_one_layer_on_all_rows():
    fused, whole = (
        fused_linear(linear("up", 4, 100, 200, "fp8", 1.0), linear("up", 6, 100, 200, "fp8", 1.0), 1.0),
        linear("up", 10, 100, 200, "fp8", 1.0),
    )
    assert fused.products == whole.products
    for field in ("hbm_B", "vector_elements", "reuse_B", "n_launches"):
        assert getattr(fused, field) == pytest.approx(getattr(whole, field))


def test_experts_of_both_runs_are_read_once():
    """4 of 8 experts and 4 of 8, as if chosen independently: 8 (1 - 1/2 x 1/2) = 6 are read."""
    a, b = (linear("expert up", 2, 100, 200, "fp8", 1.0, count=4) for _ in range(2))
    fused = fused_linear(a, b, 8.0)
    assert fused.products[0].count == pytest.approx(6)
    assert fused.products[0].moving * fused.products[0].count == pytest.approx(16)
    assert fused.hbm_B == pytest.approx(6 * 20_000 + 16 * 2 * 300)


@pytest.mark.parametrize("name", ["llama-3.3-70b", "gpt-oss-120b", "deepseek-v3"])
def test_chunk_and_decode_do_the_work_of_both_and_read_less(name):
    decode, prefill = dse.Decode(dse.model(name), 32, 2000), dse.Prefill(dse.model(name), 1, 2048, chunk=512)
    plan = Plan(tp=8, micro_batch=32)
    both = chunk_ops(decode, prefill, plan, 1.0)
    parts = serving_ops(decode, plan, 1.0), serving_ops(prefill, Plan(tp=8), 1.0)

    def work(placed, of):
        return sum(p.share * of(p.op) for p in placed)

    def macs(op):
        return sum(p.macs for p in op.products)

    def read_B(op):
        return op.hbm_B

    assert work(both, macs) == pytest.approx(sum(work(p, macs) for p in parts))
    assert work(both, lambda op: op.vector_elements) == pytest.approx(
        sum(work(p, lambda op: op.vector_elements) for p in parts)
    )
    assert max(work(p, read_B) for p in parts) < work(both, read_B) < sum(work(p, read_B) for p in parts)


def test_verifying_three_tokens_reads_the_cache_once():
    decode, plan = dse.Decode(dse.model("llama-3.3-70b"), 4, 8000), Plan(tp=8, micro_batch=4)
    one, three = serving_ops(decode, plan, 1.0), verify_ops(decode, 3, plan, 1.0)
    assert [p.op.name for p in one] == [p.op.name for p in three]
    for a, b in zip(one, three, strict=True):
        macs = [sum(p.macs for p in x.op.products) for x in (a, b)]
        assert macs[1] == pytest.approx(3 * macs[0])
        if a.op.name == "attention":
            assert b.op.hbm_B == a.op.hbm_B
    assert [p.op.hbm_B for p in verify_ops(decode, 1, plan, 1.0)] == [p.op.hbm_B for p in one]
