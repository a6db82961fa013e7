"""Ranks and stages of sharding that tables tell in other words: those of a model together, "ZeRO-3", FULL_SHARD."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .reading import ODD_NUMBER


def numbers(rows: pd.DataFrame, name: str, default: float = float("nan")) -> Any:
    """The numbers of a column, `default` where it is absent, blank or text."""
    cells: Any = rows[name] if name in rows else pd.Series(default, index=rows.index)
    found: Any = pd.to_numeric(cells, errors="coerce")
    return found.fillna(default)


MOST_TENSOR = 8
"""Most ranks that a model is split over inside layers alone, where a table does not part tensor and pipeline ranks."""


def with_tensor_ranks(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose ranks of a model are told together have the tensor ranks of these; of more than 8 no pipeline is told.

    Source: [narayanan2021megatron] section 3.2: tensor ranks up to the chips of a server.
    """
    if "model_ranks" not in rows or "tp" in rows:
        return rows
    whole = numbers(rows, "model_ranks")
    if "pp" in rows:
        return rows.assign(tp=whole / numbers(rows, "pp", 1.0))
    parted: Any = whole > MOST_TENSOR
    rows = rows.assign(tp=whole.where(~parted))
    if not bool(parted.any()):
        return rows
    said: Any = rows[ODD_NUMBER] if ODD_NUMBER in rows else pd.Series("", index=rows.index)
    why = f"model_ranks: more than {MOST_TENSOR} are tensor times pipeline ranks; give tp and pp"
    # a row that cannot be told already keeps its first reason
    return rows.assign(**{ODD_NUMBER: said.where((said != "") | ~parted, why)})


STRATEGIES = {"FULL_SHARD": 3, "SHARD_GRAD_OP": 2, "NO_SHARD": 0, "DDP": 0}
"""Words of PyTorch for what data ranks share [zhao2023fsdp], as stages."""


def staged(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose stage of sharding is its number, also where it is told as "ZeRO-3" or "stage 2"."""
    if "zero_stage" not in rows:
        return rows
    said: Any = rows["zero_stage"].astype(str).str.strip()
    digit: Any = said.str.extract(r"(?i)^(?:zero|stage|deepspeed|[-_ ])*(\d)$", expand=False)
    told: Any = pd.to_numeric(digit)
    stage = told.fillna(said.str.upper().map(STRATEGIES))
    # other words stay as they are, so that they are refused as they were written
    return rows.assign(zero_stage=rows["zero_stage"].astype(object).where(stage.isna(), stage))
