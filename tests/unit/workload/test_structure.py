"""No structural key is read past: a renamed or an unknown one is an error that names it, a needed one is asked for."""

import copy
import functools
import json
from pathlib import Path

import pytest

from dse.core.errors import SpecError
from dse.workload.config_file import MOST_WHOLE
from dse.workload.huggingface import harmless_keys, reading
from dse.workload.transformer import total_parameters

from .test_published_files import refusal

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


LONGCAT = {
    "model_type": "longcat_flash", "num_layers": 28, "hidden_size": 6144, "vocab_size": 131072,
    "ffn_hidden_size": 12288, "expert_ffn_hidden_size": 2048, "n_routed_experts": 512, "zero_expert_num": 256,
    "moe_topk": 12,
    "num_attention_heads": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "max_position_embeddings": 131072,
}  # fmt: skip


def test_longcat_as_published():
    """Its page says 560 B in all; two blocks per layer."""
    found = reading(LONGCAT, "x.json", "x").model
    assert found.n_layers == 56
    assert total_parameters(found) == pytest.approx(560e9, rel=0.01)


def wholes(tree, here=()):
    """Where whole numbers stand in a configuration."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from wholes(value, (*here, key))
    if isinstance(tree, int) and not isinstance(tree, bool):
        yield here


@pytest.mark.parametrize("name", [*CONFIGS, "longcat"])
def test_the_largest_whole_number_is_counted_or_refused(name):
    """Before: a billion blocks that predict further tokens (or layers of LongCat) took 8 GB and minutes."""
    config = (CONFIGS | {"longcat": LONGCAT})[name]
    for *above, key in wholes(config):
        changed = copy.deepcopy(config)
        holder = functools.reduce(lambda tree, step: tree[step], above, changed)
        holder[key] = MOST_WHOLE
        try:
            total_parameters(reading(changed, "x.json", "x").model)
        except SpecError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("where", "key", "value", "told"),
    [
        ("vision_config", "spatial_merge_size", "", 'spatial_merge_size = "", expected a whole number'),
        ("vision_config", "spatial_merge_size", 0.5, "spatial_merge_size = 0.5, expected a whole number"),
        ("vision_config", "patch_size", [14, "x"], "patch_size"),
        ("vision_config", "mlp_ratio", "x", 'mlp_ratio = "x", expected a number'),
        ("vision_config", "depth", 10**30, "no such model exists"),
        ("quantization_config", "ignore", -1, "ignore = -1, expected a list of names of modules"),
        ("quantization_config", "ignore", "lm_head", "expected a list of names of modules"),
        ("quantization_config", "ignore", ["re:("], "expected a list of names of modules"),
        ("quantization_config", "ignore", [f"re:{'(' * 5000}{')' * 5000}"], "expected a list of names of modules"),
        ("quantization_config", "ignore", ["re:a{99999999999}"], "expected a list of names of modules"),
        ("quantization_config", "ignore", [f"model.layers.{'9' * 5000}.mlp"], None),
    ],
)
def test_what_stands_in_nested_objects_is_read_with_care(where, key, value, told):
    """Before: a size of a tower that is a text, or a list that is none, was a traceback; a bad pattern was ignored."""
    config = copy.deepcopy(PUBLIC["qwen3.5-397b"] if where == "vision_config" else PUBLIC["kimi-k2.6"])
    if where == "quantization_config":
        config["text_config"][where][key] = value
    else:
        config[where] = {"depth": 27, "hidden_size": 1152, "patch_size": 16, **config[where], key: value}
        config[where].pop("intermediate_size", None)
    if told is None:
        assert reading(config, "x.json", "x").model.n_layers == 61
    else:
        assert told in refusal(config)
