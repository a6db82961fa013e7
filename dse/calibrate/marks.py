"""Tables whose cells no mark of CSV parts: LaTeX, and columns aligned by spaces, as programs print them."""

from __future__ import annotations

import re

LATEX = re.compile(r"&.*\\\\")
"""A line of a LaTeX table: cells parted by an ampersand, its end marked."""
RULES = r"\\(?:hline|toprule|midrule|bottomrule|\\.*$|c(?:mid|line)rule\S*)"
"""Lines drawn between rows, and what follows the end of one."""
DRESS = r"\\(?:textbf|textit|texttt|emph|mathbf|bf|num|SI)\{([^{}]*)\}"
"""How a cell looks."""
FEWEST = 3
"""Cells of a line that make it one of a table."""


def with_tabs(text: str) -> str:
    """`text` with its cells parted by tabs where it is LaTeX, or aligned by spaces and without another mark."""
    if LATEX.search(text):
        lines = (line for line in text.splitlines() if "&" in line)
        return "\n".join("\t".join(map(_bare, re.sub(RULES, "", line).split("&"))) for line in lines)
    # with another mark between cells, spaces are part of them
    if re.search("[,;\t|]", text):
        return text
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # two spaces first: cells such as "Llama 3" have one inside
    for apart in (r"\s{2,}", r"\s+"):
        rows = [re.split(apart, line) for line in lines]
        rows = _counted(rows[next((i for i, row in enumerate(rows) if len(row) >= FEWEST), len(rows)) :])
        if len(rows) > 1 and len({len(row) for row in rows}) == 1:
            return "\n".join("\t".join(row) for row in rows)
    return text


def _bare(cell: str) -> str:
    """A cell of LaTeX without what makes it bold or a formula."""
    return re.sub(DRESS, r"\1", cell).replace("\\", "").replace("$", "").replace("~", " ").strip()


def _counted(rows: list[list[str]]) -> list[list[str]]:
    """Rows without the count from 0 in front of them that pandas prints, and that has no header."""
    body = [row[0] for row in rows[1:]]
    is_count = (
        bool(body) and body == [str(i) for i in range(len(body))] and all(len(r) == len(rows[0]) + 1 for r in rows[1:])
    )
    return [rows[0], *(row[1:] for row in rows[1:])] if is_count else rows
