"""Reading `config.json`: every dialect, every way to be wrong, one line each."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.core.errors import SpecError
from dse.workload.huggingface import model_from_config
from dse.workload.transformer import Model

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
DROP = object()


def write(tmp_path, config, name="tiny.json"):
    path = tmp_path / name
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def edited(base, **changes):
    return {k: v for k, v in (base | changes).items() if v is not DROP}


def test_llama_dialect(tmp_path):
    m = model_from_config(write(tmp_path, LLAMA))
    assert m == Model(
        name="tiny", n_layers=2, hidden=64, n_heads=8, n_kv_heads=2, head_dim=8, ffn=224, vocab=100,
        n_mlp_matrices=3, tied_embeddings=False, norm_passes=4, max_context=512,
    )  # fmt: skip


def test_gpt2_dialect_with_its_defaults(tmp_path):
    m = model_from_config(write(tmp_path, edited(GPT2, n_inner=None)))
    assert (m.ffn, m.n_kv_heads, m.n_mlp_matrices, m.tied_embeddings, m.norm_passes) == (256, 8, 2, True, 6)
    assert model_from_config(write(tmp_path, edited(GPT2, n_inner=128))).ffn == 128


def test_head_dim_and_kv_heads(tmp_path):
    m = model_from_config(write(tmp_path, edited(LLAMA, model_type="qwen3", head_dim=16, num_key_value_heads=DROP)))
    assert (m.head_dim, m.n_kv_heads) == (16, 8)


def test_folder_names_the_model(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    write(folder, LLAMA, "config.json")
    assert model_from_config(folder).name == "my-model"
    assert model_from_config(str(folder / "config.json")).name == "my-model"


def test_unknown_family_is_read_when_it_looks_like_llama(tmp_path):
    assert model_from_config(write(tmp_path, edited(LLAMA, model_type="yi"))).n_mlp_matrices == 3


def test_sliding_window_that_is_off(tmp_path):
    off = edited(LLAMA, model_type="qwen2", sliding_window=4096, use_sliding_window=False)
    assert model_from_config(write(tmp_path, off)).n_layers == 2


@pytest.mark.parametrize(
    ("base", "changes", "words"),
    [
        (LLAMA, {"num_hidden_layers": DROP}, "no num_hidden_layers or n_layer"),
        (LLAMA, {"num_attention_heads": DROP}, "no num_attention_heads or n_head"),
        (LLAMA, {"hidden_size": DROP}, "no hidden_size or n_embd; add it"),
        (LLAMA, {"intermediate_size": DROP}, "no intermediate_size or n_inner"),
        (LLAMA, {"vocab_size": None}, "no vocab_size"),
        (LLAMA, {"max_position_embeddings": DROP}, "no max_position_embeddings or n_positions"),
        (LLAMA, {"num_local_experts": 8}, "num_local_experts = 8: mixture of experts is not supported yet"),
        (LLAMA, {"n_routed_experts": 256}, "n_routed_experts = 256: mixture of experts is not supported yet"),
        (LLAMA, {"kv_lora_rank": 512}, "kv_lora_rank = 512: multi-head latent attention is not supported yet"),
        (LLAMA, {"sliding_window": 4096}, "sliding_window = 4096: windowed attention is not supported yet"),
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
        (LLAMA, {"rms_norm_eps": DROP}, "none of rms_norm_eps, layer_norm_epsilon, layer_norm_eps"),
        (
            GPT2,
            {"model_type": "bert"},
            'model_type = "bert" with activation "gelu_new" is not known; allowed: gpt2, llama',
        ),
        (GPT2, {"model_type": DROP}, "model_type = null"),
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
        ("[1, 2]", "holds a JSON list, expected an object"),
        ("null", "holds a JSON NoneType"),
        ('{"n_layer": 1, "n_layer": 2}', "key 'n_layer' appears twice"),
        ('{"architectures": ["ResNet"], "depths": [3, 4]}', "this is no transformer configuration"),
    ],
)
def test_bad_files_take_one_line(tmp_path, text, words):
    with pytest.raises(SpecError) as e:
        model_from_config(write(tmp_path, text))
    assert words in str(e.value)
    assert "tiny.json" in str(e.value)
    assert "\n" not in str(e.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        model_from_config(tmp_path / "absent.json")
    (tmp_path / "weights.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        model_from_config(tmp_path / "weights.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(SpecError, match=r"deep\.json"):
        model_from_config(tmp_path / "deep.json")


JSON = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9000)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)


@given(key=st.sampled_from(sorted(LLAMA)), value=JSON)
def test_any_value_gives_a_model_or_a_line(tmp_path_factory, key, value):
    path = write(tmp_path_factory.mktemp("fuzz"), LLAMA | {key: value})
    try:
        m = model_from_config(path)
    except SpecError as e:
        assert "\n" not in str(e)
    else:
        assert min(m.n_layers, m.hidden, m.n_heads, m.n_kv_heads, m.head_dim, m.ffn, m.vocab, m.max_context) >= 1
