"""Terminal tables of chips: properties, receipts, and peaks stated by vendors. Formatting only."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.files import picked
from ..core.provenance import Sourced
from ..core.text import digits, in_unit, label, percent, quantity_text, span, times
from ..explore.designed import (
    balance_FLOP_per_B,
    chip_silicon,
    die_over_published_frac,
    full_load_W,
    is_far_off,
    rest_W,
)
from ..hardware.chip import Chip, native_precisions, peak_FLOPps
from ..hardware.own_chip import is_own, short_name
from ..hardware.presets import chip, chip_names, chip_receipts, vendor_disagreement
from .layout import Table, table_of


def product(name: str) -> str:
    """A preset as its product: "trainium3" becomes "Trainium3", "mi300x" "MI300X"; a user's file by its own name."""
    if is_own(name):
        return short_name(name)
    head, _, tail = name.partition("-")
    if head == "tpu":
        return f"TPU {tail}"
    is_short = len(head) <= 4 or re.match(r"[a-z]{1,2}\d", head)  # initials, such as "gb200"
    return name.upper() if is_short else name.capitalize()


def chip_numbers(name: str) -> dict[str, Any]:
    """The line of a chip in the overview, canonical units; what this package's models say beside what is published."""
    c, published = chip(name), {f.name: f.value for f in chip_receipts(name)}
    native, known = native_precisions(c), published.get("die_area_mm2")
    peaks = {f"peak_{p}_FLOPps": float(peak_FLOPps(c, p)) if p in native else None for p in ("fp32", *PEAKS)}
    return {
        "name": name,
        "node": c.node,
        **peaks,
        **picked(c, "hbm", "hbm_capacity_B", "hbm_bandwidth_Bps", "link", "package"),
        **picked(c, "scaleup_bandwidth_per_dir_Bps", "power_limit_W", "n_dies"),
        "die_mm2_estimate": float(chip_silicon(c).die_mm2),
        "die_mm2_published": known,
        "full_load_W_estimate": max(_full_load_W(c, p) for p in [p for p in native if p in LOADED] or native),
        "rest_W_estimate": rest_W(c),
        "balance_FLOP_per_B": balance_FLOP_per_B(c),
        "die_over_published_frac": None if known is None else die_over_published_frac(c, float(known)),
    }


LOADED = ("bf16", "fp8")
"""Precisions in which a chip's full load is told, the larger one; of a chip with neither, the largest it has."""


def _full_load_W(c: Chip, precision: str) -> float:
    return sum(full_load_W(c, c.package, precision).values())  # no metric of a study tells the load in FP32


def chips_table() -> Table:
    """All chip presets in one table; a star marks what this package's models say, beside what is published."""
    peaks = "BF16 / FP8 / FP4 [TFLOP/s]"
    heads = ("chip", "node", peaks, "HBM", "capacity", "bandwidth", "scale-up/dir", "TDP", "load*", "die*", "die")
    return table_of(heads, map(_chip_row, map(chip_numbers, chip_names())))


def _chip_row(n: dict[str, Any]) -> tuple[str, ...]:
    # "-" for a format that runs at a wider one's rate: that is no rate of its own
    rates = [n[f"peak_{p}_FLOPps"] for p in PEAKS]
    dies = "" if n["n_dies"] == 1 else f"{digits(n['n_dies'])} x "
    sizes = ("hbm_capacity_B", "hbm_bandwidth_Bps", "scaleup_bandwidth_per_dir_Bps", "power_limit_W")
    return (
        n["name"], n["node"], " / ".join("-" if r is None else digits(r / 1e12, 4) for r in rates), n["hbm"],
        *(quantity_text(k, n[k]) for k in sizes), in_unit(n["full_load_W_estimate"], "W"),
        f"{dies}{in_unit(n['die_mm2_estimate'], 'mm2')}",
        "" if n["die_mm2_published"] is None else in_unit(n["die_mm2_published"], "mm2"),
    )  # fmt: skip


PEAKS = ("bf16", "fp8", "fp4")


def receipts_table(facts: list[Sourced], title: str) -> Table:
    """Facts with value, range, kind, where and source; guesses stand out."""
    rows = (
        (
            label(f.name), quantity_text(f.name, f.value), span(f.name, f.low, f.high), f.kind,
            f"{f.where}{f' ({f.note})' if f.note else ''} [{f.source}]",
        )
        for f in facts
    )  # fmt: skip
    styles = tuple({"guess": "yellow", "estimate": "none"}.get(f.kind, "dim") for f in facts)
    heads = ("fact", "value", "range", "kind", "where [source]")
    return table_of(heads, rows, title=title, styles=styles, left=(4,), wrapped=(4,))


def chip_view(name: str) -> RenderableType:
    """Every fact of a chip, guesses first, and where the vendor's totals differ from the product formula."""
    lines = [*disagreement_lines(name), *estimate_lines(chip_numbers(name))]
    return Group(receipts_table(chip_receipts(name), name), *(Text(x) for x in lines))


def estimate_lines(n: dict[str, Any]) -> list[str]:
    """What the models make of a chip's facts, beside what is published; `n` as from `chip_numbers`."""
    known, ratio = n["die_mm2_published"], n["die_over_published_frac"]
    dies = "" if n["n_dies"] == 1 else "each of its dies "
    beside = "" if ratio is None else f", {times(ratio)} the published {in_unit(known, 'mm2')}"
    loads = f"full load {in_unit(n['full_load_W_estimate'], 'W')} of {in_unit(n['power_limit_W'], 'W')}"
    rests = f"{in_unit(n['rest_W_estimate'], 'W')} at rest"
    made = f"By this model, on {n['package']}: {dies}{in_unit(n['die_mm2_estimate'], 'mm2')}{beside}"
    lines = [f"{made}; {loads}, {rests}"]
    if ratio is not None and is_far_off(ratio):
        lines.append("An area this far off means that the facts do not describe it; check the node, SRAM and cores")
    peak = in_unit(n["peak_bf16_FLOPps"] or n["peak_fp32_FLOPps"], "FLOPps")
    told = f"{peak} over {in_unit(n['hbm_bandwidth_Bps'], 'Bps')} of memory"
    return [*lines, f"Machine balance {digits(n['balance_FLOP_per_B'])} FLOP/B, {told}"]


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
