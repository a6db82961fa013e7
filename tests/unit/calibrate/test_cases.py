"""Published rows become models, plans and systems as their columns say; what cannot be modelled says why."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.cases import Case, training_case
from dse.calibrate.measurements import complete, read, step_s
from dse.calibrate.published import preset_for
from dse.calibrate.reading import Unmodelled
from dse.calibrate.score import predict_cases
from dse.calibrate.training_rows import rated_step_s, row_model, row_plan, row_system
from dse.calibrate.training_stacks import row_stack
from dse.core.errors import SpecError, UnknownNameError
from dse.hardware.devices import per_device
from dse.hardware.presets import system
from dse.lowering.groups import group
from dse.workload.transformer import total_parameters

ROW = {
    "point_id": "x#1", "source": "somebody", "chip": "NVIDIA A100 80GB SXM", "num_chips": 64.0, "model": "GPT-175B",
    "params_B": 175.0, "layers": 96.0, "hidden": 12288.0, "ffn_hidden": 49152.0, "heads": 96.0, "kv_heads": 96.0,
    "head_dim": 128.0, "vocab": 51200.0, "seq_len": 2048.0, "global_batch": 64.0, "micro_batch": 1.0, "tp": 8.0,
    "pp": 8.0, "dp": 1.0, "cp": 1.0, "virtual_pp": 3.0, "zero_stage": 0.0, "sequence_parallel": "yes",
    "recompute": "selective", "precision": "FP16", "year": 2022.0, "metric": "step_time", "value": 13.75, "unit": "s",
}  # fmt: skip


def point(**changes):
    return pd.DataFrame([{**ROW, **changes}])


def row(**changes):
    return next(point(**changes).itertuples())


@pytest.mark.parametrize("n_chips", [16, 64, 512])
def test_a_slower_measured_network_never_shortens_a_step(n_chips):
    """Llama's 8B on H100 under plain data parallelism: 2 x 16 GB of gradients leave each node and come back."""
    wide = {
        "chip": "NVIDIA H100 SXM", "num_chips": float(n_chips), "model": "Llama 3 8B", "layers": 32.0, "hidden": 4096.0,
        "ffn_hidden": 14336.0, "heads": 32.0, "kv_heads": 8.0, "vocab": 128256.0, "tp": 8.0, "pp": 1.0,
        "dp": n_chips / 8, "virtual_pp": 1.0, "global_batch": float(n_chips), "zero_stage": 1.0, "year": 2025.0,
    }  # fmt: skip
    cases = [training_case(point(**wide | {"note": f"measured NCCL GB/s AllReduce {b}"})) for b in (400, 100, 25, 6)]
    assert all(isinstance(c, Case) for c in cases), cases
    times = predict_cases([dataclasses.replace(c, point_id=str(i)) for i, c in enumerate(cases)]).predicted_s.tolist()
    assert times == sorted(times)
    assert times[-1] > 1.5 * times[0]


H100 = {"chip": "NVIDIA H100 SXM", "num_chips": 512.0}


def test_a_run_is_priced_on_the_network_that_its_row_measured():
    def carried(said, **changes):
        found = row_system(row(**H100 | {"note": said} | changes), "h100", "dgx-h100")
        return float(found.chip.scaleout_bandwidth_per_dir_Bps)

    # eight chips of a node leave it together: 13.6 GB/s are 1.7 each, of which a library reaches 0.8
    slow = "accumulation 8; measured NCCL GB/s AllReduce 13.6; AWS p5-class cluster"
    assert carried(slow) == pytest.approx(1.7e9 / 0.8)
    assert carried(slow, num_chips=8.0) == carried(slow.replace("13.6", "460")) == pytest.approx(50e9)
    assert carried("AWS p5-class cluster") == pytest.approx(50e9)


def timed_fabric(n_chips, gather_GBps):
    """The fabric of a row whose note prints an all-gather."""
    said = f"measured NCCL GB/s AllReduce {2 * gather_GBps} AllGather {gather_GBps} ReduceScatter {gather_GBps}"
    found = row_system(row(**H100 | {"num_chips": float(n_chips), "note": said}), "h100", "dgx-h100")
    assert float(found.chip.scaleout_bandwidth_per_dir_Bps) == pytest.approx(50e9)
    return found.fabric


@pytest.mark.parametrize(("n_chips", "gather_GBps"), [(32, 98.0), (64, 52.5), (128, 26.8), (256, 13.1), (512, 6.4)])
def test_a_host_waits_as_long_for_each_rank_however_many_were_timed(n_chips, gather_GBps):
    """A gibibyte over 512 chips at 6.4 GB/s takes 167 ms where sound links take 21: 0.33 ms per rank, on 32 too."""
    found = timed_fabric(n_chips, gather_GBps)
    assert found.wait_s == pytest.approx(0.32e-3, rel=0.05)
    assert found.rank_s == 0.0
    alone = timed_fabric(8, gather_GBps)
    assert alone.wait_s == alone.rank_s == 0.0


@pytest.mark.parametrize(("n_chips", "gather_GBps"), [(32, 226.0), (64, 183.0), (128, 122.0), (256, 76.0), (512, 44.0)])
def test_a_sound_ring_waits_for_the_network_at_every_rank(n_chips, gather_GBps):
    """128 chips: 8.7 ms timed, 1.41 x 3.3 ms of bytes; the rest is 32 us for each step, and no host waits."""
    found = timed_fabric(n_chips, gather_GBps)
    assert found.rank_s == pytest.approx(32e-6, rel=0.3)
    assert found.wait_s == 0.0


def test_a_gpt_row_is_recognised_by_its_parameters():
    m = row_model(row())
    assert (m.n_layers, m.hidden, m.runs[0].block.feed.n_matrices) == (96, 12288, 2)
    assert total_parameters(m) == pytest.approx(175e9, rel=0.01)


def test_a_gated_row_is_recognised_by_its_parameters():
    """Llama 3 8B: 32 x 4096, 14336, 8 KV heads, 8.03e9 weights only with three MLP matrices."""
    m = row_model(
        row(params_B=8.03, layers=32.0, hidden=4096.0, ffn_hidden=14336.0, heads=32.0, kv_heads=8.0, vocab=128256.0)
    )
    assert m.runs[0].block.feed.n_matrices == 3
    assert total_parameters(m) == pytest.approx(8.03e9, rel=0.01)


def test_plan_of_a_row():
    p = row_plan(row(sequence_parallel="no", recompute="full", cp=2.0), 64)
    assert (p.tp, p.pp, p.dp, p.cp, p.interleave, p.zero) == (8, 8, 1, 2, 3, 0)
    assert p.recompute == "full" and not p.sequence_parallel


def test_korthikanti_175b_as_a_case():
    case = training_case(point())
    assert isinstance(case, Case)
    assert case.measured_s == 13.75 and case.chip_name == "a100-80" and case.stack == "megatron"
    assert float(case.demand.n_micro) == 64 and float(case.demand.bubble_micro) == pytest.approx(7 / 3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chip": "Abacus 3000"}, "no preset"),
        ({"heads": np.nan}, "no heads"),
        ({"metric": "mfu", "unit": "%"}, "no step time or throughput"),
        ({"tp": 4.0}, "is not the 64 chips"),
        ({"global_batch": 0.0}, "no global_batch"),
    ],
)
def test_what_cannot_be_modelled_says_why(changes, why):
    found = training_case(point(**changes))
    assert isinstance(found, Unmodelled)
    assert why in found.why


def test_neuron_plans_count_cores():
    """tp 8 x dp 4 on 16 Trainium1 chips are 32 cores: the chip is cut in two."""
    found = training_case(point(chip="AWS Trainium1", num_chips=16.0, tp=8.0, pp=1.0, dp=4.0, virtual_pp=1.0))
    assert isinstance(found, Case)
    assert float(found.chip.n_cores) == 1.0


def test_cutting_a_chip_keeps_its_total_resources():
    whole = system("trn1-16")
    half = per_device(whole, 2, 32)
    assert float(half.chip.hbm_bandwidth_Bps) * 2 == float(whole.chip.hbm_bandwidth_Bps)
    assert half.fabric.n_chips == 32 and sum(half.fabric.axis_share) == pytest.approx(1.0)


def test_short_axes_of_a_slice_stay_lines_when_its_chips_are_cut():
    """2 x 2 x 4 of TPU v7, axes of 2 without links around [austin2025]: p/2 of a device, whose axes have half their p.

    (1/3)/2/2 = 1/12 along a 2 and (1/3)/2 = 1/6 around the 4, while half of twice the links joins halves of a chip.
    """
    cut = per_device(system("tpu-v7-9216", 16), 2, 32).fabric
    assert cut.dims == (2, 2, 2, 4)
    shares = [group(cut, 1, 2).share, group(cut, 2, 2).share, group(cut, 8, 4).share]
    assert shares == pytest.approx([1 / 2, 1 / 12, 1 / 6])


def test_step_s_prefers_printed_times_and_never_uses_flops():
    rows = pd.concat([point(metric="tflops_per_chip", unit="TFLOP/s", value=150.0), point()])
    assert step_s(rows) == 13.75
    assert step_s(point(metric="tflops_per_chip", unit="TFLOP/s")) is None
    # 64 sequences of 2,048 tokens at 1,000 tokens/s/chip on 64 chips: 2.048 s
    assert step_s(point(metric="throughput_per_chip", unit="tok/s/chip", value=1000.0)) == pytest.approx(2.048)


MAXTEXT = {
    "chip": "Google TPU v5p", "num_chips": 512.0, "model": "MaxText 256B", "params_B": 256.0, "layers": 64.0,
    "hidden": 16384.0, "ffn_hidden": 57344.0, "heads": 128.0, "kv_heads": 128.0, "vocab": 32000.0,
    "global_batch": 512.0, "tp": 8.0, "pp": 1.0, "dp": 64.0, "virtual_pp": np.nan, "zero_stage": 3.0, "year": 2024.0,
    "metric": "tflops_per_chip", "value": 308.0, "unit": "TFLOP/s", "note": "2 slice(s) of v5p-512",
    "mfu_convention": "MaxText TFLOP/s/device: 6N + full (non-halved) attention; no recompute",
}  # fmt: skip


def test_a_flop_rate_counts_only_where_the_row_prints_its_formula():
    """N = 64 x (4 x 16384^2 + 3 x 16384 x 57344) + 2 x 32000 x 16384 + norms = 250.2e9 weights, 2,048 tokens a chip.

    (6 N + 12 x 64 x 16384 x 2048) x 2,048 tokens over 308 TFLOP/s: 10.15 s.
    """
    per_token = 6 * (64 * (4 * 16384**2 + 3 * 16384 * 57344) + 2 * 32000 * 16384) + 12 * 64 * 16384 * 2048
    assert rated_step_s(point(**MAXTEXT)) == pytest.approx(per_token * 2048 / 308e12, rel=1e-4)
    assert rated_step_s(point(**MAXTEXT)) == pytest.approx(10.15, abs=0.01)
    assert rated_step_s(point(**MAXTEXT | {"mfu_convention": "causal attention halved"})) is None
    assert rated_step_s(point(**MAXTEXT | {"metric": "mfu", "unit": "%"})) is None


def test_slices_of_a_tpu_pod_are_tori_of_their_own():
    """256 chips: 4 x 8 x 8, whose 8 tensor ranks ring an axis; a corner of 16 x 20 x 28 would ring none."""
    found = training_case(point(**MAXTEXT))
    assert isinstance(found, Case)
    cut = row_system(row(**MAXTEXT), "tpu-v5p", "tpu-v5p-8960").fabric
    assert (cut.kind, cut.dims) == ("torus", (4, 8, 8))
    assert row_system(row(), "a100-80", "dgx-a100").fabric.dims == (8,)


@pytest.mark.parametrize(
    ("published", "preset"),
    [("NVIDIA H100 80GB SXM", "h100"), ("NVIDIA GB200 (NVL72)", "gb200"), ("AWS Trainium1", "trainium1"),
     ("Google TPU v5p", "tpu-v5p"), ("NVIDIA A100 40GB SXM", "a100-40")],
)  # fmt: skip
def test_published_chip_names(published, preset):
    found = preset_for(published)
    assert found is not None and found[0] == preset


def test_stack_comes_from_framework_then_source():
    assert row_stack(row(framework="nanotron 0.4")) == "nanotron"
    assert row_stack(row(source="mosaicml-llm-foundry")) == "fsdp"
    assert row_stack(row()) == "megatron"


def test_shipped_training_rows_all_have_an_answer_or_a_reason():
    rows = complete(read("training"))
    points = [p for _, p in rows.groupby("point_id", sort=False)][:: max(1, len(rows) // 200)]
    for p in points:
        found = training_case(p)
        assert isinstance(found, Case) or found.why


def test_bad_files(tmp_path):
    with pytest.raises(UnknownNameError, match="kind of measurement"):
        read("trainings")
    with pytest.raises(SpecError, match="cannot be read"):
        read("training", tmp_path / "none.csv")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SpecError, match=r"no column chip, num_chips, layers \(or model\), .*with a metric"):
        read("training", tmp_path / "x.csv")


def test_case_is_frozen():
    case = training_case(point())
    assert isinstance(case, Case)
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.measured_s = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("unit", "value", "seconds"),
    [
        ("tokens/s", 13107.2, 10.0),
        ("tokens/s/GPU", 204.8, 10.0),
        ("ktok/s", 13.1072, 10.0),
        ("samples/min", 384.0, 10.0),
        ("steps/s", 0.1, 10.0),
    ],
)
def test_a_throughput_is_read_by_its_unit(unit, value, seconds):
    """64 sequences of 2,048 tokens a step on 64 chips."""
    assert step_s(point(metric="throughput", unit=unit, value=value)) == pytest.approx(seconds)


@pytest.mark.parametrize("unit", ["TFLOP/s", "tokens/s/node", "tok/s/user", ""])
def test_a_rate_of_something_else_is_no_step_time(unit):
    assert step_s(point(metric="throughput", unit=unit, value=10.0)) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "INT4"}, "precision 'INT4' is not known"),
        ({"precision": "TF32"}, "precision 'TF32' is not known"),
        ({"chip": "NVIDIA H800 NVL"}, "no preset for chip"),
        ({"chip": "NVIDIA H800 PCIe 80GB"}, "no preset for chip"),
        ({"dp": 2.0}, "tp*pp*cp*dp = 128 is not the 64 chips"),
    ],
)
def test_what_would_be_misread_is_refused_with_its_reason(changes, words):
    refused = training_case(point(**changes))
    assert isinstance(refused, Unmodelled) and words in refused.why
