"""Lengths in users' tables that are no plain numbers: two in one cell, and thousands, as "1k/8k"."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from ..core.errors import SpecError
from .reading import THOUSANDS

PAIR = r"\s*(\d[\d.]*\s?k?)\s*[/:,|x\u00d7]\s*(\d[\d.]*\s?k?)\s*"
"""Tokens of a prompt and of its answer in one cell."""
LENGTHS = ("in_len", "out_len", "asked_in_len", "asked_out_len", "seq_len")
"""Columns that may have thousands."""
K_TOKENS = (1000.0, 1024.0)
"""What a k of tokens can be."""


def in_two(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose lengths stand in one cell have both in columns of their own, where no column has them."""
    if "in_out_len" not in rows or {"in_len", "out_len"} & set(rows.columns):
        return rows
    both: dict[str, list[Any]] = {"in_len": [], "out_len": []}
    for said in rows["in_out_len"]:
        found = re.fullmatch(PAIR, str(said), re.IGNORECASE)
        # what is no pair stays, to be refused with its own words
        parts = found.groups() if found else (math.nan, math.nan) if pd.isna(said) else (said, said)
        for name, part in zip(both, parts, strict=True):
            both[name].append(float(part) if found and re.fullmatch(r"\d+", part) else part)
    return rows.assign(**both)


def in_tokens(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose lengths in thousands are in tokens, where `k_tokens` says what a k is; SpecError for another."""
    if "k_tokens" not in rows:
        return rows
    odd = next((x for x in rows["k_tokens"] if x not in K_TOKENS), None)
    if odd is not None:
        raise SpecError(f"k_tokens = {odd}: expected 1000 or 1024 tokens")
    told = {name: [_tokens(*pair) for pair in zip(rows[name], rows["k_tokens"], strict=True)] for name in LENGTHS
            if name in rows}  # fmt: skip
    return rows.assign(**told)


def _tokens(said: Any, k: float) -> Any:
    found = re.fullmatch(THOUSANDS, said.strip(), re.IGNORECASE) if isinstance(said, str) else None
    return float(found[1]) * k if found else said
