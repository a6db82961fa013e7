"""Tables as tools, clouds and papers print them: each was misread or refused before; every number by hand."""

import json

import pytest
from scored_tables import seconds_of as table

SERVED = ("chip=h100", "tp=1", "model=llama-3.1-8b")
RUN = "H100,64,llama-3.1-8b,"


def times(tmp_path, kind, text, given=(), name="table.csv"):
    return table(tmp_path, kind, text, given, name)[1]


def test_a_batch_of_tokens_is_none_of_sequences(tmp_path):
    """4,194,304 tokens at 6,301 tokens/s of each of 64 chips take 10.4 s; before, 23.7 hours of as many sequences."""
    head = "GPU,GPUs,Model,{} (tokens),Sequence length,tokens/s/GPU\n" + RUN + "4194304,8192,6301\n"
    for name in ("Global batch size", "Batch size", "GBS"):
        found = times(tmp_path, "training", head.format(name))
        assert found == pytest.approx({"line 1": 4194304 / 6301 / 64})
    other = head.replace("(tokens)", "(sequences)").format("GBS").replace("4194304", "512")
    assert times(tmp_path, "training", other) == pytest.approx({"line 1": 512 * 8192 / 6301 / 64})


@pytest.mark.parametrize(
    ("kind", "head", "cells", "name"),
    [
        # before: 31 ms of a prompt passed for those of a request of 128 tokens
        ("inference", "GPU,TP,Model,Phase,Batch,Input,Output,Latency (ms)", "H100,1,llama-3.1-8b,prefill,1,1024,128,31",
         "phase"),
        ("inference", "GPU,TP,Model,BS,ISL,OSL,Images,TTFT (ms)", "H100,1,llama-3.1-8b,1,1024,128,4,131", "images"),
        ("inference", "GPU,TP,Model,BS,ISL,OSL,MTP,TPOT (ms)", "H100,1,llama-3.1-8b,1,1024,128,3,3", "speculative"),
        # before: one product, a dense one, and one forward
        ("kernels", "chip,num_groups,M,N,K,dtype,time (us)", "h800,4,8192,4096,7168,fp8,1200", "groups"),
        ("kernels", "chip,M,N,K,dtype,sparsity,TFLOPS", "h100,4096,4096,4096,bf16,2:4,900", "sparsity"),
        ("kernels", "chip,op,batch,heads,seqlen,head_dim,causal,pass,TFLOPS",
         "h100,attention prefill,4,32,8192,128,False,bwd,450", "direction"),
    ],
)  # fmt: skip
def test_a_cell_that_says_that_something_else_was_measured(tmp_path, kind, head, cells, name):
    _, found, why = table(tmp_path, kind, f"{head}\n{cells}\n")
    assert not found and name in next(iter(why.values()))


def test_a_row_of_words_is_no_second_header(tmp_path):
    text = "GPU,TP,Model,ISL,OSL,BS,TPOT (ms)\nH100,,llama-3.1-8b,,,,OOM\nH100,1,llama-3.1-8b,1024,8,16,7\n"
    _, found, why = table(tmp_path, "inference", text)
    assert found == pytest.approx({"line 2:tpot": 0.007}) and "OOM" in why["line 1"]


def test_positions_beside_a_cache(tmp_path):
    """One new position is a token; of 128 before 8,192 nothing says what each sees. Before: neither length was read."""
    head = "chip,op,batch,heads,q_len,kv_len,head_dim,dtype,time (us)\n"
    rows = "h100,attention decode,8,32/8,1,8192,128,bf16,90\nh100,attention prefill,1,32/8,128,8192,128,bf16,90\n"
    _, found, why = table(tmp_path, "kernels", head + rows)
    assert found == pytest.approx({"line 1": 90e-6}) and "queries = '128'" in why["line 2"]


def test_cells_that_say_that_it_was_not(tmp_path):
    text = "chip,M,N,K,dtype,sparsity,groups,time (us)\nh100,4096,4096,4096,bf16,none,1,230\n"
    assert times(tmp_path, "kernels", text) == pytest.approx({"line 1": 230e-6})


def test_slices_of_tpus_and_instances_count_their_chips(tmp_path):
    """v5p-128 has 128 TensorCores, two a chip; before, 2xv5p-128 were 2 chips and 16 instances 16."""
    head = "Hardware,Model,per_device_batch_size,seq,step time (s)\n"
    rows = table(tmp_path, "training", head + "".join(f"{x},llama2-7b,4,4096,3.5\n" for x in (
        "v5p-128", "2xv5p-128", "v5e-256", "TPU v4-8", "8xH100")))[0]  # fmt: skip
    assert list(rows.num_chips) == [64, 128, 256, 4, 8] and list(rows.global_batch) == [256, 512, 1024, 16, 32]
    cloud = "Instance,Instances,Model,GBS,seq,seq/s\ntrn1.32xlarge,16,llama-2-7b,1024,4096,50\n"
    assert list(table(tmp_path, "training", cloud)[0].num_chips) == [256]


@pytest.mark.parametrize(
    ("kind", "text", "given", "found"),
    [
        ("collectives", "size (B),out-of-place,,in-place,\n,time (us),busbw (GB/s),time (us),busbw (GB/s)\n"
         "1048576,45.1,40.69,44,41.7\n", ("collective=all_reduce", "chip=h100", "num_ranks=8"), {"line 1": 45.1e-6}),
        ("training", "GPU,GPUs,Model,GBS,Seq len,Step time,Throughput\n,,,seqs,tokens,s,tok/s/GPU\n"
         + RUN + "256,8192,5.2,6301\n", (), {"line 1": 5.2}),
        ("inference", "GPU,TP,Model,ISL,OSL,BS,Latency,\n,,,(tokens),(tokens),,TTFT (ms),TPOT (ms)\n"
         "H100,1,llama-3.1-8b,1024,8,16,40,7\n", (), {"line 1:ttft": 0.04, "line 1:tpot": 0.007}),
        ("inference", "Model,TP,ISL,OSL,BS,H100,A100\n,,,,,TPOT (ms),TPOT (ms)\nllama-3.1-8b,1,1024,8,16,7,13\n", (),
         {"line 1 H100:tpot": 0.007, "line 1 A100:tpot": 0.013}),
        ("inference", "Model,GPU,TP,Batch,ISL=128 OSL=8,,ISL=1024 OSL=8,\n,,,,TTFT (ms),TPOT (ms),TTFT (ms),TPOT (ms)\n"
         "llama-3.1-8b,H100,1,16,20,8,120,9\n", (),
         {"line 1 in_len 128 out_len 8:ttft": 0.02, "line 1 in_len 128 out_len 8:tpot": 0.008,
          "line 1 in_len 1024 out_len 8:ttft": 0.12, "line 1 in_len 1024 out_len 8:tpot": 0.009}),
        # a unit of all names of a group; one of a name itself counts before it
        ("inference", "Setup,,,,,,Latency (ms),,\nGPU,Model,TP,BS,ISL,OSL,TTFT,TPOT,E2E latency (s)\n"
         "H100,llama-3.1-8b,1,16,1024,8,120,9,0.19\n", (),
         {"line 1:ttft": 0.12, "line 1:tpot": 0.009, "line 1:request_latency": 0.19}),
    ],
)  # fmt: skip
def test_headers_of_two_lines(tmp_path, kind, text, given, found):
    """Before: refused, or the line of units was a row."""
    assert times(tmp_path, kind, text, given) == pytest.approx(found)


LLAMA_BENCH = """| model         |     size | params | backend | ngl |          test |            t/s |
| ------------- | -------: | -----: | ------- | --: | ------------: | -------------: |
| llama 8B Q4_0 | 4.33 GiB | 8.03 B | CUDA    |  99 |         pp512 | 8521.3 ± 52.1 |
| llama 8B Q4_0 | 4.33 GiB | 8.03 B | CUDA    |  99 |         tg128 |   152.1 ± 0.2 |
| llama 8B Q4_0 | 4.33 GiB | 8.03 B | CUDA    |  99 | pp512 @ d4096 |     7000 ± 10 |
| llama 8B Q4_0 | 4.33 GiB | 8.03 B | CUDA    |  99 |   pp512+tg128 |    700 ± 10 |
"""


def test_llama_bench(tmp_path):
    """512 tokens at 8,521.3 a second are 60.1 ms; before, its model contradicted any other, and no length was read."""
    rows, found, why = table(tmp_path, "inference", LLAMA_BENCH, SERVED, "a.md")
    assert found == pytest.approx({
        "line 1:prefill_latency": 512 / 8521.3, "line 2:tpot": 1 / 152.1, "line 4:request_latency": 640 / 700,
    })  # fmt: skip
    assert set(rows.precision) == {"q4_0"} and "behind_others" in next(iter(why.values()))
    one = {"gpu_info": "NVIDIA H100", "model_type": "llama 8B Q4_0", "n_prompt": 0, "n_gen": 128, "avg_ts": 152.1}
    found = times(tmp_path, "inference", json.dumps([one]), SERVED[1:], "a.json")
    assert found == pytest.approx({"line 1:tpot": 1 / 152.1})


@pytest.mark.parametrize(
    ("printed", "stored"),
    [
        # names of files as `llama_model_ftype_name` of llama.cpp prints them; before: no storage was known as q4_k
        ("llama 8B Q4_K - Medium", "q4_k_m"), ("llama 8B Q4_K - Small", "q4_k_s"), ("llama 8B Q3_K - Large", "q3_k_l"),
        ("llama 8B Q2_K - Medium", "q2_k"), ("llama 8B Q2_K - Small", "q2_k_s"), ("llama 8B Q6_K", "q6_k"),
        ("llama 8B IQ4_XS - 4.25 bpw", "iq4_xs"), ("gpt-oss 20B MXFP4 MoE", "mxfp4"),
    ],
)  # fmt: skip
def test_storage_that_llama_bench_prints(tmp_path, printed, stored):
    rows, found, _ = table(tmp_path, "inference", LLAMA_BENCH.replace("llama 8B Q4_0", printed), SERVED, "a.md")
    assert set(rows.precision) == {stored} and "line 2:tpot" in found


def test_json_of_guidellm_and_genai_perf(tmp_path):
    """GuideLLM's time per output token has the prompt's in it: the time between tokens counts."""
    fine = {"inter_token_latency_ms": 9.0, "time_per_output_token_ms": 12.0, "time_to_first_token_ms": 48.0,
            "prompt_token_count": 1024, "output_token_count": 128}  # fmt: skip
    metrics = {k: {"successful": {"mean": x, "median": x}, "errored": {}} for k, x in fine.items()}
    one = {"benchmarks": [{"args": {"strategy": {"streams": 16}}, "metrics": metrics}]}
    rows, found, _ = table(tmp_path, "inference", json.dumps(one), SERVED, "a.json")
    assert found == pytest.approx({"line 1:tpot": 0.009})
    assert (set(rows.concurrency), set(rows.in_len)) == ({16.0}, {1024})
    perf = {"inter_token_latency": {"unit": "ms", "avg": 10.1},
            "output_sequence_length": {"unit": "tokens", "avg": 128},
            "input_sequence_length": {"unit": "tokens", "avg": 1024},
            "input_config": {"model": ["llama-3.1-8b"], "perf_analyzer": {"stimulus": {"concurrency": 8}}}}  # fmt: skip
    assert times(tmp_path, "inference", json.dumps(perf), SERVED[:2], "a.json") == pytest.approx(
        {"line 1:tpot": 0.0101}
    )


@pytest.mark.parametrize(
    ("kind", "text", "given", "found"),
    [
        # CUTLASS: operand B is no batch, and a time without a unit stands in no rate's way
        ("kernels", "m,n,k,A,B,C,D,Runtime,GFLOPs\n8192,8192,8192,bf16:row,bf16:column,bf16:row,bf16:row,1.5,720000\n",
         ("chip=h100", "dtype=bf16"), 2 * 8192**3 / 720e12),
        ("collectives", "size_bytes,oop_time_us,oop_busbw,ip_time_us,ip_busbw\n1048576,45.1,40.69,44.0,41.7\n",
         ("chip=h100", "num_ranks=8", "collective=all_reduce"), 45.1e-6),
        # MosaicML
        ("training", "Model,SeqLen (T),# GPUs,GPU,MicroBatchSize,GPUThroughput (T/s/GPU),GlobalBatchSize (S)\n"
         "llama-2-7b,2048,64,h100,8,9600,512\n", (), 512 * 2048 / 9600 / 64),
        ("training", "GPU,GPUs,Model,GBS,seq,TPS (per GPU)\n" + RUN + "256,8192,6301\n", (), 256 * 8192 / 6301 / 64),
        # Neuron SDK
        ("training", "Model,Instance-Type,Training Data-Type,Nodes,Topology,Microbatch,Global Minibatch,"
         "Performance [seq/sec],Sequence length\n"
         "Llama3-70B pre-training,trn1.32xlarge,BF16,32,TP=32 DP=2 PP=8,1,1024,7.6,8192\n", (), 1024 / 7.6),
        ("training", "global_step=10, RunningAvgSamplesPerSec=60.1, CurrSamplesPerSec=60.5, MemAllocated=20.1GB\n"
         "global_step=20, RunningAvgSamplesPerSec=60.2, CurrSamplesPerSec=60.2, MemAllocated=20.1GB\n",
         ("chip=h100", "num_chips=64", "model=llama-2-13b", "gbs=512", "seq_len=4096"), 512 / 60.2),
        # ROCm's documentation
        ("inference", "Model,Precision,TP Size,Batch Size,Input,Output,MI300X Latency (sec)\n"
         "Llama 3.1 405B (amd/Llama-3.1-405B-Instruct-FP8-KV),FP8,8,1,128,2048,45.84\n", (), 45.84),
    ],
)  # fmt: skip
def test_words_of_tools(tmp_path, kind, text, given, found):
    assert list(times(tmp_path, kind, text, given).values()) == pytest.approx([found])


def test_prompts_and_tokens_by_their_phases(tmp_path):
    head = "GPU,TP,Model,ISL,OSL,BS,Prefill (ms),Decode (ms/token),Decode (ms)\n"
    _, found, why = table(tmp_path, "inference", head + "H100,1,llama-3.1-8b,1024,128,1,31,7.2,900\n")
    assert found == pytest.approx({"line 1:prefill_latency": 0.031, "line 1:tpot": 0.0072})
    # all tokens, or one: nothing says which
    assert "not modelled" in why["line 1:decode_latency"]
