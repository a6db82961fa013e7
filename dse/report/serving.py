"""Serving curves of several chips, as terminal tables and JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ..core.text import digits, in_unit, percent, times
from ..economy.owning import Hour
from ..serving.offer import (
    WHOLES,
    Offer,
    ServedPortfolio,
    claimed,
    fleet_numbers,
    over,
    serving_numbers,
    shares_text,
    short_plan,
)
from ..workload.transformer import Decode
from .evaluated import stand_in_text
from .layout import Table, or_dash, table_of

SHOWN_POINTS = 14
"""Points of a curve in its table, evenly spread; JSON has all."""


def serving_json(offers: list[Offer]) -> dict[str, Any]:
    """All curves as plain data, canonical units."""
    curve = offers[0].curve
    return {
        "model": curve.requests.model.name,
        "requests": [dataclasses.asdict(x) for x in curve.requests.lengths],
        "weights": curve.requests.weight_precision,
        "kv": curve.requests.kv_precision,
        "promise": dataclasses.asdict(curve.promise),
        "comparison": comparison_lines(offers),
        "policy": dataclasses.asdict(curve.policy),
        "chips": {
            o.name: {
                "system": o.curve.system.name,
                "calibration": o.curve.calibration.name,
                "chip_hour_USD": o.hour.chip_hour_USD,
                "contract": o.hour.basis,
                "notes": notes(o),
                "n_priced": len(o.curve.menu.writer_index),
                "curve": [serving_numbers(s, o.hour.chip_hour_USD) for s in o.best],
            }
            for o in offers
        },
    }


def serving_view(offers: list[Offer]) -> RenderableType:
    """Every chip's curve in a table, and how the chips compare where all can serve."""
    parts: list[RenderableType] = []
    for o in offers:
        parts += [curve_table(o), Text(waiting_line(o)), *(Text(n) for n in notes(o)), ""]
    parts += [Text(line) for line in comparison_lines(offers)]
    return Group(*parts, Text(method_line(offers[0]), style="dim"))


def notes(o: Offer) -> list[str]:
    """What a reader must know of a curve beside its numbers: products in another precision than asked for."""
    r = o.curve.requests
    said = stand_in_text(Decode(r.model, 1, 1, r.weight_precision, r.kv_precision), o.curve.system.chip)
    return [f"{said}."] if said else []


def curve_table(o: Offer) -> Table:
    """The curve of one chip, fastest first."""
    c, r = o.curve, o.curve.requests
    lengths = ", ".join(f"{x.prompt:,} in {x.output:,} out" for x in r.lengths)
    title = (
        f"{r.model.name} ({r.weight_precision} weights, {r.kv_precision} KV) on {o.name}, {lengths}: "
        f"{len(o.best)} of {len(c.menu.writer_index):,} engines unbeaten"
    )
    # both ends always: the fastest engine and the one with most tokens per chip
    shown = np.unique(np.linspace(0, len(o.best) - 1, SHOWN_POINTS).round().astype(int))
    rows = (
        (
            in_unit(n["tpot_s"], "s"), in_unit(n["ttft_s"], "s"), digits(n["chip_tokens_per_s"]),
            digits(n["tokens_per_J"]), or_dash(n["million_tokens_USD"]), f"{n['batch']:,}",
            str(n["n_chips"]), in_unit(n["kv_B"], "B"), short_plan(n["plan"]), prompts_text(n),
        )
        for n in (serving_numbers(o.best[i], o.hour.chip_hour_USD) for i in shown)
    )  # fmt: skip
    columns = heads(c.promise.quantile_frac)
    return table_of(columns, rows, title=title, left=(len(columns) - 2, len(columns) - 1))


def heads(quantile_frac: float) -> tuple[str, ...]:
    """Heads of a curve's columns, of short words: a long plan fits beside them in 80 columns."""
    q = f"p{100 * quantile_frac:g}"
    numbers = (f"{q} TPOT", f"{q} TTFT", "tok/s per chip", "tok/J", "USD per Mtok", "batch", "chips", "KV per chip")
    return (*numbers, "plan", "prompts")


def prompts_text(n: dict[str, Any]) -> str:
    """How prompts are read, in a few words; apart in brackets the share of the chips that reads nothing else."""
    if n["scheduler"] == "apart":
        return f"apart ({percent(n['prompt_chips_frac'])})"
    return f"chunks of {n['chunk']:,}" if n["scheduler"] == "chunked" else "first"


def waiting_line(o: Offer) -> str:
    """What the engine with most tokens per chip waits for, in its decode pass and in its passes over prompts."""
    words = "passes that also read a chunk" if o.best[-1].scheduler == "chunked" else "passes over prompts"
    said = (f"{what} for {shares_text(w)}" for w, what in zip(o.waits, ("decode passes", words), strict=True))
    return f"at its most tokens {o.name} waits in {'; in '.join(said)}"


def comparison_lines(offers: list[Offer]) -> list[str]:
    """Most tokens per chip, watt and dollar within the promise, over the first chip, beside what vendors claim."""
    base, lines = offers[0], []  # the first one named is the reference
    for o in offers[1:]:
        said = ", ".join(f"{times(v)} per {WHOLES[k]}" for k, v in over(o, base).items())
        claims = claimed(o, base)
        beside = "".join(f"; claimed {times(v)} per {WHOLES[k]} [{source}]" for k, (v, source) in claims.items())
        lines.append(f"{o.name} over {base.name}, most tokens/s within the promise: {said}{beside}")
    return lines


def method_line(o: Offer) -> str:
    """What the numbers rest on, in a sentence or two."""
    priced = "" if o.hour.chip_hour_USD is None else f" {o.name} at {rent_text(o.hour)}."
    return (
        f"Prompts apart: on that share of the chips, which do nothing else. Steady state, Poisson arrivals; prefills "
        f"queue as M/G/1 with an exponential tail. tok/J counts the power of the packages. "
        f"Step times by {o.curve.calibration.name}.{priced}"
    )


def rent_text(r: Hour) -> str:
    """A rent and its contract, such as "2.24 USD per chip-hour (capacity block)"."""
    if r.chip_hour_USD is None:
        return "no known rent"
    return f"{digits(r.chip_hour_USD)} USD per chip-hour ({r.basis.replace('_', ' ')})"


def portfolio_view(fleets: list[ServedPortfolio]) -> RenderableType:
    """Every fleet in a table, and how the chips compare."""
    parts: list[RenderableType] = []
    for fleet in fleets:
        parts += [fleet_table(fleet), engines_table(fleet), ""]
    first = fleets[0]
    for fleet in fleets[1:]:
        fewer = times(fleet.n_replaced(first))
        parts.append(
            Text(f"one {fleet.system.chip.name} stands for {fewer} {first.system.chip.name} on this portfolio")
        )
    said = "Power is that of busy packages; cost is that of every chip, idle or not."
    return Group(*parts, Text(said, style="dim"))


def fleet_table(fleet: ServedPortfolio) -> Table:
    """Models of a portfolio and their sum."""
    total = fleet_numbers(fleet)
    title = f"{fleet.portfolio.name} on {fleet.system.chip.name} ({rent_text(fleet.hour)})"
    head = ("model", "requests/s", "tokens/s", "chips", "busy", "power", "USD/Mtok")
    rows = [(name, *_amounts(m)) for name, m in (*total["models"].items(), ("all", total))]
    styles = (*("" for _ in total["models"]), "bold")
    return table_of(head, rows, totals=1, title=title, styles=styles)


def engines_table(fleet: ServedPortfolio) -> Table:
    """How each model is served."""
    q = f"p{100 * fleet.parts[0].service.promise.quantile_frac:g}"
    engines = ((p.service.name, serving_numbers(p.engine, fleet.hour.chip_hour_USD)) for p in fleet.parts)
    rows = (
        (
            name, in_unit(e["tpot_s"], "s"), in_unit(e["ttft_s"], "s"), f"{e['batch']:,}", str(e["n_chips"]),
            short_plan(e["plan"]), prompts_text(e),
        )
        for name, e in engines
    )  # fmt: skip
    return table_of(("engine of", f"{q} TPOT", f"{q} TTFT", "batch", "chips", "plan", "prompts"), rows)


def _amounts(m: dict[str, Any]) -> tuple[str, ...]:
    counts = digits(m["requests_per_s"]), digits(m["tokens_per_s"]), f"{m['n_chips']:,}"
    return (*counts, percent(m["utilisation_frac"]), in_unit(m["power_W"], "W"), or_dash(m["million_tokens_USD"]))
