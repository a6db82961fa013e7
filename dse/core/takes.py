"""`takes`: a function that says in words what it was given and what it takes, before anything inside fails on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import UnionType
from typing import Any, ParamSpec, TypeVar

from .errors import SpecError

P = ParamSpec("P")
R = TypeVar("R")

MADE_BY = {
    "Plan": 'dse.parse_plan("tp=8")',
    "System": 'dse.system("dgx-h100", 8)',
    "Chip": 'dse.chip("h100")',
    "Model": 'dse.model("llama-3.1-8b")',
    "Training": "dse.Training(model, global_batch, sequence)",
    "Study": "dse.load_study(path)",
    "Sensitivity": "dse.sensitivity(study)",
    "Calibration": 'dse.calibration("prior-cuda")',
    "Technology": "dse.chip_technology(chip)",
}
"""Where people get a record from, by the first name of its kind."""


def takes(**kinds: type | UnionType) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that checks arguments by name; SpecError as `check_kind`."""

    def of(f: Callable[P, R]) -> Callable[P, R]:
        names = tuple(inspect.signature(f).parameters)

        @functools.wraps(f)
        def call(*args: P.args, **named: P.kwargs) -> R:
            given: dict[str, Any] = dict(zip(names, args, strict=False)) | named
            for name in kinds.keys() & given.keys():
                check_kind(f.__name__, name, given[name], kinds[name])
            return f(*args, **named)

        return call

    return of


def check_kind(whose: str, name: str, value: object, kind: type | UnionType) -> None:
    """SpecError unless `value` is of the kind that `whose` argument `name` has, with a way to make one."""
    if isinstance(value, kind):
        return
    kinds: tuple[Any, ...] = getattr(kind, "__args__", (kind,))
    wanted = [k.__name__ for k in kinds if k is not type(None)]
    said = f"the text '{value}'" if isinstance(value, str) else f"of the type {type(value).__name__}"
    how = f", such as {MADE_BY[wanted[0]]}" if wanted[0] in MADE_BY else ""
    raise SpecError(f"{whose}: {name} is {said}; give a {' or '.join(wanted)}{how}")
