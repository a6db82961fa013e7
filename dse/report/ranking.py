"""Rankings of chips by cost, as terminal tables and JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.files import picked
from ..core.text import digits, in_unit, percent
from ..hardware.own_chip import short_name
from ..serving.offer import serving_numbers, short_plan
from ..serving.phases import RankedPhase
from ..serving.ranking import Ranked
from .layout import or_dash, table_of

in_s = partial(in_unit, unit="s")


def ranking_numbers(r: Ranked) -> dict[str, Any]:
    """One chip in canonical units."""
    e = r.engine
    return {
        "chip": r.system.chip.name,
        "system": r.system.name,
        **_price(r),
        "tokens_per_J": None if e is None else float(e.point.tokens_per_J),
        "chip_tokens_per_s": r.tokens_per_s,
        "n_chips": r.n_chips,
        "tpot_s": None if e is None else e.tpot_s,
        "ttft_s": None if e is None else float(e.point.ttft_s),
        "margins_frac": r.margins,
        "plan": None if e is None else serving_numbers(e, None)["plan"],
        "gap": r.gap,
    }


def _price(r: Ranked | RankedPhase) -> dict[str, Any]:
    return {
        **picked(r, "million_tokens_USD", "million_tokens_range_USD"), **picked(r.hour, "chip_hour_USD"),
        "basis": r.hour.basis or None, "price_is_guess": r.hour.is_guess,
    }  # fmt: skip


def ranking_view(rows: list[Ranked]) -> RenderableType:
    """Chips in order, cheapest first, and below it a reason for every gap."""
    each = [{**ranking_numbers(r), "margin_frac": min(r.margins.values(), default=None)} for r in rows]
    return _view(rows, each, {"TPOT": "tpot_s", "TTFT": "ttft_s"}, "", METHOD)


def phase_numbers(r: RankedPhase) -> dict[str, Any]:
    """One chip on one phase in canonical units."""
    f = r.finding
    return {
        "chip": r.chip,
        "system": None if f is None else f.system.name,
        **_price(r),
        "chip_tokens_per_s": r.chip_tokens_per_s,
        "tokens_per_J": None if f is None else f.tokens_per_J,
        "n_chips": None if f is None else f.system.n_chips,
        "step_s": None if f is None else float(f.evaluation.step_s),
        "wall_step_s": r.wall_step_s,
        "margin_frac": r.margin_frac if math.isfinite(r.margin_frac) else None,
        "plan": r.plan or None,
        "gap": r.gap,
    }


def phase_view(rows: list[RankedPhase], phase: str) -> RenderableType:
    """Chips on one phase in order, cheapest first, and below it a reason for every gap."""
    method = f"{PHASE_METHOD} {FAILURES}" if phase == "training" else PHASE_METHOD
    return _view(rows, list(map(phase_numbers, rows)), {"step": "step_s"}, f"{phase}, ", method)


def _view(
    rows: Sequence[Ranked | RankedPhase], each: list[dict[str, Any]], waits: dict[str, str], what: str, method: str
) -> RenderableType:
    """A ranking; `waits`: heads of the columns of times to their numbers."""
    names = _names([n["chip"] for n in each])
    told = [
        (
            *_start(i, name, n), *(or_dash(n[k], in_s) for k in waits.values()),
            or_dash(n["margin_frac"], percent), or_dash(n["plan"], short_plan),
        )
        for i, (name, n) in enumerate(zip(names, each, strict=True), start=1)
    ]  # fmt: skip
    heads = ("", "chip", "USD per Mtok", "80 % range", "USD/h", "tok/J", "chips", *waits, "margin", "plan")
    t = table_of(heads, told, title=f"{what}cheapest first, {basis_text(rows)}")
    return Group(t, *_gaps(names, [r.gap for r in rows]), Text(method, style="dim"))


def _gaps(names: Sequence[str], gaps: Sequence[str]) -> list[Text]:
    """Why chips have gaps; many with the same reason share a line."""
    each: dict[str, list[str]] = {}
    for name, gap in zip(names, gaps, strict=True):
        if gap:
            # reasons name their chip: alike ones are so without the name
            each.setdefault(re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "CHIP", gap), []).append(name)
    said = dict(zip(names, gaps, strict=True))
    alone = [n for some in each.values() if len(some) < MANY for n in some]
    shared = [f"{', '.join(some)}: {gap}" for gap, some in each.items() if len(some) >= MANY]
    return [Text(line) for line in (*(f"{n}: {said[n]}" for n in alone), *shared)]


MANY = 3
"""Chips from which on one line gives the reason that they share."""


def _names(chips: list[str]) -> list[str]:
    short = [short_name(c) for c in chips]
    # two of your files of one name in different folders keep their paths
    return [s if short.count(s) == 1 else c for s, c in zip(short, chips, strict=True)]


def basis_text(rows: Sequence[Ranked | RankedPhase]) -> str:
    """How the chips of a ranking are paid for, such as "price: on demand" or "price: given, capacity block"."""
    bases = dict.fromkeys(r.hour.basis.replace("_", " ") for r in rows if r.hour.basis)
    return f"price: {', '.join(bases)}" if bases else "no price"


def _start(place: int, chip: str, n: dict[str, Any]) -> tuple[str, ...]:
    """First cells of a row: place, chip, money, tokens per joule and chips."""
    cost, ends = n["million_tokens_USD"], n["million_tokens_range_USD"]
    return (
        "-" if cost is None else str(place), chip, or_dash(cost),
        or_dash(ends, lambda e: f"{digits(e[0], 2)} to {digits(e[1], 2)}"),
        f"{or_dash(n['chip_hour_USD'])}{' (guess)' if n['price_is_guess'] else ''}", or_dash(n["tokens_per_J"]),
        or_dash(n["n_chips"], "{:,}".format),
    )  # fmt: skip


RANGE = (
    "the range is of step times alone, that holds 80 % of unseen measurements. tok/J (tokens/s per watt) counts the "
    "packages."
)
METHOD = f"Most tokens per chip within the promise, in steady state; {RANGE}"
PHASE_METHOD = f"The fastest plan of one step, no queue; {RANGE}"
FAILURES = "Failures stop a training step: what it costs counts the time lost, and for an owner the spares."
