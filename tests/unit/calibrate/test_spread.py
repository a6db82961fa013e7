"""Tables with a column for each chip, batch or length, logs of training runs, lengths in thousands; each by hand."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from scored_tables import seconds_of as scored

from dse.calibrate.measurements import read
from dse.calibrate.reading import odd_cell
from dse.calibrate.run_logs import read_run
from dse.calibrate.spelling import parted_metric
from dse.core.errors import SpecError

SERVED = ("chip=h100", "tp=8", "model=llama-3.1-70b", "precision=fp8")


def test_a_column_for_each_chip(tmp_path):
    """64 x 1024 tokens at 2400 tokens/s take 27.31 s; before, no column chip. A blank cell is no measurement."""
    head = "Model,TP,Precision,ISL,OSL,Batch,H100 SXM tok/s,B200 tok/s\n"
    line = "Llama-3.1-70B,8,FP8,1024,1024,64,2400,{}\n"
    rows, found, _ = scored(tmp_path, "inference", head + line.format(5200) + line.format(""))
    assert set(rows.batch) == {64}  # "B200" is no batch of 200
    assert found == pytest.approx({
        "line 1 H100 SXM:throughput": 65536 / 2400, "line 1 B200:throughput": 65536 / 5200,
        "line 2 H100 SXM:throughput": 65536 / 2400})  # fmt: skip
    long = "Model,TP,Precision,ISL,OSL,Batch,Metric,H100,B200\nLlama-3.1-70B,8,FP8,1024,1024,64,TPOT (ms),26,12\n"
    found = scored(tmp_path, "inference", long)[1]
    assert found == pytest.approx({"line 1 H100:tpot": 0.026, "line 1 B200:tpot": 0.012})


def test_a_column_for_each_number(tmp_path):
    """Before: no column batch, seq_len or num_ranks. Of 16 ranks 2 x 15/16 of a GiB at 380 GB/s."""
    head = "GPU,Model,TP,Precision,ISL,OSL,bs1 TPOT (ms),TPOT (ms) @ BS=8\n"
    _, found, _ = scored(tmp_path, "inference", head + "H100,Llama-3.1-70B,8,FP8,1024,1024,11,12\n")
    assert found == pytest.approx({"line 1 batch 1:tpot": 0.011, "line 1 batch 8:tpot": 0.012})
    steps = "GPU,GPUs,Model,GBS,Metric,seq 4096,seq 8192\nH100,8,Llama-3.1-8B,8,step time (s),1.1,2.1\n"
    assert scored(tmp_path, "training", steps)[1] == {"line 1 seq_len 4096": 1.1, "line 1 seq_len 8192": 2.1}
    nccl = "Size (MiB),8 GPUs busbw (GB/s),16 GPUs busbw (GB/s)\n1024,447,380\n"
    _, found, _ = scored(tmp_path, "collectives", nccl, ("chip=h100", "collective=all_reduce"))
    assert found["line 1 num_chips 16"] == pytest.approx(2 * 15 / 16 * 2**30 / 380e9)


def test_headers_that_hold_the_same_are_refused_and_a_columns_own_cells_count_first(tmp_path):
    head = "GPU,Model,TP,Precision,ISL,OSL,Batch,{}\n"
    line = "H100,Llama-3.1-70B,8,FP8,1024,1024,8,11,12\n"
    with pytest.raises(SpecError, match="two columns hold TPOT"):
        scored(tmp_path, "inference", head.format("BS1 TPOT (ms),BS=1 TPOT (ms)").replace("Batch,", "") + line)
    rows = scored(tmp_path, "inference", head.format("TPOT (ms),B200 TPOT (ms)") + line)[0]
    assert set(rows.chip) == {"H100"} and "B200 TPOT (ms)" in rows


def test_passes_of_attention_have_columns(tmp_path):
    """FlashAttention's own tables: 4 b h s^2 d / 2 of a causal pass forward at 560 TFLOP/s take 0.491 ms."""
    text = ("GPU,causal,headdim,batch_size,seqlen,nheads,dtype,fwd (TFLOPS),bwd (TFLOPS),fwd+bwd (TFLOPS)\n"
            "H100,True,128,4,4096,16,bf16,560,450,480\n")  # fmt: skip
    _, found, why = scored(tmp_path, "kernels", text)
    assert found == pytest.approx({"line 1 attention fwd": 4 * 4 * 16 * 4096**2 * 128 / 2 / 560e12})
    assert len(why) == 2


MEGATRON = (
    " [2025-03-02 10:11:12] iteration {:8d}/ 500000 | consumed samples: 1280 | elapsed time per iteration (ms): {} | "
    "throughput per GPU (TFLOP/s/GPU): 402.1 | learning rate: 1.0E-06 | global batch size: {:5d} | lm loss: 1.1E+01 |\n"
)
NEMO = "Epoch 0: :   0%| | 9/100 [01:31<15:20, v_num=, loss=11.0, global_step=8.000, train_step_timing in s={}]\n"
TITAN = (
    "[rank0]:[titan] 2025-02-07 10:00:00,000 - root - INFO - step: {:2d}  loss: 12.2  memory: 40.1GiB(51.2%)  "
    "tps: {}  tflops: 70.1  mfu: 7.1%\n"
)
RUN = ("chip=h100", "num_chips=64", "model=llama-3.1-70b", "tp=4", "pp=4", "micro_batch=1", "seq_len=8192")


def test_logs_of_training_runs(tmp_path):
    """The median of lines behind the first, for each global batch; before, no column global_batch and no metric."""
    lines = (MEGATRON.format(10, 99999.0, 128), *(MEGATRON.format(20 + i, 13300.4 + i, 128) for i in range(3)))
    text = "building GPT model ...\n" + "".join(lines) + MEGATRON.format(50, 26000, 256)
    rows, found, _ = scored(tmp_path, "training", text, RUN, "run.log")
    assert found == pytest.approx({"line 1": 13.3014, "line 2": 26.0}) and set(rows.stat) == {"median"}
    _, found, _ = scored(tmp_path, "training", NEMO.format(9.1), (*RUN, "global_batch=128"), "run.log")
    assert found == {"line 1": 9.1}
    titan = TITAN.format(1, "1,200") + TITAN.format(10, "5,800") + TITAN.format(20, "5,820")
    said = ("chip=h100", "num_chips=8", "model=llama-3.1-8b", "seq_len=8192", "global_batch=8", "fsdp=yes")
    why = scored(tmp_path, "training", titan, said, "run.log")[2]["line 1"]
    assert "--given unit=tok/s/gpu" in why
    # 8 sequences of 8192 tokens on 8 chips of 5810 tokens/s
    found = scored(tmp_path, "training", titan, (*said, "unit=tok/s/gpu"), "run.log")[1]
    assert found == pytest.approx({"line 1": 8192 / 5810})
    # a count rounded to thousands is none: 1.02K sequences may be 1024
    (row,) = read_run("iteration: 10 / 100 | elapsed_time_per_iteration_ms: 1.5K | global_batch_size: 1.02K | loss: 3",
                      "training").to_dict("records")  # fmt: skip
    assert row == {"elapsed_time_per_iteration_ms": 1500.0, "stat": "median"}
    assert read_run("gpu,tp\nH100,8\n", "training") is None


def test_lengths_in_thousands_are_read_once_their_k_is_said(tmp_path):
    """Before: "no in_len" for 1k/8k. Whether a k is 1000 or 1024 tokens no table says."""
    head = "GPU,Model,TP,Precision,ISL/OSL,Concurrency,TPOT (ms)\n"
    text = head + "".join(f"H100,Llama-3.1-70B,8,FP8,{x},16,14\n" for x in ("1k/8K", "512/128", "long"))
    why = scored(tmp_path, "inference", text)[2]
    assert "in_len = '1k' is not a number" in why["line 1:tpot"] and "--given k_tokens=1024" in why["line 1:tpot"]
    assert "in_len = 'long'" in why["line 3:tpot"] and "k_tokens" not in why["line 3:tpot"]
    rows = scored(tmp_path, "inference", text, ("k_tokens=1024",))[0]
    assert [list(map(float, rows[c][:2])) for c in ("in_len", "out_len")] == [[1024, 512], [8192, 128]]
    steps = "Model,GPU,GPUs,GBS,Seq,Step time (s)\nllama-3.1-8b,H100,64,128,8k,3.1\n"
    assert float(scored(tmp_path, "training", steps, ("k_tokens=1000",))[0].seq_len[0]) == 8000
    with pytest.raises(SpecError, match="expected 1000 or 1024"):
        scored(tmp_path, "training", steps, ("k_tokens=1020",))
    assert "k_tokens" in odd_cell(SimpleNamespace(seq_len="4k"), ["seq_len"])


def test_clients_that_were_asked_for_count_before_those_measured(tmp_path):
    """SGLang prints both: 64 asked for, 61.7 in the mean. Without a limit the mean is all there is."""
    one = {"chip": "h100", "tp": 8, "model": "llama-3.1-70b", "isl": 1024, "osl": 1024, "median_tpot_ms": 9.5,
           "concurrency": 61.7}  # fmt: skip
    for limit, clients in ((64, 64), (None, 61.7)):
        path = tmp_path / "bench.jsonl"
        path.write_text(json.dumps(one | {"max_concurrency": limit}) + "\n")
        assert set(read("inference", path).concurrency) == {clients}


def test_rates_of_a_user_and_units_behind_names():
    assert parted_metric("Per User Output Throughput (tps/user)") == ("interactivity", "", "tok/s/user")
    assert parted_metric("Per User Output Speed [w/o ctx] (tps/user)") == ("interactivity", "", "tok/s/user")
    # with the prompt's time in it the rate is no inverse of a time per token
    assert parted_metric("Per User Output Throughput [w/ ctx] (tps/user)")[2] == ""
    assert parted_metric("Median TTFT in ms") == ("ttft", "median", "ms")
    assert pd.isna(parted_metric("in ms")[2] or float("nan"))


ONE = {"gpu": "H100", "tp": 8, "model": "llama-3.1-70b", "precision": "fp8", "batch": 8, "isl": 1024, "osl": 256}


@pytest.mark.parametrize(
    "found",
    [
        {"config": ONE, "runs": [{"tpot_ms": 12.2}]},
        {"config": {"hardware": {"gpu": "H100"}}, "results": {"tpot_ms": 12.2}, **{k: ONE[k] for k in list(ONE)[1:]}},
        {k: [x] for k, x in (ONE | {"tpot_ms": 12.2}).items()},
        {"columns": [*ONE, "tpot_ms"], "index": [0], "data": [[*ONE.values(), 12.2]]},
    ],
)
def test_objects_that_group_or_turn_a_table(tmp_path, found):
    """Before: refused, as without a column chip, or with a list for a value."""
    assert scored(tmp_path, "inference", json.dumps(found), name="a.json")[1] == pytest.approx({"line 1:tpot": 0.0122})


def test_groups_of_two_things_stay_apart(tmp_path):
    """Which of two models served is not said by their own names alone."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ONE | {"tpot_ms": 12.2, "draft": {"dtype": "bf16"}, "config": {"model": "x"}}))
    assert {"draft.dtype", "config.model"} <= set(read("inference", path).columns)


LATEX = r"""\begin{tabular}{lrrr} \toprule
Batch & Input & Output & TPOT (ms) \\ \midrule
\textbf{1} & $1024$ & 256 & 11 \\
8 & 1024 & 256 & \textbf{12} \\ \hline
\end{tabular}
"""
SPACED = "batch  isl   osl   tpot (ms)\n1      1024  256   11\n8      1024  256   12\n"


@pytest.mark.parametrize("text", [LATEX, SPACED, "batch isl osl tpot_ms\n1 1024 256 11\n8 1024 256 12\n"])
def test_tables_without_marks(tmp_path, text):
    """Before: no column batch."""
    found = scored(tmp_path, "inference", text, SERVED, "table.txt")[1]
    assert found == pytest.approx({"line 1:tpot": 0.011, "line 2:tpot": 0.012})


def test_a_table_that_pandas_printed(tmp_path):
    """Triton's benchmarks: a title, a header and rows counted from 0. 2 x 4096^3 FLOP at 610 TFLOP/s."""
    text = "matmul-fp16:\n        M       N       K  TFLOPS\n0  4096.0  4096.0  4096.0   610.0\n"
    found = scored(tmp_path, "kernels", text, ("chip=h100", "dtype=fp16"), "table.txt")[1]
    assert found == pytest.approx({"line 1": 2 * 4096**3 / 610e12})
    for text in ("hello\n", "a few words\nof no table\n\n"):
        with pytest.raises(SpecError, match=r"no column|no line"):
            scored(tmp_path, "kernels", text, name="table.txt")


def test_a_unit_of_a_whole_file_is_given(tmp_path):
    """vLLM's benchmark of latency writes seconds without saying so."""
    text = json.dumps({"avg_latency": 2.9, "latencies": [2.9], "percentiles": {"50": 2.9}})
    said = (*SERVED, "isl=1024", "osl=128", "batch=8")
    assert "--given unit=ms" in scored(tmp_path, "inference", text, said, "a.json")[2]["line 1:latency"]
    assert scored(tmp_path, "inference", text, (*said, "unit=s"), "a.json")[1] == {"line 1:latency": 2.9}


def test_a_column_for_each_format_stack_or_model(tmp_path):
    """128 tokens at 160 and 80 tokens/s take 0.8 and 1.6 s; before, no column with a metric."""
    told = "Batch,FP8 tok/s,BF16 tok/s\n1,160,80\n", "Batch,tok/s (SGLang),tok/s (vLLM)\n1,160,80\n"
    for text, given, names in (
        (told[0], ("chip=h100", "tp=8", "model=llama-3.1-70b"), ("FP8", "BF16")),
        (told[1], SERVED, ("SGLang", "vLLM")),
        ("Batch,Llama-3.1-8B tok/s,Llama-3.1-70B tok/s\n1,160,80\n", ("chip=h100", "tp=8", "precision=fp8"),
         ("Llama-3.1-8B", "Llama-3.1-70B")),
    ):  # fmt: skip
        _, found, _ = scored(tmp_path, "inference", text, (*given, "isl=1024", "osl=128"))
        assert found == pytest.approx(dict(zip((f"line 1 {n}:throughput" for n in names), (0.8, 1.6), strict=True)))
    gemm = "M,N,K,FP8 TFLOPS,BF16 TFLOPS\n4096,4096,4096,1100,610\n"
    rows, found, _ = scored(tmp_path, "kernels", gemm, ("chip=h100",))
    assert list(rows["dtype"]) == ["FP8", "BF16"]
    assert found == pytest.approx({"line 1 FP8": 2 * 4096**3 / 1100e12, "line 1 BF16": 2 * 4096**3 / 610e12})


def test_a_metric_beside_those_of_chips_is_of_none_of_them(tmp_path):
    text = "Batch,TPOT (ms),H100 TPOT (ms)\n1,20,11\n"
    said = ("tp=8", "model=llama-3.1-70b", "precision=fp8", "isl=1024", "osl=128")
    _, found, why = scored(tmp_path, "inference", text, said)
    assert found == pytest.approx({"line 1 H100:tpot": 0.011}) and "no preset for chip" in why["line 1:tpot"]


def test_files_of_no_table_are_refused_by_their_ending(tmp_path):
    with pytest.raises(SpecError, match=r"ending in \.yaml is not read\); give CSV"):
        scored(tmp_path, "inference", "chip: h100\n", name="a.yaml")


def test_a_machine_in_place_of_its_chip(tmp_path):
    """Before: no preset for chip 'p5.48xlarge'. Beside it a chip stays one."""
    text = "System,TP,Model,Precision,Batch,ISL,OSL,TPOT (ms)\n{},8,llama-3.1-70b,fp8,8,1024,256,{}\n"
    lines = text.format("p5.48xlarge", 12) + text.format("H200", 11).splitlines()[1] + "\n"
    rows, found, _ = scored(tmp_path, "inference", lines)
    assert found == pytest.approx({"line 1:tpot": 0.012, "line 2:tpot": 0.011}) and set(rows.num_chips) == {8}
    assert list(rows.chip) == ["h100", "H200"]
