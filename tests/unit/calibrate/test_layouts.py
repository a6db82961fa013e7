"""Layouts that tables come in: on their side, as reports, in Markdown, a rate of a user, a unit in a cell; by hand."""

import json
from types import SimpleNamespace

import pytest
from scored_tables import seconds_of as table

from dse.calibrate.collective_logs import read_log
from dse.calibrate.instances import machine
from dse.calibrate.operators import row_ops
from dse.calibrate.request_rows import row_stack, row_storage
from dse.calibrate.spelling import parted_metric
from dse.calibrate.training_rows import adapter_rank, row_plan
from dse.calibrate.training_stacks import row_stack as training_stack
from dse.hardware.presets import chip
from dse.workload.model_names import model_alias

SERVED = ("chip=h100", "tp=1", "model=llama-3.1-8b")


def test_lengths_that_were_drawn_are_not_those_asked_for(tmp_path):
    """Before: 2,048 tokens, the longest that SGLang draws, for 65,536 tokens of 64 prompts: 1,024 each."""
    one = {"backend": "sglang", "request_rate": "Infinity", "max_concurrency": 16, "random_input_len": 2048,
           "random_output_len": 256, "completed": 64, "total_input_tokens": 65536, "total_output_tokens": 8192,
           "median_tpot_ms": 12.4}  # fmt: skip
    rows, found, _ = table(tmp_path, "inference", json.dumps(one), SERVED, "a.jsonl")
    assert (set(rows.in_len), set(rows.out_len)) == ({1024.0}, {128.0}) and found == pytest.approx(
        {"line 1:tpot": 0.0124}
    )
    few = {k: v for k, v in one.items() if "total" not in k}
    assert set(table(tmp_path, "inference", json.dumps(few), SERVED, "a.jsonl")[0].in_len) == {2048.0}
    # before: three tokens a pass passed for one
    said = table(tmp_path, "inference", json.dumps(one | {"accept_length": 3.1}), SERVED, "a.jsonl")[2]
    assert "speculative" in said["line 1:tpot"]


def test_whose_rate_it_is(tmp_path):
    """InferenceMAX: 16 clients, 58.8 tokens/s each; 210.5 tokens/s per GPU with prompts, 16 x 2048 / (8 x 210.5) s."""
    one = {"hw": "h200", "tp": 8, "conc": 16, "model": "deepseek-ai/DeepSeek-R1-0528", "framework": "sglang",
           "precision": "fp8", "isl": 1024, "osl": 1024, "tput_per_gpu": 210.5}  # fmt: skip
    found = table(tmp_path, "inference", json.dumps(one), name="a.json")[1]
    assert found == pytest.approx({"line 1:total_throughput_per_chip": 16 * 2048 / (8 * 210.5)})
    found = table(tmp_path, "inference", json.dumps(one | {"output_tput_per_gpu": 105.2}), name="a.json")[1]
    assert found == pytest.approx({"line 1:throughput_per_chip": 16 * 1024 / (8 * 105.2)})
    # a time without a unit stands in no rate's way
    told = one | {"median_intvty": 58.8, "median_tpot": 0.017}
    _, found, why = table(tmp_path, "inference", json.dumps(told), name="a.json")
    assert found == pytest.approx({"line 1:interactivity": 1 / 58.8}) and "no unit" in why["line 1:tpot"]
    head = "GPU,TP,Model,ISL/OSL,Users,"
    for name in (
        "tokens/s/user",
        "TPS/user",
        "tok/s per user",
        "Output Token Throughput Per User (tokens/sec/user)",
        "interactivity",
    ):
        rows, found, _ = table(tmp_path, "inference", f"{head}{name}\nH100,8,llama-3.1-70b,1024/128,16,60\n")
        assert found == pytest.approx({"line 1:interactivity": 1 / 60})
        assert (set(rows.in_len), set(rows.out_len)) == ({1024}, {128})


@pytest.mark.parametrize(
    ("said", "metric"),
    [
        ("Per GPU Output Throughput (tps/gpu)", ("throughput_per_chip", "", "tok/s/gpu")),
        ("Total Token Throughput (tokens/sec)", ("total_throughput", "", "tokens/s")),
        ("Total Output Throughput (tokens/sec)", ("output_throughput", "", "tokens/s")),
        # tokens over the whole request's time
        ("Per User Output Throughput [w/ ctx] (tps/user)",
         ("per_user_output_throughput_[w/_ctx]_(tps/user)", "", "")),
        ("throughput(out tok/s)", ("throughput", "", "out tok/s")),
        ("Throughput (total tokens/s)", ("total_throughput", "", "tokens/s")),
        ("P99 interactivity", ("interactivity", "p99", "tok/s/user")),
        ("latency (ms/token)", ("tpot", "", "ms")), ("latency (s)", ("latency", "", "s")),
        ("ms/step", ("step_time", "", "ms")), ("us", ("time", "", "us")),
        # tokens of all GPUs, or prompts too: nothing says which
        ("Total Throughput (tok/s)", ("total_throughput_(tok/s)", "", "")),
    ],
)  # fmt: skip
def test_names_of_rates_and_times(said, metric):
    assert parted_metric(said) == metric


GENAI = """Metric,avg,min,max,p99,p50
Time To First Token (ms),200.1,100,300,290,199
Inter Token Latency (ms),10.1,9,12,11.9,10
Input Sequence Length (tokens),1024,,,,
Output Sequence Length (tokens),128,,,,

Metric,Value
Output Token Throughput (tokens/sec),800
"""
REPORT = """============ Serving Benchmark Result ============
Successful requests:                     500
Total input tokens:                      512000
Total generated tokens:                  64000
Request throughput (req/s):              4.15
---------------Time per Output Token (excl. 1st token)---------------
Mean TPOT (ms):                          9.02
Median TPOT (ms):                        8.90
==================================================
"""


def test_tables_on_their_side_and_reports(tmp_path):
    """Before: no column chip, value, and so on."""
    rows, found, _ = table(tmp_path, "inference", GENAI, (*SERVED, "concurrency=8"))
    assert found["line 1:tpot"] in (0.01, 0.0119) and (set(rows.in_len), set(rows.out_len)) == ({1024}, {128})
    assert set(rows.value[(rows.metric == "tpot") & (rows.stat == "p50")]) == {10}
    rows, found, _ = table(tmp_path, "inference", REPORT, (*SERVED, "concurrency=8"), "a.txt")
    assert found == pytest.approx({"line 1:tpot": 0.0089}) and (set(rows.in_len), set(rows.out_len)) == (
        {1024.0},
        {128.0},
    )
    side = "Setting,A,B\nGPU,H100,A100\nGPUs,64,64\nModel,llama-3.1-8b,llama-3.1-8b\nGBS,256,256\nSeq,8192,8192\n"
    assert table(tmp_path, "training", side + "Step time (s),5.2,11\n")[1] == {"line 1": 5.2, "line 2": 11}


def test_markdown(tmp_path):
    """Before: its line of dashes was a row, and 6,258 beside 81.9 could have been 6.258."""
    text = ("| Techniques | **TPS/GPU** | Memory (GiB) |\n|:---|---:|---|\n| FSDP | 6,258 | 81.9 |\n"
            "| + compile | **6,674** | 77.0 |\n")  # fmt: skip
    given = ("chip=H100", "model=llama-3.1-8b", "gpus=8", "local_batch_size=2", "seq_len=8192", "fsdp=8")
    rows, found, why = table(tmp_path, "training", text, given, "a.md")
    assert found == pytest.approx({"line 1": 2 * 8192 / 6258, "line 2": 2 * 8192 / 6674}) and not why
    plan = row_plan(next(rows.itertuples()), 8)
    assert (plan.dp, plan.micro_batch, plan.zero) == (8, 2, 3)


def test_units_in_cells(tmp_path):
    head = "GPU,GPUs,Model,GBS,Seq Len,"
    run = "H100,1024,llama-3.1-8b,1024,8192,"
    text = "\n".join([f"{head}Step time", *(f"{run}{x}" for x in ("5.2 s", "5200ms", "5.2 ± 0.1 s", "~5 s"))])
    _, found, why = table(tmp_path, "training", text)
    assert found == pytest.approx({"line 1": 5.2, "line 2": 5.2, "line 3": 5.2}) and "~5" in why["line 4"]
    found = table(tmp_path, "training", f"{head}Tokens/day\n{run}1.2T\n{run}600B\n")[1]
    assert found == pytest.approx({f"line {i}": 1024 * 8192 * 86400 / n for i, n in ((1, 1.2e12), (2, 6e11))})
    # a cell that contradicts its header is neither
    why = table(tmp_path, "training", f"{head}Step time (ms)\n{run}5.2 s\n")[2]
    assert "no step time" in why["line 1"]


def test_a_decimal_comma_in_a_metrics_own_column(tmp_path):
    """Before: a prompt of 1.024 tokens, since the column with the comma is named for its metric."""
    text = "GPU;TP;Model;ISL;OSL;Concurrency;TPOT (ms)\nH100;8;llama-3.1-70b;1.024;128;16;14,5\n"
    assert "in_len = '1.024' may be 1024 or 1.024" in table(tmp_path, "inference", text)[2]["line 1"]


def test_chips_that_no_column_counts(tmp_path):
    """Before: 64 logical cores of Trainium2 were 64 chips, and a training run with 8 tensor ranks had 8 chips."""
    head = "Model,Batch size,Input length,Output length,TP Degree,TPOT P50 (ms),"
    run = "Llama-3.1-70B,1,8000,100,64,10.5,"
    assert "no num_chips" in table(tmp_path, "inference", f"{head}chip\n{run}trainium2\n")[2]["line 1:tpot"]
    rows, found, _ = table(tmp_path, "inference", f"{head}Instance\n{run}trn2.48xlarge\n")
    assert found == pytest.approx({"line 1:tpot": 0.0105}) and (set(rows.num_chips), set(rows.chip)) == (
        {16},
        {"trainium2"},
    )
    head, run = "GPU,TP,GBS,Model,Seq,", ",8,64,llama-3.1-8b,8192,"
    assert "no num_chips" in table(tmp_path, "training", f"{head}step_time_s\nH100{run}5\n")[2]["line 1"]
    rows = table(tmp_path, "training", f"{head}nodes,step_time_s\n8x H100{run}4,5\n")[0]
    assert set(rows.num_chips) == {32}
    rows = table(tmp_path, "training", f"{head}nodes,dp,step_time_s\nH100{run}4,4,5\n")[0]
    assert set(rows.num_chips) == {32}


def test_machines_of_clouds():
    assert machine("trn1.32xlarge/trn1n.32xlarge") == ("trainium1", 16) and machine("ml.p5.48xlarge") == ("h100", 8)
    assert machine("p5.48xlarge, p5e.48xlarge") is None and machine("t3.micro") is None
    # before: known where a chip or a system was asked for, and not here
    assert machine("g5.48xlarge") == ("a10g", 8) and machine("Standard_ND96isr_H100_v5") == ("h100", 8)


def test_the_usual_stack_is_the_chips():
    """Before: that of GPUs on Trainium, and Megatron on TPUs."""
    said = {name: (row_stack(SimpleNamespace(chip=name)), training_stack(SimpleNamespace(chip=name)))
            for name in ("trainium2", "tpu-v5p", "h100")}  # fmt: skip
    assert said == {
        "trainium2": ("vllm-neuron", "neuron"),
        "tpu-v5p": ("jetstream", "xla"),
        "h100": ("vllm", "megatron"),
    }


@pytest.mark.parametrize(
    ("chip", "framework", "stack"),
    [
        ("trainium2", "vLLM 0.16+NxDI", "vllm-neuron"),
        ("trainium1", "vLLM", "vllm-neuron"),
        ("trainium2", "NxDI", "neuronx"),
        ("inferentia2", "TGI 3.0", "neuronx"),
        ("h100", "TGI 3.0", "vllm"),
    ],
)
def test_programs_of_neuron_behind_vllm_are_a_stack(chip, framework, stack):
    """A name of no known stack starts kernels as vLLM does, but where programs are compiled."""
    assert row_stack(SimpleNamespace(chip=chip, framework=framework)) == stack


def test_batches_and_ranks_in_other_words(tmp_path):
    """Local batch 4 on 8 data ranks is 32; DeepSpeed's stage in words; model ranks are tensor ranks up to 8."""
    head, run = "GPU,GPUs,Model,Batch per replica,Seq Len,TP,Step time (s)", "H100,64,llama-3.1-8b,4,8192,8,5.2"
    rows, _, _ = table(tmp_path, "training", f"{head}\n{run}\n")
    assert (set(rows.global_batch), set(rows.micro_batch)) == ({32}, {4})
    head = "gpu,num_gpus,model,seq,gbs,mbs,ZeRO,step_time_ms\n"
    rows, _, _ = table(
        tmp_path, "training", head + "A100,8,llama-2-7b,4096,64,1,ZeRO-3,5\nA100,8,llama-2-7b,4096,64,1,stage 2,5\n"
    )
    assert [row_plan(r, 8).zero for r in rows.itertuples()] == [3, 2]  # before: passed over
    rows, _, _ = table(
        tmp_path, "training", head.replace("ZeRO", "Sharding Strategy") + "A100,8,llama-2-7b,9,64,1,FULL_SHARD,5\n"
    )
    assert [row_plan(r, 8).zero for r in rows.itertuples()] == [3]
    head = "gpu,GPUs,model,seq,gbs,Model-Parallel Size,step time (s)\n"
    rows, _, why = table(
        tmp_path, "training", head + "A100,64,llama-2-70b,4096,64,8,30\nA100,64,llama-2-70b,4096,64,64,30\n"
    )
    assert list(rows.tp) == [8] and "tensor times pipeline" in why["line 2"]  # before: 1


def test_operators_that_were_another(tmp_path):
    """Before: as many cached heads as query heads, one product of sixteen, all cores, and MLA as plain attention."""
    head = "GPU,op,batch,seq_len,heads,kv_heads,head_dim,dtype,latency (us)\n"
    rows, _, _ = table(tmp_path, "kernels", head + "H100,attention decode,64,4096,32,8,128,bf16,250\n")
    (op,) = row_ops(next(rows.itertuples()), hosted=False)
    assert op.hbm_B == pytest.approx(2 * 2 * 64 * 4096 * 8 * 128, rel=0.01)
    rows, _, _ = table(tmp_path, "kernels", "GPU,B,M,N,K,dtype,us\nH100,16,1024,1024,128,bf16_r,20\n")
    assert sum(op.hbm_B for op in row_ops(next(rows.itertuples()), hosted=False)) == 16 * 2 * (2 * 1024 * 128 + 1024**2)
    text = "GPU,op,M,N,K,dtype,num_sms,time (us)\nH100,gemm,4096,4096,4096,bf16,66,400\n"
    assert "66 cores" in table(tmp_path, "kernels", text)[2]["line 1"]
    assert "mla" in row_ops(SimpleNamespace(op="FlashMLA decode", dtype="bf16"), hosted=True)


def test_osu_and_names_without_marks():
    text = "# OSU MPI-CUDA Allgather Latency Test v7.1\n# Size       Avg Latency(us)\n4       20.5\n1048576  120.0\n"
    rows = read_log(text)
    assert list(rows["message_bytes"]) == ["4", "1048576"] and set(rows.size_convention) == {"per rank"}
    assert model_alias("DeepSeekV3") == "deepseek-v3" and model_alias("LLAMA3_70B") == "llama-3.1-70b"
    assert model_alias("no such model") == "no-such-model"


def test_what_a_column_says_is_done_otherwise(tmp_path):
    """Before: these columns were not read: one beam, graphs of kernels, the middle, and all weights trained."""
    head = "GPU,TP,Model,ISL,OSL,Batch,TPOT (ms),"
    for column, cell, why in (("Beam Width", "4", "beams"), ("enforce_eager", "True", "one by one")):
        assert (
            why
            in table(tmp_path, "inference", f"{head}{column}\nA100,4,llama-2-70b,9,9,1,24,{cell}\n")[2]["line 1:tpot"]
        )
    for column, cell in (("Beam Width", "1"), ("enforce_eager", "False")):
        assert table(tmp_path, "inference", f"{head}{column}\nA100,4,llama-2-70b,9,9,1,24,{cell}\n")[1]
    text = "GPU,TP,Model,ISL,OSL,Batch,metric,percentile,value,unit\nA100,4,llama-2-70b,9,9,1,tpot,99,24,ms\n"
    assert "a tail (p99)" in table(tmp_path, "inference", text)[2]["line 1:tpot"]
    head, run = "gpu,num_gpus,model,seq_len,gbs,step_time_s,", "H100,8,llama-2-70b,4096,32,5,"
    rows, _, _ = table(tmp_path, "training", f"{head}Method\n{run}LoRA\n{run}full\n")
    assert [adapter_rank(r) for r in rows.itertuples()] == [16, 0]
    assert adapter_rank(SimpleNamespace(adapter_rank=8.0)) == 8
    for column, cell, why in (("CPU offload", "yes", "host memory"), ("Task", "GRPO", "passes beside")):
        assert why in table(tmp_path, "training", f"{head}{column}\n{run}{cell}\n")[2]["line 1"]


@pytest.mark.parametrize(
    ("said", "stored"), [("GPTQ-8bit", "int8"), ("8 bit", "int8"), ("AWQ", "int4"), ("none", "bf16")]
)
def test_widths_of_weights(said, stored):
    """Before: 8 bits of GPTQ were 4, and "none" was no precision."""
    assert row_storage(SimpleNamespace(precision=said), chip("a100-80"))[0] == stored
