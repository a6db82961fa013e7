"""What columns of users' tables tell of one that is absent: chips, ranks, lengths, batches, plans in words."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from ..hardware.presets import system_names
from .columns import columns
from .instances import with_machines
from .lengths import in_tokens, in_two
from .published import may_be_several
from .ranks import numbers, staged, with_tensor_ranks


def completed(rows: pd.DataFrame, kind: str, source: str) -> pd.DataFrame:
    """Rows with the columns that others tell: lengths from totals, chips from ranks, sizes from a model's name.

    A point without a name gets that of its line, a table without a source that of its file, and a product its operator.
    A cell stays blank where nothing tells it.
    """
    rows = in_tokens(in_two(with_machines(_in_words(rows, kind))))
    told: dict[str, Any] = {"point_id": [f"line {i + 1}" for i in range(len(rows))], "source": source}
    n_chips = _n_chips(rows, kind)
    if {"tp", "pp", "dp", "chips_per_node"} & set(rows.columns) or bool(n_chips.notna().any()):
        told["num_chips"] = n_chips
    rows, more = _of_kind(rows, kind, told.get("num_chips"))
    told |= more
    rows = rows.assign(**{c: cells for c, cells in told.items() if c not in rows and cells is not None})
    # a column that is there may still have blank cells: only those are filled
    for name in (c for c in FILLED if told.get(c) is not None and c in rows):
        rows = rows.assign(**{name: rows[name].where(rows[name].notna(), told[name])})
    names = {c.name for c in columns(kind)}
    blank = [c for said, *others in BLANK for c in others if said in rows and c not in rows and c in names]
    return rows.assign(**dict.fromkeys(blank, None))


def _of_kind(rows: pd.DataFrame, kind: str, told_chips: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of a kind with what its own columns say in another form, and what they tell of others."""
    if kind == "training":
        rows = staged(with_tensor_ranks(rows))
        return rows, _batches(rows, told_chips)
    if kind == "inference":
        return rows, _requests(rows)
    if kind == "collectives":
        return in_bytes(rows), {"num_ranks": rows.get("num_chips", told_chips)}
    rows = _in_operands(_in_three(rows))
    # a batch beside three lengths and no name for the operator is of as many products
    usual = "grouped gemm" if "rows_per_group" in rows else "bmm" if "batch" in rows else "gemm"
    return _of_library(rows, usual if set("MNK") <= set(rows.columns) else ""), {}


def _of_library(rows: pd.DataFrame, usual: str) -> pd.DataFrame:
    """Rows of operators, `usual` where none is named, with the library that ran each before its name."""
    if "op" not in rows and not usual:
        return rows
    names = rows["op"].astype(object).fillna(usual) if "op" in rows else pd.Series(usual, index=rows.index)
    if "library" in rows:
        own = rows["library"].fillna("").astype(str)
        names = (
            own.where([x.lower() not in n.lower() for x, n in zip(own, names.astype(str), strict=True)], "")
            + " "
            + names.astype(str)
        ).str.strip()
    return rows.assign(op=names)


OPERAND = re.compile(r"(\w+):\w+")
"""Type and layout of an operand, as CUTLASS's profiler prints both."""


def _in_operands(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of products with the type of their operand A, and M where rows of each product of a group are told."""
    if "M" not in rows and "rows_per_group" in rows:
        rows = rows.assign(M=rows["rows_per_group"])
    if "dtype" in rows or "A" not in rows:
        return rows
    types = [OPERAND.fullmatch(str(cell).strip()) for cell in rows["A"]]
    return rows.assign(dtype=[t[1] if t else None for t in types]) if any(types) else rows


SIZE = r"(?:(?:message|msg|buffer)[_ ]?)?size[_ (]*([KMG])iB\)?"
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
    return rows.assign(message_bytes=numbers(rows, name) * scale).drop(columns=name)


SHAPE = r"\s*[(\[]?\s*(\d+)\s*[x,*\u00d7]\s*(\d+)\s*[x,*\u00d7]\s*(\d+)\s*[)\]]?\s*"
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
    words: list[str] = [str(x).lower() for x in rows["plan"]]
    fsdp = [x.get("fsdp", "yes" if re.search(r"\bfsdp", w) else None) for x, w in zip(said, words, strict=True)]
    told |= {"fsdp": fsdp} if kind == "training" else {}
    return rows.assign(**{c: x for c, x in told.items() if c not in rows and any(pd.notna(x))})


FILLED = ("in_len", "out_len", "concurrency", "dp", "num_chips", "global_batch", "micro_batch", "zero_stage")
"""Columns whose blank cells are filled too."""
BLANK = ("model", "layers", "hidden", "heads"), ("concurrency", "batch")
"""A column that says, by row, what those behind it leave blank."""


def _mean(rows: pd.DataFrame, total: str) -> Any:
    """Tokens of a request, from those of a whole benchmark; None where its columns do not tell."""
    # requests that failed have no tokens in the total, so they are not divided by either
    return numbers(rows, total) / numbers(rows, "completed") if {total, "completed"} <= set(rows.columns) else None


def _requests(rows: pd.DataFrame) -> dict[str, Any]:
    """Ranks, lengths and clients of requests that other columns tell."""
    told = {"dp": numbers(rows, "tp").where(_yes(rows, "dp_attention"))}
    # what ran before what was asked for: lengths are drawn up to that
    for way in ("in", "out"):
        told[f"{way}_len"] = _known(_mean(rows, f"total_{way}put_tokens"), rows.get(f"asked_{way}_len"))
    # of requests all sent at the start; at a finite rate the number at work is an outcome
    return told | {"concurrency": _at_once(rows)}


def _known(first: Any, second: Any) -> Any:
    """The first of two columns that is there, its blanks from the second."""
    return second if first is None else first if second is None else first.fillna(second)


def _at_once(rows: pd.DataFrame) -> Any:
    """Clients of a benchmark that sends all its requests at once; None where it does not say how many."""
    if not {"num_prompts", "request_rate"} <= set(rows.columns):
        return None
    # an infinite rate is how benchmarks write that nothing waits before it is sent
    return numbers(rows, "num_prompts").where(numbers(rows, "request_rate") == math.inf)


def _n_chips(rows: pd.DataFrame, kind: str) -> Any:
    """Chips of a run: those of its nodes, else one for each rank of its plan, else as many as its chip's name counts.

    Blank where nodes are of unknown size, or where the data ranks of a training run are not said.
    """
    nodes = numbers(rows, "num_nodes")
    of_nodes: Any = nodes * numbers(rows, "chips_per_node")
    planned, known = bool({"tp", "pp", "dp"} & set(rows.columns)), numbers(rows, "dp").notna()
    told: Any = _ranks(rows).where(planned & (known | (kind != "training")))
    # an operator runs on one chip of those that a server's name counts
    counted = _counted(rows) * nodes.fillna(1.0 if kind != "kernels" else math.nan)
    return of_nodes.where(((nodes > 1) & ~known) | of_nodes.notna(), told).fillna(counted)


SLICE = r"(?:tpu[\s_-]*)?v(?P<kind>[234]|5p|5e|5litepod|6e)-(?P<size>\d+)"
"""A slice of TPUs as Google names it, by TensorCores up to v4 and in v5p, of which a chip has two, else by chips."""
BY_CORE = ("2", "3", "4", "5p")
NAMED_CHIPS = re.compile(rf"\s*(?:(?P<n>\d+)\s*[x\u00d7*]\s*)?(?:{SLICE}\s*|(?P<chip>[A-Za-z].*))", re.IGNORECASE)
"""What the name of a chip counts, as "8xH100", "v5p-128" or "2xv5e-256"."""


def _counted(rows: pd.DataFrame) -> Any:
    """Chips that the name of a chip counts; blank where it counts none."""
    chips: Any = rows["chip"].astype(str) if "chip" in rows else pd.Series("", index=rows.index)
    return chips.map(lambda chip: _n_named(str(chip))).astype(float)


def _n_named(chip: str) -> float:
    found = NAMED_CHIPS.fullmatch(chip) if chip not in system_names() else None
    if found is None or not (found["n"] or found["size"]):
        return math.nan
    each = int(found["size"] or 1) / (2 if (found["kind"] or "").lower() in BY_CORE else 1)
    return int(found["n"] or 1) * max(each, 1.0)


def _ranks(rows: pd.DataFrame) -> Any:
    """Ranks of a plan: one chip each; blank for chips whose cores software may count instead."""
    ranks: Any = math.prod(numbers(rows, name, 1.0) for name in ("tp", "pp", "dp", "cp"))
    several = [may_be_several(str(chip)) for chip in rows["chip"]] if "chip" in rows else False
    return ranks.where(~pd.Series(several, index=rows.index))


def _batches(rows: pd.DataFrame, told_chips: Any) -> dict[str, Any]:
    """Batches and sharding of training runs that say them in other words.

        global = micro x accumulation x dp,  global = batch per chip x chips,  global = tokens / sequence
    with dp chips over tp x pp x cp where no column has it. Whoever shards by FSDP shares weights too.
    Source: [google2026maxtext] per_device_batch_size; [zhao2023fsdp] full sharding.
    """
    chips: Any = numbers(rows, "num_chips")
    chips = chips if told_chips is None else chips.fillna(told_chips)
    model_ranks = math.prod(numbers(rows, name, 1.0) for name in ("tp", "pp", "cp"))
    replicas: Any = numbers(rows, "dp").fillna(chips / model_ranks)
    replicas = replicas.where(replicas >= 1)
    passes = replicas * numbers(rows, "accumulation")
    # who counts sequences of a rank and step takes them at once unless told
    own: Any = numbers(rows, "replica_batch") * numbers(rows, "accumulation", 1.0) * replicas
    whole: Any = (numbers(rows, "micro_batch") * passes).fillna(own)
    told = {
        "global_batch": whole.fillna(numbers(rows, "batch_per_chip") * chips).fillna(
            numbers(rows, "batch_tokens") / numbers(rows, "seq_len")
        ),
        "micro_batch": numbers(rows, "replica_batch").fillna(numbers(rows, "global_batch") / passes),
        "zero_stage": pd.Series(3.0, index=rows.index).where(_yes(rows, "fsdp")),
    }
    return {name: cells for name, cells in told.items() if bool(cells.notna().any())}


def _yes(rows: pd.DataFrame, name: str) -> Any:
    """For every row, whether a cell says yes, or how many."""
    said: Any = rows[name].astype(str).str.strip().str.lower() if name in rows else pd.Series("", index=rows.index)
    return said.isin(("yes", "true", "on")) | (numbers(rows, name) > 0)
