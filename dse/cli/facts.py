"""Commands that list what comes with the package: `dse chips` and `dse models`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..report.terminal import screen
from .flags import JSON


@dataclasses.dataclass(frozen=True)
class Chips:
    """List the chip presets, or show every fact of one with its source, guesses first."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """Chip preset; all of them when left out."""
    json: JSON = False
    """Print JSON, canonical units."""

    def run(self) -> int:
        """List and show."""
        from ..report.session import start_jax

        start_jax()
        from ..hardware.presets import chip_names, chip_receipts
        from ..report.results import json_text
        from ..report.tables import chip_numbers, chip_view, chips_table, disagreement_lines

        if self.name is None:
            if self.json:
                print(json_text([chip_numbers(name) for name in chip_names()]))
            else:
                screen().print(chips_table())
        elif self.json:
            facts = [dataclasses.asdict(f) for f in chip_receipts(self.name)]
            print(json_text({"name": self.name, "facts": facts, "vendor_totals": disagreement_lines(self.name)}))
        else:
            screen().print(chip_view(self.name))
        return 0


@dataclasses.dataclass(frozen=True)
class Models:
    """List the models that come with the package."""

    json: JSON = False
    """Print JSON, canonical units."""

    def run(self) -> int:
        """List and show."""
        from ..report.results import json_text
        from ..report.tables import model_numbers, models_table
        from ..workload.presets import model_names

        if self.json:
            print(json_text([model_numbers(name) for name in model_names()]))
        else:
            screen().print(models_table())
        return 0
