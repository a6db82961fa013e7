"""Public models by name: `model`, from one published `config.json` each in `data/`; sources in `model_sources.toml`.

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
from .model_names import model_alias, model_names
from .transformer import Model

_DATA = Path(__file__).parent / "data"


@cache
def model_sources() -> dict[str, str]:
    """Source of the sizes of each preset: a web page or a publication."""
    return tomllib.loads((_DATA / "model_sources.toml").read_text(encoding="utf-8"))


def model_reading(name_or_path: str | Path) -> Reading:
    """As `model`, with the ignored keys and the parts left out."""
    name = str(name_or_path)
    # presets first, so that a folder of that name where the command runs changes nothing
    if name in model_names():
        return dataclasses.replace(read_config(_DATA / f"{name}.json"), source=model_sources()[name])
    path = Path(name_or_path)
    # a missing file too, so that the error speaks of a file and not of presets
    if path.suffix == ".json" or is_there(path):
        return read_config(path)
    same = model_alias(name)  # offered, not taken: the name may say how weights are stored, too
    raise UnknownNameError("model", name, model_names(), same if same in model_names() else "")


def model(name_or_path: str | Path) -> Model:
    """The model preset of this name, or the model of a Hugging Face `config.json` given by its path or folder.

    >>> m = model("llama-3.1-8b")
    >>> m.hidden, sum(run.n for run in m.runs)
    (4096, 32)

    UnknownNameError (with near matches): no such preset or path. SpecError: a missing, malformed or unsupported file.
    """
    return model_reading(name_or_path).model
