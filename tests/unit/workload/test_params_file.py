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


META = {"dim": 2048, "n_layers": 16, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256, "ffn_dim_multiplier": 1.5,
        "multiple_of": 256, "norm_eps": 1e-05, "rope_theta": 500000.0, "use_scaled_rope": True}  # fmt: skip
"""Llama 3.2 1B, as its params.json is."""
LARGER = {"dim": 8192, "n_layers": 80, "n_heads": 64, "ffn_dim_multiplier": 1.3, "multiple_of": 4096}
LLAMA_2 = {"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-05, "vocab_size": 32000}


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


@pytest.mark.parametrize(
    ("raw", "tied", "n_B", "kv"),
    [
        # model cards: 1.23, 70.6 and 6.74 billion; 2 B x 2 x KV heads x width of a head in each layer
        (META, True, 1.236, 16 * 2 * 8 * 64 * 2),
        (META | LARGER, False, 70.55, 80 * 2 * 8 * 128 * 2),
        (LLAMA_2, False, 6.738, 32 * 2 * 32 * 128 * 2),
    ],
)
def test_files_of_meta_count_as_their_cards_say(raw, tied, n_B, kv):
    """Before: refused. Widths of MLPs: 8,192 of int(1.5 x 5,461), 28,672 of int(1.3 x 21,845), 11,008 of 10,922."""
    m = read(raw | {"tied_embeddings": tied, "max_seq_len": 4096})
    assert total_parameters(m) == pytest.approx(n_B * 1e9, rel=1e-3) and kv_B_per_token(m, "bf16") == kv
    assert m.max_context == 4096 and m.tied_embeddings == tied


def test_what_the_file_says_beside():
    m = read(LARGE)
    assert m.weight_format == "fp8,head=bf16,embedding=bf16,rest=bf16" and m.left_out[0].name == "vision tower"
    assert read(SEVEN | {"tied_embeddings": True}).tied_embeddings and read(SEVEN).max_context == 16384


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        # Llama 3.1 8B and 3.2 1B have the same keys, and only the latter's head is its table
        (META, "does not say tied_embeddings; add it"),
        (META | {"tied_embeddings": True}, "does not say max_seq_len; add it"),
        (META | {"tied_embeddings": True, "max_seq_len": 8192, "moe_args": {}}, "key 'moe_args'"),
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
