"""List of all commands, and the entry point that runs one.

Exit codes: 0 success; 1 infeasible study, with explanation; 2 bad input, one line on stderr; 130 interrupted.
JAX and the packages of `dse` are imported inside the commands, so that `dse --help` does not wait for them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import typing
from typing import Annotated

import tyro

from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.version import __version__
from ..report.terminal import complaint
from . import INTERRUPTED, TOLD
from .check import Calibrate, Validate
from .evaluate import Compare, Evaluate
from .explorer import Explore
from .facts import Chips, Models, New, ReportCommand, Schema, Studies
from .fleet import Cost, Fleet
from .front import FrontCommand, SensitivityCommand
from .questions import AblationCommand, BacktestCommand, QuestionsCommand
from .serve import Serve, Serviced
from .study import Cite, ForecastCommand, Optimize, ReadingsCommand, RiskCommand
from .sweep import Query, Sweep

Command = (
    Annotated[Optimize, tyro.conf.subcommand("optimize")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[FrontCommand, tyro.conf.subcommand("front")]
    | Annotated[SensitivityCommand, tyro.conf.subcommand("sensitivity")]
    | Annotated[RiskCommand, tyro.conf.subcommand("risk")]
    | Annotated[BacktestCommand, tyro.conf.subcommand("backtest")]
    | Annotated[ForecastCommand, tyro.conf.subcommand("forecast")]
    | Annotated[ReadingsCommand, tyro.conf.subcommand("readings")]
    | Annotated[QuestionsCommand, tyro.conf.subcommand("questions")]
    | Annotated[AblationCommand, tyro.conf.subcommand("ablation")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Serviced, tyro.conf.subcommand("portfolio")]
    | Annotated[Chips, tyro.conf.subcommand("chips")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Studies, tyro.conf.subcommand("studies")]
    | Annotated[New, tyro.conf.subcommand("new")]
    | Annotated[Schema, tyro.conf.subcommand("schema")]
    | Annotated[Cite, tyro.conf.subcommand("cite")]
    | Annotated[Validate, tyro.conf.subcommand("validate")]
    | Annotated[Cost, tyro.conf.subcommand("cost")]
    | Annotated[Fleet, tyro.conf.subcommand("fleet")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
    | Annotated[Sweep, tyro.conf.subcommand("sweep")]
    | Annotated[Query, tyro.conf.subcommand("query")]
    | Annotated[ReportCommand, tyro.conf.subcommand("report")]
    | Annotated[Explore, tyro.conf.subcommand("explore")]
)

ABOUT = (
    "What should the next AI chip be? Exit codes: 0 an answer; 1 an infeasible study, explained; "
    "2 bad input, in one line; 130 interrupted. --version prints the version, "
    "--tyro-print-completion bash (zsh, fish) what completes commands and flags."
)
TOLD_HOW = f"{TOLD.strip()}; --seconds S ends by itself, with what was found until then\n"
"""What is said of Ctrl-C in a command that may be given a time."""
COMPLETION, SHELLS = "--tyro-print-completion", ("bash", "zsh", "fish")
"""What prints a script of completion, and for which shells there is one."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; bad input is one line on stderr, never a traceback."""
    command: Command | int = 0
    try:
        command = parse(sys.argv[1:] if argv is None else argv)
        code = command if isinstance(command, int) else command.run()
        sys.stdout.flush()
        return code
    except DseError as error:
        print(f"dse: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(TOLD_HOW if hasattr(command, "seconds") else TOLD)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError, RecursionError) as error:  # the machine's refusal, wherever it came
        print(f"dse: {' '.join(f'{type(error).__name__}: {error}'.split()).rstrip(' :')}", file=sys.stderr)
        return 2


def parse(argv: list[str]) -> Command | int:
    """The command in `argv`, or the exit code of a call for help; SpecError for an unknown or missing argument."""
    if argv == ["--version"]:
        print(f"dse {__version__}")
        return 0
    if argv[:1] == [COMPLETION] and (len(argv) != 2 or argv[1] not in SHELLS):
        raise SpecError(f"{COMPLETION}: give {', '.join(SHELLS)}")
    known = [typing.get_args(c)[1].name for c in typing.get_args(Command)]
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        raise UnknownNameError("command", argv[0], known)
    said = io.StringIO()
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(Command, prog="dse", description=ABOUT, args=argv, config=config)  # type: ignore[arg-type]
    except SystemExit as end:
        if end.code in (0, None):
            return 0
        named = [a for a in argv[:1] if a in known]
        raise SpecError(complaint(said.getvalue(), " ".join(["dse", *named, "--help"]))) from None
