"""Names of models in publications, and the presets or files that they mean."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

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
    if re.fullmatch(r"\d+(\.\d+)?\s?[bBmM]", said.strip()):
        return f": '{said}' tells a size, not whose model it is; write its name, as llama-2-{said.strip().lower()}"
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


SIZES = ("layers", "hidden", "heads")
"""Columns that are filled together, where all of them are blank."""


def sizes_of(published: object) -> dict[str, float]:
    """What a row would print of a model of that name; nothing where no preset or file has it."""
    m = named_model(published) if isinstance(published, str) else None
    if m is None or m.attention is None:
        return {}
    few = {"experts": m.experts.n_experts, "active_experts": m.experts.per_token} if m.experts else {}
    sizes = {
        "layers": m.n_layers, "hidden": m.hidden, "heads": m.attention.n_heads, "kv_heads": m.attention.n_kv_heads,
        "head_dim": m.attention.head_dim, "ffn_hidden": max(f.ffn for f, _ in m.feeds), "vocab": m.vocab,
    }  # fmt: skip
    return {k: float(v) for k, v in (sizes | few).items()}


def with_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that name a known model and print none of its sizes get them, and say so in `dims_from`."""
    if "model" not in rows or not set(SIZES) <= set(rows.columns):
        return rows
    # all or none: some sizes printed and the rest of a preset could make a model that nobody ran
    blank: Any = rows[list(SIZES)].map(lambda x: pd.isna(x) or not str(x).strip()).all(axis=1)
    found = {name: sizes for name in rows.loc[blank, "model"].dropna().unique() if (sizes := sizes_of(name))}
    at: Any = blank & rows["model"].isin(list(found))
    if not bool(at.any()):
        return rows
    columns = list(dict.fromkeys(k for sizes in found.values() for k in sizes))
    filled = rows.astype({c: object for c in (*columns, "dims_from") if c in rows})
    for column in columns:
        filled.loc[at, column] = [found[name].get(column) for name in rows.loc[at, "model"]]
    filled.loc[at, "dims_from"] = [f"preset {model_alias(name)}" for name in rows.loc[at, "model"]]
    return filled
