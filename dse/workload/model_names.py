"""Names of models on their pages and in publications, and the presets whose sizes they have."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

_DATA = Path(__file__).parent / "data"


@cache
def model_names() -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(p.stem for p in _DATA.glob("*.json"))


CONFIG = (".json", ".gguf")
"""Endings of a user's model file."""
NARROW = "fp8|nvfp4|mxfp4|fp4|int8|int4|awq|gptq|w8a8|w8a16|w4a16"
SUFFIXES = (
    r"[-_. ](hf|instruct|chat|base|it|thinking|lora|pre-?train(?:ing|ed)?|kv|dynamic|quantized|v\d(\.\d)?|\d{4}"
    rf"|bf16|fp16|{NARROW})\b"
)
"""Endings of a model's name that say how it was tuned or stored, not how large it is."""


@cache
def _same_sizes() -> dict[str, str]:
    """Preset of the same sizes of each model that goes by another name, endings removed."""
    return tomllib.loads((_DATA / "model_aliases.toml").read_text(encoding="utf-8"))["same"]


# only before a size: the 30 of llama-30b is no version
LLAMA = r"^llama[-.]?(\d)[-.]?(\d)?(?=-\d+b)"
"""A Llama and its version, as in "llama31-8b" and "llama3.1-8b"."""


def model_alias(published: str) -> str:
    """Name of the preset behind a published model name, or what is left of that name; a path as it is."""
    if published.endswith(CONFIG):
        return published
    # brackets first: in them may stand the same model's name on its page
    name = (re.sub(r"\s*\(.*\)", "", published) or published).rsplit("/", 1)[-1].lower().strip()
    name = re.sub(r"^meta-", "", re.sub(r"[\s_:]+", "-", name))
    name = re.sub(LLAMA, lambda m: f"llama-{m[1]}.{m[2]}" if m[2] else f"llama-{m[1]}", name)
    # one ending at a time: a name with some of its endings left may be a preset of its own
    while True:
        if name in model_names():
            return name
        if name in _same_sizes():
            return _same_sizes()[name]
        shorter = re.sub(f"{SUFFIXES}$", "", name)
        if shorter == name:
            return _squeezed().get(re.sub("[-.]", "", name), name)
        name = shorter


@cache
def _squeezed() -> dict[str, str]:
    """Presets by their names without the marks between words, where one alone has such a name."""
    named = (*_same_sizes().items(), *((n, n) for n in model_names()))
    pairs = [(re.sub("[-.]", "", said), preset) for said, preset in named]
    return {bare: preset for bare, preset in pairs if {p for b, p in pairs if b == bare} == {preset}}
