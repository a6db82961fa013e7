"""Streamed blocks: traffic by hand, nothing lost against operators in turn, plans offered on request."""

import numpy as np
import pytest

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.mixer_ops import recurrence_step_op
from dse.lowering.plan import Plan, parse_plan, plan_text, plans
from dse.lowering.streaming import streamed
from dse.lowering.training_ops import Placed
from dse.physics.calibration import default_calibration
from dse.workload.op import elementwise, fused_attention, linear
from dse.workload.presets import model
from dse.workload.recurrences import Recurrence
from dse.workload.transformer import Decode, Training

LINEAR = Placed(linear("up", 256.0, 8192.0, 1024.0, "fp8"), "forward")


def test_a_linear_layer_in_decode_by_hand():
    """256 tokens, 8,192 in, 1,024 out, FP8: 8.39 MB of weights once, and again per tile of S / (2 x 8192) tokens.

    256 tokens over such a tile, times 8.39 MB, is 2 x 8192 x 256 x 8.39e6 / S bytes.
    """
    placed, stream = streamed([LINEAR], training=False)
    traffic = stream.traffic
    assert placed[0].op.hbm_B == placed[0].op.reuse_B == 0
    assert placed[0].op.macs == LINEAR.op.macs
    weights = 8192 * 1024
    assert traffic[:, 0].tolist() == pytest.approx([weights, 0, 2 * 8192 * 256 * weights, 0])


def test_training_writes_activations_and_every_memory_reads_half_a_tile_more():
    """BF16 activations 2 x 256 x (8192 + 1024) = 4.72 MB stay; each tile memory reads the weights half a time more."""
    traffic = streamed([LINEAR], training=True)[1].traffic
    weights = 8192 * 1024
    assert traffic[0, 0] == weights + 2 * 256 * (8192 + 1024)
    assert traffic[3, 0] == 0.5 * weights


def test_other_operators_keep_their_laws():
    attention = Placed(fused_attention(8, 8, 128, 512, 512, 1, 2, 4.0), "forward")
    gradient = Placed(linear("up wgrad", 256.0, 8192.0, 1024.0, "fp8"), "backward", streams=False)
    norms = Placed(elementwise("norms", 1e6, 4.0, 3.0), "forward")
    placed, stream = streamed([attention, gradient, norms], training=True)
    traffic = stream.traffic
    assert traffic[:, 0].tolist() == [attention.op.hbm_B, 0, attention.op.reuse_B, 0]
    assert traffic[:, 1].tolist() == [gradient.op.hbm_B, gradient.op.reuse_B, 0, 0]
    assert traffic[:, 2].tolist() == [0.5 * norms.op.hbm_B, 0, 0, 0]
    assert [p.op.n_launches for p in placed] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "phase", [Decode(model("qwen3-next-80b-a3b"), 16, 4096), Training(model("qwen3-next-80b-a3b"), 64, 4096)]
)
def test_recurrences_read_their_states_in_a_stream_too(phase):
    """A state belongs to its sequence, so that all of its traffic stays; other operators lose theirs as elsewhere."""
    s = system("trn2-16", 16)
    ref = chip_reference(s.chip, default_calibration("trainium2"))
    turn, stream = (demand(phase, Plan(dp=16, micro_batch=1, order=o), s, ref) for o in ("turn", "stream"))
    np.testing.assert_allclose(turn.macs, stream.macs)
    assert 0 < float(stream.stream.hbm_B) <= float(turn.ops.runs @ turn.ops.hbm_B)


def test_a_state_keeps_its_traffic():
    """2 x 1 MB of states of each of 4 sequences, read and written."""
    state = Placed(recurrence_step_op(Recurrence("ssd", 8, 128, 64, 2048, "dual"), 1, 4, 1e6), "forward")
    placed, stream = streamed([state], training=False)
    assert stream.traffic[:, 0].tolist() == [8e6, 0, 0, 0] and placed[0].op.hbm_B == 0


@pytest.mark.parametrize(
    ("workload", "plan", "name", "n"),
    [
        (Decode(model("llama-3.1-70b"), 128, 8192, "fp8", "fp8"), Plan(tp=16, micro_batch=128), "trn2-16", 16),
        (Training(model("llama-3.1-8b"), 64, 4096), Plan(tp=16, pp=1, dp=4), "trn2-ultraserver", 64),
    ],
)
def test_a_streamed_plan_does_the_same_work(workload, plan, name, n):
    s = system(name, n)
    ref = chip_reference(s.chip, default_calibration("trainium2"))
    turn, stream = (demand(workload, parse_plan(f"{plan_text(plan)},order={o}"), s, ref) for o in ("turn", "stream"))
    np.testing.assert_allclose(turn.macs, stream.macs)
    for cycles in ("linear_cycles", "narrow_cycles", "attention_cycles"):
        np.testing.assert_allclose(getattr(turn.ops, cycles), getattr(stream.ops, cycles))
    assert float(turn.stream.share) == float(turn.stream.hbm_B) == 0 and float(stream.stream.share) == 1
    read = float(turn.ops.runs @ turn.ops.hbm_B)
    assert 0.7 * read < float(stream.stream.hbm_B) <= read  # weights, cache and what training saves remain
    # 70.6e9 weights less two of 128,256 x 8,192 for the vocabulary, over 80 blocks and 16 ranks, a byte
    # each; eight KV heads are there twice
    block = (70.55e9 - 2 * 128_256 * 8192) / 80 / 16 if isinstance(workload, Decode) else 0.0
    assert float(stream.stream.ahead_B) == pytest.approx(block, rel=0.06)


def test_streams_are_offered_on_request():
    w, s = Decode(model("llama-3.1-70b"), 128, 8192), system("trn2-16", 16)
    usual, both = plans(w, s), plans(w, s, streams=True)
    assert {p.order for p in usual} == {"turn"} and len(both) == 2 * len(usual)
