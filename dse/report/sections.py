"""Sections of a report page, one per kind of result in a results folder: JSON in, HTML out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..core.text import digits, label, percent, quantity_text, times
from ..explore.against_built import SHARE_FRAC
from ..hardware.own_chip import short_name
from ..optimize.prices import LimitReport, is_priced
from ..optimize.shown import plan_words
from ..optimize.solution import Relaxation
from ..study.design import SEATED, Choice
from ..study.rows import Kind
from . import hover
from .backtest import backtest_table
from .front import axis_words, facts_table, heading, metric_text
from .markup import Cell, Markup, folded, paragraph, records, table, value_text, written
from .proof import bounded_text
from .readings import readings_table
from .risk import design_table, drivers_table, precision_text
from .screen import bound_text
from .validation import error_text, scores_table, worst_table

Answer = dict[str, Any]
SHOWN = 12


def solution(a: Answer) -> str:
    """A study's answer: verdict, design, workloads, prices, what was not chosen."""
    if "design" not in a:
        ways = [Relaxation(**r) for r in a["relaxations"]]
        rows = [(label(r.name), quantity_text(r.name, r.limit), r.needed_text) for r in ways]
        return paragraph(f"{a['explanation']}.") + table(["cheapest way out", "asked", "needed"], rows)
    m, c = a["metrics"], a["certificate"]
    low, high = m.get("delivered_range") or (None, None)
    said = f"{a['explanation'][:1].upper()}{a['explanation'][1:]}. "
    if m.get("delivered_speedup"):
        said += f"It delivers {times(m['delivered_speedup'])} the baseline"
        said += f", {times(low)} to {times(high)} over the ranges of the calibration. " if low and high else ". "
    others = [
        (Choice(**x["choice"]).text(), "infeasible" if x["goal"] is None else digits(x["goal"], 4))
        for x in a["alternatives"][:SHOWN]
    ]
    return (
        paragraph(said + certificate(c), "lead")
        + table(["design", ""], _design_rows(a["design"]))
        + table(["workload", "speed-up", "step", "power", "MFU", "memory", "plan"], _workload_rows(m["workloads"]))
        + table(["limit", "value", "allowed", "room left", "+1 % of it moves the goal"], _limit_rows(a["limits"]))
        + folded("Other choices", table(["choice", "goal"], others))
    )


def certificate(c: Answer) -> str:
    """What is proved of a design: for its choice and plans, and of all combinations where those were bounded too."""
    if not c["proved"]:
        why = c["unproved"][0] if c["unproved"] else "not every term is log-log convex"
        return f"A local optimum without a certificate: {why}. {c['n_solves']:,} problems solved."
    said = f"Proved: every term is log-log convex; with the plans found it is within {percent(c['relative_gap'])} of "
    said += f"its bound. {c['n_solves']:,} convex problems solved; whole counts cost {percent(c['integer_gap'])}. "
    o = c["overall"]
    if o is None:
        return said + "Cores and stacks are fractions; combinations of whole counts were not bounded."
    if o["gap"] is None:
        return said + f"Of all {digits(o['n_designs'], 2)} combinations of choices, plans and counts nothing is proved."
    return f"{said}Branch and bound: of {bounded_text(o['n_designs'], o['gap'], o['n_nodes'], o['seconds'])}."


def _design_rows(design: Answer) -> list[tuple[Cell, ...]]:
    choice = Choice(**design["choice"])
    outside = ("hbm", "link", *SEATED)
    rows: list[tuple[Cell, ...]] = [
        ("choice", ", ".join(word for field, word in choice.words.items() if field not in outside)),
        ("memory and links", f"{choice.hbm}, {choice.link}"),
    ]
    rows += [("system", short_name(choice.system))] if choice.system else []
    share = choice.scaleout_Bps
    rows += [(label("scaleout_bandwidth_per_dir_Bps"), quantity_text("scaleout_Bps", share))] if share else []
    skipped = ("choice", "continuous")
    numbers = {k.removesuffix("_per_core"): v for k, v in design.items()}
    return rows + [(label(k), value_text(k, v)) for k, v in numbers.items() if k not in skipped]


def _workload_rows(found: Answer) -> list[tuple[Cell, ...]]:
    return [
        (
            name, times(w["speedup"]), *(quantity_text(k, w[k]) for k in ("step_s", "power_W", "mfu_frac", "memory_B")),
            plan_words(w["plan"]),
        )
        for name, w in found.items()
    ]  # fmt: skip


def _limit_rows(limits: list[Answer]) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for a in limits:
        fields = {k: v for k, v in a.items() if k != "margin"}  # which follows from the others
        x = LimitReport(**{**fields, "kind": Kind(a["kind"])})
        sense = "at most" if x.sense == "at_most" else "at least"
        price: Cell = Markup(f"<b>{x.price:+.2g} %</b>") if is_priced(x.price, x.margin) else "-"
        value, limit = (bound_text(x, v) for v in (x.value, x.limit))
        room = "missed" if x.misses else "binds" if x.binds else percent(x.margin)
        rows.append((label(x.name), value, f"{sense} {limit}", room, price))
    return rows


def front(a: Answer) -> str:
    """A Pareto front: to hover over where plotly is installed, and some of its points."""
    metrics, points = a["metrics"], a["points"]
    step = max(1, -(-len(points) // SHOWN))  # rounded up: at most so many
    # the knee is shown even where thinning would pass it over
    kept = sorted({*range(0, len(points), step), a["knee"]})
    # an array or a rate that all designs share tells nothing of one
    apart = [n for n in ("pe_array", "fp8_rate") if len({p.get(n) for p in points}) > 1]
    columns = [*metrics, "node", "hbm", "n_dies", *apart, "n_cores", "n_stacks", "scratchpad_B"]
    knee = ", ".join(metric_text(m, points[a["knee"]][m]) for m in metrics)
    said = f"{len(points)} designs, none beaten in every metric by another, each within {percent(a['worst_gap'])} "
    said += f"of its bound under the plans found. Knee: {knee}."
    rows = [[metric_text(n, points[i].get(n)) for n in columns] for i in kept]
    return paragraph(said, "lead") + hover.front(a) + table([heading(n) for n in columns], rows)


def front_title(a: Answer) -> str:
    """What a front is over, in words."""
    heads = list(map(axis_words, a["metrics"]))
    return f"Front over {', '.join(heads[:-1])} and {heads[-1]}"


def risk(a: Answer) -> str:
    """How likely the target is, and what that hangs on."""
    what = f"{times(a['target'])} delivered" if a["target"] is not None else "A design within all limits"
    said = f"{what} is within reach in {percent(a['probability'])} of {a['samples']:,} samples "
    said += f"({precision_text(a['probability'], a['probability_error'], a['samples'])}); "
    said += f"limits can be met in {percent(a['feasible'])}."
    spread = folded("The best design, by quantile", written(design_table(a)))
    return paragraph(said, "lead") + written(drivers_table(a)) + spread


def validation(a: Answer) -> str:
    """Predictions beside measurements."""
    t = a["total"]
    said = f"{t['modelled']:,} of {t['points']:,} measurements predicted; median over sources of the median error "
    ours, simple = (error_text(t[n]) for n in ("median_abs_err", "baseline_median_abs_err"))
    said += f"{ours}, of the strongest simple baseline {simple}."
    return (
        paragraph(said, "lead")
        + written(scores_table("source", a["sources"], t))
        + folded("By chip", written(scores_table("chip", a["chips"])))
        + folded("Worst predictions", written(worst_table(a["worst"])))
    )


def backtest(a: Answer) -> str:
    """Designs proposed in the budgets of chips that were built, beside those: one row per step, then each in full."""
    rows = [
        (
            f"{s['predecessor']} to {s['built']}", times(s["factor"], 2), times(s["baseline_factor"], 2),
            *(_proposed(s, name) for name in BACKTESTED), percent(s["regret"]),
        )
        for s in a["steps"]
    ]  # fmt: skip
    columns = ["step", "median factor", "naive", *(label(n) for n in BACKTESTED), "regret of built"]
    t = a["tally"]
    said = (
        f"Proposed against built, with the range of designs within {percent(SHARE_FRAC)} of the optimum. Over "
        f"{t['n_numbers']} numbers of {t['n_steps']} steps: median factor {times(t['median_factor'], 2)} (scaled by "
        f"area and node {times(t['naive_factor'], 2)}), {percent(t['within_frac']['1.5'])} within 1.5x, SRAM within 2x "
        f"in {percent(t['sram_frac'])} of steps; the built chips are {percent(t['regret_frac'])} worse in median; "
        f"better than the naive forecast on {t['n_better']} steps."
    )
    return paragraph(said, "lead") + table(columns, rows) + "".join(map(_step, a["steps"]))


BACKTESTED = ("peak_bf16_FLOPps", "clock_Hz", "sram_B", "n_stacks", "hbm_bandwidth_Bps")
"""Quantities in the table of one row per step."""


def _proposed(step: Answer, name: str) -> str:
    """One quantity of a step: proposed against built, and its range."""
    r = next((r for r in step["rows"] if r["name"] == name), None)
    if r is None:
        return ""
    mine, theirs = (quantity_text(name, r[k]) for k in ("proposed", "built"))
    near = f" ({' to '.join(quantity_text(name, x) for x in r['near'])})" if r["near"] else ""
    return f"{mine}{near} against {theirs}"


def _step(s: Answer) -> str:
    chosen = ", ".join(f"{c['what']} {c['proposed']} (built {c['built']})" for c in s["choices"])
    return folded(f"{s['predecessor']} to {s['built']}: {chosen}", written(backtest_table(s)))


def readings(a: Answer) -> str:
    """The best speed-up over the TDP under every reading of it, and the choice of each."""
    t = readings_table(a["rows"])
    rows = tuple((*row, p["choice"]) for row, p in zip(t.rows, a["rows"], strict=True))
    chosen = dataclasses.replace(t, columns=(*t.columns, "choice"), rows=rows)
    return paragraph("One TDP read three ways, and what is the fastest under each.", "lead") + written(chosen)


def plain(a: Any) -> str:
    """An answer of another kind: its numbers and its lists of like records."""
    if isinstance(a, list):
        return records([r for r in a if isinstance(r, dict)], most=SHOWN)
    scalars = [(k.replace("_", " "), value_text(k, v)) for k, v in a.items() if not isinstance(v, list | dict)]
    lists = [(k, v) for k, v in a.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
    nested = [(k, v) for k, v in a.items() if isinstance(v, dict) and v]
    inner = [(k, table(["", ""], [(n, value_text(n, x)) for n, x in v.items()])) for k, v in nested]
    inner += [(k, records(v, most=SHOWN)) for k, v in lists]
    return table(["", ""], scalars) + "".join(folded(k.replace("_", " "), html) for k, html in inner)


def unfinished(a: Any) -> str:
    """What an answer lacks because time was up; nothing where it lacks nothing."""
    ended, left = (a.get("stopped"), a.get("unfinished")) if isinstance(a, dict) else (None, None)
    said = [f"{ended}: the best design so far."] if ended else []
    said += [f"Unfinished: time was up. Left out: {'; '.join(map(str, left))}."] if left else []
    return "".join(paragraph(x, "lead") for x in said)


SECTIONS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "solution.json": ("Design", solution),
    "tdp.json": ("Readings of the TDP", readings),
    "front.json": ("Front", front),
    "risk.json": ("How likely", risk),
    "sensitivity.json": ("What it rests on", lambda a: written(facts_table(a))),
    "backtest.json": ("Back-test", backtest),
    "scores.json": ("Validation", validation),
}
"""File to the title of its section and what makes it."""
