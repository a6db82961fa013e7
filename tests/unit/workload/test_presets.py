"""Models by name: all load, all are named after themselves, unknown ones get a hint."""

import json

import pytest

from dse.core.errors import SpecError, UnknownNameError
from dse.workload.presets import model, model_names


def test_names():
    assert model_names() == ["gpt-3-175b", "llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b", "qwen3-32b"]


@pytest.mark.parametrize("name", model_names())
def test_every_preset_loads(name):
    m = model(name)
    assert m.name == name
    assert m.n_heads % m.n_kv_heads == 0


def test_gpt3_as_published():
    m = model("gpt-3-175b")
    assert (m.n_layers, m.hidden, m.n_heads, m.head_dim, m.ffn, m.vocab) == (96, 12288, 96, 128, 49152, 51200)
    assert (m.n_mlp_matrices, m.tied_embeddings, m.norm_passes, m.max_context) == (2, True, 6, 2048)


def test_llama_405b_as_published():
    m = model("llama-3.1-405b")
    assert (m.n_layers, m.hidden, m.n_heads, m.n_kv_heads, m.head_dim, m.ffn) == (126, 16384, 128, 8, 128, 53248)
    assert (m.n_mlp_matrices, m.tied_embeddings, m.norm_passes, m.max_context) == (3, False, 4, 131072)


def test_path_to_a_file(tmp_path):
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 10}
    (tmp_path / "small.json").write_text(json.dumps(config | {"layer_norm_epsilon": 1e-5}))
    assert model(tmp_path / "small.json").name == "small"
    assert model(str(tmp_path / "small.json")).hidden == 8


def test_unknown_name_offers_near_matches():
    with pytest.raises(UnknownNameError, match=r"unknown model 'llama-3-70b'; did you mean .*llama-3\.1-70b"):
        model("llama-3-70b")
    with pytest.raises(UnknownNameError, match="Llama"):
        model("meta-llama/Llama-3.1-8B")


def test_missing_file():
    with pytest.raises(SpecError, match=r"absent\.json: cannot be read"):
        model("absent.json")
