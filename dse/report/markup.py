"""HTML elements of pages: headings, tables, figures, folded parts. Text is escaped; numbers go through `format`."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..core.text import digits, percent, quantity_text, unit_of
from .layout import Table

LARGEST_SVG_B = 400_000
"""SVG files larger than this are shown as PNG where there is one: a thousand points are slow to draw."""
MIME = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclasses.dataclass(frozen=True)
class Markup:
    """Text that is HTML already."""

    html: str


Cell = str | Markup


def text(value: Cell) -> str:
    """HTML of a cell."""
    return value.html if isinstance(value, Markup) else escape(value)


def wrapped(words: str) -> Markup:
    """Long text in a cell: broken into lines, flush left."""
    return Markup(f'<span class="wrap">{escape(words)}</span>')


def heading(title: str, anchor: str = "") -> str:
    """A heading that links may point to."""
    place = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h2{place}>{escape(title)}</h2>"


def paragraph(words: Cell, style: str = "") -> str:
    """A paragraph."""
    return f"<p{f' class={style}' if style else ''}>{text(words)}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table, first column flush left, the rest right; on a narrow screen every row is a card of labelled lines."""
    heads = [escape(c) for c in columns]
    cards = len(heads) > 2 and any(heads)  # two columns fit any screen
    marks = [f' data-head="{h}"' if cards and i else "" for i, h in enumerate(heads)]
    lines = ("".join(f"<td{m}>{text(c)}</td>" for m, c in zip(marks, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    top = f"<thead><tr>{''.join(f'<th>{h}</th>' for h in heads)}</tr></thead>" if any(heads) else ""
    look = ' class="cards"' if cards else ""
    return f'<div class="scroll"><table{look}>{top}<tbody>{body}</tbody></table></div>'


def written(t: Table) -> str:
    """A table with its note."""
    return table(t.columns, (list(map(str, row)) for row in t.rows)) + (paragraph(t.note, "small") if t.note else "")


def folded(title: str, inside: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"


def figure(path: Path, caption: str) -> str:
    """A figure file as part of the page: the SVG, or the PNG beside it where the SVG is large or missing."""
    svg, png = path.with_suffix(".svg"), path.with_suffix(".png")
    file = svg if svg.exists() and (svg.stat().st_size <= LARGEST_SVG_B or not png.exists()) else png
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    image = f'<img alt="{escape(caption)}" src="data:{MIME[file.suffix]};base64,{data}">'
    return f'<figure><div class="scroll">{image}</div><figcaption>{escape(caption)}</figcaption></figure>'


def figures_in(folder: Path) -> list[Path]:
    """Figures of a folder, each once, as SVG or else PNG."""
    # SVG last, so that it takes the place of the PNG of its name
    found = {p.stem: p for suffix in (".png", ".svg") for p in sorted(folder.glob(f"[!.]*{suffix}"))}
    return [found[stem] for stem in sorted(found)]


def value_text(name: str, value: Any) -> str:
    """A value of plain data as people write it, by the unit at the end of its name."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if name.endswith(SHARES):
            return percent(float(value))
        if not unit_of(name) and float(value).is_integer() and abs(value) < LARGEST_COUNT:
            return f"{int(value):,}"  # 4,096 tokens are not 4,100
        return quantity_text(name, float(value)) if unit_of(name) else digits(float(value))
    if isinstance(value, dict):
        return ", ".join(f"{k} {value_text(k, v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(value_text(name, v) for v in value)
    return str(value)


LARGEST_COUNT = 1e7
"""Whole numbers below are told in full."""
SHARES = ("_err", "_gap", "margin", "bias", "gap", "probability", "feasible", "share")
"""Ends of names that are shares without saying so."""


def records(rows: Sequence[dict[str, Any]], columns: Sequence[str] = (), most: int = 0) -> str:
    """A table of like records; of all their keys unless told which, of the first `most` unless that is 0."""
    if not rows:
        return ""
    names = list(columns) or list(rows[0])
    shown = rows[:most] if most else rows
    made = table([words(n) for n in names], ([value_text(n, r.get(n)) for n in names] for r in shown))
    return made + (paragraph(f"{most:,} of {len(rows):,} rows.", "small") if most and len(rows) > most else "")


def words(name: str) -> str:
    """A column's name without underscores; units stay in the cells."""
    unit = unit_of(name)
    return name.removesuffix(f"_{unit}").replace("_", " ") if unit else name.replace("_", " ")
