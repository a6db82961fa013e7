"""Keys that a file leaves out, or says are null: what the library's class of the type makes of either.

Expected values are those of `Config.from_dict` in transformers 5.24, asked for each type with the key taken away, and
with a null in its place [wolf2020transformers].
"""

import json

import pytest

from dse.core.errors import SpecError
from dse.workload.families.common import absent_keys
from dse.workload.huggingface import reading
from dse.workload.latent import Latent
from dse.workload.mixers import Attention
from dse.workload.recurrences import Recurrence

PLAIN = {
    "hidden_size": 512, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 100, "num_hidden_layers": 20,
    "tie_word_embeddings": False, "max_position_embeddings": 256,
}  # fmt: skip
MLA = {
    "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 8,
    "num_experts_per_tok": 2, "moe_intermediate_size": 24,
}  # fmt: skip
INDEXER = {"index_n_heads": 4, "index_head_dim": 8, "index_topk": 64}
LONGCAT = {"expert_ffn_hidden_size": 24, "ffn_hidden_size": 96, "moe_topk": 2, "num_layers": 20}


def read(kind, **keys):
    """What is read of a small file of a type."""
    return reading(PLAIN | {"model_type": kind} | keys, "x.json", "x")


def mixers(found):
    """Mixers of a model, each once."""
    return [m for run in found.model.runs for m in run.block.mixers]


def latent(found):
    return next(m for m in mixers(found) if isinstance(m, Latent))


def attention(found):
    return next(m for m in mixers(found) if isinstance(m, Attention))


# the class of each type: DeepseekV2Config, DeepseekV3Config, ... `q_lora_rank`
RANKS = {
    "deepseek_v2": (1536, {}), "deepseek_v3": (1536, {}), "kimi_k2": (1536, {}), "deepseek_v32": (1536, INDEXER),
    "glm_moe_dsa": (2048, INDEXER), "glm4_moe_lite": (768, {}), "glm5_next_text": (1536, INDEXER),
    "hy_v4": (1536, INDEXER), "axk1": (1536, {}), "mistral4": (1024, {}), "youtu": (1536, {}), "minicpm3": (768, {}),
    "longcat_flash": (1536, LONGCAT), "sarvam_mla": (0, {}), "kimi_linear": (0, {}),
}  # fmt: skip
WITHOUT = {
    "youtu": {k: v for k, v in MLA.items() if "expert" not in k and "moe" not in k},
    "minicpm3": {k: v for k, v in MLA.items() if "expert" not in k and "moe" not in k},
    "longcat_flash": {k: v for k, v in MLA.items() if k not in ("num_experts_per_tok", "moe_intermediate_size")},
}


@pytest.mark.parametrize("kind", RANKS)
def test_a_missing_query_rank_is_the_types_own_and_named_and_a_null_is_none(kind):
    rank, keys = RANKS[kind]
    keys = WITHOUT.get(kind, MLA) | keys
    found = read(kind, **keys)
    assert latent(found).query_rank == rank
    assert dict(found.filled).get("q_lora_rank", 0) == rank
    null = read(kind, **keys, q_lora_rank=None)
    assert latent(null).query_rank == 0 and "q_lora_rank" not in dict(null.filled)
    assert latent(read(kind, **keys, q_lora_rank=48)).query_rank == 48


@pytest.mark.parametrize(("kind", "n"), [("deepseek_v3", 1), ("kimi_k2", 1), ("deepseek_v2", 0), ("deepseek_v32", 0)])
def test_blocks_that_predict_ahead_are_as_many_as_the_type_has(kind, n):
    keys = MLA | (INDEXER if kind == "deepseek_v32" else {})
    assert sum(r.n for r in read(kind, **keys).model.ahead) == n
    assert not read(kind, **keys, num_nextn_predict_layers=0).model.ahead
    assert sum(r.n for r in read(kind, **keys, num_nextn_predict_layers=2).model.ahead) == 2


def test_every_number_of_the_table_is_taken_and_named():
    """Of the wrappers and types that the tests around do not ask one by one."""
    v4 = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 96} | INDEXER
    assert dict(read("deepseek_v4", **v4, head_dim=128).filled) == {"num_nextn_predict_layers": 1}
    ling = MLA | {"num_experts": 8, "short_conv_kernel_size": 4}
    ling.pop("n_routed_experts")
    assert dict(read("bailing_hybrid", **ling).filled) == {"num_nextn_predict_layers": 1}
    pooled = read("glm5_next_text", **MLA, **INDEXER)
    assert latent(pooled).indexer.rate == 16 and dict(pooled.filled) == absent_keys()["glm5_next_text"]
    small = read("gemma3n_text")
    assert dict(small.filled) == {"num_kv_shared_layers": 15}
    assert sum(r.n for r in small.model.runs if not r.block.mixers[0].own_kv) == 15
    with pytest.raises(SpecError, match=r"num_kv_shared_layers = 15, as the type has it .* fewer than the 10 layers"):
        read("gemma3n_text", num_hidden_layers=10)


def test_a_wrapper_lays_its_numbers_over_those_of_the_type_inside():
    """VoxtralConfig: 8 KV heads of 128 where llama's would be 32 of 96."""
    inner = {"model_type": "llama", "hidden_size": 3072, "num_attention_heads": 32}
    found = reading({"model_type": "voxtral", "text_config": inner}, "x.json", "x")
    assert (attention(found).n_kv_heads, attention(found).head_dim) == (8, 128)
    assert (found.model.vocab, found.model.n_layers) == (131072, 30)
    assert dict(found.filled)["text_config.num_key_value_heads"] == 8


# where `Config.from_dict` resolves a null to heads, and to the width over heads, and what a missing key is
GROUPS = {"mistral": (8, None), "qwen2": (32, None), "exaone": (8, None), "internlm3": (2, 128), "seed_oss": (8, 128),
          "iquestcoder": (8, 128), "ernie4_5": (2, 128), "jais2": (None, None), "smollm3": (4, None),
          "llama": (None, None)}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_missing_heads_are_the_types_own_and_null_heads_are_all_heads(kind):
    kv, wide = GROUPS[kind]
    got = attention(read(kind, num_attention_heads=64, hidden_size=4096))
    assert (got.n_kv_heads, got.head_dim) == (kv or 64, wide or 64)
    null = attention(read(kind, num_attention_heads=64, hidden_size=4096, num_key_value_heads=None, head_dim=None))
    assert (null.n_kv_heads, null.head_dim) == (64, 64)


def test_mpt_has_alibi_unless_it_is_switched_off():
    """MptAttentionConfig: alibi = True; before, a file without it was read with learned positions."""
    plain = {"model_type": "mpt", "d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 100, "max_seq_len": 256}
    assert [reading(plain | keys, "x.json", "x").model.n_tables for keys in (
        {}, {"attn_config": {}}, {"attn_config": {"alibi": True}}, {"attn_config": {"alibi": False}},
    )] == [0, 0, 0, 256 * 64]  # fmt: skip


@pytest.mark.parametrize(("kind", "keys", "window"), [
    ("mimo_v2_flash", {}, 129), ("mimo_v2", {}, 128), ("mimo_v2_flash", {"sliding_window_size": 64}, 64),
    ("mimo_v2_flash", {"sliding_window_size": 64, "sliding_window": 65}, 65), ("gemma4_unified_text", {}, 1024),
    ("gemma4_text", {}, 512),
])  # fmt: skip
def test_windows_that_a_file_leaves_to_its_type(kind, keys, window):
    """MiMoV2FlashConfig counts the token itself among 129; Gemma4UnifiedTextConfig has 1,024."""
    more = MLA | {"v_head_dim": 128} if "mimo" in kind else {}
    more = {k: v for k, v in more.items() if not k.startswith(("kv_lora", "qk_"))}
    found = read(kind, num_key_value_heads=4, **more, **keys)
    assert {m.window for m in mixers(found)} == {0, window}


def test_nemotron_keeps_its_state_in_32_bits_unless_told():
    """NemotronHConfig: mamba_ssm_cache_dtype = "float32"."""
    keys = {"hybrid_override_pattern": "M*" * 10, "num_key_value_heads": 2, "head_dim": 16}
    state = [
        next(m for m in mixers(read("nemotron_h", **keys, **more)) if isinstance(m, Recurrence)).state_format
        for more in ({}, {"mamba_ssm_cache_dtype": "bfloat16"})
    ]
    assert state == ["fp32", "bf16"]


OLD_MAMBA = {
    "num_attention_heads": None, "max_position_embeddings": None, "d_model": 512, "n_layer": 20, "d_inner": 1024,
    "intermediate_size": 1024, "fused_add_norm": True, "rms_norm": True, "ssm_cfg": {}, "pad_vocab_size_multiple": 8,
    "residual_in_fp32": True,
}  # fmt: skip


def test_what_published_files_say_beside_and_what_would_change_the_model():
    """Mamba as turned from mamba_ssm, SmolLM3 and Qwen3-Next with keys of windows that nobody uses."""
    plain = {"num_attention_heads": None, "max_position_embeddings": None, "intermediate_size": 1024}
    assert read("mamba", **OLD_MAMBA).model == read("mamba", **plain).model
    few = {k: v for k, v in MLA.items() if k in ("num_experts_per_tok", "moe_intermediate_size")}
    qwen = few | {"num_experts": 8, "use_sliding_window": False}
    assert read("qwen3_next", **qwen).model.n_layers == 20
    assert {m.window for m in mixers(read("smollm3", max_window_layers=28, use_sliding_window=False))} == {0}
    for kind, keys, named in (("mamba", OLD_MAMBA | {"d_inner": 2048}, "d_inner"),
                              ("mamba", OLD_MAMBA | {"ssm_cfg": {"layer": "Mamba2"}}, "ssm_cfg"),
                              ("qwen3_next", qwen | {"use_sliding_window": True}, "use_sliding_window")):  # fmt: skip
        with pytest.raises(SpecError, match=named):
            read(kind, **keys)


def test_a_dbrx_file_that_the_library_saved_again_is_read():
    """It writes `is_encoder_decoder` into each part, and the KV heads outside too, where they must agree."""
    part = {"is_encoder_decoder": False, "model_type": "dbrx", "id2label": {"0": "LABEL_0"}}
    raw = {
        "model_type": "dbrx", "d_model": 512, "n_heads": 8, "n_layers": 2, "max_seq_len": 256, "vocab_size": 100,
        "num_key_value_heads": 2, "attn_config": part | {"kv_n_heads": 2},
        "ffn_config": part | {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    }  # fmt: skip
    assert attention(reading(json.loads(json.dumps(raw)), "x.json", "x")).n_kv_heads == 2
    with pytest.raises(SpecError, match="num_key_value_heads = 4"):
        reading(raw | {"num_key_value_heads": 4}, "x.json", "x")
