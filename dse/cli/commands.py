"""List of all commands, and the entry point that runs one.

Exit codes: 0 success; 1 infeasible study, with explanation; 2 bad input, one line on stderr; 130 interrupted.
JAX and the packages of `dse` are imported inside the commands, so that `dse --help` does not wait for them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated, Any, Union

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

COMMANDS: dict[str, type] = {
    "optimize": Optimize, "evaluate": Evaluate, "front": FrontCommand, "sensitivity": SensitivityCommand,
    "risk": RiskCommand, "backtest": BacktestCommand, "forecast": ForecastCommand, "readings": ReadingsCommand,
    "questions": QuestionsCommand, "ablation": AblationCommand, "serve": Serve, "compare": Compare,
    "portfolio": Serviced, "chips": Chips, "models": Models, "studies": Studies, "new": New, "schema": Schema,
    "cite": Cite, "validate": Validate, "cost": Cost, "fleet": Fleet, "calibrate": Calibrate, "sweep": Sweep,
    "query": Query, "report": ReportCommand, "explore": Explore,
}  # fmt: skip
"""Commands in the order in which `dse --help` lists them."""
Command: Any = Union[tuple(Annotated[c, tyro.conf.subcommand(n)] for n, c in COMMANDS.items())]  # noqa: UP007

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
    command: Any = 0
    try:
        command = parse(sys.argv[1:] if argv is None else argv)
        code = (
            command if isinstance(command, int) else command.run() or 0
        )  # a command without a verdict returns nothing
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


def parse(argv: list[str]) -> Any:
    """The command in `argv`, or the exit code of a call for help; SpecError for an unknown or missing argument."""
    if argv == ["--version"]:
        print(f"dse {__version__}")
        return 0
    if argv[:1] == [COMPLETION] and (len(argv) != 2 or argv[1] not in SHELLS):
        raise SpecError(f"{COMPLETION}: give {', '.join(SHELLS)}")
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise UnknownNameError("command", argv[0], COMMANDS)
    said = io.StringIO()
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(Command, prog="dse", description=ABOUT, args=argv, config=config)
    except SystemExit as end:
        if end.code in (0, None):
            return 0
        named = [a for a in argv[:1] if a in COMMANDS]
        raise SpecError(complaint(said.getvalue(), " ".join(["dse", *named, "--help"]))) from None
