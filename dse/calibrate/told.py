"""What columns of users' tables tell of one that is absent: chips, ranks, lengths, batches, plans in words."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from .columns import columns


def completed(rows: pd.DataFrame, kind: str, source: str) -> pd.DataFrame:
    """Rows with the columns that others tell: lengths from totals, chips from ranks, sizes from a model's name.

    A point without a name gets that of its line, a table without a source that of its file, and a product its operator.
    A cell stays blank where nothing tells it.
    """
    rows = _in_words(rows, kind)
    told: dict[str, Any] = {"point_id": [f"line {i + 1}" for i in range(len(rows))], "source": source}
    if kind == "inference":
        told["dp"] = _numbers(rows, "tp").where(_yes(rows, "dp_attention"))
        told |= {"in_len": _mean(rows, "total_input_tokens"), "out_len": _mean(rows, "total_output_tokens")}
        # of requests all sent at the start; at a finite rate the number at work is an outcome
        told["concurrency"] = _at_once(rows)
    if {"tp", "pp", "dp", "chips_per_node"} & set(rows.columns):
        told["num_chips"] = _n_chips(rows)
    if kind == "training":
        told |= _batches(rows, told.get("num_chips"))
    if kind == "collectives":
        rows = in_bytes(rows)
        told["num_ranks"] = rows.get("num_chips", told.get("num_chips"))
    if kind == "kernels":
        rows = _in_three(rows)
        told |= {"op": "gemm"} if set("MNK") <= set(rows.columns) else {}
    rows = rows.assign(**{c: cells for c, cells in told.items() if c not in rows and cells is not None})
    # a column that is there may still have blank cells: only those are filled
    for name in (c for c in FILLED if told.get(c) is not None):
        rows = rows.assign(**{name: rows[name].where(rows[name].notna(), told[name])})
    names = {c.name for c in columns(kind)}
    blank = [c for said, *others in BLANK for c in others if said in rows and c not in rows and c in names]
    return rows.assign(**dict.fromkeys(blank, None))


SIZE = r"(?:message_?)?size[_ (]*([KMG])iB\)?"
"""A header of message sizes in binary units; "MB" may be two sizes, and is none."""


def in_bytes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose message sizes in KiB, MiB or GiB are in bytes, where no column has them so."""
    found = {c: m for c in map(str, rows.columns) if (m := re.fullmatch(SIZE, c.strip(), re.IGNORECASE))}
    # of two columns of sizes nothing says which one counts
    if len(found) != 1 or "message_bytes" in rows:
        return rows
    ((name, match),) = found.items()
    # KiB is 2^10 bytes, and every letter further 2^10 times as much
    scale = 2.0 ** (10 * (1 + "KMG".index(match[1].upper())))
    return rows.assign(message_bytes=_numbers(rows, name) * scale).drop(columns=name)


SHAPE = r"\s*(\d+)\s*[x,*\u00d7]\s*(\d+)\s*[x,*\u00d7]\s*(\d+)\s*"
"""A product's shape in one cell, as MxNxK."""


def _in_three(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose shape is that of a product have its three lengths, where no column has them."""
    if "shape" not in rows or set("MNK") & set(rows.columns):
        return rows
    parts = [re.fullmatch(SHAPE, str(cell), re.IGNORECASE) for cell in rows["shape"]]
    if not any(parts):
        return rows
    return rows.assign(**{n: [float(p[i]) if p else math.nan for p in parts] for i, n in enumerate("MNK", start=1)})


PLAN = {
    "tp": "tp",
    "pp": "pp",
    "cp": "cp",
    "ep": "ep",
    "dp": "dp",
    "fsdp": "dp",
    "vp": "virtual_pp",
    "vpp": "virtual_pp",
}
"""Words for sizes of a plan, and their columns."""


def _in_words(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows whose plan in words has its sizes in their columns, where these are absent."""
    if "plan" not in rows or kind not in ("training", "inference"):
        return rows
    said = [dict(re.findall(rf"(?<![a-z])({'|'.join(PLAN)})[\s=:_-]*(\d+)", str(x).lower())) for x in rows["plan"]]
    told = {c: [next((float(x[w]) for w in x if PLAN[w] == c), math.nan) for x in said] for c in PLAN.values()}
    told |= {"fsdp": [x.get("fsdp") for x in said]} if kind == "training" else {}
    return rows.assign(**{c: x for c, x in told.items() if c not in rows and any(pd.notna(x))})


FILLED = ("in_len", "out_len", "concurrency", "dp", "num_chips", "global_batch", "micro_batch", "zero_stage")
"""Columns whose blank cells are filled too."""
BLANK = ("model", "layers", "hidden", "heads"), ("concurrency", "batch")
"""A column that says, by row, what those behind it leave blank."""


def _numbers(rows: pd.DataFrame, name: str, default: float = math.nan) -> Any:
    cells: Any = rows[name] if name in rows else pd.Series(default, index=rows.index)
    found: Any = pd.to_numeric(cells, errors="coerce")
    return found.fillna(default)


def _mean(rows: pd.DataFrame, total: str) -> Any:
    """Tokens of a request, from those of a whole benchmark; None where its columns do not tell."""
    # requests that failed have no tokens in the total, so they are not divided by either
    return _numbers(rows, total) / _numbers(rows, "completed") if {total, "completed"} <= set(rows.columns) else None


def _at_once(rows: pd.DataFrame) -> Any:
    """Clients of a benchmark that sends all its requests at once; None where it does not say how many."""
    if not {"num_prompts", "request_rate"} <= set(rows.columns):
        return None
    # an infinite rate is how benchmarks write that nothing waits before it is sent
    return _numbers(rows, "num_prompts").where(_numbers(rows, "request_rate") == math.inf)


def _n_chips(rows: pd.DataFrame) -> Any:
    """Chips of a run: those of its nodes, else one for each rank of its plan; blank where nodes are of unknown size."""
    nodes = _numbers(rows, "num_nodes")
    of_nodes: Any = nodes * _numbers(rows, "chips_per_node")
    return of_nodes.where((nodes > 1) | of_nodes.notna(), _ranks(rows))


def _ranks(rows: pd.DataFrame) -> Any:
    """Ranks of a plan: one chip each."""
    return math.prod(_numbers(rows, name, 1.0) for name in ("tp", "pp", "dp", "cp"))


def _batches(rows: pd.DataFrame, told_chips: Any) -> dict[str, Any]:
    """Batches and sharding of training runs that say them in other words.

        global = micro x accumulation x dp,  global = batch per chip x chips,  global = tokens / sequence
    with dp chips over tp x pp x cp where no column has it. Whoever shards by FSDP shares weights too.
    Source: [google2026maxtext] per_device_batch_size; [zhao2023fsdp] full sharding.
    """
    chips: Any = _numbers(rows, "num_chips")
    chips = chips if told_chips is None else chips.fillna(told_chips)
    model_ranks = math.prod(_numbers(rows, name, 1.0) for name in ("tp", "pp", "cp"))
    replicas: Any = _numbers(rows, "dp").fillna(chips / model_ranks)
    passes = replicas.where(replicas >= 1) * _numbers(rows, "accumulation")
    whole: Any = _numbers(rows, "micro_batch") * passes
    told = {
        "global_batch": whole.fillna(_numbers(rows, "batch_per_chip") * chips).fillna(
            _numbers(rows, "batch_tokens") / _numbers(rows, "seq_len")
        ),
        "micro_batch": _numbers(rows, "global_batch") / passes,
        "zero_stage": pd.Series(3.0, index=rows.index).where(_yes(rows, "fsdp")),
    }
    return {name: cells for name, cells in told.items() if bool(cells.notna().any())}


def _yes(rows: pd.DataFrame, name: str) -> Any:
    """For every row, whether a cell says yes, or how many."""
    said: Any = rows[name].astype(str).str.strip().str.lower() if name in rows else pd.Series("", index=rows.index)
    return said.isin(("yes", "true", "on")) | (_numbers(rows, name) > 0)
