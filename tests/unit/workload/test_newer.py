"""Families of 2026 and small older ones: parameters that transformers 5.24 counts, caches by hand.

Each configuration is the type's own default there, as its class writes it, the sizes alone.
"""

import pytest

from dse.core.errors import SpecError
from dse.workload.counts import parameters_by_part
from dse.workload.huggingface import reading
from dse.workload.transformer import (
    active_parameters,
    forward_FLOP_per_token,
    is_causal,
    kv_B_per_token,
    total_parameters,
)

WORDS = {"max_position_embeddings": 4096}
KINDS = {"C": "conv", "F": "full_attention", "S": "sliding_attention", "L": "linear_attention"}


def layers(letters):
    """Kinds of layers by letter."""
    return [KINDS[x] for x in letters]


MODELS = {
    "apertus1p5_text": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "vocab_size": 266752, "tie_word_embeddings": False,
    },
    "aria_text": {
        "hidden_size": 4096, "intermediate_size": 4096, "moe_num_experts": 8, "moe_num_shared_experts": 2,
        "moe_topk": 2, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "head_dim": 128,
        "vocab_size": 32000, "tie_word_embeddings": False,
    },
    "beam": {
        "hidden_size": 5120, "intermediate_size": 20480, "moe_intermediate_size": 2560, "num_experts": 256,
        "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "num_attention_heads": 48, "num_key_value_heads": 8,
        "head_dim": 128, "num_hidden_layers": 52, "sliding_window": 512, "vocab_size": 151936,
        "mlp_layer_types": ["dense"] * 3 + ["sparse"] * 49, "tie_word_embeddings": False,
    },
    "biogpt": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
        "vocab_size": 42384, "max_position_embeddings": 1024, "scale_embedding": True,
    },
    "flint": {
        "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 512, "num_experts": 256,
        "num_experts_per_tok": 6, "shared_expert_intermediate_size": 1024, "mlp_only_layers": [0, 1],
        "decoder_sparse_step": 1, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
        "num_hidden_layers": 49, "sliding_window": 513, "vocab_size": 150144, "tie_word_embeddings": False,
        "layer_types": layers("FF" + "SSSF" * 11 + "SSS"),
    },
    "inkling_text": {
        "hidden_size": 6144, "intermediate_size": 24576, "moe_intermediate_size": 3072, "n_routed_experts": 256,
        "n_shared_experts": 2, "num_experts_per_tok": 6, "num_attention_heads": 64, "num_key_value_heads": 8,
        "head_dim": 128, "swa_num_attention_heads": 64, "swa_num_key_value_heads": 16, "swa_head_dim": 128,
        "sliding_window_size": 512, "d_rel": 16, "rel_extent": 1024, "num_hidden_layers": 66, "vocab_size": 201024,
        "layer_types": (["hybrid_sliding"] * 5 + ["hybrid"]) * 11, "mlp_layer_types": ["sparse"] * 66,
    },
    "inkling2_text": {
        "hidden_size": 4608, "moe_intermediate_size": 2304, "n_routed_experts": 384, "num_experts_per_tok": 8,
        "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128, "swa_num_attention_heads": 48,
        "swa_num_key_value_heads": 8, "swa_head_dim": 128, "sliding_window_size": 1024, "d_rel": 16,
        "num_hidden_layers": 48, "vocab_size": 201024, "layer_types": (["hybrid_sliding"] * 5 + ["hybrid"]) * 8,
    },
    "lara_mini": {
        "hidden_size": 1024, "moe_intermediate_size": 512, "num_experts": 128, "num_experts_per_tok": 4,
        "shared_expert_intermediate_size": 512, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128,
        "linear_num_key_heads": 8, "linear_num_value_heads": 16, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "num_hidden_layers": 34, "sliding_window": 512,
        "vocab_size": 151936, "tie_word_embeddings": True, "layer_types": layers("LSLF" + "SLSLF" * 6),
    },
    "lfm3": {
        "hidden_size": 2048, "intermediate_size": 7680, "num_attention_heads": 16, "num_key_value_heads": 4,
        "head_dim": 128, "conv_L_cache": 7, "num_hidden_layers": 24, "sliding_window": 256, "vocab_size": 128000,
        "layer_types": layers("CC" + "FCSC" * 5 + "FC"),
    },
    "modernbert-decoder": {
        "hidden_size": 768, "intermediate_size": 1152, "num_attention_heads": 12, "num_hidden_layers": 22,
        "local_attention": 128, "vocab_size": 50368, "layer_types": layers("FSS" * 7 + "F"),
    },
    "muse_spark_text": {
        "hidden_size": 8192, "intermediate_size": 16384, "moe_intermediate_size": 4096, "moe_hidden_size": 4096,
        "num_local_experts": 256, "num_experts_per_tok": 8, "num_attention_heads": 128, "num_key_value_heads": 16,
        "head_dim": 64, "num_hidden_layers": 62, "sliding_window": 2048, "vocab_size": 202048,
        "mlp_layer_types": ["sparse"] * 62, "layer_types": layers("SF" + "SSF" * 20), "tie_word_embeddings": False,
    },
    "openai-gpt": {
        "n_embd": 768, "n_head": 12, "n_layer": 12, "max_position_embeddings": 512, "vocab_size": 40478, "afn": "gelu",
        "summary_type": "cls_index",
    },
    "qwen4_exp_text": {
        "hidden_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 2,
        "head_dim": 256, "layer_types": ([KINDS["L"]] * 3 + ["indexed_attention"]) * 2, "indexer_n_heads": 16,
        "indexer_kv_heads": 1, "indexer_head_dim": 256, "indexer_budget": 2048, "indexer_compress_ratio": 16,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "num_experts": 512, "num_experts_per_tok": 10,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "hc_count": 4, "hc_lowrank": 320,
        "ple_layer_ids": [2, 5], "ple_embed_dim": 2048, "ngram_vocab_size_base": 100_000, "vocab_size": 4096,
        "tie_word_embeddings": False,
    },
    "xglm": {
        "d_model": 1024, "attention_heads": 16, "num_layers": 24, "ffn_dim": 4096, "vocab_size": 256008,
        "max_position_embeddings": 2048, "scale_embedding": True,
    },
    "zaya": {
        "hidden_size": 2048, "moe_intermediate_size": 2048, "num_experts": 16, "num_experts_per_tok": 1,
        "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128, "cca_time0": 2, "cca_time1": 2,
        "router_hidden_size": 256, "num_hidden_layers": 40, "vocab_size": 262272, "tie_word_embeddings": True,
    },
}  # fmt: skip
# parameters of transformers' own modules; bytes per token in bf16: 2 x layers x KV heads x head size x 2
COUNTS = {
    "apertus1p5_text": (8_091_086_912, 2 * 32 * 32 * 128 * 2),
    "aria_text": (18_517_069_824, 2 * 32 * 32 * 128 * 2),
    "beam": (501_267_599_808, 2 * 52 * 8 * 128 * 2),
    "biogpt": (346_763_264, 2 * 24 * 16 * 64 * 2),
    "flint": (39_785_287_456, 2 * 49 * 4 * 128 * 2),
    "inkling_text": (975_340_270_146, 2 * (55 * 16 + 11 * 8) * 128 * 2),
    "inkling2_text": (593_718_478_848, 2 * 48 * 8 * 128 * 2),
    "lara_mini": (7_281_684_672, 2 * 20 * 4 * 128 * 2),
    "lfm3": (1_728_801_536, 2 * 11 * 4 * 128 * 2),
    "modernbert-decoder": (149_655_232, 2 * 22 * 12 * 64 * 2),
    "muse_spark_text": (None, 2 * 62 * 16 * 64 * 2),
    "openai-gpt": (116_534_784, 2 * 12 * 12 * 64 * 2),
    # of 8 layers with two tables of n-grams; an index key of 256 for 16 positions beside
    "qwen4_exp_text": (13_752_265_856, 2 * (2 * 2 * 256 + 256 // 16) * 2),
    "xglm": (564_463_616, 2 * 24 * 16 * 64 * 2),
    "zaya": (8_840_488_784, 2 * 40 * 2 * 128 * 2),
}


def model(kind, **keys):
    """The model of a type's configuration with further keys."""
    return reading({"model_type": kind, **WORDS, **MODELS[kind], **keys}, kind, kind).model


# the library's count without the head, which its base model has not, and the head
COUNTS["muse_spark_text"] = (818_335_358_976 + 202048 * 8192, COUNTS["muse_spark_text"][1])


@pytest.mark.parametrize("kind", MODELS)
def test_defaults_count_as_the_library_counts_them(kind):
    parameters, cache = COUNTS[kind]
    assert total_parameters(model(kind)) == pytest.approx(parameters, rel=2e-3)
    assert kv_B_per_token(model(kind), "bf16") == cache


def test_active_parameters_by_hand():
    """Of Flint: everything but experts, and 6 of 256 of 47 layers; of Aria 2 of 8 of 32 layers."""
    flint, aria = model("flint"), model("aria_text")
    assert active_parameters(flint) == total_parameters(flint) - 47 * 250 * 3 * 2048 * 512
    assert active_parameters(aria) == total_parameters(aria) - 32 * 6 * 3 * 4096 * 4096


def test_windows_are_where_they_are_listed():
    found = {k: sum(r.n for r in model(k).runs for m in r.block.mixers if getattr(m, "window", 0)) for k in MODELS}
    assert found["flint"] == 36 and found["lfm3"] == 5 and found["inkling_text"] == 55 and found["lara_mini"] == 13
    assert found["modernbert-decoder"] == 14 and found["muse_spark_text"] == 41 and found["beam"] == 44
    assert found["apertus1p5_text"] == 0


def test_an_embedding_model_of_gemma_sees_both_ways_within_its_window():
    """EmbeddingGemma: 4 of 24 layers see everything, the others 512 positions; before, refused."""
    keys = {
        "model_type": "gemma3_text", "hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 24,
        "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262144,
        "max_position_embeddings": 2048, "sliding_window": 512, "use_bidirectional_attention": True,
    }  # fmt: skip
    m = reading(keys, "x", "x").model
    assert total_parameters(m) == pytest.approx(302_863_104, rel=1e-3)  # as its page counts the checkpoint
    near, far = (next(r.block.mixers[0] for r in m.runs if bool(r.block.mixers[0].window) == x) for x in (True, False))
    assert not is_causal(m) and near.n_attended(0, 2048) == 512 and far.n_attended(0, 2048) == 2048


@pytest.mark.parametrize(
    ("class_", "parameters"),
    [
        # Llama 3.1 8B, 128,256 words of 4,096: one score instead of the head, as Skywork's reward model has it
        ("LlamaForCausalLM", 8_030_261_248), ("LlamaForSequenceClassification", 8_030_261_248 - 128_255 * 4096),
        ("LlamaModel", 8_030_261_248 - 128_255 * 4096), ("LlamaForRewardModel", 8_030_261_248 - 128_255 * 4096),
        ("LlavaLlamaModel", 8_030_261_248),
    ],
)  # fmt: skip
def test_a_class_without_a_head_for_words_has_none(class_, parameters):
    """Before: the head was counted, 7 % of a reward model."""
    keys = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
        "tie_word_embeddings": False, "architectures": [class_],
    }  # fmt: skip
    found = reading(keys, "x", "x")
    assert total_parameters(found.model) == parameters == sum(parameters_by_part(found.model).values())
    assert found.model.headless == ("architectures" in dict(found.ignored) and parameters < 8e9)
    product = 2 * 4096 * (128256 if parameters > 8e9 else 1)
    assert forward_FLOP_per_token(found.model, 0, 1) == pytest.approx(2 * 6_979_321_856 + product, rel=1e-3)


def test_openelm_grows_from_layer_to_layer():
    """The smallest one: 271,527,168 weights as its page counts them, norms of heads (2 x 64 a layer) included."""
    keys = {
        "model_type": "openelm", "num_transformer_layers": 16, "model_dim": 1280, "head_dim": 64, "vocab_size": 32000,
        "max_context_length": 2048, "ffn_dim_divisor": 256, "ffn_with_glu": True, "share_input_output_layers": True,
        "num_query_heads": [12] * 5 + [16] * 7 + [20] * 4, "num_kv_heads": [3] * 5 + [4] * 7 + [5] * 4,
        "ffn_multipliers": [0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0],
    }  # fmt: skip
    m = reading(keys, "x", "x").model
    assert total_parameters(m) == 271_527_168 - 16 * 2 * 64
    assert kv_B_per_token(m, "bf16") == 2 * (5 * 3 + 7 * 4 + 4 * 5) * 64 * 2
    for odd in ({"ffn_multipliers": [1] * 3}, {"ffn_multipliers": ["x"] * 16}, {"num_query_heads": [12, 16]}):
        with pytest.raises(SpecError, match=next(iter(odd))):
            reading(keys | odd, "x", "x")
