"""Design questions with alternatives: a study solved once for each option of one choice, each with its own proof.

So "the torus costs 18 % more" is as certain as "the switch is best": the loser's lower bound is above the winner.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import SpecError, UnknownNameError
from ..core.frames import page, table_of
from ..core.shipped import QUESTIONS, shipped_folder
from ..core.text import quantity_text
from ..hardware.own_chip import short_name
from ..optimize.solution import Solution
from ..optimize.solve import solve
from ..optimize.space import relative, space_of
from ..study.design import Choice
from ..study.study import Study, load_study

if TYPE_CHECKING:
    import pandas as pd

WORKLOADS = "workloads"
"""Sides that are one workload each, and all together."""
ALL = "together"
"""The side of all workloads."""
FIELDS = {"stack_capacity": "stack_capacity_B", "scaleout_per_dir": "scaleout_Bps"}
"""Keys of [choices] whose field has another name."""
GAP_FRAC = 0.01
"""Optimality gap at which an alternative is settled."""
LIMIT_S = 30.0
"""Time for the proof of one side."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One entry of the choice in question, solved for itself."""

    name: str
    solution: Solution

    @property
    def lower_bound(self) -> float:
        """No design of this side has a smaller goal; infinite where none is feasible, 0 where nothing is proved."""
        c = self.solution.certificate
        if c is None:
            # a goal is positive: 0 claims nothing
            return math.inf if self.solution.status.name == "INFEASIBLE" else 0.0
        return c.overall.lower_bound if c.overall is not None and c.proved else 0.0


@dataclasses.dataclass(frozen=True)
class Question:
    """A question with its sides answered."""

    name: str
    asks: str
    by: str
    """Choice in which the alternatives differ."""
    note: str
    """Caveats of the result."""
    sides: tuple[Side, ...]
    """In the order of the study."""

    @property
    def best(self) -> Side:
        """The side with the best design; of single workloads, the one chip for all."""
        # a chip for one workload alone answers an easier question, and would always win
        return next((x for x in self.sides if x.name == ALL), min(self.sides, key=lambda x: x.solution.goal))

    def frame(self) -> pd.DataFrame:
        """One row per side: goal, its lower bound, how it ended, what was chosen; canonical units."""
        rows = [
            (x.name, s.goal, x.lower_bound, s.status.name.lower(), "" if s.choice is None else s.choice.text())
            for x in self.sides
            for s in (x.solution,)
        ]
        return table_of(rows, ["side", "goal", "lower_bound", "status", "choice"], "side")

    def _repr_html_(self) -> str:
        return page(self.asks, self.frame())


def behind_frac(best: Mapping[str, Any], side: Mapping[str, Any]) -> tuple[float, float]:
    """How far the goal of a side is behind the best one, and how much of that is proved, whatever its design."""
    return side["goal"] / best["goal"] - 1, (side["lower_bound"] or 0.0) / best["goal"] - 1


def apart_saves_frac(
    goal: float, alone: Sequence[Mapping[str, Any]], shares: Sequence[float] = ()
) -> tuple[float, float]:  # fmt: skip
    """What a chip for each workload saves over one for all, as geometric means: found, and at most.

    `shares` are the weights of the workloads in the goal of the chip for all; empty for equal ones.
    """
    # a product of powers, as the goal of the chip for all is: else two kinds of mean would make a saving
    powers = shares or [1 / len(alone)] * len(alone)
    found, least = (
        math.prod((x[k] or 0.0) ** p for x, p in zip(alone, powers, strict=True)) for k in ("goal", "lower_bound")
    )
    return 1 - found / goal, 1 - least / goal


def question_names() -> tuple[str, ...]:
    """Names of the shipped questions."""
    return tuple(sorted(p.stem for p in (shipped_folder() / QUESTIONS).glob("*.toml")))


def question(
    path: str | Path, progress: Callable[[str], None] = lambda _: None, *, gap_frac: float = GAP_FRAC,
    limit_s: float = LIMIT_S,
) -> Question:  # fmt: skip
    """A question answered: every side solved and certified; SpecError without a question, or with a single side."""
    study = load_study(path)
    table = None if study.written is None else study.written.tables.get("question")
    if table is None:
        raise SpecError(f'{path}: no question; add a table [question] with asks = "..." and by = "system"')
    space = space_of(study)
    solved = []
    for name, side in sides(study, table["by"]).items():
        progress(f"{study.name}: {name}")
        same = side.workloads.keys() == study.workloads.keys()
        # fewer workloads have another baseline, so that nothing of the common ground holds for them
        known = relative(space, side) if same else None
        solved.append(Side(name, solve(side, progress, known, gap_frac=gap_frac, limit_s=limit_s)))
    return Question(study.name, table["asks"], table["by"], table.get("note", ""), tuple(solved))


def sides(study: Study, by: str) -> dict[str, Study]:
    """The study once for every entry of a choice, or every workload and all, by name; an error for fewer than two."""
    if by == WORKLOADS:
        found = {n: dataclasses.replace(study, workloads={n: w}) for n, w in study.workloads.items()} | {ALL: study}
    else:
        field = FIELDS.get(by, by)
        if field not in Choice.__dataclass_fields__:
            raise UnknownNameError("side of a question", by, (*Choice.__dataclass_fields__, *FIELDS, WORKLOADS))
        entries = dict.fromkeys(getattr(c, field) for c in study.choices)
        kept = {e: tuple(c for c in study.choices if getattr(c, field) == e) for e in entries}
        found = {_words(field, e): dataclasses.replace(study, choices=c) for e, c in kept.items()}
    if len(found) < 2:
        raise SpecError(f"question.by = '{by}': a single side; give the study more than one entry")
    return found


def _words(field: str, entry: str | float) -> str:
    if isinstance(entry, str):
        return short_name(entry)
    said = quantity_text(field, float(entry))
    return COUNTED[field](said) if field in COUNTED else said


COUNTED: dict[str, Callable[[str], str]] = {
    "n_dies": lambda n: f"{n} die" if n == "1" else f"{n} dies",
    "fp8_rate": lambda n: f"FP8 at {n} times BF16",
    "spare_cores": lambda n: f"{n} spare cores",
}
"""Fields whose entries are bare numbers, in words."""
