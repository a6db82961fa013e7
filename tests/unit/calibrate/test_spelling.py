"""Tables as outsiders write them: other marks between columns, other words, no sizes; nothing is misread in silence."""

from types import SimpleNamespace

import pandas as pd
import pytest

from dse.calibrate.cases import printed_twice
from dse.calibrate.measurements import read
from dse.calibrate.published import preset_for
from dse.calibrate.published_models import sizes_of
from dse.calibrate.rates import rated_s
from dse.calibrate.reading import impossible, weights_only
from dse.calibrate.spelling import collective_word, metric_word, parted_metric, unit_word
from dse.calibrate.training_rows import row_precision, row_recompute
from dse.core.errors import SpecError

ROW = {
    "point_id": "a", "source": "lab", "Chip": "H100", "num_gpus": 8, "model": "meta-llama/Llama-3.1-70B-Instruct",
    "layers": "", "hidden": "", "heads": "", " batch ": 16, "ISL": 1024, "OSL": 128, "metric": "TTFT", "value": 200,
    "unit": "milliseconds", "stat": "avg", "spec": "Complete",
}  # fmt: skip


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_any_mark_between_columns_any_case_and_a_byte_order_mark(tmp_path, mark):
    path = tmp_path / "rows.csv"
    pd.DataFrame([ROW]).to_csv(path, index=False, sep=mark, encoding="utf-8-sig")
    row = read("inference", path).iloc[0]
    assert (row.chip, row.num_chips, row.batch, row.in_len, row.out_len) == ("H100", 8, 16, 1024, 128)
    assert (row.metric, row.unit, row["stat"], row.spec) == ("ttft", "ms", "mean", "complete")
    assert (row.layers, row.hidden, row.heads, row.kv_heads) == (80, 8192, 64, 8)  # [grattafiori2024llama3] table 3
    assert row.dims_from == "preset llama-3.1-70b"


def test_a_row_that_prints_a_size_keeps_what_it_prints(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame([ROW | {"layers": 3}, ROW | {"model": "my-own-9b"}]).to_csv(path, index=False)
    rows = read("inference", path)
    assert rows.layers[0] == 3 and rows[["hidden", "heads"]].isna().all(axis=None)


def test_sizes_are_those_of_published_names_alone():
    assert sizes_of("deepseek-ai/DeepSeek-R1-0528")["experts"] == 256
    assert sizes_of("my-own-9b") == sizes_of(None) == sizes_of("") == {}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (" ms ", "ms"), ("ms/token", "ms"), ("Sec", "sec"), ("\u03bcs", "\u00b5s"), ("TFLOPS", "TFLOP/s"),
        ("GFLOPS", "GFLOP/s"), ("tps", "tps"), ("Gbps", "Gbps"), ("GBps", "GBps"), ("tok/s/user", "tok/s/user"),
        ("%", "%"), ("", ""), ("TPS / GPU", "tok/s/GPU"),
    ],
)  # fmt: skip
def test_units_under_other_names(said, meant):
    assert unit_word(said) == meant


def test_metrics_and_collectives_under_other_names():
    assert metric_word("Time per output token") == metric_word("ITL") == "tpot"
    assert metric_word("Bus Bandwidth") == "busbw" and metric_word("my own") == "my_own"
    assert {collective_word(x) for x in ("AllReduce", "all-reduce", "ALL_REDUCE", "all_reduce_perf")} == {"all_reduce"}
    assert collective_word("barrier") == "barrier"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("mean_ttft_ms", ("ttft", "mean", "ms")), ("Median TPOT (ms)", ("tpot", "median", "ms")),
        ("p99_itl_ms", ("tpot", "p99", "ms")), ("step_time_s", ("step_time", "", "s")),
        ("busbw (GB/s)", ("busbw", "", "GB/s")), ("elapsed time per iteration (ms)", ("step_time", "", "ms")),
        ("ttft", ("ttft", "", "")), ("mean_acceptance_ms", ("mean_acceptance_ms", "", "")),
        ("tokens/s/GPU", ("throughput_per_chip", "", "tokens/s/GPU")),
        ("samples per second", ("throughput", "", "samples/s")),
        ("tokens_per_second", ("throughput", "", "tokens_per_second")), ("TTFT p50 (ms)", ("ttft", "p50", "ms")),
        ("throughput (tok/s/gpu)", ("throughput", "", "tok/s/gpu")), ("time_us", ("time", "", "us")),
        ("TTFT (p99) [ms]", ("ttft", "p99", "ms")), ("TTFT (P50)", ("ttft", "p50", "")),
        ("TFLOPS", ("throughput", "", "TFLOP/s")), ("E2EL", ("request_latency", "", "")),
    ],
)  # fmt: skip
def test_a_metric_may_tell_its_statistic_and_unit(said, meant):
    assert parted_metric(said) == meant


def test_what_a_metric_tells_fills_blanks_and_overrules_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    told = ROW | {"metric": "mean_ttft_ms", "stat": "", "unit": ""}
    pd.DataFrame([told, told | {"stat": "p99"}, told | {"unit": "s"}, told | {"unit": "msecs"}]).to_csv(path)
    rows = read("inference", path)
    assert list(rows.metric) == ["ttft", "mean_ttft_ms", "mean_ttft_ms", "ttft"]
    assert rows["stat"][0] == "mean" and rows.unit[0] == rows.unit[3] == "ms"


def test_bits_and_bytes_per_second_differ_by_eight():
    def row(unit):
        return SimpleNamespace(
            metric="algbw", unit=unit, value=8.0, collective="all_reduce", num_ranks=2, message_bytes=8e9
        )

    assert rated_s(row("Gb/s")) == rated_s(row("Gbps")) == 8.0
    assert rated_s(row("GBps")) == rated_s(row("GB/s")) == 1.0


@pytest.mark.parametrize(("said", "meant"), [("", "selective"), ("Full", "full"), ("True", "full"), ("yes", "full"),
                                             ("No", "none"), ("selective attn", "selective")])  # fmt: skip
def test_words_for_what_is_computed_again(said, meant):
    """Before: any other word than the three was selective, a plain yes too."""
    assert row_recompute(SimpleNamespace(recompute=said, note="")) == meant


def test_what_is_computed_again_is_not_guessed():
    with pytest.raises(SpecError, match="recompute = 'sometimes'"):
        row_recompute(SimpleNamespace(recompute="sometimes", note=""))


def test_a_cache_in_the_precision_is_not_taken_for_weights():
    """Before: "FP8 KV" stored the weights in FP8."""
    for said in ("FP8 KV", "bf16, kv_cache fp8", "BF16 + FP8 KV-cache"):
        with pytest.raises(SpecError, match="KV cache"):
            row_precision(SimpleNamespace(precision=said))
    assert weights_only("fp8_e4m3") == "fp8_e4m3"


def test_a_fraction_of_a_layer_is_no_count_and_the_mean_of_lengths_is():
    rows = pd.DataFrame({"layers": [80, 80.5], "in_len": [219.5, 1.5], "num_chips": [0.5, 8]})
    why = impossible(rows)
    assert why[0] == "" and "layers = 80.5; expected a whole number" in why[1]
    assert "num_chips = 0" in impossible(pd.DataFrame({"num_chips": [0]}))[0]


def test_two_values_of_one_metric_are_not_chosen_between():
    """Before: the last one counted."""
    point = pd.DataFrame({"metric": ["step_time"] * 2, "unit": ["s"] * 2, "value": [2.0, 3.0]})
    assert "2 and 3 s; keep one" in str(printed_twice(point))
    assert printed_twice(point.assign(value=2.0)) is None


@pytest.mark.parametrize("name", ["A100-PCIE-40GB", "A100 40GB PCIe", "GH200 480GB", "GH200 96 GB", "H100 PCIe 96GB",
                                  "H800 PCIe", "RTX 6000 Ada", "Tesla V100-PCIE-16GB", "V100 PCIe 32 GB",
                                  "V100-SXM3-32GB"])  # fmt: skip
def test_boards_with_another_memory_are_not_taken_for_their_namesakes(name):
    assert preset_for(name) is None


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("NVIDIA H100 PCIe", "h100-pcie"), ("H100-PCIE-80GB", "h100-pcie"), ("NVIDIA H100 NVL", "h100-nvl"),
        ("H100 NVL 94GB", "h100-nvl"), ("H100 80GB HBM3", "h100"), ("NVIDIA H200 NVL", "h200-nvl"),
        ("GB200 NVL72", "gb200"), ("NVIDIA L4", "l4"), ("L40S", "l40s"), ("NVIDIA A10G", "a10g"), ("A10", "a10"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"), ("RTX A6000", "rtx-a6000"), ("GeForce RTX 4090", "rtx-4090"),
    ],
)  # fmt: skip
def test_cards_are_not_taken_for_the_modules_they_are_named_after(name, chip):
    assert preset_for(name)[0] == chip


def test_boards_by_their_order_numbers():
    assert preset_for("HL-325L") == preset_for("Gaudi 3")
    assert preset_for("GH200 144GB") == preset_for("NVIDIA GH200 SXM") == ("gh200", "gh200-nvl32")
    assert preset_for("Tesla V100-SXM2-32GB") == preset_for("V100 32 GB") == ("v100-32", "dgx-1-v100-32")
