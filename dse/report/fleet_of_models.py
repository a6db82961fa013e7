"""A portfolio on a chip, for people: chips, how busy, tokens and dollars by model and in all."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.text import digits, in_unit, percent, times
from ..serving.fleet import ServedPortfolio, fleet_numbers
from ..serving.offer import serving_numbers, short_plan
from .layout import table
from .serving import prompts_text, rent_text


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
    head = ("requests/s", "tokens/s", "chips", "busy", "power", "USD/Mtok")
    t = table("model", *head, title=title)
    for name, m in total["models"].items():
        t.add_row(name, *_amounts(m))
    t.add_section()
    t.add_row("all", *_amounts(total), style="bold")
    return t


def engines_table(fleet: ServedPortfolio) -> Table:
    """How each model is served."""
    q = f"p{100 * fleet.parts[0].service.promise.quantile_frac:g}"
    t = table("engine of", f"{q} TPOT", f"{q} TTFT", "batch", "chips", "plan", "prompts")
    for p in fleet.parts:
        e = serving_numbers(p.engine, fleet.hour.chip_hour_USD)
        t.add_row(
            p.service.name, in_unit(e["tpot_s"], "s"), in_unit(e["ttft_s"], "s"), f"{e['batch']:,}",
            str(e["n_chips"]), short_plan(e["plan"]), prompts_text(e),
        )  # fmt: skip
    return t


def _amounts(m: dict[str, Any]) -> tuple[str, ...]:
    usd = "-" if m["million_tokens_USD"] is None else digits(m["million_tokens_USD"])
    return (
        digits(m["requests_per_s"]), digits(m["tokens_per_s"]), f"{m['n_chips']:,}", percent(m["utilisation_frac"]),
        in_unit(m["power_W"], "W"), usd,
    )  # fmt: skip
