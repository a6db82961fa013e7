"""Commands that list chips, models and studies, write template files and schemas, and make a report page."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..core.errors import SpecError
from ..core.files import SAFE_NAME, json_text, read_toml, write_text
from ..core.shipped import COMMANDS, kind_of, shipped_folder
from ..report.terminal import progress, screen, show, start_jax
from .flags import FLAG, JSON


@dataclasses.dataclass(frozen=True)
class Chips:
    """List the chip presets, or show every fact of one with its source, guesses first."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """Chip preset; all of them when left out."""
    json: JSON = False

    def run(self) -> None:
        """List and show."""
        start_jax()
        from ..economy.presets import own_terms
        from ..hardware.own_chip import is_own
        from ..hardware.presets import chip, chip_names, chip_receipts
        from ..report.chip_tables import chip_numbers, chip_view, chips_table, disagreement_lines

        name = self.name
        if name is None:
            return show(self.json, lambda: [chip_numbers(n) for n in chip_names()], lambda _: chips_table())
        if is_own(name):
            own_terms(name)
            chip(name)  # facts alone would not show that it cannot be built
        facts = [dataclasses.asdict(f) for f in chip_receipts(name)]
        estimates = {k: v for k, v in chip_numbers(name).items() if k.endswith("_estimate")}
        answer = {"name": name, "facts": facts, "vendor_totals": disagreement_lines(name), "estimates": estimates}
        show(self.json, lambda: answer, lambda _: chip_view(name))


@dataclasses.dataclass(frozen=True)
class Models:
    """List the models that come with the package, or show what is read of one: a preset or a config.json."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """Model preset, or the path of a Hugging Face config.json; all presets when left out."""
    types: bool = False
    """List the model types of a config.json that are read instead."""
    json: JSON = False

    def run(self) -> None:
        """List and show."""
        from ..report.model_tables import model_view, models_table, reading_numbers
        from ..workload.families import TYPES
        from ..workload.presets import model_names, model_reading

        if self.types:
            if self.name is not None:
                raise SpecError("--types lists the types of all models; leave the name out")
            screen().print(json_text(list(TYPES)) if self.json else ", ".join(TYPES), markup=False, highlight=False)
        elif self.name:
            reading = model_reading(self.name)
            show(self.json, lambda: reading_numbers(reading), lambda _: model_view(reading))
        else:
            readings = [model_reading(n) for n in model_names()]
            show(self.json, lambda: [reading_numbers(r) for r in readings], lambda _: models_table(readings))


@dataclasses.dataclass(frozen=True)
class ReportCommand:
    """Put everything in a results folder on one HTML page that works offline: tables, figures, guesses, sources."""

    results: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS")]
    """Results folder of one answer, or the folder above several."""
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE.html", help_behavior_hint="")] = None
    """File to write; by default report.html in the folder."""
    json: FLAG = False
    """Print JSON: the file and its size."""

    def run(self) -> None:
        """Collect, write, say where."""
        start_jax()
        from ..report.page import write_page

        with progress() as tell:
            tell("writing the page")
            path = write_page(self.results, self.out)
        if self.json:
            print(json_text({"page": str(path), "size_B": path.stat().st_size}))
        else:
            screen().print(f"Written to {path}", markup=False)


KIND = Annotated[tyro.conf.Positional[Literal["study", "sweep", "chip", "portfolio"]], tyro.conf.arg()]
TEMPLATES = Path(__file__).parent / "templates"
AFTER = {"chip": " llama-3.1-8b", "portfolio": " h100"}
"""What a command asks for beside the file."""


@dataclasses.dataclass(frozen=True)
class New:
    """Write a commented file of your own to start from; it runs as it stands."""

    kind: KIND
    """What to write."""
    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """Its name: NAME.toml is written here, never over a file that exists."""

    def run(self) -> None:
        """Write, and say which command takes it."""
        path = Path(self.name if self.name.endswith(".toml") else f"{self.name}.toml")
        if not SAFE_NAME.fullmatch(path.stem) or "." in path.stem:
            raise SpecError(f"new {self.kind}: '{path.stem}' is no plain name; use letters, digits, '_' and '-'")
        if path.exists():
            raise SpecError(f"{path}: exists already; choose another name")
        text = (TEMPLATES / f"{self.kind}.toml").read_text(encoding="utf-8")
        named = re.sub(r"\bNAME\b", path.stem, text)
        write_text(path, named)
        screen().print(f"Written to {path}; next: {COMMANDS[self.kind]} {path}{AFTER.get(self.kind, '')}", markup=False)


@dataclasses.dataclass(frozen=True)
class Schema:
    """Print the JSON Schema of a kind of file: every key with unit, default and meaning, for editors and programs."""

    kind: KIND
    """Kind of file."""

    def run(self) -> None:
        """Print what the readers of the package take."""
        print(json.dumps(schema_of(self.kind), indent=2, allow_nan=False))  # a form of its own, no answer of ours


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of "study", "sweep", "chip" or "portfolio"."""
    start_jax()
    from ..hardware.schema import chip_schema
    from ..serving.portfolio import portfolio_schema
    from ..study.written import study_schema
    from ..sweep.spec import sweep_schema

    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "study": study_schema, "sweep": sweep_schema, "chip": chip_schema, "portfolio": portfolio_schema,
    }  # fmt: skip
    return makers[kind]()


@dataclasses.dataclass(frozen=True)
class Studies:
    """List the studies, sweeps, portfolios and forecasts that come along, with the command that takes each by name."""

    json: FLAG = False
    """Print JSON."""

    def run(self) -> None:
        """List."""
        rows = shipped_rows()
        if self.json:
            return print(json_text(rows))
        out = screen()
        for row in rows:
            said = textwrap.fill(row["question"], out.width, initial_indent=INDENT, subsequent_indent=INDENT)
            out.print(f"{row['command']}\n{said}", markup=False, highlight=False, soft_wrap=True)


INDENT = "    "
"""Before what a file asks, below its command."""


def first_sentence(text: str) -> str:
    r"""The first sentence of the comment that a file begins with, however many lines it takes.

    >>> first_sentence("# What chip is\n# cheapest? No more.\n[study]")
    'What chip is cheapest?'
    """
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.lstrip("# ") for line in head)
    return re.split(r"(?<=[.?!])\s", comment, maxsplit=1)[0]


def shipped_rows() -> list[dict[str, str]]:
    """Name, kind, command and question of every shipped file, studies first."""
    rows = []
    for path in sorted(shipped_folder().glob("*.toml")):
        kind = kind_of(read_toml(path)) or "study"
        command = f"{COMMANDS[kind]} {path.stem}{AFTER.get(kind, '')}"
        question = first_sentence(path.read_text(encoding="utf-8"))
        rows.append({"name": path.stem, "kind": kind, "command": command, "question": question})
    return sorted(rows, key=lambda row: list(COMMANDS).index(row["kind"]))
