"""Lowered passes that do two things at once lie between either and both."""

import dataclasses

import numpy as np
import pytest

import dse
from dse.core.errors import PlanError
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.lowering.mixed import chunk_demand, chunk_ops, fused_linear, verify_demand, verify_ops, weight_B
from dse.lowering.plan import Plan
from dse.lowering.serving import serving_demand
from dse.lowering.serving_ops import serving_ops
from dse.lowering.tiling import array_shape
from dse.physics.calibration import default_calibration
from dse.physics.step import step_time
from dse.workload.op import Kind, linear

SYSTEM = dse.system("trn2-ultraserver", 8)
C = default_calibration("trainium2")
REF, ARRAY = chip_reference(SYSTEM.chip, C), array_shape(SYSTEM.chip.core.tensor)
PLAN = dse.Plan(tp=8)


def seconds(d) -> float:
    return float(step_time(d, SYSTEM.chip, C).total_s)


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
    a, b = (linear("expert up", 2, 100, 200, "fp8", 1.0, count=4, kind=Kind.EXPERTS) for _ in range(2))
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
        return op.macs

    def read_B(op):
        return op.hbm_B

    assert work(both, macs) == pytest.approx(sum(work(p, macs) for p in parts))
    assert work(both, lambda op: op.vector_elements) == pytest.approx(
        sum(work(p, lambda op: op.vector_elements) for p in parts)
    )
    assert max(work(p, read_B) for p in parts) < work(both, read_B) < sum(work(p, read_B) for p in parts)


def test_every_group_of_a_squeezed_result_is_read_once():
    """DeepSeek-V4 squeezes the results of its heads in 8 groups with a weight each; both runs need all 8."""
    m = dse.model("deepseek-v4-flash")
    decode, prefill = dse.Decode(m, 8, 4096), dse.Prefill(m, 1, 2048, chunk=512)
    fused = {p.op.name: p.op for p in chunk_ops(decode, prefill, Plan(micro_batch=8), 1.0)}["squeeze out"]
    (product,) = fused.products
    assert product.count == 8 and product.moving == 8 + 512
    assert fused.hbm_B == 8 * (
        2 * product.stationary * product.contract + 2 * 520 * (product.stationary + product.contract)
    )


def test_a_chip_without_fp8_casts_nothing_in_passes_that_do_two_things():
    """Plain passes run FP8 weights in BF16 on an A100 and narrow no activation; nor do those that verify drafts.

    Verifying two tokens is a pass over two tokens of every sequence but for the cache, which is read once.
    """
    s = dse.system("dgx-a100", 8)
    ref, array = chip_reference(s.chip, default_calibration("a100-80")), array_shape(s.chip.core.tensor)
    decode, plan = dse.Decode(dse.model("llama-3.1-8b"), 64, 4096, "fp8"), Plan(tp=8, micro_batch=64)
    prefill = dse.Prefill(decode.model, 1, 512, "fp8", chunk=256)
    plain = serving_demand(decode, plan, s, array, ref, 2)
    many = verify_demand(decode, 2, plan, s, array, ref)
    np.testing.assert_allclose(many.ops.vector_elements, plain.ops.vector_elements)
    np.testing.assert_allclose(many.ops.reuse_half, plain.ops.reuse_half)
    one, chunk = serving_demand(decode, plan, s, array, ref), serving_demand(prefill, Plan(tp=8), s, array, ref)
    both = chunk_demand(decode, prefill, plan, s, array, ref)
    wide = serving_demand(dataclasses.replace(prefill, weight_precision="bf16"), Plan(tp=8), s, array, ref)
    passes, read, own, twice = (float(d.ops.runs @ d.ops.vector_elements) for d in (both, one, chunk, wide))
    assert passes == pytest.approx(read + twice)  # the chunk finds weights converted already
    assert twice < own


def test_a_prompt_that_ends_joins_the_head_of_the_others():
    """Of a prompt in 4 chunks the last asks for the head: a quarter of a row more in the mean pass, no more weights."""
    decode, prefill = (
        dse.Decode(dse.model("llama-3.1-8b"), 32, 2000),
        dse.Prefill(dse.model("llama-3.1-8b"), 1, 2048, chunk=512),
    )
    (head,) = (p.op for p in chunk_ops(decode, prefill, Plan(micro_batch=32), 1.0) if p.op.name == "head")
    assert head.products[0].moving == 32.25
    assert head.hbm_B == 2 * 4096 * 128_256 + 2 * 32.25 * (4096 + 128_256)


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
    # activations and logits of three more tokens a sequence, and blocks where the last is full
    assert 0 < float(four.memory_B - one.memory_B) < 0.001 * float(one.memory_B)


def test_names_decide_nothing(monkeypatch):
    """With every operator under one name, passes that do two things at once are the same."""
    decode, prefill = (w(dse.model("deepseek-v3"), 32, 2000) for w in (dse.Decode, dse.Prefill))
    plan = Plan(tp=8, micro_batch=32)
    named = chunk_ops(decode, prefill, plan, 1.0), verify_ops(decode, 3, plan, 1.0)

    def anonymous(*args):
        return [dataclasses.replace(p, op=dataclasses.replace(p.op, name="x")) for p in serving_ops(*args)]

    monkeypatch.setattr("dse.lowering.mixed.serving_ops", anonymous)
    for a, b in zip(named, (chunk_ops(decode, prefill, plan, 1.0), verify_ops(decode, 3, plan, 1.0)), strict=True):
        assert [dataclasses.replace(p.op, name="x") for p in a] == [p.op for p in b]


def test_a_pass_of_fixed_shapes_blocks_the_tokens_of_both_kinds_together():
    """544 tokens x 4 = 2,176 visits of gpt-oss's 128 experts: ceil((2,176 - 127) / 512) + 127 = 132 blocks of 512."""
    oss = dse.model("gpt-oss-120b")
    decode, prefill = dse.Decode(oss, 32, 2000), dse.Prefill(oss, 1, 2048, chunk=512)
    (up,) = (p.op for p in chunk_ops(decode, prefill, Plan(micro_batch=32), 1.0, True) if p.op.name == "expert up")
    assert up.products[0].moving * up.products[0].count == pytest.approx(132 * 512, rel=1e-6)


@pytest.mark.parametrize("n_sequences", [1, 2, 4])
def test_drafted_tokens_of_a_sequence_pass_a_pipeline_together(n_sequences):
    """Four tokens of each sequence in one group: weights are read once per group, and stages without one idle.

    As groups of their own, the tokens of one sequence read the weights of a stage four times: 73 GB in all, not 18.
    """
    plan = Plan(tp=2, pp=4, micro_batch=n_sequences)
    decode = dse.Decode(dse.model("llama-3.3-70b"), n_sequences, 4000)
    one, four = (verify_demand(decode, n, plan, SYSTEM, ARRAY, REF) for n in (1, 4))
    assert float(four.n_micro) == float(one.n_micro) == n_sequences
    assert float(four.bubble_micro) == 4 - n_sequences
    read_B = [float(step_time(d, SYSTEM.chip, C).hbm_B) for d in (one, four)]
    assert read_B[0] < read_B[1] < 1.01 * read_B[0]
    assert np.asarray(four.macs) == pytest.approx(4 * np.asarray(one.macs))
    assert float(four.tokens) == 4 * n_sequences and float(four.pipeline.sent_B) == 4 * float(one.pipeline.sent_B)


def test_four_drafted_tokens_visit_the_experts_of_four():
    """Of 128 experts a token visits 4: one sequence's four tokens read those of four sequences' one token each."""
    model, plan = dse.model("gpt-oss-120b"), Plan(tp=2, pp=4, micro_batch=1)
    drafted = verify_demand(dse.Decode(model, 1, 4000), 4, plan, SYSTEM, ARRAY, REF)
    plain = verify_demand(dse.Decode(model, 16, 4000), 1, dataclasses.replace(plan, micro_batch=16), SYSTEM, ARRAY, REF)
    assert float(plain.n_micro) == 4 and np.asarray(drafted.macs) == pytest.approx(np.asarray(plain.macs))
    # 4 turns each, but that a turn of one group has one head; the cache of four is read more
    heads = dataclasses.replace(drafted, ops=dataclasses.replace(drafted.ops, idle_runs=drafted.ops.runs))
    assert seconds(heads) == pytest.approx(seconds(plain), rel=0.02) and seconds(drafted) < 0.97 * seconds(plain)


def test_chunks_ride_on_passes_that_verify():
    """A pass over four tokens of every sequence and a chunk does the work of both."""
    model = dse.model("llama-3.3-70b")
    decode, chunk = dse.Decode(model, 64, 2150), dse.Prefill(model, 1, 512, chunk=512)
    plain, drafting = (chunk_demand(decode, chunk, PLAN, SYSTEM, ARRAY, REF, n) for n in (1, 4))
    verify, own = verify_demand(decode, 4, PLAN, SYSTEM, ARRAY, REF), demand(chunk, PLAN, SYSTEM, REF, ARRAY)
    assert np.asarray(drafting.macs) == pytest.approx(np.asarray(verify.macs) + np.asarray(own.macs))
    assert max(seconds(plain), seconds(verify)) < seconds(drafting)
    assert float(drafting.tensor.sent_B) == pytest.approx(float(verify.tensor.sent_B) + float(own.tensor.sent_B))
