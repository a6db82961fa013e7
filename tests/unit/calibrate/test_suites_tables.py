"""Tables in the words of benchmark suites: NeMo, torchtitan, MaxText, DeepSpeed, MLPerf, NIM, nccom-test; by hand."""

from types import SimpleNamespace

import pytest
from scored_tables import cases_of as table

from dse.calibrate.batch import predict
from dse.calibrate.operators import phase
from dse.calibrate.published_models import stored_name
from dse.calibrate.request_rows import otherwise, row_cache, row_storage
from dse.calibrate.training_rows import row_plan
from dse.core.errors import SpecError
from dse.hardware.presets import chip
from dse.physics.calibration import prior_calibration
from dse.workload.model_names import model_alias
from dse.workload.presets import model


def seconds(cases):
    """What the calibrations predict, without a fit."""
    return predict(cases, [prior_calibration(c.chip_name) for c in cases])[0]


def plans(rows):
    """The plan of every row, with what it says of its global batch."""
    return [(row_plan(r, int(r.num_chips)), int(r.global_batch)) for r in rows.itertuples()]


def test_suites_of_training_by_their_own_columns(tmp_path):
    """Before: no table was read, or its stages, chips and batches were passed over."""
    nemo = ("Model,#-GPUs,System,Precision,GBS,MBS,Sequence Length,TP,PP,CP,VP,EP,FSDP,Tokens / sec / GPU\n"
            "LLAMA3-70B,64,DGX-H100,FP8,128,1,8192,4,8,1,5,1,0,1600\n"
            "LLAMA3-8B,8,DGX-H100,FP8,128,1,8192,1,1,1,,1,1,12000\n")  # fmt: skip
    rows, cases, _ = table(tmp_path, "training", nemo)
    ((deep, _), (shared, _)) = plans(rows)
    assert (deep.tp, deep.pp, deep.dp, deep.interleave, deep.zero) == (4, 8, 2, 5, 1)
    assert (shared.dp, shared.interleave, shared.zero) == (8, 1, 3)
    assert cases["line 1"].measured_s == pytest.approx(128 * 8192 / (1600 * 64))
    titan = ("GPU,# GPU,Parallelism,Model,Local Batch Size,seq len,Global batch size,TPS/GPU\n"
             'H100,512,"FSDP 8, TP 8, PP 8",Llama 3.1 405B,1,8192,64,128\n')  # fmt: skip
    rows, cases, _ = table(tmp_path, "training", titan)
    ((plan, _),) = plans(rows)
    assert (plan.tp, plan.pp, plan.dp, plan.micro_batch, plan.zero) == (8, 8, 8, 1, 3)
    assert cases["line 1"].measured_s == pytest.approx(64 * 8192 / (128 * 512))


def test_batches_that_other_columns_tell(tmp_path):
    """DeepSpeed: 4 x 2 x 64 = 512 sequences; MaxText: 4 x 64 = 256; nodes of 8 chips: 8 x 8 = 64, before 16."""
    deep = ("gpu,gpus,model,zero_stage,micro_batch_per_gpu,gradient_accumulation_steps,seq_len,samples_per_sec\n"
            "A100-80GB,64,llama-2-13b,3,4,2,4096,60\n")  # fmt: skip
    max_ = ("Hardware,No. of chips,Model,per_device_batch_size,max_target_length,remat_policy,Step time (seconds)\n"
            "v5p-128,64,llama2-70b,4,4096,full,18\n")  # fmt: skip
    slurm = ("chip,nodes,gpus_per_node,model,seq_len,gbs,accumulation,tp,pp,step time (s)\n"
             "h100,8,8,llama-3.1-70b,8192,128,16,4,4,12\n")  # fmt: skip
    read_ = [plans(table(tmp_path, "training", text)[0])[0] for text in (deep, max_, slurm)]
    assert [(p.dp, p.micro_batch, n, p.recompute) for p, n in read_] == [
        (64, 4, 512, "selective"), (64, 4, 256, "full"), (4, 2, 128, "selective")]  # fmt: skip


def test_nodes_of_an_unknown_size_are_no_chips(tmp_path):
    """Before: 16 ranks of a plan were taken for all chips of 8 nodes."""
    text = "chip,nodes,model,seq_len,gbs,tp,pp,step time (s)\nh100,8,llama-3.1-70b,8192,128,4,4,12\n"
    assert "no num_chips" in table(tmp_path, "training", text)[2]["line 1"]


def test_rates_of_nobody_in_particular(tmp_path):
    """Before: 5605 tokens/s of each of 128 chips were those of all."""
    head = "chip,num_chips,model,seq_len,global_batch,dp,tps\n"
    _, cases, why = table(
        tmp_path, "training", head + "H100,128,llama3-8b,8192,256,128,5605\nH100,1,llama3-8b,8,1,1,4\n"
    )
    assert "stacks do not agree" in why["line 1"] and cases["line 2"].measured_s == 2
    served = "chip,num_chips,model,concurrency,isl,osl,TPS\nH100,1,llama3-8b,1,8,10,50\n"
    assert table(tmp_path, "inference", served)[1]["line 1:throughput"].measured_s == pytest.approx(0.2)


def test_experts_over_tensor_ranks_too():
    """Before: a division by zero."""
    row = SimpleNamespace(global_batch=2048, tp=4, pp=4, dp=16, ep=64)
    assert row_plan(row, 256).ep == 16
    with pytest.raises(SpecError, match="ep = 65 is more than"):
        row_plan(SimpleNamespace(global_batch=2048, tp=4, pp=4, dp=16, ep=65), 256)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"note": "EAGLE-3, k = 3"}, "speculative"), ({"framework": "vllm, MTP=1"}, "speculative"),
        ({"speculative": "eagle"}, "speculative"), ({"speculative": "none"}, ""), ({"speculative": 0.0}, ""),
        ({"note": "speculative decoding (MTP) is not identified"}, ""), ({"note": "no prefix cache"}, ""),
        ({"note": "3 fused MTP rounds"}, ""), ({"disaggregated": "true"}, "disaggregated"),
        ({"note": "disaggregated, 1 prefill + 2 decode"}, "disaggregated"), ({"prefix_hit": 0.9}, ""),
    ],
)  # fmt: skip
def test_requests_that_are_served_otherwise(said, reason):
    """Before: predicted as if each pass wrote one token on chips that do both."""
    why = otherwise(SimpleNamespace(**said), "tpot")
    assert why.startswith(reason) if reason else why == ""
    assert otherwise(SimpleNamespace(prefix_hit=0.9), "ttft").startswith("prefix cache")


def test_storage_that_the_name_or_the_makers_file_tells(tmp_path):
    """Before: 16 bit. 671 GB of FP8 are 84 GB of each of eight H200; as 16 bit they do not fit."""
    h200 = chip("h200")
    assert stored_name("meta-llama/Llama-3.1-70B-Instruct-FP8-KV") == "fp8" and stored_name("qwen3-8b") == ""
    assert model_alias("meta-llama/Llama-3.1-70B-Instruct-FP8-KV") == "llama-3.1-70b"
    assert model_alias("RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16") == "llama-3.3-70b"
    blank = SimpleNamespace(model="deepseek-ai/DeepSeek-R1")
    assert row_storage(blank, h200, model("deepseek-v3")) == ("fp8", "")
    assert row_storage(SimpleNamespace(model="Qwen3-8B-AWQ"), h200, model("qwen3-8b")) == ("int4", "")
    assert row_storage(SimpleNamespace(model="Qwen3-8B-FP8", precision="bf16"), h200, model("qwen3-8b")) == ("bf16", "")
    head = "gpu,tp,model,dtype,concurrency,isl,osl,median tpot (ms)\n"
    _, cases, why = table(
        tmp_path, "inference", head + "h200,8,deepseek-r1,,1,8,8,9\nh200,8,deepseek-r1,bf16,1,8,8,9\n"
    )
    assert "line 1:tpot" in cases and "169 GB of weights as bf16 on each of 8 ranks of 141 GB" in why["line 2:tpot"]


def test_caches_that_a_column_tells(tmp_path):
    """32 caches of 64 k tokens: half as many bytes in FP8, so that a token takes between .5 and 1 of the time."""
    head = "gpu,tp,model,precision,kv_cache_dtype,batch,isl,osl,median tpot (ms)\n"
    lines = (f"h200,8,llama-3.1-70b,bf16,{kv},32,65536,8,40\n" for kv in ("auto", "fp8_e4m3"))
    wide, narrow = seconds(list(table(tmp_path, "inference", head + "".join(lines))[1].values()))
    assert 0.5 < narrow / wide < 0.75
    with pytest.raises(SpecError, match="kv_precision = 'turbo'"):
        row_cache(SimpleNamespace(kv_precision="turbo"))


def test_data_ranks_of_attention(tmp_path):
    """Before: eight tensor ranks; each has sequences of its own."""
    text = "gpu,num_gpus,tp,model,dp_attention,batch,isl,osl,tpot (ms)\nh200,8,8,deepseek-r1,true,64,1024,8,40\n"
    assert list(table(tmp_path, "inference", text)[0].dp) == [8]


def test_operators_as_their_tables_call_them(tmp_path):
    """Of 2 x 16 heads over 8192 tokens: 4 b h s^2 d, half of it masked, at 610 TFLOP/s."""
    names = ("flash_attn fwd", "FA3 forward", "paged attention decode", "flash attention", "gemm")
    assert [phase(x) for x in names] == ["prefill", "prefill", "decode", "", ""]
    head = "gpu,op,batch,seqlen,nheads,headdim,causal,dtype,TFLOPS\n"
    flash = "H100,flash attention fwd,2,8192,16,128,{},fp16,610\n"
    _, cases, why = table(
        tmp_path, "kernels", head + "".join(map(flash.format, ("true", "false", ""))) + "H100,sdpa,,,,,,fp16,9\n"
    )
    full = 4 * 2 * 16 * 8192**2 * 128 / 610e12
    assert [c.measured_s for c in cases.values()] == pytest.approx([full / 2, full])
    masked, whole = seconds(list(cases.values()))
    assert 1.8 < whole / masked < 2.1 and "no time" in why["line 3"] and "line 4" in why
    mamf = "Accelerator,dtype,MxNxK,TFLOPS\nH100 SXM,BF16,6144x17920x2816,792.1\n"
    assert table(tmp_path, "kernels", mamf)[1]["line 1"].measured_s == pytest.approx(2 * 6144 * 17920 * 2816 / 792.1e12)
    names = "gpu,op,M,N,K,dtype,time (us)\n" + "".join(
        f"H100,{op},4096,4096,4096,{t},210\n" for op, t in (("mm", "bf16"), ("linear", "w4a16"), ("gemm", "FP8-E4M3"))
    )
    assert len(table(tmp_path, "kernels", names)[1]) == 3
    plain = "gpu,op,M,N,K,dtype,latency\nH100,gemm,64,64,64,bf16,9\n"
    assert "'latency' has no unit" in table(tmp_path, "kernels", plain)[2]["line 1"]


def test_collectives_of_nodes_and_of_nccom_test(tmp_path):
    """busbw is GB/s in what nccl-tests print: 2 x 15/16 of a GiB at 380 GB/s."""
    text = "gpu,nodes,gpus per node,op,message size (bytes),busbw\nH100,2,8,allr,1073741824,380\n"
    rows, cases, _ = table(tmp_path, "collectives", text)
    assert list(rows.num_ranks) == [16]
    assert cases["line 1"].measured_s == pytest.approx(2 * 15 / 16 * 2**30 / 380e9)


def test_models_that_no_decoder_describes(tmp_path):
    """Before: predicted as decoders of their sizes, with a vocabulary; T5-3B 2.6 times too fast."""
    head = "gpu,gpus,model,layers,hidden,heads,seq_len,gbs,step time (s)\n"
    names = ("T5-3B", "google/flan-t5-xl", "ViT-L", "Whisper large", "Stable Diffusion XL", "BERT-Large", "Megatron-1B")
    rows = head + "".join(f"A100-80GB,8,{n},24,1024,16,512,64,1\n" for n in names)
    _, cases, why = table(tmp_path, "training", rows)
    assert sorted(cases) == ["line 6", "line 7"]
    assert "an encoder with a decoder" in why["line 2"] and "step by step" in why["line 5"]


def test_rows_without_a_metric_are_named(tmp_path):
    """Before: gone, from the predictions and from the reasons. 8 x 128 tokens at 700 tokens/s are 1.463 s."""
    head = "gpu,tp,model,precision,batch,isl,osl,tpot (ms),output tokens/s\n"
    _, cases, why = table(
        tmp_path, "inference", head + "H100,8,llama-3.1-70b,fp8,8,8,128,,\nH100,8,llama-3.1-70b,fp8,8,8,128,,700\n"
    )
    assert "is not a positive number" in why["line 1"]
    assert cases["line 2:throughput"].measured_s == pytest.approx(8 * 128 / 700)


def test_batches_in_tokens(tmp_path):
    text = "gpu,gpus,model,seq_len,global_batch_tokens,step time (s)\nH100,64,llama-3.1-8b,8192,1048576,3\n"
    assert list(table(tmp_path, "training", text)[0].global_batch) == [128]


def test_a_librarys_own_product_is_narrow_already(tmp_path):
    """Before: a kernel that narrows its input stood before it, which took longer than the product."""
    lines = (f"H100,{op},64,2112,7168,fp8,9\n" for op in ("GEMM", "DeepGEMM", "matmul (cuBLASLt)"))
    cases = table(tmp_path, "kernels", "gpu,op,M,N,K,dtype,time (us)\n" + "".join(lines))[1]
    assert [len(c.demand.ops.runs) for c in cases.values()] == [2, 1, 1]
