"""Serving curves for people: several chips beside each other, as a table, as JSON, and why a promise cannot be kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.errors import SpecError
from ..core.provenance import load_receipts, number
from ..economy.rent import million_tokens_USD, rent
from ..hardware.chip import Chip
from ..hardware.presets import default_system
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..lowering.engines import Policy, Shape
from ..lowering.plan import plan_text
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration
from ..physics.step import step_time
from ..serving.curve import Curve, Promise, Serving, serving_curve
from ..workload.requests import Requests
from .format import digits, in_unit, percent, times
from .tables import table

SHOWN_POINTS = 14
"""Points of a curve in its table, evenly spread; JSON has all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Offer:
    """One chip's curve and what its hour costs."""

    curve: Curve
    """Everything priced."""
    best: tuple[Serving, ...]
    """The curve, fastest first."""
    chip_hour_USD: float | None
    """Rent of one chip; None where no price is known."""

    @property
    def name(self) -> str:
        """The chip."""
        return self.curve.system.chip.name


def chip_system(chip_name: str, n_chips: int | None) -> System:
    """The largest system made of a chip, at `n_chips` or one scale-up domain."""
    return preset_system(default_system(chip_name), n_chips)


def offer(
    system: System, requests: Requests, promise: Promise, policy: Policy, chip_hour_USD: float | None = None
) -> Offer:
    """The curve of one chip; refuses a promise that nothing can keep.

    Raises:
        PlanError: nothing fits.
        SpecError: a promise below what the chips can do; names the floor and what sets it.
    """
    curve = serving_curve(system, requests, promise, policy)
    best = curve.best
    if not best:
        raise SpecError(broken_promise(curve))
    known = rent(system.chip.name)
    price = chip_hour_USD if chip_hour_USD is not None else (float(known.value) if known else None)
    return Offer(curve, best, price)


def broken_promise(curve: Curve) -> str:
    """Why no engine keeps the promise: a floor and what sets it, or how near both limits can be kept."""
    p, where = curve.promise, f"{curve.requests.model.name} on {curve.system.chip.name}"
    (writer, token_s), (reader, prompt_s) = curve.fastest_writer(), curve.fastest_reader()
    if p.tpot_s is not None and p.tpot_s < token_s:
        w = curve.menu.writers[writer]
        return _floor_text("tpot", p.tpot_s, token_s, w.shape, w.demand, curve)
    if p.ttft_s is not None and p.ttft_s < prompt_s:
        r = curve.menu.readers[reader]
        return _floor_text("ttft", p.ttft_s, prompt_s, r.shape, r.demands[-1], curve)
    points, quantile = curve.points, percent(p.quantile_frac)
    stable = np.asarray(points.load_frac) < 1
    first = _least(points.tpot_s, stable & (np.asarray(points.ttft_s) <= (p.ttft_s or np.inf)))
    second = _least(points.ttft_s, stable & (np.asarray(points.tpot_s) <= (p.tpot_s or np.inf)))
    return (
        f"no engine of up to {curve.system.n_chips} chips keeps the promise for {quantile} of requests ({where}); with "
        f"the TTFT asked TPOT is at least {first}, with the TPOT asked TTFT is at least {second}"
    )


def _floor_text(flag: str, limit_s: float, floor_s: float, shape: Shape, d: StepDemand, curve: Curve) -> str:
    """A limit below what the chips can do: the floor, where it is reached and what sets it."""
    what = "a token of one sequence" if flag == "tpot" else "reading the longest prompt"
    return (
        f"--{flag} {in_unit(limit_s, 's')} is below the floor: {what} takes {curve.requests.model.name} "
        f"{in_unit(floor_s, 's')} at best, on {shape.system.n_chips} x {curve.system.chip.name} with "
        f"{short_plan(plan_text(shape.plan))}, of which {_shares_text(d, curve)}"
    )


def _least(values: Any, where: np.ndarray) -> str:
    """The least of `values` at the places that count, as text."""
    found = np.asarray(values)[where]
    return in_unit(float(found.min()), "s") if found.size else "out of reach"


def spent(d: StepDemand, chip: Chip, c: Calibration) -> dict[str, float]:
    """Share of a pass by what it waits for, largest first; an operator counts for the limit it meets alone."""
    step = step_time(d, chip, c)
    t, runs = step.ops, np.asarray(d.ops.runs) * float(d.n_micro)
    limits = np.stack([np.asarray(x) for x in (t.hbm_s, t.compute_s, t.tile_s, t.vector_s, t.dma_s)])
    names = ("reading weights and cache", "arithmetic", "arithmetic", "element-wise work", "DMA")
    launch = np.asarray(d.ops.n_launches) * float(c.launch_s)
    found = {"messages between chips": float(step.tensor_exposed_s + step.pipeline_exposed_s + step.data_exposed_s)}
    found["starting kernels"] = float(runs @ launch)
    found["the serving loop"] = float(step.host_exposed_s)
    for i, which in enumerate(np.argmax(limits, axis=0)):
        seconds = float(runs[i] * (np.asarray(t.total_s)[i] - launch[i]))
        found[names[which]] = found.get(names[which], 0.0) + seconds
    total = float(step.total_s)
    return {k: v / total for k, v in sorted(found.items(), key=lambda x: -x[1]) if v > 0}


def serving_numbers(s: Serving, chip_hour_USD: float | None) -> dict[str, Any]:
    """One point in canonical units."""
    p, w, r = s.point, s.writer, s.reader
    rate = s.chip_tokens_per_s
    return {
        "tpot_s": s.tpot_s,
        "tpot_mean_s": float(p.tpot_mean_s),
        "ttft_s": float(p.ttft_s),
        "ttft_mean_s": float(p.ttft_mean_s),
        "batch": w.n_sequences * w.shape.plan.dp,
        "n_chips": w.shape.system.n_chips,
        "plan": plan_text(w.shape.plan),
        "scheduler": s.scheduler,
        "chunk": r.chunk,
        "prompt_plan": plan_text(r.shape.plan),
        "prompt_n_chips": r.shape.system.n_chips,
        "prompt_chips_frac": float(p.prompt_chips_frac),
        "load_frac": float(p.load_frac),
        "chip_tokens_per_s": rate,
        "tokens_per_J": float(p.tokens_per_J),
        "power_W": float(p.power_W),
        "tokens_per_s_per_USD_per_h": rate / chip_hour_USD if chip_hour_USD else None,
        "million_tokens_USD": million_tokens_USD(rate, chip_hour_USD) if chip_hour_USD else None,
        "kv_B": float(w.memory.kv_B),
        "memory_B": float(w.memory.total),
    }


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
                "chip_hour_USD": o.chip_hour_USD,
                "n_priced": len(o.curve.menu.writer_index),
                "curve": [serving_numbers(s, o.chip_hour_USD) for s in o.best],
            }
            for o in offers
        },
    }


def serving_view(offers: list[Offer]) -> RenderableType:
    """Every chip's curve in a table, and how the chips compare where all can serve."""
    parts: list[RenderableType] = []
    for o in offers:
        parts += [curve_table(o), Text(waiting_line(o)), ""]
    parts += [Text(line) for line in comparison_lines(offers)]
    return Group(*parts, Text(method_line(offers[0]), style="dim"))


def curve_table(o: Offer) -> Table:
    """The curve of one chip, fastest first."""
    c, r = o.curve, o.curve.requests
    lengths = ", ".join(f"{x.prompt:,} in {x.output:,} out" for x in r.lengths)
    title = (
        f"{r.model.name} ({r.weight_precision} weights, {r.kv_precision} KV) on {o.name}, {lengths}: "
        f"{len(o.best)} of {len(c.menu.writer_index):,} engines unbeaten"
    )
    q = f"p{100 * c.promise.quantile_frac:g}"
    head = (f"{q} TPOT", f"{q} TTFT", "tok/s/chip", "tok/J", "USD/Mtok", "batch", "chips", "KV/chip")
    t = table(*head, "plan", "prompts", title=title)
    for column in t.columns[-2:]:
        column.justify = "left"
    for i in np.unique(np.linspace(0, len(o.best) - 1, SHOWN_POINTS).round().astype(int)):
        n = serving_numbers(o.best[i], o.chip_hour_USD)
        usd = "-" if n["million_tokens_USD"] is None else digits(n["million_tokens_USD"])
        t.add_row(
            in_unit(n["tpot_s"], "s"), in_unit(n["ttft_s"], "s"), digits(n["chip_tokens_per_s"]),
            digits(n["tokens_per_J"]), usd, f"{n['batch']:,}",
            str(n["n_chips"]), in_unit(n["kv_B"], "B"), short_plan(n["plan"]), prompts_text(n),
        )  # fmt: skip
    return t


def short_plan(text: str) -> str:
    """A plan without what is one."""
    return ",".join(p for p in text.split(",") if not p.endswith("=1") and not p.startswith("micro")) or "tp=1"


def prompts_text(n: dict[str, Any]) -> str:
    """How prompts are read, in a few words."""
    if n["scheduler"] == "apart":
        return f"apart ({percent(n['prompt_chips_frac'])} of chips)"
    return f"chunks of {n['chunk']:,}" if n["scheduler"] == "chunked" else "first"


def waiting_line(o: Offer) -> str:
    """What the engine with most tokens per chip waits for, in its decode pass and in its passes over prompts."""
    last = o.best[-1]
    words = "passes that also read a chunk" if last.scheduler == "chunked" else "passes over prompts"
    parts = ((last.writer.demand, "decode passes"), (last.reader.demands[-1], words))
    said = (f"{what} for {_shares_text(d, o.curve)}" for d, what in parts)
    return f"at its most tokens {o.name} waits in {'; in '.join(said)}"


def _shares_text(d: StepDemand, curve: Curve) -> str:
    """The three largest things a pass waits for."""
    return ", ".join(
        f"{name} {percent(share)}" for name, share in list(spent(d, curve.system.chip, curve.calibration).items())[:3]
    )


def comparison_lines(offers: list[Offer]) -> list[str]:
    """Most tokens per chip, watt and dollar within the promise, over the first chip, beside what vendors claim."""
    base, lines = offers[0], []
    theirs = most(base)
    for o in offers[1:]:
        mine = most(o)
        pairs = {k: (mine[k], theirs[k]) for k in WHOLES}
        ratios = {k: a / b for k, (a, b) in pairs.items() if a is not None and b is not None}
        said = ", ".join(f"{times(v)} per {WHOLES[k]}" for k, v in ratios.items())
        claims = claimed(o, base)
        beside = "".join(f"; claimed {times(v)} per {WHOLES[k]} [{source}]" for k, (v, source) in claims.items())
        lines.append(f"{o.name} over {base.name}, most tokens/s within the promise: {said}{beside}")
    return lines


WHOLES = {"chip_tokens_per_s": "chip", "tokens_per_J": "W", "tokens_per_s_per_USD_per_h": "USD/h"}
"""What tokens are counted per."""


def claimed(o: Offer, base: Offer) -> dict[str, tuple[float, str]]:
    """What a vendor claims of one chip over another on this model: ratio and source by number."""
    facts = load_receipts(_CLAIMS).get(f"{o.name} over {base.name}, {o.curve.requests.model.name}", {})
    return {name: (number(facts, name), facts[name].source) for name in facts}


_CLAIMS = Path(__file__).parent / "data" / "claims.toml"


def most(o: Offer) -> dict[str, float | None]:
    """Most tokens per chip, watt and dollar on the curve."""
    rows = [serving_numbers(s, o.chip_hour_USD) for s in o.best]
    return {k: max((r[k] for r in rows if r[k] is not None), default=None) for k in WHOLES}


def method_line(o: Offer) -> str:
    """What the numbers rest on, in a sentence or two."""
    priced = "" if o.chip_hour_USD is None else f" {o.name} at {digits(o.chip_hour_USD)} USD per chip-hour."
    return (
        f"Steady state, Poisson arrivals; prefills queue as M/G/1 with an exponential tail. tok/J counts the power of "
        f"the packages. Step times by {o.curve.calibration.name}.{priced}"
    )


def curves(
    names: list[str], n_chips: int | None, ask: Callable[[System], Offer], tell: Callable[[str], None]
) -> list[Offer]:
    """The offer of every named chip."""
    found = []
    for name in names:
        tell(f"pricing every engine of {name}")
        found.append(ask(chip_system(name, n_chips)))
    return found
