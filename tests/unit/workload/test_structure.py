"""No structural key is read past: a renamed or an unknown one is an error that names it, a needed one is asked for."""

import json
from pathlib import Path

import pytest

from dse.core.errors import SpecError
from dse.workload.huggingface import harmless_keys, reading

FILES = Path(__file__).parents[2] / "data" / "models"
PUBLIC = {x["name"]: x["config"] for x in map(json.loads, (FILES / "public.jsonl").read_text().splitlines())}
CASES = {p.stem: json.loads(p.read_text()) for p in sorted(FILES.glob("*.json"))}
CONFIGS = PUBLIC | CASES
NEEDED = (("num_hidden_layers", "n_layer", "n_layers", "num_layers"), ("vocab_size", "padded_vocab_size"))

MISSED_FIRST = {"text_config": "num_hidden_layers", "mamba_d_ssm": "mamba_n_heads"}
"""Keys whose absence is noticed by what depends on them, which is named in their place."""


def structural(config):
    """Keys of a configuration that may change the model."""
    plain = harmless_keys()
    return [k for k, v in config.items() if k not in plain and k != "model_type" and v is not None]


def refusal(config):
    with pytest.raises(SpecError) as error:
        reading(config, "x.json", "x")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_renamed_key_is_named(name):
    config = CONFIGS[name]
    for key in structural(config):
        renamed = {f"{k}_x" if k == key else k: v for k, v in config.items()}
        said = refusal(renamed)
        assert key in said or MISSED_FIRST.get(key, key) in said, key


@pytest.mark.parametrize("name", CONFIGS)
def test_a_key_that_nobody_knows_is_named(name):
    for key in ("num_super_layers", "expert_stride", "attention_skip_list"):
        assert key in refusal(CONFIGS[name] | {key: 3})


@pytest.mark.parametrize("name", CONFIGS)
def test_a_needed_key_that_is_missing_is_asked_for(name):
    config = CONFIGS[name]
    for keys in NEEDED:
        found = [k for k in keys if k in config]
        if len(found) == 1:
            assert found[0] in refusal({k: v for k, v in config.items() if k not in keys})


def test_a_type_that_nobody_knows_is_named():
    assert "llama9" in refusal(PUBLIC["llama-3.2-1b"] | {"model_type": "llama9"})
