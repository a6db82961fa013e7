"""Odd cells cost one row each and are named; names, units and parts of chips mean what their publishers say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.cases import Case, training_cases
from dse.calibrate.kernels import collective_cases, kernel_cases
from dse.calibrate.measurements import read
from dse.calibrate.published import devices_per_chip, preset_for
from dse.calibrate.published_models import known_model
from dse.calibrate.rates import rated_s
from dse.calibrate.reading import Unmodelled, guarded, odd_cell, readable
from dse.calibrate.request_rows import row_storage, served_model
from dse.calibrate.training_rows import adapter_rank, row_plan
from dse.core.errors import ReceiptError, SpecError
from dse.core.provenance import number
from dse.hardware.devices import per_device
from dse.hardware.presets import chip, system
from dse.workload.model_names import model_alias

TINY = Path(__file__).parents[2] / "data" / "training_tiny.csv"


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.read_csv(TINY).astype(object)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": "fast"}, "value = 'fast' is not a positive number"),
        ({"value": np.inf}, "value = inf; expected a number from 1e-15 to 1e+15 or 0, or empty"),
        ({"value": 0.0}, "value = '0.0' is not a positive number"),
        ({"tp": 1e30}, "tp = 1e+30; expected a number from 1 to 1e+15, or empty"),
        ({"layers": 0.0}, "layers = 0; expected a number from 1 to 1e+15, or empty"),
        ({"source": None}, "no source"),
        ({"point_id": None}, "no point_id"),
    ],
)
def test_a_row_without_name_or_number_leaves_and_says_why(rows, change, words):
    for column, value in change.items():
        rows.loc[0, column] = value
    kept, rest = readable(rows)
    assert len(kept) == len(rows) - 1 and [u.why for u in rest] == [words]


@pytest.mark.parametrize("cell", ["many", "8 or 16", -4, np.inf])
@pytest.mark.parametrize("column", ["tp", "seq_len", "num_chips", "layers"])
def test_an_odd_cell_costs_its_row_alone(rows, column, cell):
    at = rows.point_id == rows.point_id.iloc[0]
    rows.loc[at, column] = cell
    cases, rest = training_cases(rows)
    assert [u.point_id for u in rest if u.point_id == rows.point_id.iloc[0]]
    assert len(cases) + len(rest) == rows.point_id.nunique() and (len(cases) or rows.point_id.nunique() == 1)


def test_every_error_becomes_a_reason():
    def spec():
        raise SpecError("field = 3; expected 4")

    label = ("p#1", "s", "h100")
    assert guarded(label, lambda: 3) == 3
    assert guarded(label, spec) == Unmodelled(*label, "field = 3; expected 4")
    for broken in (lambda: 1 / 0, lambda: int("x"), lambda: {}["x"], lambda: int(float("inf"))):
        assert isinstance(guarded(label, broken), Unmodelled)


def test_a_fact_that_this_package_lacks_is_no_reason_to_leave_out_a_row():
    """Half of the training rows once went, each "for its own reason", when one count had lost its receipt."""
    with pytest.raises(ReceiptError, match="no fact 'n_missing'"):
        guarded(("p#1", "s", "h100"), lambda: number({}, "n_missing"))


def test_odd_cells_are_named(rows):
    row = next(rows.assign(tp="wide").itertuples())
    assert odd_cell(row, ("num_chips", "tp")) == "tp = 'wide' is not a number from 0 up; write digits alone"
    assert odd_cell(row, ("num_chips",)) is None


@pytest.mark.parametrize(
    ("published", "preset"),
    [
        ("deepseek-ai/DeepSeek-R1", "deepseek-v3"), ("meta-llama/Meta-Llama-3-8B", "llama-3.1-8b"),
        ("Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b"), ("Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"), ("Llama-2-7b-hf", "llama-2-7b"),
        ("OLMo-3-7B-Think", "olmo-3-7b-think"), ("Qwen/Qwen3-Next-80B-A3B-Instruct-FP8", "qwen3-next-80b-a3b"),
        ("deepseek-ai/DeepSeek-V3.2-Exp", "deepseek-v3.2"), ("moonshotai/Kimi-K2-Thinking", "kimi-k2"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8", "nemotron-3-nano-30b-a3b"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2"),
    ],
)  # fmt: skip
def test_aliases_of_models(published, preset):
    assert model_alias(published) == preset


def test_measured_models_of_sparse_kinds_are_the_presets():
    """Every shipped row of two: windows in half of gpt-oss's blocks, one latent per position in DeepSeek-R1's."""
    shipped = read("inference")
    for name, n_rows, kinds in (
        ("openai/gpt-oss-120b", 390, {"sliding attention (128)", "full attention"}),
        ("deepseek-ai/DeepSeek-R1", 102, {"latent attention"}),
    ):
        named = shipped[shipped["model"] == name]
        assert len(named) == n_rows
        for row in named.drop_duplicates(["layers", "hidden"]).itertuples():
            m = served_model(row)
            assert {x.kind for x, _ in m.mixers} == kinds and m.experts is not None
            assert row_storage(row, chip("h200"))[0] in ("mxfp4", "fp8")  # as the row says, whatever the preset's file


def test_a_known_model_is_cut_to_the_printed_layers_and_dropped_for_another_width():
    """DeepSeek-V3 with 4 of 61 layers keeps its 3 dense ones, so one block has experts."""
    m = known_model("deepseek-v3", 4, 7168)
    assert m is not None and m.n_layers == 4 and [r.n for r in m.runs] == [3, 1]
    assert known_model("deepseek-v3", 61, 4096) is None and known_model("nobody-7b", 32, 4096) is None


def test_what_counts_as_a_device():
    """Trainium2 has 8 cores: 64 ranks on 16 chips are its 4 logical ones at LNC2; an H100 has no cores to count."""
    assert devices_per_chip(chip("trainium2"), 64, 16) == 4 and devices_per_chip(chip("trainium2"), 128, 16) == 8
    assert devices_per_chip(chip("trainium1"), 32, 16) == 2 and devices_per_chip(chip("inferentia2"), 1, 0.5) == 2
    assert devices_per_chip(chip("h100"), 32, 8) == 0 and devices_per_chip(chip("h100"), 8, 8) == 1
    # before: two ranks a chip, which no setting of AWS Neuron shows
    assert devices_per_chip(chip("trainium2"), 32, 16) == 0
    quarter = per_device(system("trn2-16"), 4, 64)
    assert float(quarter.chip.n_cores) == 2 and quarter.fabric.n_chips == 64


def test_chips_cut_for_export_are_their_own():
    assert preset_for("NVIDIA H20 96GB") == ("h20", "hgx-h20") and preset_for("NVIDIA A800 SXM") == ("a800", "dgx-a800")
    assert float(chip("a800").scaleup_bandwidth_per_dir_Bps) == 200e9
    assert preset_for("NVIDIA H200 SXM") == ("h200", "hgx-h200")


GEMM = {
    "point_id": "k#1", "source": "s", "chip": "AWS Trainium3", "num_chips": 0.25, "op": "GEMM", "M": 4096.0,
    "N": 4096.0, "K": 4096.0, "dtype": "BF16", "metric": "latency", "stat": "p50", "value": 1.0, "unit": "ms",
}  # fmt: skip


def test_a_quarter_chip_has_a_quarter_of_everything():
    (case,), _ = kernel_cases(pd.DataFrame([GEMM]))
    whole = chip("trainium3")
    assert float(case.chip.n_cores) * 4 == float(whole.n_cores)
    assert float(case.chip.hbm_bandwidth_Bps) * 4 == pytest.approx(float(whole.hbm_bandwidth_Bps))


def test_every_operator_of_a_point_is_a_case_of_its_own_and_the_first_teaches():
    """Profiles time the products of a block one by one; only the first of them had counted, in silence."""
    down = {**GEMM, "op": "MLP down GEMM", "K": 1024.0, "value": 0.3}
    cases, (left,) = kernel_cases(pd.DataFrame([GEMM, down, {**GEMM, "op": "RoPE"}]))
    assert [(c.point_id, c.calibrates, c.measured_s) for c in cases] == [
        ("k#1:GEMM 1", True, pytest.approx(1e-3)), ("k#1:MLP down GEMM 2", False, pytest.approx(3e-4)),
    ]  # fmt: skip
    assert (left.point_id, left.why) == ("k#1:RoPE 3", "operator 'rope' is not modelled")


def test_every_message_of_a_point_is_a_case_of_its_own():
    """The columns of operators may be missing from a table of collectives."""
    message = {
        "point_id": "c#1", "source": "s", "chip": "NVIDIA H100 SXM", "num_chips": 8, "num_ranks": 8, "num_nodes": 1,
        "collective": "all_reduce", "message_bytes": 2.0**20, "dtype": "BF16", "metric": "latency", "value": 30.0,
        "unit": "us",
    }  # fmt: skip
    cases, left = collective_cases(pd.DataFrame([message, {**message, "message_bytes": 2.0**30, "value": 4000.0}]))
    assert [c.point_id for c in cases] == ["c#1:all_reduce 1", "c#1:all_reduce 2"] and not left


def test_pairs_joined_by_bridges_cross_pcie_to_each_other():
    """Two of a pair have 12 NVLinks of 25 GB/s; of four, half of each message's halves leaves at 16 GB/s a card.

    1 GiB in a pair: 2^30 / 300 GB/s = 3.6 ms at best; of four (2^30 / 2) / 16 GB/s = 34 ms at best, beside which the
    work inside the pairs is hidden. Before, all four were taken to sit behind one NVSwitch.
    """
    row = {
        "point_id": "c#1", "source": "s", "chip": "NVIDIA A100 80GB SXM", "num_chips": 2, "num_ranks": 2,
        "num_nodes": 1, "collective": "all_reduce", "message_bytes": 2.0**30, "metric": "latency", "value": 6.0,
        "unit": "ms", "topology": "4-GPU node with pairwise NVLink bridges (PCIe across pairs)",
    }  # fmt: skip
    four = {**row, "point_id": "c#2", "num_chips": 4, "num_ranks": 4, "value": 68.0}
    (pair, both), left = collective_cases(pd.DataFrame([row, four]))
    assert not left and float(pair.demand.tensor.out_B) == 0
    assert float(pair.demand.tensor.up_B) == 2.0**30 and float(both.demand.tensor.out_B) == 2.0**29
    assert float(both.chip.scaleout_bandwidth_per_dir_Bps) == 16e9
    eight = {**row, "num_ranks": 16, "num_chips": 16}
    assert "do not share out over 1 nodes" in collective_cases(pd.DataFrame([eight]))[1][0].why


def test_half_an_h100_is_no_device():
    half = {**GEMM, "chip": "NVIDIA H100 SXM", "num_chips": 0.5}
    cases, (refused,) = kernel_cases(pd.DataFrame([half]))
    assert not cases and refused.why.startswith("0.5 of a chip is no device")


def test_the_middle_stands_for_a_point_and_a_rate_only_where_there_is_no_time():
    """2 x 4096^3 / 137.4 TFLOP/s = 1.0003 ms."""
    tails = [{**GEMM, "stat": s, "value": v} for s, v in (("p10", 0.9), ("p90", 2.0), ("p50", 1.0))]
    rate = {**GEMM, "metric": "throughput", "unit": "TFLOP/s", "value": 137.4}
    (case,), _ = kernel_cases(pd.DataFrame([rate, *tails]))
    assert case.measured_s == pytest.approx(1e-3)
    (case,), _ = kernel_cases(pd.DataFrame([rate]))
    assert case.measured_s == pytest.approx(2 * 4096**3 / 137.4e12)


def test_bus_bandwidth_is_a_time():
    """1 GB all-reduced by 8 ranks at 400 GB/s of bus bandwidth: 2 x 7/8 GB / 400 GB/s = 4.375 ms."""
    row = next(
        pd.DataFrame(
            [{"collective": "all_reduce", "num_ranks": 8, "message_bytes": 1e9, "metric": "busbw", "value": 400.0,
              "unit": "GB/s"}]
        ).itertuples()
    )  # fmt: skip
    assert rated_s(row) == pytest.approx(4.375e-3)


def test_an_unprinted_micro_batch_is_one_sequence_in_a_pipeline(rows):
    row = next(rows.assign(micro_batch=np.nan, pp=4, tp=1, dp=2, cp=1, global_batch=64).itertuples())
    assert row_plan(row, 8).micro_batch == 1


def test_frozen_weights_are_seen_in_the_name_or_note(rows):
    row = next(rows.assign(model="Llama-2-70B LoRA (MLPerf)", note="LoRA rank 8 fine-tuning").itertuples())
    assert adapter_rank(row) == 8
    assert adapter_rank(next(rows.itertuples())) == 0


def test_a_table_with_broken_cells_scores_the_rest():
    many = pd.concat([pd.DataFrame([{**GEMM, "point_id": f"k#{i}"}]) for i in range(40)]).astype(object)
    for i, column in enumerate(("M", "N", "K", "num_chips", "dtype")):
        many.iloc[i, many.columns.get_loc(column)] = "broken"
    kept, odd = readable(many)
    cases, rest = kernel_cases(kept)
    assert (len(cases), len(rest), len(odd)) == (35, 5, 0) and all(isinstance(c, Case) for c in cases)
