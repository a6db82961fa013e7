"""HTML report of a results folder: one offline file.

Every kind of result has a section (`sections.SECTIONS`, sweeps); others are shown as plain numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from ..core.bibliography import publications
from ..core.errors import DseError, SpecError
from ..core.files import write_text
from ..core.text import label, span
from ..core.version import __version__
from ..study.basis import basis_of
from . import hover, sections
from .markup import Cell, Markup, figure, figures_in, folded, heading, paragraph, table, value_text, wrapped
from .sections import SECTIONS, plain
from .sweep_summary import sweep

CSS = Path(__file__).with_name("page.css")
PAGE = "report.html"
CAPTIONS = {
    "area_power": "Area and full-load power by block; hollow marks are third-party estimates",
    "roofline": "Roofline with the operators of each workload: gray on the baseline, in colour on the design",
    "front": "The front; hollow diamonds are chips that exist, modelled",
    "designs": "Designs along the front",
    "sensitivity": "What the optimum rests on; hollow where guessed or estimated",
    "risk_verdict": "Outcome over all samples",
    "risk_design": "Spread of the best design",
    "risk_drivers": "What the verdict hangs on",
    "parity": "Predicted against measured",
    "parts": "What predictions are made of, and their errors",
    "backtest_ratios": "Proposed over built",
    "tdp": "Delivered speed-up over the TDP under three readings of it",
}
SHOWN = 16
NOT_ANSWERS = ("manifest.json",)
"""JSON files that are shown at the end, as receipts."""


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of the page."""

    title: str
    html: str


def write_page(root: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of a folder with answers at any depth, by default as its `report.html`, and return its path.

    SpecError: no such folder, no answer in it, or a file that cannot be read or written.
    """
    root = Path(root)
    if not root.is_dir():
        raise SpecError(f"{root}: no such folder; give a results folder, such as results/trainium4")
    sections = [s for folder in _folders(root) for s in _of(folder, root)]
    if not sections:
        raise SpecError(f"{root}: no answers there; run dse optimize, front, risk, sweep or validate first")
    target = root / PAGE if path is None else Path(path)
    html = page(root.resolve().name, [*sections, *_receipts(root)])
    write_text(target, html)
    return target


def _folders(root: Path) -> list[Path]:
    """The folder and those below it, those of a study's design first."""
    below = sorted(p for p in root.rglob("*") if p.is_dir())
    # a study's design first: of a folder with many answers it is what the others are about
    tops = {p: root / p.relative_to(root).parts[0] for p in below}
    return [root, *sorted(below, key=lambda p: not (tops[p] / "solution.json").exists())]


def _of(folder: Path, root: Path) -> Iterator[Section]:
    """Sections of one folder: its answers, then its figures; nothing for a folder without either."""
    if folder.name.startswith(".") or folder.name == "shards":  # parts of a sweep, which its own section reads as one
        return
    where = _where(folder, root)
    drawn = {p.stem: figure(p, CAPTIONS.get(p.stem, p.stem.replace("_", " "))) for p in figures_in(folder)}
    for file in sorted(folder.glob("[!.]*.json"), key=_place):  # hidden ones are still being written
        if file.name in NOT_ANSWERS or file.name.endswith("manifest.json"):
            continue
        title, made = SECTIONS.get(file.name, (file.stem.replace("_", " ").capitalize(), plain))
        own = [drawn.pop(n) for n in list(drawn) if n in OWN_FIGURES.get(file.stem, ()) or n.startswith(file.stem)]
        with _as_written(file):
            answer = _read(file)
            html = made(answer) + sections.unfinished(answer)
            if made is sections.front:  # its folder is named after its metrics; words say them better
                title, where = sections.front_title(answer), _where(folder.parent, root)
        yield Section(f"{title}{where}", "".join([html, *own]))
    manifest = folder / "manifest.json"
    if manifest.exists() and "schema_version" in (held := _manifest(manifest)):
        with _as_written(manifest):
            title, html = where or f": {held['sweep']}", sweep(folder, held)
        yield Section(f"Sweep{title}", html)
    if drawn:
        yield Section(f"Figures{where}", "".join(drawn.values()))


def _where(folder: Path, root: Path) -> str:
    """Which of the folders of the page, after a title."""
    return "" if folder in (root, root.parent) else f": {folder.relative_to(root)}"


def _place(path: Path) -> tuple[int, str]:
    known = list(SECTIONS)
    return known.index(path.name) if path.name in known else len(known), path.name


OWN_FIGURES = {"solution": ("area_power", "roofline"), "front": ("front", "designs"), "scores": ("parity", "parts")}
"""Answer to the figures that show it; those that begin with its name belong to it too."""


@contextlib.contextmanager
def _as_written(file: Path) -> Iterator[None]:
    """Turns what a file of another form makes of a section into one line."""
    try:
        yield
    except DseError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        off = f"no {error.args[0]}" if isinstance(error, KeyError) and error.args else "of another form"
        raise SpecError(f"{file}: not written by this version ({off}); run its command again") from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: cannot be read as JSON ({error}); run its command again") from error


def _manifest(path: Path) -> dict[str, Any]:
    """Where an answer came from; SpecError for a file of another form."""
    held = _read(path)
    lists = [held.get("guesses", []), held.get("sources", [])] if isinstance(held, dict) else [None]
    if not all(isinstance(x, list) and all(isinstance(word, str) for word in x) for x in lists):
        raise SpecError(f"{path}: not written by this version (of another form); run its command again")
    return held


def _receipts(root: Path) -> list[Section]:
    """What all the answers rest on: the guesses, the sources, and where each answer came from."""
    found = {p: _manifest(p) for p in sorted(root.rglob("*manifest.json")) if not p.name.startswith(".")}
    guessed = list(dict.fromkeys(g for m in found.values() for g in m.get("guesses", ())))
    sources = {s for m in found.values() for s in m.get("sources", ())}
    sections = []
    if guessed:
        said = f"{len(guessed)} numbers behind these answers are guesses, the widest range first."
        columns = ["guess", "value", "range", "where [source]"]
        first, rest = (table(columns, map(_guess_row, part)) for part in (guessed[:SHOWN], guessed[SHOWN:]))
        more = folded(f"{len(guessed) - SHOWN} more", rest) if guessed[SHOWN:] else ""
        sections.append(Section("Guesses", paragraph(said, "lead") + first + more))
    if sources:
        rows = [(w.key, Markup(_link(w.title, w.url)), w.year) for w in publications(sources)]
        sections.append(Section("Sources", folded(f"{len(rows)} works", table(["key", "title", "year"], rows))))
    if found:
        runs = "".join(folded(str(p.relative_to(root)), _run_table(m)) for p, m in found.items())
        sections.append(Section("Runs", runs))
    return sections


def _guess_row(name: str) -> tuple[Cell, ...]:
    thing, _, fact_name = name.rpartition(": ")
    fact = next((b.fact for b in basis_of(thing) if b.fact.name == fact_name), None)
    if fact is None or isinstance(fact.value, str):
        return name, "", "", ""
    ends, where = span(fact_name, fact.low, fact.high), wrapped(f"{fact.where} [{fact.source}]")
    return f"{thing}: {label(fact_name)}", value_text(fact_name, fact.value), ends, where


def _link(title: str, url: str) -> str:
    words = wrapped(title).html
    return f'<a href="{escape(url)}" rel="noreferrer">{words}</a>' if url.startswith(("http://", "https://")) else words


def _run_table(manifest: dict[str, Any]) -> str:
    shown = {k: v for k, v in manifest.items() if isinstance(v, str | int | float) and "\n" not in str(v)}
    return table(["", ""], [(k.replace("_", " "), wrapped(str(v))) for k, v in shown.items()])


def page(title: str, sections: list[Section]) -> str:
    """The whole HTML."""
    anchors = [f"{i}-{re.sub('[^a-z0-9]+', '-', s.title.lower())}" for i, s in enumerate(sections)]
    links = " ".join(f'<a href="#{a}">{escape(s.title)}</a>' for a, s in zip(anchors, sections, strict=True))
    body = "".join(f"<section>{heading(s.title, a)}{s.html}</section>" for a, s in zip(anchors, sections, strict=True))
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
    head += f"<style>{CSS.read_text(encoding='utf-8')}</style>{hover.script() if hover.HOVER in body else ''}"
    foot = f"<footer>dse {escape(__version__)}; canonical units inside, shown as people write them.</footer>"
    main = f"<main><h1>{escape(title)}</h1><nav>{links}</nav>{body}{foot}</main>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{main}</body></html>\n'
