"""One session: what is explored made ready, a port of this machine, and the server until Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core.errors import SpecError
from ..core.files import read_text
from ..core.shipped import shipped
from ..hardware.presets import chip_system
from ..optimize.space import own_plans, space_of
from ..study.study import load_study
from ..workload.presets import model
from ..workload.written import workload_of
from .answers import Answers
from .guard import NAMES
from .state import optimum_in
from .subject import first_chip, read_chip, read_fastest, subject_of, subject_of_chip

LEAVE_S = 1
"""Seconds that open answers get to end once Ctrl-C was pressed."""


def study_answers(path: str, results: tuple[Path, ...], own: tuple[str, ...], tell: Callable[[str], None]) -> Answers:
    """A study made ready: lowered, compiled for one chip, and the optimum that an earlier run left."""
    place = str(shipped(path))
    study = load_study(place)
    tell("lowering every plan")
    subject = subject_of(space_of(study), place)
    found = optimum_in(subject, results, read_text(Path(place)))
    return warmed(Answers(subject, results, found, own), tell)


def chip_answers(
    named: tuple[str, str], phase: str, n_chips: int | None, results: tuple[Path, ...], own: tuple[str, ...],
    tell: Callable[[str], None],
) -> Answers:  # fmt: skip
    """A chip and a model, by name or path, made ready; raises as `dse evaluate`."""
    system = chip_system(named[0], n_chips)
    workload = workload_of(phase, model(named[1]), system.n_chips, {})
    tell("lowering every plan")
    return warmed(Answers(subject_of_chip(system, workload, phase), results, None, own, named), tell)


def warmed(answers: Answers, tell: Callable[[str], None] = lambda _: None) -> Answers:
    """`answers`, everything a slider needs compiled."""
    tell("compiling the model for one chip")
    subject = answers.subject
    first = first_chip(subject)
    _, plans, _ = read_fastest(subject, first, own_plans(subject.space))
    read_chip(subject, first, plans)
    tell("reading receipts and colours")
    _ = answers.state
    # what was lowered stays as long as the session: looking for garbage in it would stop an answer for half a second
    gc.collect()
    gc.freeze()
    return answers


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket of this machine alone, at `port` or at a free one where that is 0; SpecError where it may not be had."""
    # named as TCP, or asyncio does not switch off Nagle's algorithm: every answer would wait 40 ms
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((NAMES[0], port))
            found.listen()
        except (OSError, OverflowError) as error:
            raise SpecError(f"--port {port}: {error}; another one, or 0 for any that is free") from error
        yield found
    finally:
        found.close()
