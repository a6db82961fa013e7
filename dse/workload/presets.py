"""Public models by name: one `config.json` each in `data/`, as published, with its source in `model_sources.toml`.

GPT-3 175B is [brown2020gpt3] table 2.1 with the vocabulary padded to 51,200 of [narayanan2021megatron] section 5.
Llama 3.1 is [grattafiori2024llama3] table 3; Qwen3 32B is [qwen2025] table 1, both as published.
"""

from __future__ import annotations

import dataclasses
import tomllib
from functools import cache
from pathlib import Path

from ..core.errors import UnknownNameError
from ..core.files import is_there
from .huggingface import Reading, read_config
from .transformer import Model

_DATA = Path(__file__).parent / "data"


def model_names() -> list[str]:
    """Names of the models that come with the package, sorted."""
    return sorted(p.stem for p in _DATA.glob("*.json"))


@cache
def model_sources() -> dict[str, str]:
    """Where the sizes of each preset come from: a page or a publication."""
    return tomllib.loads((_DATA / "model_sources.toml").read_text(encoding="utf-8"))


def model_reading(name_or_path: str | Path) -> Reading:
    """As `model`, with what was passed over and left out."""
    name = str(name_or_path)
    if name in model_names():
        return dataclasses.replace(read_config(_DATA / f"{name}.json"), source=model_sources()[name])
    path = Path(name_or_path)
    if path.suffix == ".json" or is_there(path):
        return read_config(path)
    raise UnknownNameError("model", name, model_names())


def model(name_or_path: str | Path) -> Model:
    """A model by preset name, or else from the path of a Hugging Face `config.json` or its folder.

    >>> m = model("llama-3.1-8b")
    >>> m.hidden, sum(run.n for run in m.runs)
    (4096, 32)

    UnknownNameError for neither a preset nor a path, with near matches; SpecError for a missing or malformed file.
    """
    return model_reading(name_or_path).model
