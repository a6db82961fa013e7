"""Names of models in publications, and the presets or files that they mean."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from ..core.files import is_there
from ..workload.counts import shortened
from ..workload.model_names import CONFIG, NARROW, model_alias, model_names
from ..workload.presets import model as preset_model
from ..workload.transformer import Model
from .reading import row_text

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
