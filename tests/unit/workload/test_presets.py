"""Models by name: all load, all are named after themselves, unknown ones get a hint."""

import dataclasses
import json

import pytest

from dse.core.errors import SpecError, UnknownNameError
from dse.workload.blocks import Block, Experts, Mlp, Run
from dse.workload.latent import Latent
from dse.workload.mixers import Attention
from dse.workload.presets import model, model_names, model_reading, model_sources
from dse.workload.transformer import is_causal


def test_names():
    assert model_names() == [
        "baichuan2-7b", "bert-large", "bloom-176b", "bloom-7b1", "codellama-34b", "codestral-22b",
        "command-r-35b", "command-r-plus-104b", "dbrx", "deepseek-coder-33b", "deepseek-llm-67b",
        "deepseek-moe-16b", "deepseek-v2", "deepseek-v2-lite", "deepseek-v3", "deepseek-v3.2",
        "deepseek-v4-flash", "deepseek-v4-pro", "falcon-40b", "falcon-7b", "gemma-2-27b", "gemma-2-2b",
        "gemma-2-9b", "gemma-2b", "gemma-3-1b", "gemma-3-27b", "gemma-4-26b-a4b", "gemma-4-31b", "gemma-7b",
        "glm-4-9b", "glm-4.5-air", "glm-4.6", "glm-4.7-flash", "glm-5.2", "gpt-3-175b", "gpt-j-6b",
        "gpt-neox-20b", "gpt-oss-120b", "gpt-oss-20b", "gpt2", "gpt2-large", "gpt2-medium", "gpt2-xl",
        "gpt3-20b", "gpt3-22b", "gpt3-530b", "gpt3-5b", "gpt3-6.7b", "granite-3.0-8b", "granite-4.0-h-small",
        "internlm2-7b", "jamba-v0.1", "kimi-k2", "kimi-k2.6", "kimi-k3", "kimi-linear-48b-a3b", "llama-1-30b",
        "llama-1-65b", "llama-2-13b", "llama-2-70b", "llama-2-7b", "llama-3.1-405b", "llama-3.1-70b",
        "llama-3.1-8b", "llama-3.2-1b", "llama-3.2-3b", "llama-3.3-70b", "llama-4-maverick", "llama-4-scout",
        "mimo-v2.5-pro", "minicpm-2b", "minimax-m2", "minimax-m3", "ministral-8b", "mistral-7b",
        "mistral-large-123b", "mistral-large-3", "mistral-nemo-12b", "mistral-small-24b", "mixtral-8x22b",
        "mixtral-8x7b", "mpt-30b", "mpt-7b", "nemotron-3-nano-30b-a3b", "nemotron-3-super-120b-a12b",
        "olmo-2-13b", "olmo-2-7b", "olmoe-1b-7b", "opt-1.3b", "opt-13b", "opt-30b", "opt-6.7b", "opt-66b",
        "phi-2", "phi-3-medium", "phi-3-mini", "phi-3.5-moe", "phi-4", "pythia-6.9b", "qwen-7b",
        "qwen1.5-moe-a2.7b", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-14b", "qwen2.5-32b", "qwen2.5-3b",
        "qwen2.5-72b", "qwen2.5-7b", "qwen3-0.6b", "qwen3-1.7b", "qwen3-14b", "qwen3-235b-a22b",
        "qwen3-30b-a3b", "qwen3-32b", "qwen3-4b", "qwen3-8b", "qwen3-coder-480b-a35b", "qwen3-next-80b-a3b",
        "qwen3.5-397b-a17b", "qwen3.6-35b-a3b", "smollm2-1.7b", "solar-10.7b", "starcoder2-15b",
        "step-3.5-flash", "step-3.7-flash", "tinyllama-1.1b", "yi-34b", "yi-6b",
    ]  # fmt: skip


def test_every_preset_names_its_source():
    """A page with the file, or a publication that prints the sizes; `dse models NAME` prints it."""
    assert sorted(model_sources()) == model_names()
    assert all("huggingface.co/" in x or x.startswith("[") for x in model_sources().values())
    assert model_reading("kimi-k3").source == model_sources()["kimi-k3"]


@pytest.mark.parametrize("name", model_names())
def test_every_preset_loads(name):
    m = model(name)
    assert m.name == name
    assert m.attention.n_heads % m.attention.n_kv_heads == 0


def test_gpt3_as_published():
    m = model("gpt-3-175b")
    assert m.runs == (Run(Block((Attention(96, 96, 128),), Mlp(49152, 2)), 96),)
    assert (m.hidden, m.vocab, m.tied_embeddings, m.norm_passes, m.max_context) == (12288, 51200, True, 6, 2048)


def test_llama_405b_as_published():
    m = model("llama-3.1-405b")
    assert m.runs == (Run(Block((Attention(128, 8, 128),), Mlp(53248)), 126),)
    assert (m.hidden, m.tied_embeddings, m.norm_passes, m.max_context) == (16384, False, 4, 131072)


def test_path_to_a_file(tmp_path):
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 10}
    (tmp_path / "small.json").write_text(json.dumps(config | {"layer_norm_epsilon": 1e-5}))
    assert model(tmp_path / "small.json").name == "small"
    assert model(str(tmp_path / "small.json")).hidden == 8


def test_unknown_name_offers_near_matches():
    with pytest.raises(UnknownNameError, match=r"unknown model 'llama-3-70b'; did you mean .*llama-3\.[13]-70b"):
        model("llama-3-70b")
    with pytest.raises(UnknownNameError, match="Llama"):
        model("meta-llama/Llama-3.1-8B")


def test_missing_file():
    with pytest.raises(SpecError, match=r"absent\.json: cannot be read"):
        model("absent.json")


def test_deepseek_v3_as_published():
    # DeepSeek-V3 report, section 4.2: 61 layers, 3 of them dense, 128 heads, latents of 512 and 1536, 256 experts of
    # 2048 and one shared, 8 per token
    m = model("deepseek-v3")
    assert m.attention == Latent(128, query_rank=1536, kv_rank=512, rope_dim=64, nope_dim=128, value_dim=128)
    assert m.feeds == ((Mlp(18432), 3 / 61), (Experts(256, 8, 2048, shared_ffn=2048), 58 / 61))
    assert (m.n_layers, m.hidden) == (61, 7168)


def test_gpt_oss_alternates_windows():
    m = model("gpt-oss-120b")
    assert [(x.window, x.head_dim, share) for x, share in m.mixers] == [(128, 64, 0.5), (0, 64, 0.5)]
    assert m.experts == Experts(n_experts=128, per_token=4, ffn=2880)


def test_llama_4_interleaves_experts():
    scout, maverick = model("llama-4-scout"), model("llama-4-maverick")
    assert scout.feeds == ((Experts(16, 1, 8192, shared_ffn=8192), 1.0),)
    assert maverick.feeds == ((Mlp(16384), 0.5), (Experts(128, 1, 8192, shared_ffn=8192), 0.5))
    # three blocks of four attend in chunks
    assert [(x.window, x.chunked, share) for x, share in scout.mixers] == [(8192, True, 0.75), (0, False, 0.25)]


def test_mistral_windows_every_block():
    m = model("mistral-7b")
    assert (m.attention.window, m.n_layers, len(m.runs)) == (4096, 32, 1)


def test_bert_is_an_encoder():
    m = model("bert-large")
    assert (is_causal(m), m.runs[0].block.feed, m.tied_embeddings, m.norm_passes) == (False, Mlp(4096, 2), True, 6)


def test_llama_3_3_has_the_shape_of_3_1():
    assert dataclasses.replace(model("llama-3.3-70b"), name="llama-3.1-70b") == model("llama-3.1-70b")
