"""Reading `config.json`: every dialect, every way to be wrong, one line each."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.cli import main
from dse.core.errors import SpecError
from dse.workload.blocks import Block, Experts, Mlp, Run
from dse.workload.huggingface import read_config
from dse.workload.latent import Latent
from dse.workload.mixers import Attention
from dse.workload.transformer import Model, is_causal, moe_share

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 224,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 8,
    "n_positions": 512,
    "vocab_size": 100,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
MOE = LLAMA | {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 6,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
LATENT = {
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
}
DROP = object()


def write(tmp_path, config, name="tiny.json"):
    path = tmp_path / name
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def model_from_config(path):
    return read_config(path).model


def edited(base, **changes):
    return {k: v for k, v in (base | changes).items() if v is not DROP}


def test_llama_dialect(tmp_path):
    m = model_from_config(write(tmp_path, LLAMA))
    assert m == Model(
        name="tiny", hidden=64, vocab=100, runs=(Run(Block((Attention(8, 2, 8),), Mlp(224)), 2),),
        tied_embeddings=False, norm_passes=4, max_context=512,
    )  # fmt: skip


def test_gpt2_dialect_with_its_defaults(tmp_path):
    m = model_from_config(write(tmp_path, edited(GPT2, n_inner=None)))
    assert m.runs == (Run(Block((Attention(8, 8, 8),), Mlp(256, 2)), 2),)
    assert (m.tied_embeddings, m.norm_passes, m.n_tables, m.dropout) == (True, 6, 512 * 64, True)
    assert model_from_config(write(tmp_path, edited(GPT2, n_inner=128))).runs[0].block.feed == Mlp(128, 2)


def test_head_dim_and_kv_heads(tmp_path):
    """Where the file says nothing, the type's own default holds: heads of hidden / n in Llama, of 128 in Qwen3."""
    assert model_from_config(write(tmp_path, edited(LLAMA, head_dim=16))).attention == Attention(8, 2, 16)
    assert model_from_config(write(tmp_path, edited(LLAMA, num_key_value_heads=DROP))).attention == Attention(8, 8, 8)
    assert model_from_config(write(tmp_path, edited(LLAMA, model_type="qwen3"))).attention == Attention(8, 2, 128)


def test_folder_names_the_model(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    write(folder, LLAMA, "config.json")
    assert model_from_config(folder).name == "my-model"
    assert model_from_config(str(folder / "config.json")).name == "my-model"


def test_unknown_family_is_named(tmp_path):
    with pytest.raises(
        SpecError, match='model_type = "qwen4" is not known, so what its keys mean is not; did you mean'
    ):
        model_from_config(write(tmp_path, edited(LLAMA, model_type="qwen4")))


def test_a_type_like_no_other_is_told_in_a_line_and_where_the_list_is(tmp_path, capsys):
    with pytest.raises(SpecError) as e:
        model_from_config(write(tmp_path, edited(LLAMA, model_type="wholly_new")))
    assert len(str(e.value).replace(str(tmp_path), "")) < 160 and "`dse models --types` lists the" in str(e.value)
    assert main(["models", "--types"]) == 0
    listed = [x.strip() for x in capsys.readouterr().out.split(",")]  # a line may begin with any of them
    assert f"lists the {len(listed)} that are read" in str(e.value) and "qwen3_next" in listed
    assert main(["models", "llama-3.1-8b", "--types"]) == 2


def test_a_key_that_nobody_reads_is_named(tmp_path):
    """What a key of another type would do here is not known; null and false-free training keys are passed over."""
    for key, value in (("index_topk", 2048), ("attn_layer_period", 8), ("num_experts", 8), ("hidden_sizes", 64)):
        with pytest.raises(SpecError, match=f"key '{key}' = {value} is not known for model_type llama"):
            model_from_config(write(tmp_path, edited(LLAMA, **{key: value})))
    assert model_from_config(write(tmp_path, edited(LLAMA, index_topk=None, rope_theta=1e6))).n_layers == 2


def test_sliding_window_that_is_off(tmp_path):
    off = edited(LLAMA, model_type="qwen2", sliding_window=4096, use_sliding_window=False)
    assert model_from_config(write(tmp_path, off)).attention.window == 0


def test_mixtral_dialect(tmp_path):
    # no width of its own: an expert is as wide as intermediate_size
    mixtral = edited(LLAMA, model_type="mixtral", num_local_experts=8, num_experts_per_tok=2, sliding_window=None)
    m = model_from_config(write(tmp_path, mixtral))
    assert m.experts == Experts(n_experts=8, per_token=2, ffn=224)
    assert m.attention.window == 0


GLM = edited(MOE, model_type="glm4_moe", n_routed_experts=8, num_experts=DROP, n_shared_experts=0, head_dim=8,
             decoder_sparse_step=DROP, mlp_only_layers=DROP, first_k_dense_replace=0)  # fmt: skip
LLAMA4 = edited(MOE, model_type="llama4_text", num_local_experts=8, num_experts=DROP, decoder_sparse_step=DROP,
                mlp_only_layers=DROP, intermediate_size=32, intermediate_size_mlp=224, moe_intermediate_size=DROP,
                interleave_moe_layer_step=1, head_dim=8)  # fmt: skip


@pytest.mark.parametrize(
    ("base", "changes", "n_dense"),
    [
        (MOE, {}, 0),
        (MOE, {"mlp_only_layers": [0, 1]}, 2),
        (MOE, {"decoder_sparse_step": 2}, 3),  # experts in blocks 1, 3, 5
        (MOE, {"decoder_sparse_step": 2, "mlp_only_layers": [1, 2]}, 4),
        (GLM, {"first_k_dense_replace": 1}, 1),
        (GLM, {"first_k_dense_replace": 1, "moe_layer_freq": 2}, 4),  # experts in blocks 2, 4
        (GLM, {"moe_layer_freq": [0, 1, 1, 1, 1, 0]}, 2),
        (LLAMA4, {"moe_layers": [1, 5]}, 4),
        (LLAMA4, {"interleave_moe_layer_step": 3}, 4),  # experts in blocks 2, 5
    ],
)
def test_blocks_without_experts(tmp_path, base, changes, n_dense):
    m = model_from_config(write(tmp_path, edited(base, **changes)))
    assert moe_share(m) == pytest.approx(1 - n_dense / 6)
    assert m.experts.ffn == 32
    assert all(f == Mlp(224) for f, _ in m.feeds if isinstance(f, Mlp))


def test_shared_experts(tmp_path):
    def shared(base, **changes):
        return model_from_config(write(tmp_path, edited(base, **changes))).experts.shared_ffn

    assert shared(GLM, n_shared_experts=2) == 64
    assert shared(edited(MOE, model_type="qwen2_moe"), shared_expert_intermediate_size=48) == 48
    assert shared(LLAMA4) == 32


def test_no_experts_is_dense(tmp_path):
    assert model_from_config(write(tmp_path, edited(MOE, num_experts=0))).experts is None


DEEPSEEK = edited(GLM, model_type="deepseek_v3", head_dim=DROP, n_shared_experts=1) | LATENT


def test_latent_attention(tmp_path):
    m = model_from_config(write(tmp_path, DEEPSEEK))
    assert m.attention == Latent(8, query_rank=24, kv_rank=16, rope_dim=4, nope_dim=8, value_dim=6)
    assert m.attention.head_dim == 12
    unsqueezed = edited(DEEPSEEK, model_type="deepseek_v2", q_lora_rank=None)
    assert model_from_config(write(tmp_path, unsqueezed)).attention.query_rank == 0


QWEN = edited(LLAMA, model_type="qwen2", num_hidden_layers=8)
MISTRAL = edited(LLAMA, model_type="mistral", num_hidden_layers=8)
OSS = edited(LLAMA, model_type="gpt_oss", num_hidden_layers=8, num_local_experts=8, num_experts_per_tok=2)
CHUNKED = edited(LLAMA4, num_hidden_layers=8)


@pytest.mark.parametrize(
    ("base", "changes", "window", "n_window_layers"),
    [
        (MISTRAL, {}, 4096, 8),  # the type's own default
        (MISTRAL, {"sliding_window": None}, 0, 0),
        (MISTRAL, {"sliding_window": 128}, 128, 8),
        (QWEN, {"sliding_window": 128, "use_sliding_window": False}, 0, 0),
        (QWEN, {"sliding_window": 128}, 0, 0),  # off unless the file turns it on
        (QWEN, {"sliding_window": 128, "use_sliding_window": True, "max_window_layers": 6}, 128, 2),
        (QWEN, {"sliding_window": 128, "use_sliding_window": True, "max_window_layers": 8}, 0, 0),
        (OSS, {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 4}, 128, 4),
        (OSS, {"sliding_window": 128, "layer_types": ["full_attention"] * 8}, 0, 0),
        (OSS, {}, 128, 4),
        (CHUNKED, {"attention_chunk_size": 64}, 64, 6),
        (CHUNKED, {"attention_chunk_size": 64, "no_rope_layer_interval": 2}, 64, 4),
        (CHUNKED, {"attention_chunk_size": 64, "no_rope_layers": [1, 1, 1, 1, 1, 1, 1, 0]}, 64, 7),
        (CHUNKED, {"attention_chunk_size": 64, "layer_types": ["chunked_attention"] * 8}, 64, 8),
    ],
)
def test_windows(tmp_path, base, changes, window, n_window_layers):
    m = model_from_config(write(tmp_path, edited(base, **changes)))
    found = {x.window: round(share * 8) for x, share in m.mixers}
    assert found.get(window if n_window_layers else -1, 0) == n_window_layers
    assert found.get(0, 0) == 8 - n_window_layers


def test_multimodal_models_nest_their_text(tmp_path):
    text = edited(LLAMA4, intermediate_size_mlp=448, interleave_moe_layer_step=2)
    m = model_from_config(write(tmp_path, {"model_type": "llama4", "text_config": text, "vision_config": {}}))
    assert (m.n_layers, m.feeds[0][0], m.experts.ffn) == (6, Mlp(448), 32)
    assert [p.name for p in m.left_out] == ["vision tower"]


def test_bert_dialect(tmp_path):
    bert = edited(LLAMA, model_type="bert", hidden_act="gelu", layer_norm_eps=1e-12, rms_norm_eps=DROP)
    m = model_from_config(write(tmp_path, edited(bert, tie_word_embeddings=DROP)))
    assert (is_causal(m), m.runs[0].block.feed, m.tied_embeddings, m.norm_passes) == (False, Mlp(224, 2), True, 6)
    assert is_causal(model_from_config(write(tmp_path, edited(bert, is_decoder=True))))


def test_bloom_dialect(tmp_path):
    m = model_from_config(
        write(
            tmp_path,
            {
                "model_type": "bloom", "n_embed": 64, "n_layer": 2, "num_attention_heads": 8, "seq_length": 512,
                "vocab_size": 100, "layer_norm_epsilon": 1e-5,
            },
        )
    )  # fmt: skip
    assert m.runs == (Run(Block((Attention(8, 8, 8),), Mlp(256, 2)), 2),)
    assert (m.hidden, m.max_context, m.tied_embeddings, is_causal(m)) == (64, 512, True, True)


@pytest.mark.parametrize(
    ("base", "changes", "words"),
    [
        (LLAMA, {"num_hidden_layers": DROP}, "no num_hidden_layers or n_layer"),
        (LLAMA, {"num_attention_heads": DROP}, "no num_attention_heads or n_head"),
        (LLAMA, {"hidden_size": DROP}, "no hidden_size or n_embd or n_embed or d_model; add it"),
        (LLAMA, {"intermediate_size": DROP}, "no intermediate_size; add it"),
        (LLAMA, {"vocab_size": None}, "no vocab_size"),
        (LLAMA, {"max_position_embeddings": DROP}, "no max_position_embeddings or n_positions"),
        (MOE, {"num_experts_per_tok": DROP}, "no num_experts_per_tok; add it"),
        (MOE, {"num_experts": -1}, "num_experts = -1, expected a whole number, at least 0"),
        (MOE, {"num_experts_per_tok": 9}, "9 experts per token, but there are 8 (num_experts); use at most that many"),
        (MOE, {"moe_intermediate_size": 0}, "moe_intermediate_size = 0, expected"),
        (MOE, {"mlp_only_layers": 3}, "mlp_only_layers = 3, expected a list"),
        (MOE, {"decoder_sparse_step": "1"}, 'decoder_sparse_step = "1", expected'),
        (DEEPSEEK, {"qk_rope_head_dim": DROP}, "no qk_rope_head_dim; add it"),
        (MISTRAL, {"sliding_window": 0}, "sliding_window = 0, expected a whole number, at least 1"),
        (LLAMA, {"layer_types": ["full_attention"]}, "expected one entry for each of 2 layers, got 1"),
        (LLAMA, {"layer_types": ["full_attention", "linear_attention"]}, 'has an entry "linear_attention"; allowed'),
        (
            MISTRAL,
            {"sliding_window": None, "layer_types": ["sliding_attention"] * 8},
            "has windows, but no sliding_window",
        ),
        (LLAMA, {"is_encoder_decoder": True}, "is_encoder_decoder = true: an encoder with a decoder is not supported"),
        (MISTRAL, {"sliding_windows": 8}, "key 'sliding_windows' = 8 is not known for model_type mistral"),
        (DEEPSEEK, {"num_local_experts": 4}, "n_routed_experts = 8 and num_local_experts = 4 mean the same and differ"),
        (LLAMA, {"hidden_size": 0}, "hidden_size = 0, expected a whole number, at least 1"),
        (LLAMA, {"hidden_size": -64}, "hidden_size = -64, expected"),
        (LLAMA, {"num_hidden_layers": 2.5}, "num_hidden_layers = 2.5, expected"),
        (LLAMA, {"vocab_size": "100"}, 'vocab_size = "100", expected'),
        (LLAMA, {"num_attention_heads": True}, "num_attention_heads = true, expected"),
        (LLAMA, {"vocab_size": [1] * 99}, "vocab_size = [1, 1"),
        (LLAMA, {"num_key_value_heads": 3}, "num_key_value_heads = 3 does not divide num_attention_heads = 8"),
        (LLAMA, {"num_key_value_heads": 16}, "num_key_value_heads = 16 does not divide"),
        (LLAMA, {"hidden_size": 65}, "8 heads do not divide the width 65; add head_dim"),
        (LLAMA, {"tie_word_embeddings": "no"}, 'tie_word_embeddings = "no", expected true or false'),
        (GPT2, {"model_type": "t5"}, 'model_type = "t5" is not known, so what its keys mean is not'),
        (GPT2, {"model_type": DROP}, "model_type = null is not known"),
    ],
)
def test_bad_configurations_take_one_line(tmp_path, base, changes, words):
    with pytest.raises(SpecError) as e:
        model_from_config(write(tmp_path, edited(base, **changes)))
    message = str(e.value)
    assert words in message
    assert "tiny.json" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(LLAMA)[:60], "not valid JSON at line 1"),
        ("", "not valid JSON"),
        ("[1, 2]", "holds [1, 2], expected an object"),
        ("null", "holds null, expected an object"),
        ('{"n_layer": 1, "n_layer": 2}', "key 'n_layer' appears twice"),
        ('{"architectures": ["ResNet"], "depths": [3, 4]}', "model_type = null is not known"),
    ],
)
def test_bad_files_take_one_line(tmp_path, text, words):
    with pytest.raises(SpecError) as e:
        model_from_config(write(tmp_path, text))
    assert words in str(e.value)
    assert "tiny.json" in str(e.value)
    assert "\n" not in str(e.value)


PUBLIC = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data/models/public.jsonl").read_text().splitlines()
]
PUBLIC = {x["name"]: x["config"] for x in PUBLIC}


@pytest.mark.parametrize("value", [3234, 2.5, True, [[1]], {"a": 1}, [None], "\u00b2", "x"])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("nemotron3-nano", "hybrid_override_pattern"), ("nemotron3-nano", "layers_block_type"),
        ("glm-5.2", "index_topk_pattern"), ("opt-6.7b", "dropout"),
    ],
)  # fmt: skip
def test_a_pattern_or_rate_of_another_type_takes_one_line(tmp_path, name, key, value):
    """What a family reads in its own way is checked too: a number for letters, lists in a list, text for a rate."""
    before = ("hybrid_override_pattern", "layers_block_type", "indexer_types")  # read instead of what is wrong
    config = {k: v for k, v in PUBLIC[name].items() if k not in before}
    with pytest.raises(SpecError, match=key) as e:
        model_from_config(write(tmp_path, config | {key: value}))
    assert "\n" not in str(e.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        model_from_config(tmp_path / "absent.json")
    (tmp_path / "weights.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        model_from_config(tmp_path / "weights.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(SpecError, match=r"deep\.json: nested too deeply"):
        model_from_config(tmp_path / "deep.json")


JSON = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9000)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)


FUZZED = DEEPSEEK | {"moe_layer_freq": 1, "num_nextn_predict_layers": 1, "hidden_act": "silu"}


@given(key=st.sampled_from(sorted(FUZZED)), value=JSON)
def test_any_value_gives_a_model_or_a_line(tmp_path_factory, key, value):
    path = write(tmp_path_factory.mktemp("fuzz"), FUZZED | {key: value})
    try:
        m = model_from_config(path)
    except SpecError as e:
        assert "\n" not in str(e)
    else:
        assert min(m.n_layers, m.hidden, m.attention.n_heads, m.attention.head_dim, m.vocab, m.max_context) >= 1
