"""Routed experts in programs of fixed shapes: Mixtral 8x7B and a model of many experts, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import chip
from dse.lowering.plan import Plan
from dse.lowering.serving_ops import serving_ops
from dse.physics.calibration import calibration, calibration_for
from dse.workload.presets import model
from dse.workload.transformer import Decode, Prefill

MIXTRAL, OSS = model("mixtral-8x7b"), model("gpt-oss-120b")
UP_WEIGHTS = {MIXTRAL.name: 4096 * 2 * 14336, OSS.name: 2880 * 2 * 2880}


def up(workload, fixed=True, plan=Plan()):  # noqa: B008
    return next(p.op for p in serving_ops(workload, plan, fixed=fixed) if p.op.name == "expert up")


def rows(op):
    return sum(p.moving * p.count for p in op.products)


def test_one_token_moves_its_two_experts_three_times():
    """Two visits of eight experts: 2 x 4096 x 28672 weights of 2 bytes, read, written and read again."""
    op, by_index = up(Decode(MIXTRAL, 1, 1024)), up(Decode(MIXTRAL, 1, 1024), fixed=False)
    assert op.hbm_B == pytest.approx(3 * 2 * UP_WEIGHTS[MIXTRAL.name] * 2, rel=1e-3)
    assert op.hbm_B == pytest.approx(3 * by_index.hbm_B, rel=1e-3)
    assert rows(op) == 2.0


def test_as_many_visits_as_experts_pass_all_tokens_through_all_experts():
    """Four tokens x 2 = 8 visits: eight experts x four rows, weights once; three tokens copy six."""
    four, three = up(Decode(MIXTRAL, 4, 1024)), up(Decode(MIXTRAL, 3, 1024))
    assert rows(four) == 8 * 4
    assert four.hbm_B == pytest.approx(8 * UP_WEIGHTS[MIXTRAL.name] * 2, rel=1e-2)
    assert rows(three) == 6.0
    assert three.hbm_B > 2 * four.hbm_B


@pytest.mark.parametrize(
    ("of", "prompt", "blocks"),
    # as many as any choice may need, ceil((v - (E - 1)) / 512) + E - 1, at most one an expert for 512 tokens. Mixtral,
    # 4,096 visits: 8 + 7; 256 tokens: 8. gpt-oss, 4,096 visits of 128 experts: 8 + 127
    [(MIXTRAL, 2048, 15), (MIXTRAL, 256, 8), (OSS, 1024, 135)],
)
def test_prompts_are_put_in_blocks_of_one_expert(of, prompt, blocks):
    op = up(Prefill(of, 1, prompt))
    assert rows(op) == pytest.approx(blocks * 512, rel=1e-6)
    assert op.hbm_B >= blocks * UP_WEIGHTS[of.name] * 2


def test_a_prompt_that_fills_no_block_passes_all_experts():
    assert rows(up(Prefill(MIXTRAL, 1, 128))) == 8 * 128


def test_expert_ranks_hold_their_part_of_visits_and_blocks():
    """gpt-oss, 128 experts, 4 a token: of 4 ranks each holds 32; 8 tokens in all are 32 visits, 8 of them here."""
    plan = Plan(dp=4, ep=4, micro_batch=2)
    assert up(Decode(OSS, 8, 1024), plan=plan).products[0].count == pytest.approx(8.0)
    # 4 x 1,024 tokens, 16,384 visits: 32 + 127 blocks, of which the rank has a quarter
    wide = up(Prefill(OSS, 4, 1024), plan=Plan(dp=4, ep=4))
    assert rows(wide) == pytest.approx(159 / 4 * 512)


@given(tokens=st.integers(1, 4096))
def test_fixed_shapes_never_do_less_than_what_was_chosen(tokens):
    fixed, chosen = (up(Decode(OSS, tokens, 1024), fixed=f) for f in (True, False))
    assert rows(fixed) >= tokens * 4 * (1 - 1e-9)
    assert fixed.hbm_B >= 0.999 * chosen.hbm_B or rows(fixed) > rows(chosen)


def test_the_stack_decides():
    """Programs of neuronx have fixed shapes; kernels of vLLM do not, nor a prior, which is of no stack."""
    for name, fixed in (("trainium2", True), ("h100", False)):
        c = calibration_for(name, Decode(OSS, 1, 1024))
        assert chip_reference(chip(name), c).fixed_shapes is fixed
    assert not chip_reference(chip("trainium2"), calibration("prior-neuron")).fixed_shapes
    assert not chip_reference(chip("a100-80"), calibration("fit-a100-80-fastertransformer")).has_direct
