"""Command `dse explore`: a study, or one chip, in the browser."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core.errors import SpecError
from ..core.files import answer_roots
from ..report.terminal import progress, screen, start_jax
from .flags import COUNT, FLAG, RESULTS, counted

if TYPE_CHECKING:
    from ..explorer.answers import Answers

INSTALL = "the explorer needs starlette, uvicorn and plotly: install the extra `explore` of this package"
"""What to say where they are missing."""
MOST_PORT = 65535
"""The last port there is."""


PHASE = Annotated[
    Literal["training", "prefill", "decode"] | None,
    tyro.conf.arg(metavar="{training,prefill,decode}", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class Explore:
    """Explore a study, or a chip under a model, in the browser of this machine; or write one offline page."""

    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml|CHIP")] = "trainium4"
    """Study: a file, or the name of one that came along; or a chip (preset or your own file), followed by a model."""
    model: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = None
    """Model preset, see `dse models`, or the path of a Hugging Face config.json; only after a chip."""
    phase: PHASE = None
    """What the model does; by default decode."""
    chips: COUNT = None
    """Chips in all; by default one scale-up domain."""
    compare: Annotated[str | None, tyro.conf.arg(metavar="FILE[,FILE]", help_behavior_hint="")] = None
    """Your own chips' TOML files that may be compared; presets always may."""
    results: RESULTS = ""
    """Folder of answers: the optimum to begin with, fronts, serving curves, scores."""
    port: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Port of this machine; 0 takes any that is free."""
    open: FLAG = True
    """Skip opening the browser; the address is printed either way."""
    export: Annotated[str | None, tyro.conf.arg(metavar="FILE.html", help_behavior_hint="")] = None
    """Write one offline page that evaluates the study without a server, and end."""

    def run(self) -> int:
        """Make ready, then serve until Ctrl-C."""
        start_jax()
        try:
            from ..explorer.server import serve
        except ImportError as error:
            raise SpecError(f"{INSTALL} ({error.name})") from error
        self._check()
        with progress() as tell:
            answers = self._answers(tell)
        if self.export is not None:
            from ..explorer.offline import write_page

            with progress("writing the page") as tell:
                path = write_page(answers, Path(self.export), tell)
            screen().print(f"Written to {path} ({path.stat().st_size / 1e6:.1f} MB)", markup=False)
            return 0
        return serve(answers, self.port, self.open, self._greet)

    def _greet(self, address: str) -> None:
        """Where the page is, on stdout and at once, so that scripts can read it."""
        # at once, since a pipe holds lines back until its buffer is full
        print(address, flush=True)
        print("Ctrl-C ends the explorer; whoever has this address can use it.", file=sys.stderr, flush=True)

    @property
    def _own(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.compare.split(","))) if self.compare else ()

    def _check(self) -> None:
        """Refuse what is wrong before anything is made ready, which takes long; DseError names it."""
        from ..hardware.presets import chip, chip_names

        if not 0 <= self.port <= MOST_PORT:
            raise SpecError(f"--port {self.port}: give a whole number from 0 to {MOST_PORT}")
        if self.export is not None and not self.export.endswith(".html"):
            raise SpecError(f"--export {self.export}: give a file that ends in .html")
        wrong = [p for p in self._own if not p.endswith(".toml")]
        if wrong:
            raise SpecError(f"--compare {wrong[0]}: give paths of chip files (.toml); presets can always be compared")
        for path in self._own:
            chip(path)
        if self.model is None and self.what in chip_names():
            raise SpecError(f"{self.what} is a chip: name a model too, such as dse explore {self.what} llama-3.1-8b")

    def _answers(self, tell) -> Answers:
        """What is explored, made ready; SpecError for arguments that do not go together."""
        from ..explorer.session import chip_answers, study_answers

        own = self._own
        if self.model is None:
            for flag, value in (("chips", self.chips), ("phase", self.phase)):
                if value is not None:
                    raise SpecError(f"--{flag} belongs to a chip and a model; a study says its own")
            return study_answers(self.what, answer_roots(self.results), own, tell)
        counted("chips", self.chips)
        # a page may name the chip that it explores, as it may those to compare
        own = (self.what, *own) if self.what.endswith(".toml") else own
        named, phase = (self.what, self.model), self.phase or "decode"
        return chip_answers(named, phase, self.chips, answer_roots(self.results), own, tell)
