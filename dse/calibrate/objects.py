"""Reading of JSON with measurements: lists, lines or nests of objects, and what benchmarks of serving put into them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from .columns import is_column
from .reading import UNREADABLE
from .spelling import is_metric

JSON = (".json", ".jsonl", ".ndjson")
"""Endings of files that hold objects, in a list or one a line."""


def read_objects(path: Path, kind: str) -> pd.DataFrame:
    """The objects of a JSON file as rows, keys of inner objects behind a dot. ValueError for anything else.

    An object with a unit is a metric with its statistics, as GenAI-Perf writes them. Objects that only group a run's
    settings or results leave no trace in the names of what they hold.
    """
    try:
        found = _by_columns(_parsed(path.read_text(encoding="utf-8-sig")))
        rows = found if isinstance(found, list) else _inner(found)
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("expected an object, or a list or lines of them")
        table = pd.json_normalize([_with_headers(row) for row in rows])
    except (RecursionError, *UNREADABLE) as error:
        raise ValueError(str(error) or "nested too deeply") from None
    if table.empty:
        raise ValueError("no object")
    return _ungrouped(table, kind).map(_cell)


def _cell(value: Any) -> Any:
    """A cell as a table would have it: of a list with one word, that word."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return str(value) if isinstance(value, bool | list) else value


GROUPS = (
    "config", "configuration", "args", "arguments", "settings", "setup", "params", "parameters", "meta", "metadata",
    "hardware", "environment", "workload", "run", "benchmark", "summary", "result", "results", "metrics", "performance",
    "strategy", "scheduler", "profile", "input_config", "perf_analyzer", "stimulus",
)  # fmt: skip
"""Names of objects that say nothing of what they hold."""
OTHERS = {
    "draft",
    "drafter",
    "speculative",
    "teacher",
    "reference",
    "ref",
    "critic",
    "reward",
    "client",
    "tokenizer",
    "vision",
}
"""Words in the names of objects whose settings are not the run's."""


def _ungrouped(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A table whose columns inside such objects have their own names, where no other column has them."""
    ends = [str(c).rpartition(".") for c in table.columns]
    leaves = [leaf for _, _, leaf in ends]
    told = {
        f"{outer}.{leaf}": leaf
        for outer, _, leaf in ends
        if outer and leaves.count(leaf) == 1
        # a setting is one wherever it stands, but for those of another model or of who asks
        and ((is_column(leaf, kind) and not OTHERS & set(re.split(r"\W|_", outer.lower())))
             or (is_metric(leaf) and set(outer.lower().split(".")) <= set(GROUPS)))
    }  # fmt: skip
    return table.rename(columns=told)


def _by_columns(found: Any) -> Any:
    """Rows of an object with a list for each column, or with names and lines as pandas splits them; else as it is."""
    if not isinstance(found, dict) or not found:
        return found
    if {"columns", "data"} <= set(found) <= {"columns", "data", "index"}:
        return [dict(zip(found["columns"], line, strict=True)) for line in found["data"]]
    lists = list(found.values())
    if not all(isinstance(x, list) and x and len(x) == len(lists[0]) for x in lists) or isinstance(lists[0][0], dict):
        return found
    return [dict(zip(found, line, strict=True)) for line in zip(*lists, strict=True)]


def _parsed(text: str) -> Any:
    """What a text says as one JSON value, or as one for each line."""
    try:
        # as a whole first: lines of an indented object are no objects
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _inner(found: Any) -> list[Any]:
    """The objects of the one list that an object holds, each with what stands beside the list; else the object."""
    lists = {k: v for k, v in found.items() if isinstance(v, list)} if isinstance(found, dict) else {}
    rows = next(iter(lists.values())) if len(lists) == 1 else []
    if not rows or not all(isinstance(row, dict) for row in rows):
        return [found]
    return [{k: v for k, v in found.items() if k not in lists} | row for row in rows]


COUNTS = ("tokens", "count", "requests")
"""Units of counts, of which the mean is the count itself."""


def _with_headers(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with metrics that are objects under a header for each of their statistics, and counts under one alone."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        unit = value.get("unit") if isinstance(value, dict) else None
        if unit in COUNTS and "avg" in value:
            flat[name] = value["avg"]
            continue
        flat |= {f"{name}_{k} ({unit})": x for k, x in value.items() if k != "unit"} if unit else {name: value}
    return _of_guidellm(flat)


def _of_guidellm(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with the metrics of GuideLLM under a header each, of requests that did not fail; others as they are.

    Its time per output token has the prompt's in it, and its throughputs are of all strategies: times between tokens,
    first tokens and requests count. Source: its documentation of metrics.
    """
    metrics: Any = row.get("metrics")
    told = {k: v for k, v in metrics.items() if isinstance(v, dict)} if isinstance(metrics, dict) else {}
    fine = {k: v["successful"] for k, v in told.items() if isinstance(v.get("successful"), dict)}
    if not fine:
        return row
    named = {header: fine[k][stat] for k, (header, stat) in GUIDELLM.items() if stat in fine.get(k, {})}
    return {k: v for k, v in row.items() if k != "metrics"} | named


GUIDELLM = {
    "inter_token_latency_ms": ("median_itl_ms", "median"), "time_to_first_token_ms": ("median_ttft_ms", "median"),
    "request_latency": ("median_request_latency_s", "median"), "prompt_token_count": ("prompt_token_count", "mean"),
    "output_token_count": ("output_token_count", "mean"),
}  # fmt: skip
"""Metrics of GuideLLM, their headers and the statistic that counts."""
