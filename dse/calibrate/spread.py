"""Tables with a column for each chip, batch or length: headers that hold a cell of another column, as "H100 tok/s".

Each such cell becomes a row of its own, with what its header holds in the column that this belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from .columns import column_of
from .digits import COLUMNS
from .published import preset_for
from .published_models import named_model
from .spelling import is_metric, parted_metric

Cells = tuple[tuple[str, str | float], ...]
"""Columns with the cells that a header holds."""
BETWEEN = re.compile(r"[\s_,;:@|(\[-]+")
"""What may stand between a cell and the metric in a header."""
NUMBERED = r"([a-z#][a-z_ ]*?)[\s=:_-]*(\d+)|(\d+)[\s_-]*([a-z][a-z_ ]*)"
"""A column's name with a number, in either order, as "bs8" or "8 GPUs"."""
WORDS = {
    "precision": r"(?:nv|mx)?fp(?:4|8|16|32)|bf16|tf32|int[48]|w[48]a(?:4|8|16)",
    "library": r"(?:cu|hip|roc)[-_ ]?blas(?:[-_ ]?lt)?|triton|cutlass|cudnn|deep[-_ ]?gemm|(?:py)?torch|aiter|xformers"
    r"|fa[-_ ]?[234]|flash[-_ ]?(?:attn|attention)(?:[-_ ]?v?[234])?|flash[-_ ]?infer|sdpa|tilelang|marlin|machete"
    r"|onednn|nki|pallas|ck",
    "framework": r"vllm|sglang|(?:tensorrt|trt)[-_ ]?llm|lmdeploy|tgi|megatron(?:-lm)?|nemo|torchtitan|maxtext|fsdp2?",
}
"""Words that are cells wherever they stand."""
NEVER = ("value", "params_B")
"""Columns of numbers that no header holds a cell of."""
PASSES = r"(f(or)?wa?r?d)?(\s*\+\s*)?(b(ack)?wa?r?d)?"
"""Passes of attention, as programs that time it head their columns."""


def gathered(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of a kind with one for each cell whose header holds cells of columns that the table lacks.

    ValueError where two headers hold the same.
    """
    told = {c: found for c in map(str, rows.columns) if (found := _held(c, rows, kind))}
    if not any(cells for cells, _ in told.values()):
        return rows
    libraries = {cells for cells, _ in told.values()} - {()}
    if () in dict(told.values()) and len(libraries) == 1 and dict(*libraries).keys() == {"library"}:
        # a library's own table, whose other metrics are of it too
        told = {c: (*libraries, metric) for c, (_, metric) in told.items()}
    names = rows["point_id"] if "point_id" in rows else pd.Series([f"line {i + 1}" for i in range(len(rows))])
    parts = []
    for cells in dict.fromkeys(cells for cells, _ in told.values()):
        said = " ".join(str(x) if isinstance(x, str) else f"{c} {x:g}" for c, x in cells)
        here = {c: metric for c, (other, metric) in told.items() if other == cells}
        part = rows.drop(columns=[c for c in told if c not in here]).assign(point_id=list(names), **dict(cells))
        # who has not measured a chip leaves its cells blank
        part = pd.DataFrame(part.loc[part[list(here)].notna().any(axis=1)]).rename(columns=here)
        if twice := next((m for m in here.values() if list(here.values()).count(m) > 1), None):
            raise ValueError(f"two columns hold {twice} of {said}; keep one")
        parts.append(part.assign(point_id=[f"{name} {said}".strip() for name in part["point_id"]]))
    # stable: rows of one line keep the order of their columns
    return pd.DataFrame(pd.concat(parts)).sort_index(kind="stable").reset_index(drop=True)


def _held(header: str, rows: pd.DataFrame, kind: str) -> tuple[Cells, str] | None:
    """Cells that a header holds and the metric that is left of it; None for a header that is neither."""
    if _is_metric(header, kind, rows):
        return (), header
    if column_of(header, kind) or header in rows.columns.intersection(list(UPRIGHT)):
        return None
    for cell, rest in _halves(header):
        found = _cell(cell, kind, rows)
        inner = _held(rest, rows, kind) if found and found[0] not in rows else None
        if found and inner and found[0] not in dict(inner[0]):
            # sorted, so that "H100 bs8" and "bs8 H100" are one
            return tuple(sorted((found, *inner[0]))), inner[1]
    return None


UPRIGHT = ("metric", "value", "unit")


def _is_metric(header: str, kind: str, rows: pd.DataFrame) -> bool:
    """Whether a header is a metric; of nothing left, whether a column tells the metric."""
    if header == "value":
        return "metric" in rows and "value" not in rows
    unit = parted_metric(header)[2]
    # of "tok/s (H100)" what stands in brackets is no unit
    return is_metric(header) and not (unit and _cell(unit, kind, rows))


def _halves(header: str) -> Iterator[tuple[str, str]]:
    """Ways to part a header into a cell and what is left, the shortest cells first."""
    parts = [(header[: m.start()], header[m.end() :]) for m in BETWEEN.finditer(header)]
    both = [(a, b) for a, b in (*parts, *(pair[::-1] for pair in parts)) if a.strip() and b.strip()]
    for cell, rest in sorted(both, key=lambda pair: len(pair[0])):
        yield cell.strip(" ()[]"), rest.strip() if re.search(r"[(\[]", rest) else rest.strip(" ()[]")
    yield header, "value"


def _cell(said: str, kind: str, rows: pd.DataFrame) -> tuple[str, str | float] | None:
    """Column and cell of a part of a header; None for a part that is none."""
    low = said.strip().lower()
    if kind == "kernels" and "head_dim" in rows and low and re.fullmatch(PASSES, low):
        return "op", f"attention {low}"
    # "B200" before a batch of 200
    if preset_for(said):
        return "chip", said
    found = re.fullmatch(NUMBERED, low)
    if found is None:
        return _word(said, low, kind)
    word, number = found[1] or found[4], found[2] or found[3]
    # of "8 GPUs" the word counts; of "GPU 8" it may be a name
    column = column_of(f"# {word}", kind) if found[4] else None
    column = column or column_of(word, kind)
    fits = column in COLUMNS and column not in NEVER and float(number) > 0
    return (str(column), float(number)) if fits else _word(said, low, kind)


def _word(said: str, low: str, kind: str) -> tuple[str, str] | None:
    """Column and cell of a word for a format, a stack or a known model; None for another."""
    named = next((name for name, words in WORDS.items() if re.fullmatch(words, low)), None)
    named = named or ("model" if named_model(said) else None)
    column = column_of(named, kind) if named else None
    return (column, said) if column else None
