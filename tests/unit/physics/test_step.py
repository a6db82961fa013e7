"""Step times by hand, limits and conservation."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.lowering.step_demand import TrafficDemand
from dse.lowering.tiling import array_shape, op_demand, padded, product_cycles, rank_ops
from dse.physics.calibration import calibration, calibration_names, default_calibration
from dse.physics.step import op_times, op_traffic_B, step_time, traffic_time_s
from dse.technology.node import PRECISIONS
from dse.workload.op import Product, fused_attention, linear
from dse.workload.presets import model
from dse.workload.transformer import Decode, Prefill, Training, forward_FLOP_per_token


def ideal(name, **changes):
    """Every fraction 1, no latency, perfect overlap."""
    c = calibration(name)
    ones = {f: 1.0 for f in type(c).__dataclass_fields__ if f.endswith("_frac") and "overlap" not in f}
    latencies = [f for f in type(c).__dataclass_fields__ if f.endswith("_s")]
    zeros = {f: 0.0 for f in (*latencies, "tp_overlap_frac", "dp_overlap_frac")}
    return dataclasses.replace(c, **{**ones, **zeros, "overlap_p": 16.0, **changes})


def test_padding():
    assert padded(128, 128) == 128 and padded(129, 128) == 256 and padded(1, 64) == 64


def test_array_cycles_by_hand(trn2):
    """[1024 x 512] @ [512 x 256] in bf16 on 128 x 128: 4 x 2 stationary tiles of 1,024 moving columns, 8,192 cycles."""
    array = array_shape(trn2.chip.core.tensor)
    total, _ = product_cycles(Product(moving=1024, stationary=256, contract=512), array, PRECISIONS.index("bf16"))
    assert total == 8192.0


def test_fp8_contracts_twice_as_deep(trn2):
    """FP8 on NeuronCore-v3 acts as 256 x 128: the same product takes half the cycles, but K = 128 takes as many."""
    array = array_shape(trn2.chip.core.tensor)
    fp8, bf16 = PRECISIONS.index("fp8"), PRECISIONS.index("bf16")
    deep, shallow = Product(1024, 256, 512), Product(1024, 256, 128)
    assert product_cycles(deep, array, fp8)[0] == product_cycles(deep, array, bf16)[0] / 2
    assert product_cycles(shallow, array, fp8)[0] == product_cycles(shallow, array, bf16)[0]


def test_thin_product_holds_the_thin_side_that_is_cheaper(trn2):
    """16 tokens against 4,096 columns, K = 128: 64-cycle streams over 32 weight tiles, not 128-row padded tokens."""
    array = array_shape(trn2.chip.core.tensor)
    total, _ = product_cycles(Product(16, 4096, 128), array, PRECISIONS.index("bf16"))
    assert total == 32 * 64


def test_compute_bound_operator_runs_at_peak(trn2):
    """8,192^3 in bf16 on 8 cores of 128 x 128 at 2.4 GHz: 2 x 8192^3 / 629.1e12 = 1.748 ms when nothing else binds."""
    op = linear("big", 8192, 8192, 8192, "bf16")
    d = op_demand(rank_ops([op], array_shape(trn2.chip.core.tensor)), np.ones(1))
    t = op_times(d, trn2.chip, ideal("prior-neuron"))
    assert float(t.compute_s[0]) == pytest.approx(2 * 8192**3 / (8 * 128 * 128 * 2 * 2.4e9), rel=0.01)


def test_linear_layer_bytes_by_hand():
    """1,000 tokens, 2,000 in, 3,000 out, bf16: weights 12 MB, activations 10 MB, I/O coefficient 2 MNK w sqrt(4)."""
    op = linear("x", 1000, 2000, 3000, "bf16")
    assert op.hbm_B == 12e6 + 10e6
    assert op.reuse_B == pytest.approx(2 * 6e9 * 2 * 2)


def test_forward_FLOP_of_gpt3():
    """2 x 174e9 weights plus 4 x 96 x 12288 per attended position."""
    m = model("gpt-3-175b")
    linear_FLOP = 96 * 24 * 12288**2 + 2 * 12288 * 51200
    assert forward_FLOP_per_token(m, 1023, 1) == pytest.approx(linear_FLOP + 4 * 96 * 12288 * 1024, rel=1e-6)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize(("tp", "pp", "v"), [(8, 8, 3), (8, 1, 1), (4, 16, 2)])
def test_parts_sum_to_the_step_and_are_not_negative(recompute, tp, pp, v):
    s = system("dgx-a100", 256)
    w = Training(model("gpt-3-175b"), 512, 2048)
    plan = Plan(tp=tp, pp=pp, dp=256 // (tp * pp), interleave=v, recompute=recompute)
    c = default_calibration("a100-80")
    step = jax.jit(step_time)(demand(w, plan, s, chip_reference(s.chip, c)), s.chip, c)
    parts = [float(getattr(step, f)) for f in step.__dataclass_fields__ if f.endswith("_s") and f != "total_s"]
    assert sum(parts) == pytest.approx(float(step.total_s), rel=1e-12)
    assert min(parts) >= -1e-9


def test_hosts_run_ahead_while_the_pipeline_fills():
    """Launches that take ten times the work slow every micro batch down, and the bubble not at all."""
    s = system("dgx-a100", 64)
    c = default_calibration("a100-80")
    d = demand(Training(model("gpt-3-175b"), 64, 2048), Plan(tp=8, pp=8, dp=1, zero=0), s, chip_reference(s.chip, c))
    at_once = eqx.tree_at(lambda t: t.host_s, c, 0.0)
    one = step_time(d, s.chip, at_once)
    late = eqx.tree_at(lambda t: t.host_s, c, 10 * float(one.compute_s) / float(d.n_micro) / float(d.n_host))
    slow = step_time(d, s.chip, late)
    assert float(slow.bubble_s) == pytest.approx(float(one.bubble_s), rel=1e-12)
    assert float(slow.total_s) - float(slow.bubble_s) > 9 * (float(one.total_s) - float(one.bubble_s)) > 0


def test_total_macs_do_not_depend_on_the_plan():
    """The same work, however it is cut: MACs per chip times chips, no recomputation, layers divide the stages."""
    s = system("dgx-a100", 64)
    w = Training(model("gpt-3-175b"), 64, 2048)
    c = default_calibration("a100-80")
    totals = []
    for tp, pp in ((8, 1), (8, 8), (4, 4)):
        d = demand(w, Plan(tp=tp, pp=pp, dp=64 // (tp * pp), recompute="none"), s, chip_reference(s.chip, c))
        head = 3 * 2048 * 12288 * 51200 / tp * float(d.n_micro) * (64 / pp) * (pp - 1)
        totals.append(float(np.sum(d.macs) * d.n_micro) * 64 - head)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-9)


def test_one_chip_needs_no_links():
    s = system("trn2-16", 1)
    w = Decode(model("llama-3.1-8b"), 8, 2048)
    c = default_calibration("trainium2")
    d = demand(w, Plan(micro_batch=8), s, chip_reference(s.chip, c))
    assert float(d.tensor.up_B) == float(d.data.up_B) == float(d.pipeline.up_B) == 0.0


def test_decode_at_batch_one_approaches_the_weight_read_bound():
    """8.03e9 weights x 2 B at 2.9 TB/s = 5.18 ms (embedding table not read), 1.2 % more by short transfers."""
    s = system("trn2-16", 1)
    m = model("llama-3.1-8b")
    w = Decode(m, 1, 16)
    d = demand(w, Plan(), s, chip_reference(s.chip, ideal("prior-neuron")))
    read = 2 * (8.03e9 - m.vocab * m.hidden)
    t = float(step_time(d, s.chip, ideal("prior-neuron")).total_s)
    assert t == pytest.approx(read / 2.9e12 * (1 + 345_600 / (28 * 2**20)), rel=0.05)


@pytest.mark.parametrize("stages", [2, 4])
def test_one_sequence_passes_the_head_once_however_many_stages(stages):
    """Alone, a token reads each layer and the head once: 8B on one chip or on stages, but for their messages.

    Two stages of 16 x 218.1e6 weights and 525.3e6 of the head: 7.50e9 in a turn, 7 % fewer than with a head for each.
    """
    c, steps = ideal("prior-cuda"), []
    for n in (1, stages):
        s = system("dgx-h100", n)
        d = demand(Decode(model("llama-3.1-8b"), 1, 16), Plan(pp=n), s, chip_reference(s.chip, c))
        steps.append(step_time(d, s.chip, c))
    one, piped = steps
    sent = stages * float(piped.pipeline_exposed_s)
    assert float(piped.total_s) - sent == pytest.approx(float(one.total_s), rel=1e-6)


@pytest.mark.parametrize(
    "work", [Prefill(model("llama-3.1-8b"), 1, 4096, chunk=1024), Training(model("llama-3.1-8b"), 8, 2048)]
)
def test_a_pipeline_fills_and_drains_through_layers_without_the_head(work):
    """Four stages of 8 of 32 layers: idle for three micro batches of 8 layers, while the last stage has the head too.

    Source: [narayanan2021megatron] section 2.2; a micro batch passes each of the other stages once.
    """
    c, s = ideal("prior-cuda"), system("dgx-h100", 4)
    d = demand(work, Plan(pp=4, recompute="none"), s, chip_reference(s.chip, c))
    step, runs = step_time(d, s.chip, c), np.asarray(d.ops.runs)
    layers = runs == np.max(runs)
    assert set(np.round(runs[layers])) == {8.0} and 1 <= np.sum(~layers) <= 5
    sent = float(step.pipeline_exposed_s) / float(d.n_micro)
    by_hand = 3 * (float(np.sum(8 * np.asarray(step.ops.total_s)[layers])) + sent)
    assert float(step.bubble_s) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("tp", [1, 8])
def test_layers_that_stages_do_not_divide_are_passed_once(tp):
    """36 layers on 8 stages, 5 on the fullest: a token passes 36 and the head, not 40 and eight heads.

    Nor does it wait for 80 sums over tensor ranks, but for 72.
    """
    c, steps = dataclasses.replace(ideal("prior-cuda"), tp_overlap_frac=0.0), []
    for n in (1, 8):
        s = system("dgx-h100", n * tp)
        d = demand(Decode(model("gpt-oss-120b"), 1, 16), Plan(tp=tp, pp=n), s, chip_reference(s.chip, c))
        steps.append(step_time(d, s.chip, c))
    assert float(steps[1].total_s) - 8 * float(steps[1].pipeline_exposed_s) == pytest.approx(float(steps[0].total_s))


def test_states_of_the_optimizer_start_their_transfers_like_other_traffic(trn2):
    """30 B of each of 8.03e9 weights at 2.9 TB/s, 1.2 % more by short transfers; DMA engines as a second limit."""
    c = ideal("prior-neuron")
    w = Training(model("llama-3.1-8b"), 16, 2048)
    s = system("trn2-16", 1)
    d = demand(w, Plan(), s, chip_reference(s.chip, c))
    moved = float(d.optimizer_B) * (1 + 345_600 / (28 * 2**20))
    limits = moved / 2.9e12, moved / (8 * float(s.chip.core.dma_bandwidth_Bps))
    found = float(step_time(d, s.chip, c).optimizer_s)
    assert found == pytest.approx(sum(x**16 for x in limits) ** (1 / 16), rel=1e-4)


def test_time_is_homogeneous():
    """Twice every rate and half of every latency: half the time."""
    s = system("trn2-16")
    w = Decode(model("llama-3.1-8b"), 16, 2048)
    c = default_calibration("trainium2")
    d = demand(w, Plan(tp=8, dp=2, micro_batch=8), s, chip_reference(s.chip, c))
    fast = dataclasses.replace(
        s.chip, clock_Hz=2 * s.chip.clock_Hz, hbm_bandwidth_Bps=2 * s.chip.hbm_bandwidth_Bps,
        scaleup_bandwidth_per_dir_Bps=2 * s.chip.scaleup_bandwidth_per_dir_Bps,
        scaleout_bandwidth_per_dir_Bps=2 * s.chip.scaleout_bandwidth_per_dir_Bps,
        core=dataclasses.replace(s.chip.core, dma_bandwidth_Bps=2 * s.chip.core.dma_bandwidth_Bps),
    )  # fmt: skip
    latencies = [f for f in c.__dataclass_fields__ if f.endswith("_s")]
    quick = dataclasses.replace(c, **{f: getattr(c, f) / 2 for f in latencies})
    assert float(step_time(d, fast, quick).total_s) == pytest.approx(float(step_time(d, s.chip, c).total_s) / 2)


def test_every_calibration_is_within_its_bounds():
    for name in calibration_names():
        c = calibration(name)
        assert 1 <= c.overlap_p <= 16
        assert all(0 <= float(getattr(c, f)) <= 1 for f in type(c).__dataclass_fields__ if f.endswith("_frac"))


def test_operator_time_by_hand(trn2):
    """One bf16 layer, 1,024 x 4,096 x 4,096, on 8 cores of 128 x 128 at 2.4 GHz, p = 16 so nearly the maximum.

    Array: 32 x 32 tiles x 1,024 columns = 1.049e6 cycles / 8, and half a tile of 32 x 512 late: 58.0 us.
    Memory: 2 x 4096^2 + 2 x 1024 x 8192 = 50.3 MB and 2 x 1.718e10 x 2 x 2 / sqrt(28 MiB) = 25.4 MB: 26.1 us.
    """
    chip = trn2.chip
    d = op_demand(rank_ops([linear("x", 1024, 4096, 4096, "bf16")], array_shape(chip.core.tensor)), np.ones(1))
    t = op_times(d, chip, ideal("prior-neuron"))
    assert float(t.compute_s[0]) == pytest.approx((32 * 32 * 1024 / 8 + 0.5 * 32 * 512) / 2.4e9, rel=1e-9)
    assert float(t.tile_s[0]) == pytest.approx(32 * 512 / 2.4e9)
    pool = float(chip.core.scratchpad_B * chip.cores_per_pool)
    traffic = 50_331_648 + 2 * 1024 * 4096**2 * 2 * 2 / pool**0.5
    traffic *= 1 + 345_600 / pool  # short transfers
    assert float(t.hbm_s[0]) == pytest.approx(traffic / float(chip.hbm_bandwidth_Bps), rel=1e-9)
    assert float(t.dma_s[0]) == pytest.approx(traffic / (8 * float(chip.core.dma_bandwidth_Bps)), rel=1e-9)
    parts = [float(getattr(t, f)[0]) for f in ("compute_s", "tile_s", "hbm_s", "vector_s", "dma_s")]
    assert float(t.total_s[0]) == pytest.approx(sum(x**16 for x in parts) ** (1 / 16), rel=1e-9)


def test_reuse_traffic_falls_as_the_source_says(trn2):
    """Four times the tile memory: half of the matrix products' extra traffic, a quarter of attention's."""
    d = op_demand(
        rank_ops(
            [linear("x", 512, 512, 512, "bf16"), fused_attention(8, 8, 128, 512, 512, 1, 2, 4.0)],
            array_shape(trn2.chip.core.tensor),
        ),
        np.ones(2),
    )
    small, large = (np.asarray(op_traffic_B(d, np.asarray(s))) - d.hbm_B for s in (1e6, 4e6))
    np.testing.assert_allclose(small / large, [2.0, 4.0], rtol=1e-9)


def test_alpha_beta_by_hand(trn2):
    """1 GB up, 10 hops of 2 us, 0.1 GB out, 3 hops of 10 us."""
    c = ideal("prior-neuron", scaleup_hop_s=2e-6, scaleout_hop_s=10e-6)
    up, out = float(trn2.chip.scaleup_bandwidth_per_dir_Bps), float(trn2.chip.scaleout_bandwidth_per_dir_Bps)
    by_hand = 1e9 / up + 20e-6 + 1e8 / out + 30e-6
    assert float(traffic_time_s(TrafficDemand(1e9, 10.0, 1e8, 3.0, 1e9), trn2.chip, c)) == pytest.approx(by_hand)


def test_launches_are_hidden_by_nothing(trn2):
    d = op_demand(rank_ops([linear("x", 512, 512, 512, "bf16")], array_shape(trn2.chip.core.tensor)), np.ones(1))
    slow, fast = (op_times(d, trn2.chip, ideal("prior-neuron", launch_s=s)).total_s[0] for s in (3e-6, 0.0))
    assert float(slow - fast) == pytest.approx(3e-6)


def test_tensor_traffic_hides_wholly_where_software_never_waits():
    """Without overlap work and traffic add up; where nobody waits the longer of the two is left, up to the p-norm."""
    s = system("dgx-a100")
    base = dataclasses.replace(default_calibration("a100-80"), tp_overlap_frac=0.0, host_s=0.0)
    d = demand(Training(model("gpt-3-175b"), 8, 2048), Plan(tp=8), s, chip_reference(s.chip, base))
    waits, never = (dataclasses.replace(d, tensor_waits_frac=np.asarray(w)) for w in (1.0, 0.0))
    t_tensor = float(d.n_micro * traffic_time_s(d.tensor, s.chip, base))
    bare, hidden = (float(step_time(x, s.chip, base).tensor_exposed_s) for x in (waits, never))
    work = float(step_time(waits, s.chip, base).compute_s)
    assert bare == pytest.approx(t_tensor)
    p = float(base.exponent)
    assert work + hidden == pytest.approx((work**p + t_tensor**p) ** (1 / p))


def test_messages_of_virtual_stages_hide_behind_the_work_of_others():
    """Full pipeline: the longer of work and messages, up to the p-norm; as it fills, and of whole stages, both.

    Source: [megatron2026overlap]: with virtual stages messages overlap, without these they do not.
    """
    s, base = system("dgx-h100", 64), default_calibration("h100")
    steps, sent = {}, {}
    for v in (1, 5):
        d = demand(
            Training(model("llama-3.1-70b"), 64, 8192),
            Plan(tp=4, pp=8, dp=2, interleave=v),
            s,
            chip_reference(s.chip, base),
        )
        steps[v], sent[v] = step_time(d, s.chip, base), float(traffic_time_s(d.pipeline, s.chip, base))
        n_micro = float(d.n_micro)
    assert float(steps[1].pipeline_exposed_s) == pytest.approx(n_micro * sent[1])
    assert sent[5] == pytest.approx(5 * sent[1]) and 0 < float(steps[5].pipeline_exposed_s) < n_micro * sent[5] / 100
    alone = float(steps[1].bubble_s) / 7 - sent[1]
    assert float(steps[5].bubble_s) == pytest.approx(7 / 5 * (alone + sent[5]))


def test_data_traffic_hides_behind_the_last_backward_pass_only_as_far_as_stated():
    """With perfect overlap allowed, what stays exposed is below the traffic itself, and zero overlap exposes it all."""
    s = system("dgx-a100", 256)
    plan = Plan(tp=8, pp=4, dp=8)
    base = default_calibration("a100-80")
    d = demand(Training(model("gpt-3-175b"), 512, 2048), plan, s, chip_reference(s.chip, base))
    exposed = {}
    for eta in (0.0, 0.5, 1.0):
        c = dataclasses.replace(base, dp_overlap_frac=eta)
        exposed[eta] = float(step_time(d, s.chip, c).data_exposed_s)
    whole = float(traffic_time_s(d.data, s.chip, base))
    assert exposed[0.0] == pytest.approx(whole)
    assert 0 <= exposed[1.0] < exposed[0.5] < whole
