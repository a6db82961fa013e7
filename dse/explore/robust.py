"""Robust design: one design for all samples, by the best worst case or the best goal reached in most samples.

The convex program over scenarios is in `scenarios`. Read more: [mutapcic2009].
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np

from ..core.errors import SpecError
from ..optimize.deadline import Deadline
from ..optimize.search import Candidate, Search, search_of
from ..optimize.space import space_of
from ..study.design import STEPPED, Choice
from .outcome import Risk, blocking
from .scenarios import CLOSE, MORE, Design, Program
from .unknowns import draw

CROWD = 200
"""Samples whose own optimal designs compete to be the first design."""
UNTRIED = "the one design to build"
"""What is left out where time is up before it is looked for."""
FRESH = 1000
"""Seed of the fresh samples, after the seed of the study's."""


@dataclasses.dataclass(frozen=True)
class Robust:
    """One robust design, and its results over all samples."""

    share: float
    """Required share of samples that the design must satisfy: 1 is the worst case."""
    candidate: Candidate
    choice: Choice
    free: dict[str, float]
    goal: float
    """Goal that is met, with all limits, in `share` of the samples."""
    met: float
    """Share of the samples in which the design meets all limits."""
    fresh_share: float
    """Share of fresh samples in which the design meets all limits and `goal`."""
    fresh_met: float
    """Share of fresh samples in which it meets all limits."""
    n_fresh: int
    n_solves: int


@dataclasses.dataclass(frozen=True)
class Hopeless:
    """Result if no single design satisfies the required share of samples."""

    share: float
    possible: float
    """Largest share of samples in which a single tried design meets the limits."""
    blocking: dict[str, float]
    """Limits in the way, by share of the samples without a design."""


def share_frac(robust: str) -> float:
    """The share that "worst" or "p90" asks for; SpecError for anything else."""
    if robust == "worst":
        return 1.0
    if not re.fullmatch(r"p[1-9]\d?", robust):
        raise SpecError(f"robust '{robust}': give worst, or a percentile such as p90")
    return int(robust[1:]) / 100


def robust_design(
    found: Risk, robust: str = "p90", progress: Callable[[str], None] = lambda _: None,
    deadline: Deadline | None = None,
) -> Robust | Hopeless | None:  # fmt: skip
    """The best single design for a risk study's samples, counts whole, with its record on fresh ones; or why none.

    `robust` "worst" is the best worst case; "p90" the best figure met, with all limits, in 90 % of samples, chosen by a
    heuristic. At `deadline` the best so far; no program is begun after it; None where none was looked for.
    """
    share = share_frac(robust)
    # a tenth of 200 comes out as 19.999..., which spares 20
    spare = math.floor((1.0 - share) * found.n + 1e-9)
    if deadline is not None and deadline.over(UNTRIED):
        return None
    search = search_of(space_of(found.study), deadline=deadline or Deadline())
    tried, possible = _tried(search, found, spare, progress)
    program, design = min(tried, key=lambda x: x[1].log_goal)
    if np.isinf(design.log_goal):
        if not search.deadline.over():
            possible = max(possible, *(p.most_met_frac(found.outcomes.goals[i]) for i, (p, _) in enumerate(tried)))
        return Hopeless(share, possible, blocking(found))
    # chosen on its own samples, a design looks better than it is: fresh ones say what it keeps
    fresh = Program(search, program.candidate, draw(found.draw.unknowns, found.n, found.seed + FRESH))
    logs = fresh.log_goals(design.shared)
    free = dict(zip(search.core.free, map(math.exp, design.shared), strict=True))
    return Robust(
        share, program.candidate, found.study.choices[program.candidate.choice_index],
        # whole already, but for the rounding of exp(log n)
        {n: float(round(x)) if n in STEPPED else x for n, x in free.items()},
        math.exp(design.log_goal),
        float(np.isfinite(program.log_goals(design.shared)).mean()),
        float((logs <= design.log_goal + CLOSE).mean()), float(np.isfinite(logs).mean()), found.n,
        sum(p.n_solves for p, _ in tried),
    )  # fmt: skip


def _tried(
    search: Search, found: Risk, spare: int, progress: Callable[[str], None]
) -> tuple[list[tuple[Program, Design]], float]:
    """The best design of every candidate, and the largest share of samples that any met."""
    tried, possible = [], 0.0
    for position, c in enumerate(found.candidates):
        if tried and search.deadline.over(f"{len(found.candidates) - position} candidates for the design to build"):
            break
        program = Program(search, c, found.draw)
        able = np.isfinite(found.outcomes.goals[position])
        # optima of single draws: one of them is often good in most others, and costs no solve
        designs = found.outcomes.z[position, able, : len(found.study.free)][:CROWD]
        if not able.any():
            tried.append((program, Design(np.zeros(designs.shape[1]), math.inf)))
            continue
        shared, known = program.crowd(designs, spare)
        possible = max(possible, float(np.isfinite(known).mean()))
        if search.deadline.over(MORE):
            design = program.rounded_alone(shared, designs, spare)
        else:
            design = program.rounded(program.best(known, spare, None), spare)
        progress(f"{found.study.choices[c.choice_index].text()}: goal {math.exp(design.log_goal):.4f}")
        tried.append((program, design))
    return tried, possible
