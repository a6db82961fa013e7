"""Tables for the terminal: chips, models, receipts and evaluations. Formatting only."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..core.provenance import Sourced
from ..core.text import digits, in_unit, label, percent, quantity_text, span
from ..evaluation.breakdown import Finding, binding, step_parts
from ..explore.designed import chip_silicon
from ..hardware.chip import Chip, native_precisions, peak_FLOPps, runs_in
from ..hardware.presets import chip, chip_names, chip_receipts, vendor_disagreement
from ..study.metrics import METRICS, chip_state
from ..workload.storage import PARTS
from ..workload.transformer import Prefill, Training, Workload, products_of
from .layout import WIDE as WIDE
from .layout import beside, table

SHOWN_OPERATORS = 8
"""Operators in the table of an evaluation."""


def chip_numbers(name: str) -> dict[str, Any]:
    """The line of a chip in the overview, canonical units; what this package's models say beside what is published."""
    c, published = chip(name), {f.name: f.value for f in chip_receipts(name)}
    peaks = {f"peak_{p}_FLOPps": _peak(c, p) for p in ("bf16", "fp8", "fp4")}
    return {
        "name": name,
        "node": c.node,
        **peaks,
        "hbm": c.hbm,
        "hbm_capacity_B": float(c.hbm_capacity_B),
        "hbm_bandwidth_Bps": float(c.hbm_bandwidth_Bps),
        "link": c.link,
        "scaleup_bandwidth_per_dir_Bps": float(c.scaleup_bandwidth_per_dir_Bps),
        "power_limit_W": float(c.power_limit_W),
        "n_dies": float(c.n_dies),
        "die_mm2_estimate": float(chip_silicon(c).die_mm2),
        "die_mm2_published": published.get("die_area_mm2"),
        "full_load_W_estimate": max(_full_load_W(c, p) for p in native_precisions(c) if p in LOADED),
    }


LOADED = ("bf16", "fp8")
"""Precisions in which a chip's full load is told: the larger one."""


def _full_load_W(c: Chip, precision: str) -> float:
    value = METRICS[f"full_load_{precision}_W"](chip_state(c))
    assert not isinstance(value, list)
    return float(value)


def _peak(c: Chip, precision: str) -> float | None:
    return float(peak_FLOPps(c, precision)) if precision in native_precisions(c) else None


def chips_table() -> Table:
    """All chip presets in one table; a star marks what this package's models say, beside what is published."""
    peaks = "BF16 / FP8 / FP4 [TFLOP/s]"
    t = table("chip", "node", peaks, "HBM", "capacity", "bandwidth", "scale-up/dir", "TDP", "load*", "die*", "die")
    for name in chip_names():
        n = chip_numbers(name)
        rates = [n[f"peak_{p}_FLOPps"] for p in PEAKS]
        dies = "" if n["n_dies"] == 1 else f"{digits(n['n_dies'])} x "
        t.add_row(
            name, n["node"], " / ".join("-" if r is None else digits(r / 1e12, 4) for r in rates),
            n["hbm"], in_unit(n["hbm_capacity_B"], "B"), in_unit(n["hbm_bandwidth_Bps"], "Bps"),
            in_unit(n["scaleup_bandwidth_per_dir_Bps"], "Bps"), in_unit(n["power_limit_W"], "W"),
            in_unit(n["full_load_W_estimate"], "W"), f"{dies}{in_unit(n['die_mm2_estimate'], 'mm2')}",
            "" if n["die_mm2_published"] is None else in_unit(n["die_mm2_published"], "mm2"),
        )  # fmt: skip
    return t


PEAKS = ("bf16", "fp8", "fp4")


def receipts_table(facts: list[Sourced], title: str) -> Table:
    """Facts with value, range, kind, where and source; guesses stand out."""
    t = table("fact", "value", "range", "kind", "where [source]", title=title)
    t.columns[4].justify, t.columns[4].no_wrap = "left", False
    for f in facts:
        where = escape(f"{f.where}{f' ({f.note})' if f.note else ''} [{f.source}]")
        style = {"guess": "yellow", "estimate": "none"}.get(f.kind, "dim")
        t.add_row(
            label(f.name), quantity_text(f.name, f.value), span(f.name, f.low, f.high), f.kind, where, style=style
        )
    return t


def chip_view(name: str) -> RenderableType:
    """Every fact of a chip, guesses first, and where the vendor's totals differ from the product formula."""
    return Group(receipts_table(chip_receipts(name), name), *(Text(x) for x in disagreement_lines(name)))


def disagreement_lines(name: str) -> list[str]:
    """One line per vendor total that lies off cores x rows x cols x 2 x rate x clock."""
    t, clock = chip(name).core.tensor, in_unit(float(chip(name).clock_Hz), "Hz")
    vendor = {"trainium": "AWS", "tpu": "Google"}.get(name.rstrip("0123456789").partition("-")[0], "the vendor")
    lines = []
    for precision, product, stated, off in vendor_disagreement(name):
        rate = float(t.macs_per_cycle.of(precision))
        formula = f"{digits(float(chip(name).n_cores))} x {digits(float(t.rows))} x {digits(float(t.cols))} x 2"
        formula += f"{'' if rate == 1 else f' x {digits(rate)}'} x {clock}"
        if abs(off) < SAME:
            continue
        lines.append(
            f"{vendor} states {in_unit(stated, 'FLOPps', 4)} {precision.upper()}, {percent(abs(off))} "
            f"{'above' if off > 0 else 'below'} {formula} = {in_unit(product, 'FLOPps', 4)}"
        )
    return lines


SAME = 1e-3
"""Vendor totals closer than this to the product are rounding."""


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
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("plan", str(f.plan)),
        ("step time", f"[bold]{in_unit(float(e.step_s), 's')}[/] ({band_text(f)})"),
        ("tokens/s", f"{digits(float(e.tokens_per_s))} ({digits(f.chip_tokens_per_s)} per chip)"),
        ("MFU", f"{percent(float(e.mfu_frac))} of peak {peak_text(f)}"),
        ("power", f"{in_unit(float(e.power_W), 'W')} of {in_unit(float(c.power_limit_W), 'W')} per chip"),
        ("memory", f"{in_unit(float(e.memory_B), 'B')} of {in_unit(f.usable_memory_B, 'B')} usable per chip"),
        ("waits for", ", ".join(f"{n} {percent(x)}" for n, x in binding(e, f.operators)[:4])),
    ):
        facts.add_row(Text(name, style="dim"), value)
    said = stand_in_text(f.workload, c)
    if said:
        facts.add_row(Text("note", style="dim"), said)
    return Group(Text(workload_text(f), style="bold"), facts, "", beside(breakdown_table(f), operators_table(f), width))


def peak_text(f: Finding) -> str:
    """The precision the linear layers run at, with a word where the chip lacks the one asked for."""
    asked = products_of(f.workload)
    runs = runs_in(native_precisions(f.system.chip), asked)
    return runs.upper() if runs == asked else f"{runs.upper()} ({f.system.chip.name} has no {asked.upper()} products)"


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
    t, step = table("where the step goes", "time", "share"), float(f.evaluation.step_s)
    for name, seconds in step_parts(f.evaluation):
        t.add_row(
            name, in_unit(seconds, "s") if seconds > 0 else "-", percent(f.share_frac(seconds)) if seconds > 0 else ""
        )
    t.add_section()
    t.add_row("step", in_unit(step, "s"), "100 %")
    return t


def operators_table(f: Finding) -> Table:
    """The longest operators and the limit each meets."""
    t = table("longest operators", "time", "share", "FLOP/B", "bound by")
    for o in f.operators[:SHOWN_OPERATORS]:
        intensity = digits(o.intensity) if o.run_FLOP else "-"
        name = f"{o.name} ({o.precision})" if o.run_FLOP else o.name
        t.add_row(name, in_unit(o.seconds, "s"), percent(f.share_frac(o.seconds)), intensity, o.bound)
    return t


def finding_json(f: Finding) -> dict[str, Any]:
    """An evaluation for machines, canonical units."""
    e = f.evaluation
    return {
        "workload": workload_text(f),
        "plan": str(f.plan),
        "products_asked": products_of(f.workload),
        "note": stand_in_text(f.workload, f.system.chip),
        "products_run_in": runs_in(native_precisions(f.system.chip), products_of(f.workload)),
        "step_s": float(e.step_s),
        "band_s": [f.fastest_s, f.slowest_s],
        "calibration": f.calibration,
        "tokens_per_s": float(e.tokens_per_s),
        "mfu_frac": float(e.mfu_frac),
        "power_W": float(e.power_W),
        "power_limit_W": float(f.system.chip.power_limit_W),
        "memory_B": float(e.memory_B),
        "usable_memory_B": f.usable_memory_B,
        "parts_s": dict(step_parts(e)),
        "waits_for_frac": dict(binding(e, f.operators)),
        "operators": [
            {
                "name": o.name, "precision": o.precision, "seconds": o.seconds, "bound": o.bound,
                "FLOP_per_run": o.run_FLOP, "B_per_run": o.run_B,
            }
            for o in f.operators
        ],
    }  # fmt: skip
