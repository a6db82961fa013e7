"""Mistral's params.json: as many weights as the same model has in the library's spelling."""

import pytest

from dse.core.errors import SpecError
from dse.workload.huggingface import reading
from dse.workload.presets import model
from dse.workload.transformer import active_parameters, kv_B_per_token, total_parameters

SEVEN = {
    "dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8,
    "norm_eps": 1e-5, "vocab_size": 32000, "sliding_window": 4096,
}  # fmt: skip
LARGE = {
    "dim": 7168, "n_layers": 61, "head_dim": 128, "hidden_dim": 16384, "n_heads": 128, "n_kv_heads": 128,
    "rope_theta": 10000.0, "norm_eps": 1e-06, "vocab_size": 131072, "tied_embeddings": False,
    "max_position_embeddings": 294912, "llama_4_scaling": {"original_max_position_embeddings": 8192, "beta": 0.1},
    "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "kv_lora_rank": 512, "v_head_dim": 128,
    "quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"},
    "yarn": {"original_max_position_embeddings": 8192, "factor": 36, "apply_scale": False, "beta": 32, "alpha": 1},
    "moe": {
        "expert_parallel": 1, "expert_model_parallel": 1, "route_every_n": 1, "first_k_dense_replace": 3,
        "num_experts": 128, "num_experts_per_tok": 4, "num_expert_groups": 1, "num_expert_groups_per_tok": 1,
        "routed_scale": 1.0, "expert_hidden_dim": 4096, "num_shared_experts": 1,
    },
    "vision_encoder": {"image_token_id": 10, "hidden_size": 1664, "num_hidden_layers": 48, "patch_size": 14},
}  # fmt: skip


def read(raw):
    """The model of a params.json."""
    return reading(raw, "params.json", "x").model


@pytest.mark.parametrize(
    ("raw", "preset"),
    [
        (SEVEN, "mistral-7b"),
        (SEVEN | {"sliding_window": None, "moe": {"num_experts_per_tok": 2, "num_experts": 8}}, "mixtral-8x7b"),
        (LARGE, "mistral-large-3"),
    ],
)
def test_both_spellings_count_alike(raw, preset):
    """Before: refused."""
    m, other = read(raw), model(preset)
    assert total_parameters(m) == total_parameters(other) and active_parameters(m) == active_parameters(other)
    assert kv_B_per_token(m, "bf16") == kv_B_per_token(other, "bf16")


def test_what_the_file_says_beside():
    m = read(LARGE)
    assert m.weight_format == "fp8,head=bf16,embedding=bf16,rest=bf16" and m.left_out[0].name == "vision tower"
    assert read(SEVEN | {"tied_embeddings": True}).tied_embeddings and read(SEVEN).max_context == 16384


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        # Llama 3.1 8B and 3.2 1B have the same keys, and only the latter's head is its table
        (
            {k: v for k, v in SEVEN.items() if k != "hidden_dim"} | {"multiple_of": 1024},
            "of Meta or Mistral, without all",
        ),
        (SEVEN | {"moe": {"num_experts": 8, "num_experts_per_tok": 2, "depth": 3}}, "key 'moe.depth' = 3 is not known"),
        (SEVEN | {"moe": {"num_experts": 8, "expert_hidden_dim": 2}}, "moe says more than how many experts"),
        (SEVEN | {"quantization": {"qformat_weight": "int3"}}, "qformat_weight fp8_e4m3"),
        (SEVEN | {"lora": {"rank": 64}}, "key 'lora'"),
        (SEVEN | {"vocab_size": -1}, "vocab_size = -1"),
    ],
)
def test_what_is_not_known_is_refused(raw, words):
    with pytest.raises(SpecError, match=words) as error:
        read(raw)
    assert "\n" not in str(error.value)
