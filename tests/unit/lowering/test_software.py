"""What kinds of training software move through memory, counted kernel by kernel."""

import dataclasses
import types

import pytest

from dse.calibrate.training_stacks import row_software
from dse.core.errors import UnknownNameError
from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import plan_demand
from dse.lowering.plan import Plan
from dse.lowering.software import attention_rate_frac, moves, usual_software
from dse.lowering.tiling import array_shape
from dse.lowering.training_ops import Shard, _with_sum, block_elementwise, training_ops
from dse.physics.calibration import calibration
from dse.workload.blocks import Run
from dse.workload.op import Kind, linear
from dse.workload.presets import model
from dse.workload.transformer import Training

LLAMA, GPT3 = model("llama-3.1-8b"), model("gpt-3-175b")
KINDS = ("compiled", "sharded", "fused", "eager")
"""From few kernels to many."""


def small(software, phase, of=LLAMA, tokens=16.0):
    return block_elementwise(of, Shard(1, software=software), tokens, phase, lambda _: "bf16")[0]


def op(name, software):
    return next(p.op for p in training_ops(Training(LLAMA, 8, 1024), Shard(1, software=software)) if p.op.name == name)


@pytest.mark.parametrize(
    ("software", "norm", "residual", "glu", "rotary"),
    [("compiled", 3, 1, 5, 2), ("fused", 3, 3, 5, 2), ("eager", 5, 3, 13, 10)],
)
def test_backward_moves_of_a_llama_block_by_hand(software, norm, residual, glu, rotary):
    """h 4,096, two norms and two residuals; f 14,336; RoPE turns 32 + 8 heads of 128; 2 bytes each."""
    moved = 2 * (norm + residual) * 4096 + glu * 14336 + rotary * 40 * 128
    assert small(software, "backward").hbm_B == pytest.approx(2 * 16 * moved)


def test_a_plain_activation_moves_less_than_a_gated_one():
    """GPT-3: f = 4 x 12,288; three moves backward, two forward; two norms, two residuals; no fewer heads of keys."""
    for phase, norm, residual, activation in (("forward", 2, 3, 2), ("backward", 3, 3, 3)):
        moved = 2 * (norm + residual) * 12288 + activation * 4 * 12288 + 2 * 2 * 96 * 128
        assert small("fused", phase, GPT3).hbm_B == pytest.approx(2 * 16 * moved)


def test_fewer_kernels_never_move_more():
    moved = [op("loss", kind).hbm_B for kind in KINDS]
    assert moved == sorted(moved) and moved[0] < moved[-1]
    for phase in ("forward", "backward"):
        moved = [small(kind, phase).hbm_B for kind in KINDS]
        assert moved == sorted(moved) and moved[0] < moved[-1]


def test_a_loss_kernel_by_kernel():
    """1,024 tokens, 128,256 logits, 52 bytes each where every step of the cross entropy is a kernel."""
    assert op("loss", "fused").hbm_B == pytest.approx(1024 * 128256 * 52)


def test_a_gradient_is_summed_in_fp32():
    """The product's epilogue reads 4 bytes and writes 4 in the place of 2; a kernel of its own moves 10 more."""
    weights = 4096 * 2 * 14336
    fused, eager = op("up wgrad", "fused"), op("up wgrad", "eager")
    assert eager.hbm_B + op("up wgrad sum backward", "eager").hbm_B - fused.hbm_B == pytest.approx(4 * weights)
    read = 2 * 1024 * (4096 + 2 * 14336)
    assert fused.hbm_B == pytest.approx(read + 8 * weights)


def test_usual_software():
    assert usual_software(Plan(zero=3), "simd") == usual_software(Plan(), "simd") == "compiled"
    assert usual_software(Plan(zero=1), "simt") == "fused" and usual_software(Plan(zero=3), "simt") == "sharded"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"framework": "", "source": "mosaicml-llm-foundry"}, "eager_sharded"),
        ({"framework": "", "source": "hf-ultrascale-nanotron-bench"}, "eager"),
        ({"framework": "torchtitan 0.2", "source": "blog"}, "sharded"),
        ({"framework": "", "source": "megatron-lm-examples-llama"}, ""),
    ],
)
def test_software_of_a_row(said, kind):
    assert row_software(types.SimpleNamespace(**said)) == kind


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownNameError, match="eager"):
        moves("eagre")


def test_serving_moves_what_compiled_software_moves():
    """A norm reads and writes, with its residual in the same kernel: 4 moves; a gated activation 3."""
    assert small("compiled", "forward").hbm_B == pytest.approx(2 * 16 * (2 * 4 * 4096 + 3 * 14336 + 2 * 40 * 128))


def test_routing_starts_kernels_of_its_own():
    """Mixtral routes in every block: 4 kernels of norms, RoPE and activation, 8 that route tokens to experts."""
    assert small("compiled", "forward").n_launches == 4
    assert small("compiled", "forward", model("mixtral-8x7b")).n_launches == 12
    deepseek = small("compiled", "forward", model("deepseek-v3"))
    assert deepseek.n_launches == pytest.approx(4 + 8 * 58 / 61)  # its first three blocks are dense


def test_a_fused_loss_and_shards_are_all_that_parts_sharded_eager_software_from_eager():
    """Beside tensor ranks, which it has none of."""
    ours, eager = moves("eager_sharded"), moves("eager")
    assert {n for n in eager if ours[n] != eager[n]} == {
        "logit_B",
        "sum_B",
        "tensor_waits_frac",
        "attention_rate",
        "retry_s",
        "replays_last",
    }


def test_attention_written_for_small_instructions_is_slow_where_the_chip_has_larger_ones():
    """FlashAttention-2 on Hopper (64 rows) reaches 1/1.65 of what its own instructions do, on Ampere (16) all of it."""
    assert attention_rate_frac("eager", 64.0) == pytest.approx(1 / 1.65, rel=0.02)
    assert (
        attention_rate_frac("eager", 16.0)
        == attention_rate_frac("fused", 64.0)
        == attention_rate_frac("compiled", 0.0)
        == 1.0
    )


def test_attention_in_triton_or_of_the_second_version_is_taken_between_them():
    """Forward 1.4 and backward 2 times as fast as Triton's: 2 x 1.4 + 5 x 2 over 7 products 1.83; its root."""
    between = ((2 * 1.4 + 5 * 2.0) / 7) ** -0.5
    assert attention_rate_frac("eager_sharded", 16.0) == pytest.approx(between, rel=0.01)
    assert attention_rate_frac("eager_sharded", 64.0) == pytest.approx(
        between * attention_rate_frac("eager", 64.0), rel=0.01
    )


@pytest.mark.parametrize(("software", "sum_B"), [("deepspeed", 18.0), ("eager", 10.0), ("eager_sharded", 4.0)])
def test_gradients_are_added_by_a_kernel_of_its_own_where_no_epilogue_adds_them(software, sum_B):
    """4096 x 1000 weights at 18 bytes are 74 MB after the product, not beside it."""
    op = linear("up", 64, 4096, 1000, "bf16")
    product, added = _with_sum(op, 4096 * 1000, software)
    assert product == op
    assert added.kind is Kind.ELEMENTWISE
    assert added.hbm_B == pytest.approx(sum_B * 4096 * 1000)
    (fused,) = _with_sum(op, 4096 * 1000, "fused")
    assert fused.hbm_B == pytest.approx(op.hbm_B + 6.0 * 4096 * 1000)


def test_only_attention_of_a_step_is_slowed():
    h100, plan = system("dgx-h100"), Plan(dp=8)
    workload = Training(model("llama-3.1-8b"), global_batch=8, sequence=8192)
    array, ref = array_shape(h100.chip.core.tensor), chip_reference(h100.chip, calibration("prior-cuda"))
    fused, eager = (plan_demand(workload, plan, h100, array, ref, kind).ops for kind in ("fused", "eager"))
    attends = fused.attention_cycles > 0
    assert attends.sum() == 2
    slow = eager.attention_cycles[eager.attention_cycles > 0]
    assert slow == pytest.approx(fused.attention_cycles[attends] / 0.6)
    linear_cycles = eager.linear_cycles[eager.linear_cycles > 0]  # the sums of gradients have none
    assert linear_cycles == pytest.approx(fused.linear_cycles[fused.linear_cycles > 0])
    assert eager.macs.sum() == pytest.approx(fused.macs.sum())


def test_eager_software_waits_for_half_of_its_tensor_traffic():
    """Of eight collectives of a block two scatter after their product; none, or all, of four gathers are waited for."""
    assert moves("eager")["tensor_waits_frac"] == (2 / 8 + 6 / 8) / 2
    assert all(moves(kind)["tensor_waits_frac"] == 1.0 for kind in ("fused", "compiled", "sharded"))


def test_operators_and_sums_agree_on_the_last_product_of_a_layer():
    """Two all-reduces a block, thrice with recomputation: 6, of which leaving out the last product saves 1.

    Where every second block has norms behind its branches, half of the sums were left out, and no product.
    """
    dgx, plan = system("dgx-h100", 8), Plan(tp=8, recompute="full", sequence_parallel=False)
    array, ref = array_shape(dgx.chip.core.tensor), chip_reference(dgx.chip, calibration("prior-cuda"))
    (run,) = LLAMA.runs
    behind = dataclasses.replace(run.block, n_norms=4)
    mixed = dataclasses.replace(LLAMA, runs=(Run(run.block, 16), Run(behind, 16)))
    for m, saved in ((LLAMA, 1 / 6), (mixed, 0.0)):
        lowered = (plan_demand(Training(m, 8, 1024), plan, dgx, array, ref, s) for s in ("fused", "sharded"))
        again, once = (float(d.tensor.up_B + d.tensor.sent_B) for d in lowered)
        assert once == pytest.approx((1 - saved) * again)
        placed = training_ops(Training(m, 8, 1024), Shard(8, software="sharded"))
        assert any(p.result == "last" for p in placed) == (saved > 0)


def test_software_that_plans_choose_among_has_the_same_operators():
    """Plans of one chip are stacked operator by operator: ZeRO-3 on GPUs once had four more than the rest."""
    counts = {
        kind: len(training_ops(Training(LLAMA, 8, 1024), Shard(1, software=kind))) for kind in ("fused", "sharded")
    }
    assert len(set(counts.values())) == 1, counts


def test_small_kernels_are_counted_by_what_a_block_has():
    """Nemotron 3: a block is a norm and one branch, 2 kernels; 23 of 52 blocks route."""
    nemotron = small("compiled", "forward", model("nemotron-3-nano-30b-a3b"))
    assert nemotron.n_launches == pytest.approx(2 + 8 * 23 / 52)
