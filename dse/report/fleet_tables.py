"""Tables of a chip's cost, of two chips compared, and of a training run on a fleet. Formatting only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.files import picked
from ..core.text import digits, in_unit, label, percent, times
from ..economy.bill import ChipCost
from ..economy.curves import DAY_s
from ..economy.fleet_run import Run
from ..economy.owning import Purchase, published_die
from ..hardware.presets import chip
from ..serving.comparison import MODEL, Answer, training
from ..serving.served import Asked
from ..workload.presets import model as preset_model
from .evaluated import stand_in_text
from .layout import Table, beside, table_of

SHOWN_KNOBS, WRITTEN_KNOBS = 3, 10
"""Facts named per answer on screen and in JSON."""


def dollars(value: float) -> str:
    """A sum of money: three digits, or millions."""
    if not math.isfinite(value):
        return "-"
    return f"{digits(value / 1e6)} M USD" if abs(value) >= 1e6 else f"{digits(value)} USD"


def cost_view(c: ChipCost, width: int) -> RenderableType:
    """What a chip costs in its rack, per hour, to rent, and in carbon."""
    d = c.deal
    low, high = c.hour_range_USD
    head = (
        f"{c.chip_name}: {dollars(float(c.purchase.capital_USD))} in its rack, "
        f"{digits(c.hour_USD)} USD per chip-hour to own ({digits(low)} to {digits(high)})"
    )
    known = published_die(d.chip)
    die = "modelled" if known is None else "outside estimate" if known.kind == "estimate" else "published"
    basis = (
        f"{digits(float(d.chip.n_dies))} x {d.chip.node} of {digits(float(d.die_mm2))} mm2 ({die}), {d.chip.hbm}; "
        f"host {d.economy.host.name}; {percent(float(d.economy.ownership.average_power_frac))} of "
        f"{in_unit(float(d.chip.power_limit_W), 'W')} on average"
    )
    left, right = capital_table(c), Group(hour_table(c), "", carbon_table(c.purchase))
    parts: list[RenderableType] = [Text(head, style="bold"), Text(basis, style="dim"), "", beside(left, right, width)]
    return Group(*parts, *(["", bill_table(c)] if c.bill else []))


def capital_table(c: ChipCost) -> Table:
    """Capital by part, adding up to the last row."""
    parts = ((n, digits(v), percent(c.capital_shares_frac[n])) for n, v in c.capital_parts_USD.items())
    total = ("capital", digits(float(c.purchase.capital_USD), 4), "100 %")
    return table_of(("a chip in its rack", "USD", "share"), (*parts, total), totals=1)


def hour_table(c: ChipCost) -> Table:
    """Cost per hour by part, and what the market asks."""
    parts = [(name, digits(value), "") for name, value in c.hour_parts_USD.items()]
    below = [("owned", digits(c.hour_USD), "")]
    for kind, fact in c.rents.items():
        days = c.break_even_days[kind]
        after = f"{digits(days)} days" if math.isfinite(days) else "never"
        below.append((f"rented, {kind.replace('_', ' ')}", digits(float(fact.value)), after))
    below += [] if c.rents else [("rented", "no public price", "")]
    return table_of(("one chip-hour", "USD", "buying pays after"), [*parts, *below], totals=len(below))


def carbon_table(p: Purchase) -> Table:
    """Embodied carbon by part."""
    parts = {label(name): float(value) for name, value in p.owned.embodied.__dict__.items()}
    # of making alone: what running emits hangs on the grid and the load, and is told with a run
    rows = {**parts, "embodied": sum(parts.values())}
    return table_of(("made, carbon", "kg CO2e"), ((n, digits(v)) for n, v in rows.items()), totals=1)


def bill_table(c: ChipCost) -> Table:
    """A product's bill of materials beside the published one."""
    rows = []
    for x in c.bill:
        said = digits(float(x.published.value)) if x.published else "-"
        unsure = x.published is not None and x.published.low < x.published.high
        span = f"{digits(x.published.low)} to {digits(x.published.high)}" if x.published and unsure else ""
        rows.append((label(x.part), digits(x.harvested_USD), digits(x.whole_USD), said, span))
    heads = ("the package, with the published die", "spare blocks sold", "none sold", "published", "range")
    return table_of(heads, rows)


def cost_json(c: ChipCost) -> dict[str, Any]:
    """What a chip costs, for machines: USD, kg, days."""
    return {
        "chip": c.chip_name,
        "die_mm2": float(c.deal.die_mm2),
        "die_is_modelled": published_die(c.deal.chip) is None,
        "host": c.deal.economy.host.name,
        "capital_USD": c.capital_parts_USD,
        "capital_total_USD": float(c.purchase.capital_USD),
        "chip_hour_USD": c.hour_parts_USD,
        "chip_hour_total_USD": c.hour_USD,
        "chip_hour_range_USD": list(c.hour_range_USD),
        "rent_USD_per_h": {k: float(f.value) for k, f in c.rents.items()},
        "break_even_days": c.break_even_days,
        "embodied_kg": {k: float(v) for k, v in c.purchase.owned.embodied.__dict__.items()},
        "bill_of_materials_USD": [
            {
                "part": x.part,
                "harvested": x.harvested_USD,
                "not_harvested": x.whole_USD,
                "published": None if x.published is None else [x.published.low, x.published.value, x.published.high],
            }
            for x in c.bill
        ],
    }


def against_view(first: str, second: str, precision: str, answers: Sequence[Answer], asked: Asked) -> RenderableType:
    """Two chips compared, three ways of paying, with what must hold for 40 %."""
    heads = ("USD per million tokens", first, second, "ratio", "range", "40 % cheaper?")
    lines = [Text(f"{a.workload}, {a.paying}: {a.needed}", style="dim") for a in answers]
    # of owned chips: rents hide the costs that move the ratio
    owned = next(a for a in answers if a.paying == "owned")
    most = (f"{label(k.label)} {times(k.low, 2)} to {times(k.high, 2)}" for k in owned.leading[:SHOWN_KNOBS])
    note = f"What moves the ratio most ({owned.workload}, owned): {'; '.join(most)}."
    said = stand_ins(first, second, precision)
    runs = f"In {precision.upper()}, but {' and '.join(said)}." if said else f"Both in {precision.upper()}."
    head = Text(f"Is {first} 40 % cheaper than {second}? {runs}", style="bold")
    return Group(
        head, Text(asked_text(asked)), "", table_of(heads, map(_paid, answers)), "", Text("What must hold:"),
        *lines, "", Text(note, style="yellow"),
    )  # fmt: skip


def _paid(a: Answer) -> tuple[str, ...]:
    known = math.isfinite(a.ratio)
    span = f"{digits(a.low, 2)} to {digits(a.high, 2)}" if known else ""
    verdict = a.verdict if known else ("no public price" if a.leading else "does not serve")
    ratio = times(a.ratio, 2) if known else "-"
    return f"{a.workload}, {a.paying}", digits(a.first_USD), digits(a.second_USD), ratio, span, verdict


def asked_text(asked: Asked) -> str:
    """What is trained and served, in a sentence."""
    r, p = asked.requests, asked.promise
    lengths = ", ".join(f"{x.prompt:,} in {x.output:,} out" for x in r.lengths)
    limits = {"TPOT": p.tpot_s, "TTFT": p.ttft_s}
    kept = [f"{k} within {in_unit(s, 's')}" for k, s in limits.items() if s is not None] or ["no promise"]
    traffic = "" if asked.requests_per_s is None else f", {digits(asked.requests_per_s)} requests/s"
    stored = f"{r.weight_precision} weights, {r.kv_precision} KV"
    return f"{r.model.name}; served with {stored}, {lengths}, {' and '.join(kept)}{traffic}."


def stand_ins(first: str, second: str, precision: str) -> list[str]:
    """What the products of two chips run in, of those that lack `precision`."""
    said = [stand_in_text(training(preset_model(MODEL), precision), chip(name)) for name in (first, second)]
    return [s for s in said if s]


def against_json(first: str, second: str, precision: str, answers: Sequence[Answer], asked: Asked) -> dict[str, Any]:
    """Two chips compared, for machines."""
    r, p = asked.requests, asked.promise
    served = {
        "model": r.model.name, "requests": [dataclasses.asdict(x) for x in r.lengths], "weights": r.weight_precision,
        "kv": r.kv_precision, "promise": dataclasses.asdict(p),
    }  # fmt: skip
    rows = [
        {
            **picked(a, "workload", "paying"), "first_USD_per_Mtoken": a.first_USD,
            "second_USD_per_Mtoken": a.second_USD, "ratio": a.ratio, "ratio_range": [a.low, a.high], "needed": a.needed,
            "leading": [{"fact": k.label, "low": k.low, "high": k.high} for k in a.leading[:WRITTEN_KNOBS]],
        }
        for a in answers
    ]  # fmt: skip
    return {"first": first, "second": second, "precision": precision, "notes": stand_ins(first, second, precision),
            "served": served, "answers": rows}  # fmt: skip


def run_view(r: Run, width: int) -> RenderableType:
    """A run on one screen."""
    i = r.interruptions
    low, high = i.goodput_range
    head = (
        f"{r.workload.model.name} on {r.system.n_chips:,} {r.system.chip.name} for {digits(r.seconds / (7 * DAY_s))} "
        f"weeks: {digits(r.tokens / 1e12)} T tokens, {dollars(r.cost_USD)}, goodput {percent(i.goodput_frac, 3)} "
        f"({percent(low)} to {percent(high)})"
    )
    step = in_unit(float(r.evaluation.step_s), "s")
    plan = f"{r.plan}: {step} per step, MFU {percent(float(r.evaluation.mfu_frac))} without failures"
    return Group(Text(head, style="bold"), "", beside(failures_table(r), bill_of_run(r), width), "", Text(plan))


def failures_table(r: Run) -> Table:
    """Interruptions by component, and what the job does about them."""
    i = r.interruptions
    shares, (low, high) = r.interruption_shares_frac, r.interruptions_range
    parts = [(label(name), digits(n), percent(shares[name])) for name, n in r.interruptions_by_component.items()]
    total = (
        ("all", f"{digits(r.n_interruptions)} ({digits(low, 2)} to {digits(high, 2)})", "100 %"),
        ("mean time between", in_unit(i.mtbf_s, "s"), ""),
        ("checkpoint every", f"{in_unit(i.interval_s, 's')} (Daly {in_unit(i.daly_interval_s, 's')})", ""),
        ("standstill per checkpoint", in_unit(i.write_s, "s"), ""),
        ("restart", in_unit(i.restart_s, "s"), ""),
        ("spare chips", digits(r.n_spare_chips), percent(r.spare_frac)),
    )
    return table_of(("interruptions", "expected", "share"), (*parts, *total), totals=len(total))


def bill_of_run(r: Run) -> Table:
    """Dollars, energy and carbon of a run, in all and per million tokens."""
    each, carbon = r.per_million_tokens, (("running", "running_kg"), ("share of making", "embodied_kg"))
    rows = [
        ("owned", dollars(r.cost_USD), f"{digits(each['cost_USD'])} USD"),
        ("  its range", " to ".join(digits(x / 1e6) for x in r.cost_range_USD) + " M USD", ""),
        *((f"rented, {k.replace('_', ' ')}", dollars(v), f"{digits(each[k])} USD") for k, v in r.rent_USD.items()),
        # a kWh is 3.6e6 J, a GWh a million of them
        ("energy", f"{digits(r.energy_J / 3.6e12)} GWh", f"{digits(each['energy_J'] / 3.6e6)} kWh"),
        *((f"carbon, {w}", f"{digits(getattr(r, n) / 1e3)} t CO2e", f"{digits(1e3 * each[n])} g") for w, n in carbon),
        ("chip-hour", f"{digits(float(r.upkeep.chip_hour_USD))} USD", ""),
    ]
    return table_of(("the run", "in all", "per M tokens"), rows)


def run_json(r: Run) -> dict[str, Any]:
    """A run for machines, canonical units."""
    i = r.interruptions
    return {
        "chip": r.system.chip.name, "system": r.system.name, "n_chips": r.system.n_chips,
        "model": r.workload.model.name, "plan": str(r.plan), "seconds": r.seconds,
        **picked(r.evaluation, "step_s"), **picked(r.upkeep, "wall_step_s"),
        "interruptions": r.n_interruptions, "interruptions_range": list(r.interruptions_range),
        "interruptions_by_component": r.interruptions_by_component,
        "mtbf_s": i.mtbf_s, "checkpoint_interval_s": i.interval_s, "daly_interval_s": i.daly_interval_s,
        "first_order_goodput_frac": i.first_order_frac, "checkpoint_write_s": i.write_s,
        **picked(i, "restart_s", "goodput_frac", "goodput_range"),
        **picked(r, "n_spare_chips", "tokens", "cost_USD", "cost_range_USD", "rent_USD"),
        **picked(r.upkeep, "cost_per_token_USD", "chip_hour_USD"), **picked(r, "energy_J", "running_kg", "embodied_kg"),
    }  # fmt: skip
