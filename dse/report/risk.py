"""A study under uncertainty as terminal tables, JSON, and files in a results folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.files import write_json
from ..core.text import digits, label, percent, quantity_text, scoped_label, times
from ..explore.outcome import Risk, blocking, merit_distribution, merit_quantiles, outcome_quantiles, stands_out
from ..explore.robust import Hopeless, Robust
from ..study.metrics import DELIVERED
from .front import goal_text
from .layout import WIDE, Table, beside, table_of
from .results import study_manifest
from .terminal import unfinished

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
STEPS = 41
"""Quantiles, evenly from none to all samples, that the distribution of the outcome is written as."""
SHOWN_DRIVERS = 12


def risk_view(r: Risk, robust: Robust | Hopeless | None, width: int = WIDE, left: Sequence[str] = ()) -> RenderableType:
    """A risk study on one screen."""
    a = risk_json(r, robust, left)
    middle = beside(design_table(a), drivers_table(a), width)
    return Group(
        Text(headline(r), style="bold"), *map(Text, verdict_lines(r)), "", middle, "",
        *map(Text, (*robust_lines(r, robust), *method_lines(r))), *unfinished(left or r.unfinished),
    )  # fmt: skip


def headline(r: Risk) -> str:
    """The verdict in one sentence."""
    share, error = r.probability(r.reached)
    what = f"{times(r.target)} delivered is within reach" if r.target is not None else "some design meets all limits"
    sure = precision_text(share, error, r.n)
    return f"{what} in {percent(share)} of {r.n:,} samples ({sure}), each with the best design for it"


def precision_text(share_frac: float, error_frac: float, n: int) -> str:
    """How well a share of `n` samples is known; of none or all of them it is the 95 % bound 3 / n, not certainty."""
    if 0 < share_frac < 1:
        return f"+-{digits(100 * error_frac, 2)} points"
    # rule of three: none of n seen leaves 3 / n possible with 95 % confidence, since (1 - 3/n)^n is about e^-3
    return f"within {digits(300 / n, 2)} points, of so few"


def verdict_lines(r: Risk) -> list[str]:
    """The distribution of the outcome, what fails, and which choices win."""
    met, error = r.probability(r.feasible)
    sure = f"limits can be met in {percent(met)} ({precision_text(met, error, r.n)}) of the samples"
    lines = [sure + blocking_text(blocking(r))]
    if met:
        said = times if r.study.goal == DELIVERED else partial(quantity_text, r.study.goal)
        low, middle, high = map(said, outcome_quantiles(r, (0.05, 0.5, 0.95)))
        at_values = goal_text(r.study.goal, r.nominal)
        lines.append(f"where they can: {middle} in the middle, {low} to {high} in 9 of 10; {at_values} at the values")
        lines += [f"{percent(share)} won by {choice.text()}" for choice, share in r.choices.items()]
    return lines


def blocking_text(shares: dict[str, float]) -> str:
    """The limits in the way, most frequent first."""
    most = ", ".join(f"{label(n)} {percent(s)}" for n, s in list(shares.items())[:3])
    return f"; in the way: {most}" if most else ""


def design_table(a: dict[str, Any]) -> Table:
    """Quantiles of every number of the optimal design, from the JSON."""
    rows = (
        (label(name), *(quantity_text(name.partition(":")[0], values[str(q)]) for q in LEVELS))
        for name, values in a["design_quantiles"].items()
    )
    return table_of(("optimal design", *map(percent, LEVELS)), rows)


def drivers_table(a: dict[str, Any]) -> Table:
    """The unknowns that move the outcome most, from the JSON; what may be noise is left out."""
    rows = (
        (scoped_label(d["unknown"]), f"{d['rank_correlation']:+.2f}", d["group"])
        for d in a["drivers"][:SHOWN_DRIVERS]
        if stands_out(d["rank_correlation"], d["error"])
    )
    return table_of(("what drives it", "rank correlation", "moves with"), rows)


def robust_lines(r: Risk, robust: Robust | Hopeless | None) -> list[str]:
    """The one design to build, or why there is none."""
    if robust is None:
        return []
    ask = "every sample" if robust.share == 1 else f"{percent(robust.share)} of the samples"
    if isinstance(robust, Hopeless):
        best = f"the best single design tried meets them in {percent(robust.possible)}"
        return [f"No one design meets the limits in {ask}: {best}{blocking_text(robust.blocking)}.", ""]
    goal = goal_text(r.study.goal, robust.goal)
    numbers = ", ".join(f"{label(n)} {quantity_text(n, v)}" for n, v in robust.free.items())
    return [
        f"One design for {ask}: {goal}, limits met, with {robust.choice.text()}; {numbers}.",
        f"On {robust.n_fresh:,} fresh samples it reaches that in {percent(robust.fresh_share)} and meets all limits in "
        f"{percent(robust.fresh_met)}. Which samples a percentile leaves out is chosen by a heuristic.",
        "",
    ]  # fmt: skip


def method_lines(r: Risk) -> list[str]:
    """How it was done, and what stays at its value."""
    gave_away = f"kept from a pilot in which they gave away {percent(r.pilot_loss)}"
    pilot = "without time for a pilot" if math.isnan(r.pilot_loss) else gave_away
    return [
        f"{len(r.draw.unknowns)} receipts drawn, triangular within their ranges, correlated in groups; baseline and "
        f"design share every draw. Plans and discrete choice: the best of {len(r.candidates)} per sample, "
        f"{pilot}. Counts are not rounded; limits, PE geometry and "
        "element passes stay at their values.",
    ]


def risk_json(r: Risk, robust: Robust | Hopeless | None, left: Sequence[str] = ()) -> dict[str, Any]:
    """A risk study for machines, canonical units, and what was left out of it for lack of time."""
    share, error = r.probability(r.reached)
    met, met_error = r.probability(r.feasible)
    out: dict[str, Any] = {
        "study": r.study.name,
        "samples": r.n,
        "unfinished": list(left or r.unfinished),
        "seed": r.seed,
        "target": r.target,
        "probability": share,
        "probability_error": error,
        "feasible": met,
        "feasible_error": met_error,
        "nominal_goal": r.nominal,
        # none where no draw has a design
        "merit_quantiles": dict(zip(map(str, LEVELS), merit_quantiles(r, LEVELS), strict=False)),
        "merit_distribution": merit_distribution(r, STEPS),
        "design_quantiles": {n: dict(zip(map(str, LEVELS), v, strict=True)) for n, v in r.quantiles(LEVELS).items()},
        "choices": [{**c.written(), "share": s} for c, s in r.choices.items()],
        "in_the_way": blocking(r),
        "pilot_loss": r.pilot_loss,
        "drivers": [
            {"unknown": d.unknown.name, "group": d.unknown.group, "rank_correlation": d.correlation, "error": d.error}
            for d in r.drivers
        ],
    }
    if robust is not None:
        out["robust"] = robust_json(robust)
    return out


def robust_json(robust: Robust | Hopeless) -> dict[str, Any]:
    """The robust design, or that there is none, for machines."""
    if isinstance(robust, Hopeless):
        return {"status": "infeasible", **dataclasses.asdict(robust)}
    skipped = ("candidate", "choice")
    fields = {f.name: getattr(robust, f.name) for f in dataclasses.fields(robust) if f.name not in skipped}
    status = "worst case over the samples" if robust.share == 1 else "percentile, samples left out by a heuristic"
    return {"status": status, "choice": robust.choice.written(), **fields}


def write_risk(
    folder: Path, study_text: str, r: Risk, robust: Robust | Hopeless | None, left: Sequence[str] = ()
) -> None:
    """Write `risk.json` and `risk_manifest.json` into `folder`."""
    write_json(folder / "risk.json", risk_json(r, robust, left))
    write_json(folder / "risk_manifest.json", study_manifest(study_text, r.study, seed=r.seed))
