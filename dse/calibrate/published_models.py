"""Names of models in publications, and the presets or files that they mean."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from ..core.files import is_there
from ..workload.counts import shortened
from ..workload.presets import model as preset_model
from ..workload.presets import model_names
from ..workload.transformer import Model
from .reading import row_text

NARROW = "fp8|nvfp4|mxfp4|fp4|int8|int4|awq|gptq|w8a8|w8a16|w4a16"
SUFFIXES = (
    r"[-_. ](hf|instruct|chat|base|it|thinking|lora|kv|dynamic|quantized|v\d(\.\d)?|\d{4}"
    rf"|bf16|fp16|{NARROW})\b"
)
"""Endings of a model's name that say how it was tuned or stored, not how large it is."""

ALIASES = {
    "deepseek-r1": "deepseek-v3", "deepseek-v3.1": "deepseek-v3",
    "deepseek-r1-671b": "deepseek-v3", "deepseek-v3-671b": "deepseek-v3",
    "deepseek-v3-base": "deepseek-v3",
    "deepseek-r1-0528": "deepseek-v3", "llama-3-8b": "llama-3.1-8b", "llama-3-70b": "llama-3.1-70b",
    "llama-3-405b": "llama-3.1-405b", "dsr1": "deepseek-v3", "gpt3-175b": "gpt-3-175b",
    "gptoss-120b": "gpt-oss-120b", "gptoss-20b": "gpt-oss-20b",
    "kimi-k2": "kimi-k2", "kimi-k2.5": "kimi-k2",
    "llama-4-scout-17b-16e": "llama-4-scout", "llama-4-maverick-17b-128e": "llama-4-maverick",
    "bert-large-uncased": "bert-large", "deepseek-v3.2-exp": "deepseek-v3.2", "deepseek-v3.1-terminus": "deepseek-v3",
    "minimax-m2.1": "minimax-m2", "minimax-m2.5": "minimax-m2", "minimax-m2.7": "minimax-m2", "glm-4.7": "glm-4.6",
    "nvidia-nemotron-3-nano-30b-a3b": "nemotron-3-nano-30b-a3b", "qwen3.5-35b-a3b": "qwen3.6-35b-a3b",
    "nvidia-nemotron-3-super-120b-a12b": "nemotron-3-super-120b-a12b", "mistral-large-3-675b": "mistral-large-3",
}  # fmt: skip
"""Models of the same sizes under other names, suffixes removed."""


LLAMA = r"^llama[-.]?(\d)[-.]?(\d)?(?=-\d+b)"
"""A Llama and its version, as in "llama31-8b" and "llama3.1-8b"."""


def model_alias(published: str) -> str:
    """Name of the preset behind a published model name, or what is left of that name; a path as it is."""
    if published.endswith(CONFIG):
        return published
    name = re.sub(r"\s*\(.*\)", "", published.rsplit("/", 1)[-1].lower()).strip()
    name = re.sub(r"^meta-", "", re.sub(r"[\s_:]+", "-", name))
    name = re.sub(LLAMA, lambda m: f"llama-{m[1]}.{m[2]}" if m[2] else f"llama-{m[1]}", name)
    # one ending at a time: a name with some of its endings left may be a preset of its own
    while True:
        if name in model_names():
            return name
        if name in ALIASES:
            return ALIASES[name]
        shorter = re.sub(f"{SUFFIXES}$", "", name)
        if shorter == name:
            return _squeezed().get(re.sub("[-.]", "", name), name)
        name = shorter


@cache
def _squeezed() -> dict[str, str]:
    """Presets by their names without the marks between words, where one alone has such a name."""
    pairs = [
        (re.sub("[-.]", "", said), preset) for said, preset in (*ALIASES.items(), *((n, n) for n in model_names()))
    ]
    return {bare: preset for bare, preset in pairs if {p for b, p in pairs if b == bare} == {preset}}


STORED = rf"[-_. ]({NARROW})\b"
"""Words in a model's name for how a checkpoint stores its weights."""


def stored_name(published: str) -> str:
    """How the name of a model says that its weights are stored; empty where it does not."""
    found = re.findall(STORED, published.lower())
    return found[-1] if found else ""


def unnamed(row: Any) -> str:
    """What a reason for absent sizes says of a row's model: that no preset or file has its name."""
    said = row_text(row, "model")
    return f": no preset and no file is named '{said}' (dse models)" if said and named_model(said) is None else ""


CONFIG = ".json"
"""Ending of a user's model file."""


@cache
def named_model(published: str) -> Model | None:
    """The preset behind a published name, or the model of a config.json by its path; None where neither is."""
    name = model_alias(published) if published.strip() else ""
    own = name.endswith(CONFIG) and is_there(Path(name))
    return preset_model(name) if own or name in model_names() else None


def known_model(published: str, layers: float, n_hidden: float) -> Model | None:
    """The model of a published name, cut to the printed layers; None where none is, or its width is another."""
    model = named_model(published)
    if model is None or n_hidden != model.hidden:  # another model under the name, such as a test's short one
        return None
    n = int(layers)
    if n == model.n_layers or n < 1:
        return model
    return shortened(model, n)
