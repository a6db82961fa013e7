"""Confidence in a result: the proof of a design or of infeasibility, and the guesses behind it."""

from __future__ import annotations

import math

from rich.console import RenderableType
from rich.text import Text

from ..core.text import digits, label, percent, quantity_text, span, times
from ..optimize.solution import Certificate, Relaxation, Solution, Status
from ..study.basis import guesses, study_basis
from ..study.study import names_of_fits
from .layout import table_of

SHOWN_GUESSES = 6


def certificate_lines(s: Solution) -> list[Text]:
    """How sure it is that nothing better exists."""
    c = s.certificate
    assert c is not None
    plans = " and ".join(f"{n:,} plans for {w}" for n, w in zip(c.n_plans, s.study.workloads, strict=True))
    work = f"{c.n_solves:,} convex solves over {len(s.study.choices)} choices" + (f"; priced {plans}" if plans else "")
    if s.status is Status.LOCAL:
        # with every term convex it is the gap that was not closed
        why = c.unproved[0] if c.unproved else f"gap {c.relative_gap:.1e}"
        return [Text(f"Local optimum, no certificate: {why}", style="yellow"), Text(work, style="dim")]
    style = "green" if s.status is Status.OPTIMAL else "yellow"
    return [Text(proof_text(s, c), style=style), Text(work, style="dim")]


def proof_text(s: Solution, c: Certificate) -> str:
    """What is proved, over all whole designs or for broken counts."""
    proof = f"Proved: every term is log-log convex, gap {c.relative_gap:.0e}."
    o = c.overall
    if o is None:
        room = percent(s.room_frac)
        return f"{proof} No design is more than {room} better with the plans found; cores and stacks are fractions."
    cost = percent(max(c.integer_gap, 0.0))
    if not math.isfinite(o.gap):
        return f"{proof} Of whole designs nothing is proved; whole cores and stacks cost {cost}."
    late = "" if s.status is Status.OPTIMAL else " More --seconds, or a smaller --gap, may find a better one."
    bounded = bounded_text(o.n_designs, o.gap, o.n_nodes, o.seconds)
    return f"{proof} Of {bounded}; whole cores and stacks cost {cost}.{late}"


def bounded_text(n_designs: float, gap_frac: float, n_nodes: int, spent_s: float) -> str:
    """What branch and bound proved, in words, on the page too."""
    return (
        f"all {digits(n_designs, 2)} combinations of choices, plans and whole counts none is more than "
        f"{percent(max(gap_frac, 0.0))} better ({n_nodes:,} groups bounded in {digits(spent_s, 2)} s)"
    )


def guesses_text(s: Solution) -> Text:
    """How many guesses the answer leans on, and the widest, each kind once."""
    basis = study_basis(s.study, s.choice)
    found = guesses(basis)
    # reversed twice, so that of facts of one name the widest stays, in its place
    widest = list({b.fact.name: b for b in reversed(found)}.values())[::-1]
    few = "; ".join(
        f"{label(b.fact.name)} ({b.thing.partition(' ')[2] or b.thing}: {span(b.fact.name, b.fact.low, b.fact.high)})"
        for b in sorted(widest, key=lambda b: -b.spread)[:SHOWN_GUESSES]
    )
    priors = [name for name in names_of_fits(s.study) if name.startswith("prior-")]
    low, high = sorted(s.delivered_range)
    fit = (
        f" Step times are uncalibrated ({', '.join(priors)}): over its ranges {times(low, 2)} to {times(high, 2)}."
        if priors and math.isfinite(low)
        else ""
    )
    return Text(f"Leans on {len(found)} guesses among {len(basis)} facts, widest first: {few}.{fit}", style="yellow")


def infeasible_view(s: Solution) -> list[RenderableType]:
    """Which limits conflict, and the cheapest way out."""
    n = len(s.study.choices)
    head = Text(f"No design meets all limits of {s.study.name}, with any of its {n} choices.", style="bold red")
    if s.status is not Status.INFEASIBLE:
        words = f"No design of {s.study.name} was found, and none is proved impossible: more --seconds may tell."
        head = Text(words, style="bold yellow")
    if not s.relaxations:
        return [head, Text("No loosening was found that helps: the laws of the chip and its technology conflict.")]
    rows = (
        (label(r.name), quantity_text(r.name, r.limit), r.needed_text, percent(r.change_frac)) for r in s.relaxations
    )
    t = table_of(("limits that conflict", "asked", "loosen to", "by"), rows)
    return [head, t, Text(relaxation_sentence(s.relaxations))]


def relaxation_sentence(relaxations: tuple[Relaxation, ...]) -> str:
    """The relaxations as an instruction."""
    parts = [f"{label(r.name)} from {quantity_text(r.name, r.limit)} to {r.needed_text}" for r in relaxations]
    joint = " together" if len(parts) > 1 else ""
    return f"The least loosening found that gives a design, cores and stacks whole: {' and '.join(parts)}{joint}."
