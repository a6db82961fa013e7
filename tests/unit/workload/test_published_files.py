"""Files as others published them: sizes left to the type, keys said twice, older names, keys of no consequence.

Files and counts are written down from memory of the models' pages, none of which was opened for it: `source` says where
to check. Sizes that a file leaves out were compared with the defaults of transformers 5.24. Of several models in one
file the language model counts.
"""

import json
from pathlib import Path

import pytest

from dse.core.errors import SpecError
from dse.workload.huggingface import read_config, reading
from dse.workload.transformer import active_parameters, kv_B_per_token, total_parameters

FILE = Path(__file__).parents[2] / "data" / "models" / "published_quirks.jsonl"
PUBLIC = (FILE.parent / "public.jsonl").read_text().splitlines()
QUIRKS = {x["name"]: x for x in map(json.loads, FILE.read_text().splitlines())}


@pytest.mark.parametrize("name", QUIRKS)
def test_files_as_published_count_as_their_pages_say(name):
    one = QUIRKS[name]
    m = reading(one["config"], name, name).model
    assert total_parameters(m) == pytest.approx(one["parameters"], rel=one.get("rel", 1e-3)), one["source"]
    assert kv_B_per_token(m, "bf16") == one["kv"]
    if "active" in one:
        assert active_parameters(m) == pytest.approx(one["active"], rel=0.03)


def llama(**keys):
    """Llama 3.1 8B with further keys."""
    return {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
    } | keys  # fmt: skip


# as the files of each quantiser have it, and the storage of most weights
OBJECTS = {
    "bitsandbytes without its name": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
    "MLX": ({"group_size": 64, "bits": 8}, "int8g64a"),
    "EETQ": ({"quant_method": "eetq", "weights": "int8"}, "int8"),
    "Quanto": ({"quant_method": "quanto", "weights": "float8"}, "fp8"),
    "HQQ": ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, "int4"),
    "TorchAO": ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}}, "int4"),
    "Quark": ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}}, "mxfp4"),
    "ModelOpt": ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, "int4"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_quantisers_object_is_read_as_its_files_have_it(name):
    raw, stored = OBJECTS[name]
    found = reading(llama(quantization_config=raw), "x.json", "x").model.weight_format
    assert found.split(",")[0] == stored


def test_mlx_is_narrow_under_either_name_of_its_object_tables_included():
    """Before: `quantization` alone, as MLX wrote it first, was passed over and read as 16 bit."""
    found = reading(llama(quantization={"group_size": 64, "bits": 4}), "x.json", "x").model.weight_format
    assert found == "int4g64a,rest=bf16"


def test_quark_keeps_what_it_excludes_and_has_patterns_of_its_own():
    raw = {
        "quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}, "exclude": ["lm_head"],
        "layer_quant_config": {"*self_attn*": {"weight": {"dtype": "fp8_e4m3"}}},
    }  # fmt: skip
    found = reading(llama(quantization_config=raw), "x.json", "x").model.weight_format
    assert found == "mxfp4,head=bf16,embedding=bf16,rest=bf16,attention=fp8"


@pytest.mark.parametrize("raw", [{}, {"quant_method": "aqlm"}, {"quant_method": "quark", "global_quant_config": [1]},
                                 {"quant_method": "hqq", "quant_config": 4}, {"quant_method": 7},
                                 {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}},
                                  "layer_quant_config": [1]}])  # fmt: skip
def test_an_object_that_nobody_knows_is_refused_in_a_line(raw):
    assert "quantization_config" in refusal(llama(quantization_config=raw))


def refusal(config):
    with pytest.raises(SpecError) as error:
        reading(config, "x.json", "x")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_narrow_cache_that_the_file_asks_for_is_said_to_be_the_runs_choice():
    raw = {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    said = dict(reading(llama(quantization_config=raw), "x.json", "x").ignored)
    assert "--kv" in said["quantization_config.kv_cache_quant_algo"]


def test_sizes_left_to_the_type_are_named():
    found = dict(reading(QUIRKS["gemma-3-4b-it"]["config"], "x.json", "x").filled)
    assert found["text_config.num_attention_heads"] == 8 and "text_config.hidden_size" not in found
    assert not reading(llama(), "x.json", "x").filled


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5", "d_model": 1024}, "an encoder with a decoder"),
        ({"model_type": "whisper"}, "an encoder with a decoder"),
        ({"model_type": "modernbert"}, "an encoder of text"),
        ({"model_type": "siglip"}, "without a language model"),
        ({"model_type": "zamba2"}, "shared blocks"),
        ({"model_type": "rwkv6"}, "RWKV"),
        ({"dim": 4096, "n_layers": 32, "multiple_of": 256}, "params.json of Meta or Mistral"),
        ({"general.architecture": "openelm"}, "not read from GGUF"),
        ({"d_model": 2560, "n_layer": 64, "ssm_cfg": {}, "d_intermediate": 1}, "mamba_ssm"),
        ({"n_layer": 32, "n_query_groups": 8, "n_embd": 4096}, "LitGPT's"),
        ({"num_layers": 32, "ffn_hidden_size": 14336}, "Megatron's"),
        ({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096}, 'add "model_type": "llama"'),
        ({"architectures": [3]}, "config.json"),
        ({"architectures": 3}, "config.json"),  # a traceback
        ({}, "config.json"),
    ],
)
def test_what_is_out_of_scope_is_refused_with_its_kind(config, said):
    assert said in refusal(config)


@pytest.mark.parametrize("key", ["num_experts_per_token", "conv_kernel", "ffn_dim_multiplier", "use_cla", "token_shift",
                                 "layer_bias_heads", "kv_heads_init_count"])  # fmt: skip
def test_the_form_of_a_name_excuses_no_structure(key):
    assert key in refusal(llama(**{key: 2}))


@pytest.mark.parametrize("key", [
    "_commit_hash", "tokenizer_name", "_from_model_config", "max_tokenizer_truncation", "theta",
    "freeze_mm_mlp_adapter",
    "layernorm_full_attention_beta", "use_liger_kernel",
])  # fmt: skip
def test_keys_of_published_files_that_change_nothing(key):
    """Each in the file of a model on Hugging Face, which was refused for it."""
    assert key in dict(reading(llama(**{key: 2}), "x.json", "x").ignored)


@pytest.mark.parametrize("key", ["rope_interleaved", "some_loss_coef", "attn_logit_softcap", "extra_token_id",
                                 "vision_start", "my_norm_eps"])  # fmt: skip
def test_the_form_of_a_name_excuses_what_is_never_structure(key):
    assert key in dict(reading(llama(**{key: 2}), "x.json", "x").ignored)


def _modules(**algorithms):
    """ModelOpt's list of modules with the algorithm of each, two layers' worth."""
    named = {m.replace("#", str(i)): {"quant_algo": a} for m, a in algorithms.items() for i in range(2)}
    return {"quant_algo": "MIXED_PRECISION", "quant_method": "modelopt", "quantized_layers": named}


def test_mixed_precision_is_read_module_by_module():
    """Before: refused. As in nvidia/Qwen3.6-27B-NVFP4, whose head is FP4 too."""
    raw = _modules(**{"model.layers.#.self_attn.q_proj": "FP8", "model.layers.#.mlp.up_proj": "W4A16_NVFP4",
                      "lm_head": "W4A16_NVFP4"})  # fmt: skip
    found = reading(llama(num_hidden_layers=2, quantization_config=raw), "x.json", "x").model.weight_format
    assert found == "nvfp4,embedding=bf16,rest=bf16,attention=fp8"
    raw["quantized_layers"]["model.layers.0.mlp.up_proj"] = {"quant_algo": "FP3"}
    assert "quantized_layers" in refusal(llama(num_hidden_layers=2, quantization_config=raw))


@pytest.mark.parametrize(("said", "stored"), [
    ({"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}, "fp8"),
    ({"quant_algo": "NVFP4", "group_size": 16}, "nvfp4"),
    ({"quant_algo": None, "kv_cache_quant_algo": "FP8"}, "bf16"),
])  # fmt: skip
def test_storage_in_a_file_of_its_own_is_read_beside_config_json(tmp_path, said, stored):
    """Before: 16 bit without a word. ModelOpt writes hf_quant_config.json, as in nvidia/Llama-3.1-70B-Instruct-FP8."""
    (tmp_path / "config.json").write_text(json.dumps(llama()))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"producer": {}, "quantization": said}))
    assert read_config(tmp_path).model.weight_format.split(",")[0] == stored


def test_experts_beside_an_mlp_are_not_that_mlp():
    """Before: `mlp*` took the experts with it, and nothing was FP4. As in nvidia/Gemma-4-26B-A4B-NVFP4."""
    one = next(x for x in map(json.loads, PUBLIC) if x["name"] == "gemma-4-26b-a4b")["config"]
    kept = [f"model.language_model.layers.{i}.{m}*" for i in range(30) for m in ("mlp", "self_attn")]
    raw = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head", *kept]}
    found = reading(one | {"quantization_config": raw}, "x.json", "x").model.weight_format
    assert found == "nvfp4,head=bf16,embedding=bf16,rest=bf16,attention=bf16,mlp=bf16"


def test_a_flat_file_of_a_wrapper_keeps_its_storage():
    """Before: refused. As in stepfun-ai/Step-3.7-Flash-FP8, whose file has no text_config."""
    fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    raw = llama(model_type="llava", quantization_config=fp8)
    assert reading(raw, "x.json", "x").model.weight_format.startswith("fp8,")


def test_nemotron_h_56b_counts_as_its_page_says():
    """56 B; before: refused for `time_step_rank`, which Mamba 2 does not use. huggingface.co/nvidia/Nemotron-H-56B."""
    tail = "".join("M-M-M-M*-" if i == 0 else "M-M-M-M-M*-" for i in range(10)) + "M-M-M-M-M-"
    raw = {
        "model_type": "nemotron_h", "hidden_size": 8192, "hybrid_override_pattern": tail, "num_hidden_layers": 118,
        "intermediate_size": 32768, "attention_head_dim": 128, "num_attention_heads": 64, "num_key_value_heads": 8,
        "mamba_head_dim": 64, "mamba_num_heads": 256, "ssm_state_size": 256, "n_groups": 8, "conv_kernel": 4,
        "expand": 2, "time_step_rank": 512, "vocab_size": 131072, "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    }  # fmt: skip
    m = reading(raw, "x.json", "x").model
    assert total_parameters(m) == pytest.approx(56.3e9, rel=2e-3)
    assert kv_B_per_token(m, "bf16") == 2 * 10 * 8 * 128 * 2


def test_a_wrapper_that_nobody_knows_is_read_by_the_language_model_it_names():
    """Before: refused, as every new model of images is. What is around changes no layer; unknown keys are told."""
    inner = llama()
    raw = {"model_type": "newest_vlm", "text_config": inner, "vision_config": {"hidden_size": 64}}
    found = reading(raw, "x.json", "x")
    assert total_parameters(found.model) == total_parameters(reading(inner, "x.json", "x").model)
    assert [p.name for p in found.model.left_out] == ["vision tower"]
    assert "key 'n_loops' = 2" in refusal(raw | {"n_loops": 2})
    assert '"newest_vlm" is not known' in refusal(raw | {"text_config": inner | {"model_type": "newest_text"}})
    assert "images or sounds" in refusal(raw | {"model_type": "clip"})


def test_window_keys_say_nothing_where_windows_are_off():
    """Before: refused for types without windows, as Ling's files, which carry Qwen's keys."""
    ling = QUIRKS["ling-lite"]["config"]
    assert "max_window_layers" in refusal(ling | {"use_sliding_window": True})


def test_the_mode_of_mlx_is_its_format():
    """Before: whole numbers of 4 bits."""
    raw = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    assert reading(llama(quantization=raw), "x.json", "x").model.weight_format.startswith("mxfp4,")


def test_layers_that_bitsandbytes_skips_stay_wide():
    """Before: passed over. As in unsloth's dynamic 4-bit files."""
    raw = {"quant_method": "bitsandbytes", "load_in_4bit": True, "llm_int8_skip_modules": ["lm_head", "self_attn"]}
    found = reading(llama(quantization_config=raw), "x.json", "x").model.weight_format
    assert found == "nf4,head=bf16,embedding=bf16,rest=bf16,attention=bf16"


def test_experts_in_fp4_of_a_file_in_fp8():
    """Before: attention in 16 bit and experts in MXFP4. As in nvidia/DeepSeek-V4-Flash-NVFP4."""
    one = next(x for x in map(json.loads, PUBLIC) if x["name"] == "deepseek-v4-flash")["config"]
    raw = {"quant_method": "fp8", "quant_algo": "MIXED_PRECISION", "moe_quant_algo": "NVFP4", "ignore": ["*.attn.*"],
           "quantized_layers": {"layers.0.ffn.experts": {"quant_algo": "NVFP4"}}}  # fmt: skip
    found = reading(one | {"quantization_config": raw}, "x.json", "x").model.weight_format
    assert found == "fp8,head=bf16,embedding=bf16,rest=bf16,experts=nvfp4"


def test_the_architecture_tells_which_type_was_meant():
    told = refusal(llama(model_type="deepseek_ref", architectures=["DeepseekV4ForCausalLM"]))
    assert "did you mean deepseek_v4?" in told


@pytest.mark.parametrize(
    ("said", "context"),
    # as Qwen's pages tell users to add it; of other kinds makers differ in whether the context has it already
    [({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
     ({"rope_type": "yarn", "factor": 4.0}, 40960), ({"rope_type": "linear", "factor": 8.0}, 40960), (None, 40960)],
)  # fmt: skip
def test_yarn_stretches_the_context(said, context):
    """Before: 100,000 tokens of a Qwen3 that its maker stretches to 131,072 were refused as beyond 40,960."""
    made = reading(llama(max_position_embeddings=40960, rope_scaling=said), "x.json", "x").model
    assert made.max_context == context


@pytest.mark.parametrize("odd", [{"factor": "4"}, {"factor": -1.0}, {"original_max_position_embeddings": 1.5}])
def test_yarn_of_an_odd_factor_is_refused(odd):
    said = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768} | odd
    with pytest.raises(SpecError, match="rope_scaling"):
        reading(llama(rope_scaling=said), "x.json", "x")
