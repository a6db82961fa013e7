"""Commands that show what there is: `dse chips`, `dse models` and, of a results folder, `dse report`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.errors import SpecError
from ..core.files import json_text
from ..report.session import start_jax
from ..report.terminal import progress, screen, show
from .flags import FLAG, JSON


@dataclasses.dataclass(frozen=True)
class Chips:
    """List the chip presets, or show every fact of one with its source, guesses first."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """Chip preset; all of them when left out."""
    json: JSON = False

    def run(self) -> int:
        """List and show."""
        start_jax()
        from ..economy.presets import own_terms
        from ..hardware.own_chip import is_own
        from ..hardware.presets import chip, chip_names, chip_receipts
        from ..report.chip_tables import chip_numbers, chip_view, chips_table, disagreement_lines

        name = self.name
        if name is None:
            show(self.json, lambda: [chip_numbers(n) for n in chip_names()], lambda _: chips_table())
            return 0
        if is_own(name):
            own_terms(name)
            chip(name)  # facts alone would not show that it cannot be built
        facts = [dataclasses.asdict(f) for f in chip_receipts(name)]
        answer = {"name": name, "facts": facts, "vendor_totals": disagreement_lines(name)}
        show(self.json, lambda: answer, lambda _: chip_view(name))
        return 0


@dataclasses.dataclass(frozen=True)
class Models:
    """List the models that come with the package, or show what is read of one: a preset or a config.json."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """Model preset, or the path of a Hugging Face config.json; all presets when left out."""
    types: bool = False
    """List the model types of a config.json that are read instead."""
    json: JSON = False

    def run(self) -> int:
        """List and show."""
        from ..core.files import json_text
        from ..report.model_tables import model_view, models_table, reading_numbers
        from ..workload.families import TYPES
        from ..workload.presets import model_names, model_reading

        if self.types:
            if self.name is not None:
                raise SpecError("--types lists the types of all models; leave the name out")
            screen().print(json_text(list(TYPES)) if self.json else ", ".join(TYPES), markup=False, highlight=False)
            return 0
        readings = [model_reading(n) for n in ([self.name] if self.name else model_names())]
        if self.name:
            show(self.json, lambda: reading_numbers(readings[0]), lambda _: model_view(readings[0]))
        else:
            show(self.json, lambda: [reading_numbers(r) for r in readings], lambda _: models_table(readings))
        return 0


@dataclasses.dataclass(frozen=True)
class ReportCommand:
    """Put everything in a results folder on one HTML page that works offline: tables, figures, guesses, sources."""

    results: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS")]
    """Results folder of one answer, or the folder above several."""
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE.html", help_behavior_hint="")] = None
    """File to write; by default report.html in the folder."""
    json: FLAG = False
    """Print JSON: the file and its size."""

    def run(self) -> int:
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
        return 0
