"""Tables as strangers write them: a column per metric, objects, units in headers, odd cells; each number by hand."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from scored_tables import seconds_of

from dse.calibrate.measurements import read
from dse.calibrate.operators import n_products
from dse.calibrate.published import preset_for
from dse.calibrate.rates import message_B, rate
from dse.calibrate.reading import row_switch, weights_only
from dse.calibrate.spelling import bytes_word, collective_word, unit_word, year_word
from dse.calibrate.training_rows import row_plan, row_precision
from dse.core.errors import SpecError
from dse.workload.model_names import model_alias


def scored(tmp_path, kind, text, name="bench.csv"):
    """Seconds of each case by its name, and the reason of each row without one."""
    return seconds_of(tmp_path, kind, text, name=name)[1:]


def test_a_spreadsheet_with_a_column_per_metric(tmp_path):
    """Before: the whole file was refused, as it has no column point_id, source, layers, metric, value."""
    head = "GPU,# GPUs,Model,TP,ISL,OSL,Concurrency,Mean TTFT (ms),Median TPOT (ms),P99 TPOT (ms),Power (W)\n"
    rows = ('8xH100 SXM5 80GB,8,meta-llama/Llama-3.1-70B-Instruct,8,"1,024","1,024",1,52.1,12.3,14,4000\n'
            'H100,8,Llama 3.1 70B,8,"2,048",512,16,n/a,14.9,15,4000\n'
            "H100,8,Llama 3.1 70B,8,2k,512,16,n/a,14.9,15,4000\n")  # fmt: skip
    found, why = scored(tmp_path, "inference", head + rows)
    assert found == pytest.approx({"line 1:ttft": 0.0521, "line 1:tpot": 0.0123, "line 2:tpot": 0.0149})
    assert "a tail (p99)" in why["line 1:tpot"]
    longer = head.replace("P99 TPOT (ms)", "note") + rows
    assert "in_len = '2k' is not a number" in scored(tmp_path, "inference", longer)[1]["line 3:tpot"]


def test_objects_of_a_serving_benchmark(tmp_path):
    one = {"chip": "H200", "num_gpus": 8, "model_id": "deepseek-ai/DeepSeek-R1", "tp_size": 8, "input_len": 1024,
           "output_len": 128, "max_concurrency": 4, "mean_ttft_ms": 210.5, "median_tpot_ms": 18.2,
           "request_throughput": 3.2, "backend": "sglang", "date": "20250914-101112"}  # fmt: skip
    for name, text in (("a.json", json.dumps([one])), ("a.jsonl", json.dumps(one) + "\n"), ("b.json", json.dumps(one))):
        found, why = scored(tmp_path, "inference", text, name)
        assert found == pytest.approx({"line 1:tpot": 0.0182})
        assert "closed loop" in why["line 1:ttft"]
    for text in ("[1, 2]", "", '{"a": [1,2'):
        with pytest.raises(SpecError, match="cannot be read as a table"):
            scored(tmp_path, "inference", text, "a.json")


def test_a_benchmarks_own_objects_and_titles_above_a_header(tmp_path):
    """GenAI-Perf puts a metric's unit and statistics in an object; spreadsheets have a title."""
    one = {"chip": "H100", "num_gpus": 8, "model": "llama-3.1-70b", "tp": 8, "isl": 1024, "osl": 128, "concurrency": 1}
    told = one | {"inter_token_latency": {"unit": "ms", "avg": 12.1, "p99": 20.0, "std": 0.1}}
    assert scored(tmp_path, "inference", json.dumps(told), "a.json")[0] == pytest.approx({"line 1:tpot": 0.0121})
    runs = {"date": "2025", "results": [one | {"median_tpot_ms": 12.1}, one | {"median_tpot_ms": 13, "tp": True}]}
    found, why = scored(tmp_path, "inference", json.dumps(runs), "a.json")
    assert found == pytest.approx({"line 1:tpot": 0.0121}) and "tp = 'True' is not a number" in why["line 2:tpot"]
    table = "# My results, 2025\n\ngpu,gpus,model,seq_len,gbs,step time (s)\nH100,64,llama-3.1-8b,8192,128,5\n"
    assert scored(tmp_path, "training", table)[0] == {"line 1": 5}


def test_steps_operators_and_collectives_with_units_in_the_header(tmp_path):
    steps = ("gpu,gpus,model,seq_len,gbs,mbs,tp,pp,elapsed time per iteration (ms)\n"
             'A100-SXM4-80GB,64,llama-2-70b,4096,256,1,8,8,"12,345.6"\n')  # fmt: skip
    assert scored(tmp_path, "training", steps)[0] == pytest.approx({"line 1": 12.3456})
    rates = "chip,num_chips,model,seq_len,global_batch,dp,tokens/s/GPU\nH100,64,llama-3.1-8b,8192,128,64,3000\n"
    assert scored(tmp_path, "training", rates)[0] == pytest.approx({"line 1": 128 * 8192 / (3000 * 64)})
    gemm = "GPU,op,M,N,K,dtype,TFLOPS\nH100,gemm,4096,4096,4096,torch.bfloat16,458\n"
    assert scored(tmp_path, "kernels", gemm)[0] == pytest.approx({"line 1": 2 * 4096**3 / 458e12})
    nccl = "chip,num_ranks,num_nodes,collective,size (B),busbw (GB/s)\nH100,8,1,ncclAllReduce,128MiB,470\n"
    assert scored(tmp_path, "collectives", nccl)[0] == pytest.approx({"line 1": 2 * 7 / 8 * 2**27 / 470e9})


@pytest.mark.parametrize(
    ("said", "chip"),
    [
        ("8xH100", "h100"), ("NVIDIA H100 SXM5 80GB", "h100"), ("h100_sxm", "h100"), ("DGX H100 (640 GB)", "h100"),
        ("A100-SXM4-40GB", "a100-40"), ("TPUv4", "tpu-v4"), ("tpu_v4", "tpu-v4"), ("TPU v5 lite", "tpu-v5e"),
        ("v5litepod-16", "tpu-v5e"), ("Trainium 2", "trainium2"), ("Gaudi-2", "gaudi2"), ("B200 180GB", "b200"),
        # before: no preset for these, although there is one
        ("Tesla V100-SXM2-16GB", "v100"), ("P100", "p100"), ("Instinct MI100", "mi100"), ("TPU v2-8", "tpu-v2"),
        # two chips, a part of one, another memory or another chip: before, read as the first that matched
        ("A100/H100", None), ("H100 + A100", None), ("H100 vs A100 baseline", None), ("GB200/B200", None),
        ("H100 MIG 1g.10gb", None), ("A100 64GB", None), ("H100 96GB", None), ("H20-3e", None),
        ("V100 32GB", "v100-32"),
        ("TPU v4i", "tpu-v4i"), ("Microsoft Maia 200", "maia-200"), ("MTIA v2", "mtia-v2"), ("Vera Rubin", None),
    ],
)  # fmt: skip
def test_names_of_chips(said, chip):
    assert (preset_for(said) or (None,))[0] == chip


def test_units_years_sizes_and_collectives():
    assert {unit_word(x) for x in ("sec/iter", "seconds per step", "ms per step", "hrs", "GB/sec")} == {
        "sec", "seconds", "ms", "h", "GB/s"}  # fmt: skip
    assert rate("tokens/GPU/s") == rate("tok/s/gpu") == rate("tokens_per_sec_per_gpu")
    assert rate("T tokens/day").per_s == pytest.approx(1e12 / 86400) and rate("tok/s/user") is None
    assert [year_word(x) for x in ("2021-06-01", "Jun 2021", "2021*", "soon")] == ["2021"] * 3 + ["soon"]
    assert [bytes_word(x) for x in ("128MiB", "1 GiB", "1M", "1 MB")] == [str(2**27), str(2**30), "1M", "1 MB"]
    assert collective_word("ncclAllReduce") == "all_reduce" and collective_word("all2all") == "all_to_all"
    assert model_alias("llama3.1:70b") == "llama-3.1-70b" and model_alias("DeepSeek R1 671B") == "deepseek-v3"
    assert model_alias("deepseek-r1:70b") == "llama-3.1-70b"  # distilled: Llama's sizes, not DeepSeek's


def test_words_that_were_passed_over_are_told():
    """Before: "off" was on, any stage of sharding was taken, and of two precisions the narrower."""
    assert not row_switch(SimpleNamespace(x="off"), "x", usual=True) and row_switch(
        SimpleNamespace(x=""), "x", usual=True
    )
    with pytest.raises(SpecError, match="x = 'maybe' is not yes or no"):
        row_switch(SimpleNamespace(x="maybe"), "x", usual=True)
    with pytest.raises(SpecError, match="zero_stage = 7"):
        row_plan(SimpleNamespace(global_batch=8, dp=8, zero_stage=7), 8)
    with pytest.raises(SpecError, match="names two widths"):
        weights_only("BF16/FP8")


def test_batched_products_are_several(tmp_path):
    """Before: one of them."""
    assert [n_products(SimpleNamespace(op=x, batch=8)) for x in ("batched gemm", "bmm", "GEMM")] == [8, 8, 1]
    head = "chip,op,M,N,K,batch,seq_len,heads,head_dim,dtype,time (us)\n"
    why = scored(
        tmp_path,
        "kernels",
        head + "H100,gemm dgrad,64,64,64,,,,,bf16,9\nH100,attention decode,,,,8,4k,32/8,128,bf16,9\n",
    )[1]
    assert "not modelled: grad" in why["line 1"] and "seq_len = '4k'" in why["line 2"]  # before: 4 positions


def test_ranks_and_nodes_that_contradict_each_other(tmp_path):
    head = "chip,num_ranks,num_nodes,collective,message_bytes,time (us)\n"
    why = scored(tmp_path, "collectives", head + "H100,16,3,all_reduce,4096,50\nH100,16,1,all_reduce,4096,50\n")[1]
    assert all("do not share out over" in w for w in why.values()) and len(why) == 2


def test_lengths_in_groups_of_three_digits(tmp_path):
    """Before: "1,024" tokens could have been 1.024."""
    rows = pd.DataFrame({"in_len": ["1,024", "2,048"], "value": ["1.5", "2.5"]})
    path = tmp_path / "rows.csv"
    head = {"point_id": ["a", "b"], "source": "lab", "chip": "H100", "num_chips": 8, "layers": 80, "hidden": 8192,
            "heads": 64, "batch": 1, "out_len": 8, "metric": "ttft", "unit": "s"}  # fmt: skip
    rows.assign(**head).to_csv(path, index=False)
    assert list(read("inference", path).in_len) == [1024, 2048]


def test_points_of_one_name_in_several_sources_or_on_several_chips_are_apart(tmp_path):
    """Before: predictions, calibrations and bands went by name, so that an H100 was predicted by an A100's fit."""
    head = "point_id,source,chip,num_chips,model,framework,batch,in_len,out_len,metric,value,unit\n"
    rest = "1,llama-3.1-8b,vllm,1,128,128,tpot"
    lines = (f"{x},{rest},{ms},ms\n" for x, ms in (("1,a,H100 SXM", 7), ("1,b,A100 80GB", 11), ("2,b,A100 80GB", 11)))
    found, why = scored(tmp_path, "inference", head + "".join(lines) + f"1,,H100 SXM,{rest},7,ms\n")
    assert "no source" in why["1 H100 SXM vllm"]
    assert found == {"1 a H100 SXM vllm:tpot": 0.007, "1 b A100 80GB vllm:tpot": 0.011, "2:tpot": 0.011}


@pytest.mark.parametrize("said", ["1,", ",1"])
def test_one_client_is_a_batch_of_one(tmp_path, said):
    """100 tokens of one request at 50 tokens/s take 2 s; before, a row without a batch had no time."""
    head = "point_id,source,chip,num_chips,model,framework,batch,concurrency,in_len,out_len,metric,value,unit\n"
    line = f"1,a,H100 SXM,1,llama-3.1-8b,vllm,{said},128,100,output_throughput,50,tok/s\n"
    assert scored(tmp_path, "inference", head + line)[0] == {"1:output_throughput": 2.0}


def test_precisions_of_training_as_stacks_write_them():
    rows = [SimpleNamespace(precision=x) for x in ("float8_e4m3", "float8 rowwise", "fp8", "F8", "bfloat16", "mxfp4")]
    assert [row_precision(r) for r in rows] == ["fp8"] * 4 + ["bf16", "fp4"]


def test_a_column_for_each_library_and_groups_of_rows(tmp_path):
    """Before: refused for want of a metric. 2 x 4096^3 FLOP at 700 TFLOPS; four products of 8192 rows each."""
    gemm = "GPU,M,N,K,dtype,cuBLAS TFLOPS,Triton TFLOPS\nH100,4096,4096,4096,fp16,700,600\n"
    found = scored(tmp_path, "kernels", gemm)[0]
    assert found == pytest.approx({"line 1 cuBLAS": 2 * 4096**3 / 700e12, "line 1 Triton": 2 * 4096**3 / 600e12})
    groups = "chip,dtype,#Groups,M per group,N,K,Computation\nH800,fp8_block,4,8192,4096,7168,1297 TFLOPS\n"
    assert scored(tmp_path, "kernels", groups)[0] == pytest.approx({"line 1": 4 * 2 * 8192 * 4096 * 7168 / 1297e12})


def test_sizes_in_one_cell_and_a_machine_beside_a_blank_count(tmp_path):
    head = 'instance,num_chips,model,"TP,PP,DP",sequence,gbs,mbs,step time (s)\n'
    rows = 'p5.48xlarge,,llama-3.1-8b,"2,1,4",8192,64,1,5\np5.48xlarge,16,llama-3.1-8b,"2,1",8192,64,1,5\n'
    found, why = scored(tmp_path, "training", head + rows)
    assert found == {"line 1": 5} and "is not 3 whole numbers" in why["line 2"]


def test_mpi_benchmarks(tmp_path):
    """An all-to-all of OSU prints what a rank sends to each other; its bandwidth keeps many messages on the way."""
    text = "# OSU MPI-CUDA All-to-All Personalized Exchange Latency Test v7.2\n# Size  Avg Latency(us)\n4096  20.5\n"
    path = tmp_path / "osu.txt"
    path.write_text(text)
    (row,) = read("collectives", path, ["chip=A100", "num_ranks=8"]).itertuples()
    assert message_B(row) == 8 * 4096
    path.write_text("# OSU MPI Bandwidth Test v7.2\n# Size  Bandwidth (MB/s)\n4096  24100\n")
    with pytest.raises(SpecError, match="many messages"):
        read("collectives", path)
