"""Reading what training runs print as they go: a line of names and numbers for every few steps."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from .columns import column_of, renamed
from .rates import SCALES
from .spelling import is_metric

PAIR = re.compile(
    r"([A-Za-z][^:=|,;\[\]{}\"']*?)\s*[:=]\s*"
    # the end keeps out times of day and versions, whose digits go on
    r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)([KMBT]\b)?(?![\d.:])"
)
"""A name, a colon or an equals sign, and a number with a letter for thousands."""
BEFORE = re.compile(r"^\s*(?:\[[^\]]*\]:?\s*)+")
"""Time, host and rank at the start of a line."""
PAIRS_LEAST = 3
"""Fewest pairs of a line that tells of a step."""


def read_run(text: str, kind: str) -> pd.DataFrame | None:
    """A row for each setting that lines of a run tell, with the medians of their metrics; None for another text.

    The first line is of a step that compiles or warms up, and counts only where it is alone.
    """
    lines = [told for line in text.splitlines() if _tells(told := _pairs(line, kind))]
    if not lines:
        return None
    names = dict.fromkeys(name for told in lines for name in told)
    settings, metrics = [n for n in names if column_of(n, kind)], [n for n in names if is_metric(n)]
    groups: dict[tuple[float | None, ...], list[Mapping[str, float]]] = {}
    for told in lines[1:] or lines:
        groups.setdefault(tuple(told.get(n) for n in settings), []).append(told)
    found = [dict(zip(settings, key, strict=True)) | _middle(metrics, part) for key, part in groups.items()]
    return renamed(pd.DataFrame(found).assign(stat="median"), kind)


PHASE = re.compile(r"^\s*(Prefill|Decode|Total)\.\s+(?:median )?latency:\s*([\d.]+) s\b", re.MULTILINE)
"""What SGLang's benchmark of one batch prints of a prompt, of a token and of all; first once to warm up."""
PHASES = {"Prefill": "prefill_latency (s)", "Decode": "median TPOT (s)", "Total": "request_latency (s)"}


def read_phases(text: str) -> pd.DataFrame | None:
    """The one row of a benchmark of one batch, its last lines counted; None for another text."""
    found = dict(PHASE.findall(text))
    if not set(PHASES) <= set(found):
        return None
    sequences = re.findall(r"Batch size: (\d+)", text)
    told = {PHASES[name]: seconds for name, seconds in found.items()}
    return pd.DataFrame([told | ({"batch": sequences[-1]} if sequences else {})])


def _middle(metrics: Sequence[str], part: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    values = {n: [told[n] for told in part if n in told] for n in metrics}
    return {n: statistics.median(x) if x else None for n, x in values.items()}


def _pairs(line: str, kind: str) -> dict[str, float]:
    """Names and numbers of a line; a count that is rounded to thousands is none."""
    found: dict[str, float] = {}
    for name, number, letter in PAIR.findall(BEFORE.sub("", line)):
        # what a logger writes before the first name ends in a dash
        name = re.split(r"\s-\s|\s{2,}", name)[-1].strip()
        if not letter or not column_of(name, kind):
            found.setdefault(name, float(number.replace(",", "")) * SCALES[letter])
    return found


def _tells(told: Mapping[str, float]) -> bool:
    return len(told) >= PAIRS_LEAST and any(map(is_metric, told))
