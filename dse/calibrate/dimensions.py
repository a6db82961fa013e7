"""What of its plan a measurement prints, as columns beside its prediction: where a model is wrong, and against what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "training": (
        "seq_len",
        "hidden",
        "global_batch",
        "micro_batch",
        "tp",
        "pp",
        "dp",
        "cp",
        "ep",
        "num_chips",
        "n_micro",
    ),
    "inference": ("batch", "concurrency", "in_len", "out_len", "hidden", "tp", "ep", "num_chips", "experts"),
    "kernels": ("M", "N", "K", "seq_len", "batch", "head_dim", "elements"),
    "collectives": ("message_bytes", "num_ranks", "num_nodes"),
}
"""Columns of a measurement against which errors are shown, by kind."""


def with_dimensions(done: pd.DataFrame, rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Predictions with the columns of `DIMENSIONS` that their rows print; `point_id` may end in ":" and a metric."""
    printed = rows.drop_duplicates("point_id").set_index("point_id")
    known = printed.reindex(done.point_id.str.rsplit(":", n=1).str[0] if kind == "inference" else done.point_id)
    numbers = {
        n: np.asarray(pd.to_numeric(known[n], errors="coerce"), dtype=float) for n in DIMENSIONS[kind] if n in known
    }
    found = done.assign(**numbers)
    if {"global_batch", "micro_batch", "dp"} <= set(numbers):
        return found.assign(n_micro=found.global_batch / (found.micro_batch * found.dp.clip(lower=1)))
    return found


def multiple(done: pd.DataFrame) -> Any:
    """Measured over predicted time of every row."""
    return done.measured_s / done.predicted_s
