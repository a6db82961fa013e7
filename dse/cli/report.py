"""The command that shows a results folder: `dse report`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.files import json_text
from ..report.session import start_jax
from ..report.terminal import progress, screen
from .flags import FLAG


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
