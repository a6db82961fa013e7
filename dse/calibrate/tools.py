"""Headers of programs whose names say less than they mean, or something else: `data/tools.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd


@cache
def _tools() -> list[dict[str, Any]]:
    return list(tomllib.loads((Path(__file__).parent / "data" / "tools.toml").read_text(encoding="utf-8")).values())


def as_meant(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a program that is known by its headers, under headers that say what it means; others as they are."""
    found = next((tool for tool in _tools() if set(tool["when"]) <= set(map(str, rows.columns))), None)
    return rows if found is None else rows.rename(columns=found["names"])
