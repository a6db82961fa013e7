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


OUTSIDE = ("text_config", "vision_config", "audio_config", "projector_config", "language_config")
"""Objects of a file of several models; towers may go by any name."""


def structural(config):
    """Keys of a configuration that may change the model."""
    plain = harmless_keys()
    kept = [k for k, v in config.items() if k not in plain and k != "model_type" and v is not None]
    return [k for k in kept if k not in OUTSIDE and not k.endswith(("_token_id", "_token_index"))]


def inside(config):
    """The language model's own keys."""
    return next((config[k] for k in ("text_config", "language_config") if k in config), config)


def around(config, own):
    """The file with other keys of the language model."""
    key = next((k for k in ("text_config", "language_config") if k in config), None)
    return own if key is None else config | {key: own}


def refusal(config):
    with pytest.raises(SpecError) as error:
        reading(config, "x.json", "x")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_renamed_key_is_named(name):
    config = inside(CONFIGS[name])
    for key in structural(config):
        renamed = {f"{k}_x" if k == key else k: v for k, v in config.items()}
        said = refusal(around(CONFIGS[name], renamed))
        assert key in said or MISSED_FIRST.get(key, key) in said, key


@pytest.mark.parametrize("name", CONFIGS)
def test_a_key_that_nobody_knows_is_named(name):
    for key in ("num_super_layers", "expert_stride", "attention_skip_list"):
        assert key in refusal(CONFIGS[name] | {key: 3})
        assert key in refusal(around(CONFIGS[name], inside(CONFIGS[name]) | {key: 3}))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_needed_key_that_is_missing_is_asked_for(name):
    config = inside(CONFIGS[name])
    for keys in NEEDED:
        found = [k for k in keys if k in config]
        listed = "hybrid_override_pattern" in config and keys == NEEDED[0]  # a letter for each layer says how many
        if len(found) == 1 and not listed:
            left = {k: v for k, v in config.items() if k not in keys}
            assert found[0] in refusal(around(CONFIGS[name], left))


def test_a_type_that_nobody_knows_is_named():
    assert "llama9" in refusal(PUBLIC["llama-3.2-1b"] | {"model_type": "llama9"})
