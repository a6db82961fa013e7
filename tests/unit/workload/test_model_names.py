"""Names of models as pages, tables and tools write them: the preset of the same sizes, or what is left of the name."""

import re
import tomllib
from pathlib import Path

import pytest

import dse
from dse.core.errors import UnknownNameError
from dse.workload import model_names as names


@pytest.mark.parametrize(
    ("published", "preset"),
    [
        ("Qwen/Qwen2.5-14B-Instruct", "qwen2.5-14b"), ("gemma2:9b", "gemma-2-9b"), ("phi3-mini", "phi-3-mini"),
        ("lmsys/vicuna-13b-v1.5", "llama-2-13b"), ("facebook/opt-66b", "opt-66b"), ("EleutherAI/gpt-j-6b", "gpt-j-6b"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "qwen2.5-32b"), ("zephyr-7b-beta", "mistral-7b"),
        ("huggyllama/llama-65b", "llama-1-65b"), ("Qwen/QwQ-32B", "qwen2.5-32b"), ("tiiuae/falcon-40b", "falcon-40b"),
        ("Qwen2.5-Coder-7B-Instruct", "qwen2.5-7b"), ("EleutherAI/gpt-neox-20b", "gpt-neox-20b"),
        ("some-lab/unheard-of-3b", "unheard-of-3b"),
    ],
)  # fmt: skip
def test_the_preset_of_the_same_sizes(published, preset):
    assert names.model_alias(published) == preset


def test_every_other_name_leads_to_a_preset_and_is_none():
    same = tomllib.loads((Path(names.__file__).parent / "data" / "model_aliases.toml").read_text())["same"]
    assert set(same.values()) <= set(names.model_names()) and not set(same) & set(names.model_names())


def test_another_name_is_offered_its_preset_and_not_taken_for_it():
    """A name may say how weights are stored, which a preset's does not."""
    with pytest.raises(UnknownNameError, match=re.escape("did you mean qwen3-32b?")):
        dse.model("Qwen/Qwen3-32B-FP8")
