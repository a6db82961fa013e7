"""Tables whose names stand in their first column, and reports of a name and a number a line, with a header."""

from __future__ import annotations

import re

import pandas as pd

from .columns import is_column, renamed
from .spelling import STATISTIC, parted_metric

NAMES_LEAST = 3
"""Fewest known names in a first column that make it a header on its side."""
SPREADS = r"min|max|std|stddev|count"
"""Statistics beside a metric that nothing here predicts."""


def upright(lines: list[list[str]], kind: str) -> list[list[str]]:
    """`lines` with the header first: as they are, or turned where the first column holds the names of others.

    Where the header holds statistics, as GenAI-Perf writes them, all lines are one row.
    """
    if len(lines) < NAMES_LEAST:
        return lines
    pairs = [cell.strip().lower() for cell in lines[0]] == ["metric", "value"]
    if _n_known(lines[0], kind) > 1 and not pairs:
        return lines
    if _n_known([line[0] for line in lines[1:]], kind) < NAMES_LEAST:
        return lines
    heads = [cell.strip().lower() for cell in lines[0][1:] if cell.strip()]
    if heads and all(re.fullmatch(f"{STATISTIC}|{SPREADS}|value", head) for head in heads):
        return _one_row(lines, kind)
    width = max(map(len, lines))
    return [list(column) for column in zip(*([*line, *[""] * (width - len(line))] for line in lines), strict=True)]


def _one_row(lines: list[list[str]], kind: str) -> list[list[str]]:
    """A header with a name for each metric and statistic, and the line of their numbers."""
    heads, cells = [cell.strip().lower() for cell in lines[0]], dict[str, str]()
    for name, *values in (line for line in lines[1:] if line[0] != lines[0][0]):
        # a name that is no metric of several statistics, or a second table's with one value, is one column
        plain = is_column(name, kind) or len(values) == 1
        for head, value in zip(heads[1:], values, strict=False):
            if value.strip() and not re.fullmatch(SPREADS, head):
                cells.setdefault(name.strip() if plain or head == "value" else f"{head} {name.strip()}", value)
    return [list(cells), list(cells.values())]


def _n_known(names: list[str], kind: str) -> int:
    return sum(is_column(n, kind) or bool(parted_metric(n)[2]) for n in set(names) if n.strip())


LINE = re.compile(r"^\s*([A-Za-z#][^:|,;\t\n]*?):\s+([\d.,]+|inf)\s*$", re.MULTILINE)
"""A line of a report: a name, a colon and a number."""
WORDS = re.compile(r"^\s*([A-Za-z#][^:|,;\t\n]*?):\s+([A-Za-z][\w./-]*)\s*$", re.MULTILINE)
"""One with a word, such as the name of a model."""


def read_report(text: str, kind: str) -> pd.DataFrame | None:
    """The one row of a report such as serving benchmarks print to their screens; None for another text."""
    found = dict(LINE.findall(text))
    # words count where a column has their name
    found |= {name: said for name, said in WORDS.findall(text) if name not in found and is_column(name, kind)}
    # a header of a table beside it would be the table's
    if _n_known(list(found), kind) < NAMES_LEAST or 2 * len(found) < len(re.findall(r"^.*\w.*$", text, re.MULTILINE)):
        return None
    return renamed(pd.DataFrame([found]), kind)
