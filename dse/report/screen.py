"""Terminal output of `dse optimize`: design beside baseline, limits and prices, proof, guesses."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.text import digits, in_unit, label, percent, quantity_text, times, unit_of
from ..explore.designed import COUNTED, compared, waits
from ..hardware.chip import Chip
from ..hardware.own_chip import short_name
from ..optimize.prices import SMALLEST_PRICE, LimitReport, is_priced
from ..optimize.solution import Solution
from ..study.design import Choice
from ..study.metrics import SERVED, SPEEDUPS
from ..study.rows import Kind
from ..study.study import Study
from ..workload.requests import Requests, given_batch
from .chip_tables import product
from .evaluated import stand_in_text
from .layout import WIDE, Cell, Table, beside, table_of
from .proof import certificate_lines, guesses_text, infeasible_view
from .terminal import unfinished

SHOWN_ALTERNATIVES = 5
SAME = 1e-6
"""Choices this close to the best one are as good: what is left is rounding of the solver."""
NUMBERS = (
    "clock_Hz", "supply_V", "scratchpad_B", "sram_B", "vector_lanes", "dma_bandwidth_Bps",
    "peak_bf16_FLOPps", "peak_fp8_FLOPps", "peak_fp4_FLOPps",
    "hbm_bandwidth_Bps", "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps",
    "silicon_mm2", "package_cost_USD", "full_load_fp8_W",
)  # fmt: skip
"""Metrics in the design table, in order."""


def solution_view(s: Solution, width: int = WIDE) -> RenderableType:
    """A solution on one screen, in two columns where the terminal is wide enough."""
    if s.chip is None:
        asked = ("", what_if_table(s)) if s.what_ifs else ()
        return Group(*infeasible_view(s), *asked, "", guesses_text(s))
    middle = beside(design_table(s), Group(limits_table(s), "", alternatives_table(s)), width)
    delivered = (delivered_table(s), "") if s.workloads else ()
    asked = (what_if_table(s), "") if s.what_ifs else ()
    asked += (near_table(s), "") if s.near else ()
    asked += tuple(unfinished(s.unfinished))
    stopped = (Text(f"{s.stopped_text}: the best design so far", style="bold yellow"),) if s.stopped else ()
    return Group(
        Text(headline(s), style="bold"), *stopped, "", middle, "", *delivered, *rack_lines(s), *asked, *stand_ins(s),
        *certificate_lines(s),
        guesses_text(s),
    )  # fmt: skip


def rack_lines(s: Solution) -> list[Text | str]:
    """A full rack of the design, in a sentence."""
    if s.rack is None:
        return []
    r = s.rack
    each = [
        f"{name} {digits(r.rack_tokens_per_s[name])} tokens/s per rack, {digits(r.megawatt_tokens_per_s[name])} per MW"
        for name in r.rack_tokens_per_s
    ]
    size = f"{digits(r.n_chips)} chips, {quantity_text('rack_power_W', r.power_W)}, "
    cost = quantity_text("rack_cost_USD", r.cost_USD)
    return [Text(f"Rack of {short_name(r.system)}: {size}{cost}; {'; '.join(each)}."), ""]


def stand_ins(s: Solution) -> list[Text]:
    """What products run in where baseline or design lack the precision that a workload asks for."""
    every = (given_batch(w) for w, _ in s.study.workloads.values())
    asked = [w for w in every if not isinstance(w, Requests)]
    chips = [c for c in (s.study.baseline.chip, s.chip) if c is not None]
    said = dict.fromkeys(stand_in_text(w, c) for w in asked for c in chips)
    return [Text(f"{x}.", style="yellow") for x in (*said, first_tokens_text(s.study)) if x]


def first_tokens_text(study: Study) -> str:
    """What a study does not keep of what its portfolio promises; empty without such a promise."""
    late = [f"{n} {in_unit(x.promise.ttft_s, 's')}" for n, x in study.services.items() if x.promise.ttft_s is not None]
    told = "first tokens wait in a queue, which a study has none of; `dse portfolio` sizes a fleet that keeps it"
    return f"Promised to the first token and not checked: {', '.join(late)} ({told})" if late else ""


def headline(s: Solution) -> str:
    """What was found, in one sentence."""
    assert s.choice is not None and s.chip is not None
    name = product(s.study.baseline.chip.name)
    numbers = compared(s, ("peak_fp4_FLOPps", "hbm_bandwidth_Bps"))
    ratios = [
        f"{times(x.ratio, 2)} {name}'s {label(m)}"
        for m, x in numbers.items()
        if m not in COUNTED and x.ratio is not None
    ]
    reaches = f"{s.choice.text()}: {' and '.join(ratios)}"
    if not s.workloads:
        return f"{reaches}; {goal_text(s.study, s.goal)}"
    speeds = ", ".join(f"{w.name} {times(w.speedup, 2)}" for w in s.workloads)
    delivers = f"delivers a modelled {times(s.delivered, 2)} ({speeds})"
    return f"{reaches}; {delivers}" + ("" if s.study.goal in SPEEDUPS else f"; {goal_text(s.study, s.goal)}")


def goal_text(study: Study, goal: float) -> str:
    """The goal in words: a speed-up, which needs no name, or a metric with its own."""
    return f"{'' if study.goal in SPEEDUPS else f'{label(study.goal)} '}{goal_words(study.goal, goal)}"


def goal_words(goal: str, value: float) -> str:
    """A goal as people compare it: a time over the baseline's as the speed-up it is, else the metric with its unit."""
    if goal in SPEEDUPS:
        return f"{times(1 / value)} {'served' if goal == SERVED else 'delivered'}"
    return quantity_text(goal, value)


def design_table(s: Solution) -> Table:
    """The baseline beside the design, with ratios."""
    assert s.chip is not None
    base, design, numbers = s.study.baseline.chip, s.chip, compared(s, NUMBERS)
    ratios = {name: "-" if x.ratio is None else times(x.ratio, 2) for name, x in numbers.items()}
    counted = zip(counted_texts(base), counted_texts(design), ("", ratios["n_cores"], ratios["n_stacks"]), strict=True)
    rows = [(name, *texts) for name, texts in zip(("dies", "cores", "HBM"), counted, strict=True)]
    for name in NUMBERS:
        before, after = (quantity_text(name, x) for x in (numbers[name].before, numbers[name].after))
        rows.append((label(name), before, after, ratios[name]))
    return table_of(("package", base.name, "design", "ratio"), rows)


def counted_texts(c: Chip) -> tuple[str, str, str]:
    """Dies and their node, cores and the array in each, stacks and their generation."""
    t = c.core.tensor
    cores = f"{digits(float(c.n_cores))} x {digits(float(t.rows))}x{digits(float(t.cols))}"
    return f"{digits(float(c.n_dies))} x {c.node}", cores, f"{digits(float(c.n_stacks))} x {c.hbm}"


def limits_table(s: Solution) -> Table:
    """Every limit with a price or of the user's, the dearest first; what else is slack stands below."""
    rows: list[tuple[Cell, ...]] = []
    shown = [x for x in s.limits if x.kind is Kind.USER or abs(x.price) >= 10 * SMALLEST_PRICE]
    for x in sorted(shown, key=lambda x: -abs(x.price)):
        mark, sign = "*" if x.kind is Kind.BOUND else "", "<=" if x.sense == "at_most" else ">="
        limit = f"{label(x.name)}{mark} {sign} {bound_text(x, x.limit)}"
        word = f"missed by {percent(-x.margin)}" if x.misses else "binds"
        margin = Text(word, style="bold") if x.binds else percent(max(x.margin, 0.0))
        rows.append((limit, bound_text(x, x.value), margin, price_text(x, s.study)))
    notes = [f"{label(x.name)} {percent(x.margin)}" for x in s.limits if x not in shown and not x.binds]
    below = [f"not binding, margin: {', '.join(notes)}"] if notes else []
    below += ["* bound of a free number"] if any(x.kind is Kind.BOUND for x in shown) else []
    heads = ("limit", "design", "margin", f"loosen -> {'speed' if s.study.goal in SPEEDUPS else 'goal'}")
    return table_of(heads, rows, "\n".join(below))


def what_if_table(s: Solution) -> Table:
    """What becomes of the answer if one limit is looser, or gone."""
    rows = []
    for x in s.what_ifs:
        limit = f"{label(x.name)} {'<=' if x.sense == 'at_most' else '>='} {quantity_text(x.name, x.limit)}"
        rows.append((limit, *(_goal_or_none(s.study, g) for g in (x.goal, x.moved, x.dropped))))
    note = "solved again over all choices and plans; cores and stacks are fractions"
    return table_of(("limit", "as it is", "10 % looser", "without it"), rows, note)


def near_table(s: Solution) -> Table:
    """How far each number may move while the goal stays near its best."""
    each = ((x.name, (x.lower, s.continuous.get(x.name), x.upper)) for x in s.near)
    rows = ((label(n), *("-" if v is None else quantity_text(n, v) for v in ends)) for n, ends in each)
    note = "one number moves as far as it can, all others follow; cores and stacks are fractions"
    return table_of(("nearly as good", "least", "optimum", "most"), rows, note)


def _goal_or_none(study: Study, goal: float | None) -> str:
    if goal is None:
        return "-"
    return goal_text(study, goal) if math.isfinite(goal) else "no design"


def bound_text(x: LimitReport, value: float) -> str:
    """A value or limit in the unit of its metric; ratios of technology and memory in percent."""
    return percent(value, 3) if x.kind in (Kind.TECHNOLOGY, Kind.WORKLOAD) else quantity_text(x.name, value)


def price_text(x: LimitReport, study: Study) -> str:
    """What one step of loosening is worth, such as "+10 W -> +0.3 %"."""
    if not is_priced(x.price, x.margin):
        return "-"
    step, amount = loosening_step(x)
    share = x.gain_frac(step)
    gain = percent(share, 2 if share >= SMALLEST_PRICE else 1)
    better = f"+{gain}" if study.goal in SPEEDUPS else f"-{gain}"
    return f"{'+' if x.sense == 'at_most' else '-'}{amount} -> {better}"


def loosening_step(x: LimitReport) -> tuple[float, str]:
    """A round step of about a hundredth of a limit, and its text."""
    unit = "" if x.kind in (Kind.TECHNOLOGY, Kind.WORKLOAD) else unit_of(x.name)
    # a hair more, so that 10 W of 1,000 stay 10
    hundredth = 0.01 * x.limit * (1 + 1e-9)
    if unit in ("", "FLOPps"):
        return 0.01 * x.limit, "1 %"
    # bytes are written in powers of two: 1 GiB is a round step, 1 GB is none
    base = 2.0 if unit == "B" else 10.0
    # the log of a power of ten may come out a hair below its exponent
    step = base ** math.floor(math.log(hundredth, base) + 1e-12)
    return step, in_unit(step, unit, 4)


def delivered_table(s: Solution) -> Table:
    """What arrives on each workload, two lines each: speed and plan, then power and what the step waits for."""
    rows = []
    for w in s.workloads:
        e = w.evaluation
        workload, n_chips = s.study.workloads[w.name]
        waits_for = (f"{label(name.removesuffix(' traffic'))} {percent(share)}" for name, share in waits(s, w)[:3])
        rows.append((
            _two_lines(w.name, f"{workload.model.name}, {n_chips:,} chips"), in_unit(w.baseline_s, "s"),
            _two_lines(in_unit(float(e.step_s), "s"), in_unit(float(e.power_W), "W")),
            _two_lines(times(w.speedup), f"MFU {percent(float(e.mfu_frac))}", "bold"),
            _two_lines(str(w.plan), ", ".join(waits_for)),
        ))  # fmt: skip
    heads = ("workload", s.study.baseline.chip.name, "design", "speed-up", "plan, and what the step waits for")
    return table_of(heads, rows, left=(4,), wrapped=(4,))


def _two_lines(first: str, second: str, style: str = "") -> Text:
    return Text.assemble((first, style), "\n", (second, "dim"))


def alternatives_table(s: Solution) -> Table:
    """The best choices, before rounding; only what differs between the study's choices is named."""
    rows, delivers = [], s.study.goal in SPEEDUPS
    for a in (x for x in s.alternatives[:SHOWN_ALTERNATIVES] if math.isfinite(x.goal)):
        goal = times(1 / a.goal) if delivers else quantity_text(s.study.goal, a.goal)
        behind = s.behind_frac(a)
        rows.append((differing_text(a.choice, s.study), goal, percent(behind) if behind > SAME else "-"))
    return table_of(("best choices (before rounding)", "delivered" if delivers else "goal", "behind"), rows)


def differing_text(choice: Choice, study: Study) -> str:
    """`choice` in one line, without what all choices of the study share."""
    words, every = choice.words, [c.words for c in study.choices]
    differ = [field for field in words if len({other.get(field) for other in every}) > 1]
    # where nothing differs, dies and node alone say which choice it is
    return ", ".join(words[field] for field in differ or ("node",))
