"""The command line: `dse optimize`, `evaluate`, `validate`, `calibrate`, `chips`, `models`, `cite`.

Exit codes: 0 an answer; 1 an infeasible study, explained; 2 bad input, one line on stderr; 130 interrupted.
JAX and the rooms are imported inside the commands, so that `dse --help` does not wait for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from . import __version__
from .core.errors import DseError, SpecError
from .report.terminal import complaint, progress, screen

if TYPE_CHECKING:
    from .workload.transformer import Workload

JSON = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
COUNT = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
PRECISION = Annotated[
    Literal["bf16", "fp8", "fp4"] | None, tyro.conf.arg(metavar="{bf16,fp8,fp4}", help_behavior_hint="")
]


@dataclasses.dataclass(frozen=True)
class Optimize:
    """Find the best chip of a study, with a price on every limit and a proof; writes figures and a manifest."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
    """The study; sweeps/trainium4.toml shows every key."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets a folder named after the study."""
    json: JSON = False
    """Print the solution as JSON, canonical units."""
    figures: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Skip the figures."""

    def run(self) -> int:
        """Solve, write, show."""
        from .report.session import start_jax

        start_jax()
        from pathlib import Path

        from .objective.study import load_study
        from .optimize.solution import Status, as_json
        from .optimize.solve import solve
        from .report.results import json_text, results_folder, write_results

        study = load_study(self.study)
        folder = results_folder(self.results, study.name)
        text = Path(self.study).read_text(encoding="utf-8")
        with progress() as tell:
            solution = solve(study, tell)
        write_results(folder, text, solution)
        if self.json:
            print(json_text(as_json(solution)))
        else:
            from .report.screen import solution_view

            console = screen()
            console.print(solution_view(solution, console.width))
            console.print(f"Written to {folder}/", markup=False)
        if self.figures and solution.chip is not None:
            with progress("drawing"):
                from .report.figures import write_figures

                write_figures(solution, folder)
        return 1 if solution.status is Status.INFEASIBLE else 0


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Step time, power, memory and bottlenecks of a model on a chip, with an error band."""

    chip: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHIP")]
    """Chip preset, see `dse chips`."""
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Model preset, see `dse models`, or the path of a Hugging Face config.json."""
    phase: Literal["training", "decode"] = "training"
    """What the model does."""
    chips: COUNT = None
    """Chips; by default one scale-up domain."""
    plan: Annotated[str, tyro.conf.arg(metavar="PLAN")] = "auto"
    """Who does what, such as tp=8,pp=4,dp=2; auto takes the fastest plan that fits."""
    batch: COUNT = None
    """Sequences per step; by default 4 per chip in training, 16 in decode."""
    sequence: COUNT = None
    """Training: tokens per sequence; by default 8192 or the model's longest."""
    context: COUNT = None
    """Decode: tokens in the KV cache of each sequence; by default 8192 or the model's longest."""
    precision: PRECISION = None
    """Training: precision of the linear layers; by default bf16."""
    weights: PRECISION = None
    """Decode: storage of the weights; by default bf16."""
    kv: PRECISION = None
    """Decode: storage of the KV cache; by default bf16."""
    system: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """System preset; by default the largest made of the chip."""
    json: JSON = False
    """Print JSON, canonical units."""

    def run(self) -> int:
        """Evaluate and show."""
        from .report.session import start_jax

        start_jax()
        from .hardware.presets import default_system
        from .hardware.presets import system as preset_system
        from .mapping.plan import parse_plan
        from .report.findings import find
        from .report.results import json_text
        from .report.tables import evaluation_view, finding_json

        system = preset_system(self.system or default_system(self.chip), self._positive("chips", self.chips))
        if system.chip.name != self.chip:
            raise SpecError(f"--system {self.system} is made of {system.chip.name}, not {self.chip}")
        plan = None if self.plan == "auto" else parse_plan(self.plan)
        finding = find(system, self._workload(system.n_chips), plan)
        if self.json:
            print(json_text(finding_json(finding)))
        else:
            console = screen()
            console.print(evaluation_view(finding, console.width))
        return 0

    def _workload(self, n_chips: int) -> Workload:
        """The workload the flags describe; SpecError for a flag of the other phase."""
        from .workload.presets import model as preset_model
        from .workload.transformer import Decode, Training

        mine = {"training": ("sequence", "precision"), "decode": ("context", "weights", "kv")}
        other = "decode" if self.phase == "training" else "training"
        for flag in mine[other]:
            if getattr(self, flag) is not None:
                raise SpecError(
                    f"--{flag} belongs to {other}; with --phase {self.phase} use --{', --'.join(mine[self.phase])}"
                )
        model = preset_model(self.model)
        long = min(8192, model.max_context)
        if self.phase == "training":
            batch = self._positive("batch", self.batch) or 4 * n_chips
            sequence = self._positive("sequence", self.sequence) or long
            return Training(model, batch, sequence, self.precision or "bf16")
        batch, context = self._positive("batch", self.batch) or 16 * n_chips, self._positive("context", self.context)
        return Decode(model, batch, context or long, self.weights or "bf16", self.kv or "bf16")

    def _positive(self, flag: str, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise SpecError(f"--{flag} {value}: give a whole number, at least 1")
        return value


@dataclasses.dataclass(frozen=True)
class Chips:
    """List the chip presets, or show every fact of one with its source, guesses first."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """Chip preset; all of them when left out."""
    json: JSON = False
    """Print JSON, canonical units."""

    def run(self) -> int:
        """List and show."""
        from .report.session import start_jax

        start_jax()
        from .hardware.presets import chip_names, chip_receipts
        from .report.results import json_text
        from .report.tables import chip_numbers, chip_view, chips_table, disagreement_lines

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
        from .report.results import json_text
        from .report.tables import model_numbers, models_table
        from .workload.presets import model_names

        if self.json:
            print(json_text([model_numbers(name) for name in model_names()]))
        else:
            screen().print(models_table())
        return 0


@dataclasses.dataclass(frozen=True)
class Cite:
    """Print the BibTeX entries of everything a study rests on."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
    """The study."""

    def run(self) -> int:
        """Print the entries."""
        from .objective.study import load_study
        from .report.receipts import bibtex, source_keys, study_basis

        print(bibtex(source_keys(study_basis(load_study(self.study), None))))
        return 0


@dataclasses.dataclass(frozen=True)
class Validate:
    """Predict published or your own measurements and show the error by source, the worst rows, what has no model."""

    kind: Literal["training", "kernels", "collectives"] = "training"
    """What was measured: whole steps, single operators, communication."""
    data: Annotated[str | None, tyro.conf.arg(metavar="FILE.csv", help_behavior_hint="")] = None
    """CSV or Parquet file with the columns of the shipped one; by default that."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets validation/ with all predictions and the figures."""
    json: JSON = False
    """Print JSON, relative errors as fractions."""
    leave_one_out: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Predict every source with fits that never saw it; takes minutes."""
    all_rows: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Also score rows whose configuration is not fully published."""

    def run(self) -> int:
        """Predict, write, show."""
        from .report.session import start_jax

        start_jax()
        from .report.results import json_text
        from .report.validation import as_json, validate, validation_view, write_validation

        with progress("reading the measurements") as tell:
            found = validate(self.kind, self.data, self.all_rows, self.leave_one_out, tell)
        with progress("drawing"):
            folder = write_validation(found, self.results)
        if self.json:
            print(json_text(as_json(found)))
        else:
            screen().print(validation_view(found))
            screen().print(f"Written to {folder}/ and {folder}.parquet", markup=False)
        return 0


@dataclasses.dataclass(frozen=True)
class Calibrate:
    """Fit the few numbers of every chip family and software stack to the shipped measurements; takes minutes."""

    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets calibration/fits.toml."""
    json: JSON = False
    """Print JSON, canonical units."""

    def run(self) -> int:
        """Fit, write, show."""
        from .report.session import start_jax

        start_jax()
        from .report.calibration import as_json, calibrate, calibration_view, write_calibration
        from .report.results import json_text, results_folder

        folder = results_folder(self.results, "calibration")
        with progress("reading the measurements") as tell:
            fits = calibrate(tell)
        write_calibration(fits, folder)
        if self.json:
            print(json_text(as_json(fits)))
        else:
            screen().print(calibration_view(fits))
            screen().print(f"Written to {folder}/", markup=False)
        return 0


Command = (
    Annotated[Optimize, tyro.conf.subcommand("optimize")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Chips, tyro.conf.subcommand("chips")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Cite, tyro.conf.subcommand("cite")]
    | Annotated[Validate, tyro.conf.subcommand("validate")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
)

ABOUT = (
    "What should the next AI chip be? Exit codes: 0 an answer; 1 an infeasible study, explained; "
    "2 bad input, in one line; 130 interrupted."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; bad input is one line on stderr, never a traceback."""
    try:
        command = parse(sys.argv[1:] if argv is None else argv)
        return command if isinstance(command, int) else command.run()
    except DseError as error:
        print(f"dse: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dse: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parse(argv: list[str]) -> Command | int:
    """The command in `argv`, or the exit code of a call that only asked for help.

    Raises:
        SpecError: an unknown or missing argument, in one line.
    """
    if argv == ["--version"]:
        print(f"dse {__version__}")
        return 0
    said = io.StringIO()
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(Command, prog="dse", description=ABOUT, args=argv, config=config)  # type: ignore[arg-type]
    except SystemExit as end:
        if end.code in (0, None):
            return 0
        raise SpecError(complaint(said.getvalue())) from None


if __name__ == "__main__":
    sys.exit(main())
