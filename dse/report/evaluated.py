"""Evaluation of a model on a chip as terminal tables and JSON. Formatting only."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from ..core.files import picked
from ..core.text import digits, in_unit, label, percent, span
from ..evaluation.breakdown import Finding, binding, kept_on_die_B, step_parts
from ..hardware.chip import Chip, native_precisions, runs_in
from ..workload.storage import PARTS
from ..workload.transformer import Prefill, Training, Workload, products_of
from .layout import WIDE, Table, beside, table_of

SHOWN_OPERATORS = 8
NOTHING = 1e-9
"""Share of a step below which a part is what smooth maxima leave of nothing."""


def workload_text(f: Finding) -> str:
    """What runs and where, in one line."""
    w, s = f.workload, f.system
    where = f"on {s.n_chips} x {s.chip.name} ({s.name})"
    if isinstance(w, Training):
        return f"{w.model.name} training {where}: batch {w.global_batch}, sequence {w.sequence}, {w.precision}"
    stored = f"weights {w.weight_precision}, KV cache {w.kv_precision}"
    if isinstance(w, Prefill):
        pieces = (f", in chunks of {w.chunk}" if w.chunk else "") + (f", after {w.cached} cached" if w.cached else "")
        return f"{w.model.name} prefill {where}: batch {w.batch}, prompt {w.prompt}{pieces}, {stored}"
    return f"{w.model.name} decode {where}: batch {w.batch}, context {w.context}, {stored}"


def evaluation_view(f: Finding, width: int = WIDE) -> RenderableType:
    """An evaluation on one screen: headline numbers, breakdown, operators, error band."""
    e, c = f.evaluation, f.system.chip
    facts = Grid.grid(padding=(0, 2))
    for name, value in (
        ("plan", str(f.plan)),
        ("step time", f"[bold]{in_unit(float(e.step_s), 's')}[/] ({band_text(f)})"),
        ("tokens/s", f"{digits(float(e.tokens_per_s))} ({digits(f.chip_tokens_per_s)} per chip)"),
        ("MFU", f"{percent(float(e.mfu_frac))} of peak {peak_text(f)}"),
        ("power", f"{in_unit(float(e.power_W), 'W')} of {in_unit(float(c.power_limit_W), 'W')} per chip"),
        ("memory", f"{in_unit(float(e.memory_B), 'B')} of {in_unit(f.usable_memory_B, 'B')} usable per chip"),
        ("waits for", ", ".join(f"{label(n)} {percent(x)}" for n, x in binding(e, f.operators)[:4])),
    ):
        facts.add_row(Text(name, style="dim"), value)
    said = notes_text(f)
    if said:
        facts.add_row(Text("note", style="dim"), said)
    return Group(Text(workload_text(f), style="bold"), facts, "", beside(breakdown_table(f), operators_table(f), width))


def peak_text(f: Finding) -> str:
    """The precision the linear layers run at, with a word where the chip lacks the one asked for."""
    asked = products_of(f.workload)
    runs = runs_in(native_precisions(f.system.chip), asked)
    return runs.upper() if runs == asked else f"{runs.upper()} ({f.system.chip.name} has no {asked.upper()} products)"


def notes_text(f: Finding) -> str:
    """What a reader should know of an evaluation beside its numbers; nothing if there is nothing."""
    tiles_B = kept_on_die_B(f)
    fits = f"all that a chip holds fits its {in_unit(tiles_B, 'B')} of tile memory, yet is read from HBM in this model"
    stands = stand_in_text(f.workload, f.system.chip)
    told = (stands, f"{fits}: kept on the die, it is faster" if tiles_B else "", cores_text(f))
    return "; ".join(x for x in told if x)


MUCH_LONGER_FRAC = 0.05
"""What logical cores as ranks must take longer than chips to be worth a line."""


def cores_text(f: Finding) -> str:
    """How much longer a step takes whose ranks are logical cores; nothing where that is little, or no ranks are."""
    if f.by_cores is None or f.longer_by_cores_frac <= MUCH_LONGER_FRAC:
        return ""
    told = f"{in_unit(float(f.by_cores.result.step_s), 's')} under {f.by_cores.plan}"
    return f"ranks here are chips; as logical cores it takes {percent(f.longer_by_cores_frac)} longer: {told}"


def stand_in_text(workload: Workload, c: Chip) -> str:
    """What products run in where a chip lacks the precision that `workload` asks for; nothing where it has all."""
    parts, native = ("",) if isinstance(workload, Training) else ("", *PARTS), native_precisions(c)
    asked = dict.fromkeys(products_of(workload, p) for p in parts)
    wider = {p: runs_in(native, p) for p in asked}
    return "; ".join(
        f"{c.name} has no {p.upper()} products and runs them in {r.upper()}" for p, r in wider.items() if r != p
    )


def band_text(f: Finding) -> str:
    """The error band and where it comes from."""
    ends = span("step_s", f.fastest_s, f.slowest_s)
    # nothing measured stands behind a prior, so that its band holds no share of measurements
    if f.calibration.startswith("prior-"):
        return f"{ends}; uncalibrated: {f.calibration} with all numbers at good or bad ends"
    return f"{ends} holds 80 % of unseen measurements; {f.calibration}: {NEW[f.novelty]}"


NEW = {
    "pair": "this chip's family was measured with this software",
    "stack": "this software is new to the chip's family",
    "family": "an unseen generation, or one hardly measured",
    "vendor": "an unseen vendor",
}
"""What is new about a chip and its software, in words."""


def breakdown_table(f: Finding) -> Table:
    """Where the step goes; the rows add up to the last one."""
    rows, step = [], float(f.evaluation.step_s)
    for name, seconds in step_parts(f.evaluation):
        told = (in_unit(seconds, "s"), percent(f.share_frac(seconds))) if seconds > NOTHING * step else ("-", "")
        rows.append((name, *told))
    rows.append(("step", in_unit(step, "s"), "100 %"))
    return table_of(("where the step goes", "time", "share"), rows, totals=1)


def operators_table(f: Finding) -> Table:
    """The longest operators and the limit each meets."""
    rows = []
    for o in f.operators[:SHOWN_OPERATORS]:
        name, intensity = (f"{o.name} ({o.precision})", digits(o.intensity)) if o.run_FLOP else (o.name, "-")
        rows.append((name, in_unit(o.seconds, "s"), percent(f.share_frac(o.seconds)), intensity, label(o.bound)))
    return table_of(("longest operators", "time", "share", "FLOP/B", "bound by"), rows)


def finding_json(f: Finding) -> dict[str, Any]:
    """An evaluation for machines, canonical units."""
    e = f.evaluation
    return {
        "workload": workload_text(f),
        "plan": str(f.plan),
        "products_asked": products_of(f.workload),
        "note": notes_text(f),
        "products_run_in": runs_in(native_precisions(f.system.chip), products_of(f.workload)),
        **picked(e, "step_s"),
        "band_s": [f.fastest_s, f.slowest_s],
        "calibration": f.calibration,
        **picked(e, "tokens_per_s", "mfu_frac", "power_W"),
        "power_limit_W": float(f.system.chip.power_limit_W),
        **picked(e, "memory_B"),
        **picked(f, "usable_memory_B"),
        "parts_s": dict(step_parts(e)),
        "waits_for_frac": dict(binding(e, f.operators)),
        "operators": [
            {**picked(o, "name", "precision", "seconds", "bound"), "FLOP_per_run": o.run_FLOP, "B_per_run": o.run_B}
            for o in f.operators
        ],
    }  # fmt: skip
