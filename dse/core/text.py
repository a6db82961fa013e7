"""Formatting of numbers: canonical units to readable text, for all tables and figures."""

from __future__ import annotations

import datetime
import math
import numbers
import statistics
from collections.abc import Iterable
from pathlib import PurePath

from .words import LABELS, SPELT

DECIMAL = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15), ("E", 1e18), ("Z", 1e21))
BINARY = (("", 1.0), ("Ki", 2.0**10), ("Mi", 2.0**20), ("Gi", 2.0**30), ("Ti", 2.0**40), ("Pi", 2.0**50))
SMALL = (("f", 1e-15), ("p", 1e-12), ("n", 1e-9), ("u", 1e-6), ("m", 1e-3))

SCALES: dict[str, tuple[tuple[str, float], ...]] = {
    "FLOPps": tuple((f"{p}FLOP/s", s) for p, s in DECIMAL),
    "FLOP": tuple((f"{p}FLOP", s) for p, s in DECIMAL),
    "Bps": tuple((f"{p}B/s", s) for p, s in DECIMAL[:6]),
    "B": tuple((f"{p}B", s) for p, s in BINARY),
    "Hz": tuple((f"{p}Hz", s) for p, s in DECIMAL[:4]),
    "W": (*((f"{p}W", s) for p, s in SMALL[2:]), *((f"{p}W", s) for p, s in DECIMAL[:1]), ("MW", 1e6)),
    "J": (*((f"{p}J", s) for p, s in SMALL), *((f"{p}J", s) for p, s in DECIMAL[:4])),
    "s": (*((f"{p}s", s) for p, s in SMALL[2:]), ("s", 1.0), ("h", 3600.0)),
    "kg": (("g", 1e-3), ("kg", 1.0), ("t", 1e3)),
    **{unit: ((unit, 1.0),) for unit in ("V", "mm2", "mm", "USD", "K")},
}
"""Canonical unit to what people write, ascending; the largest that leaves at least 1 is used."""

COMPOUND: dict[str, tuple[str, float]] = {
    "J_per_B": ("pJ/bit", 1e12 / 8),  # a byte is 8 bits
    "J_per_B_per_mm": ("pJ/bit/mm", 1e12 / 8),
    "mm2_per_B": ("mm2/MiB", 2.0**20),
    "mm2_per_Bps": ("mm2 per TB/s", 1e12),
    "mm_per_Bps": ("mm per TB/s", 1e12),
    "W_per_B": ("mW/MiB", 1e3 * 2.0**20),
    "W_per_mm2": ("W/mm2", 1.0),
    "W_per_stack": ("W per stack", 1.0),
    "USD_per_B": ("USD/GB", 1e9),
    "USD_per_mm2": ("USD/mm2", 1.0),
    "USD_per_W": ("USD/W", 1.0),
    "USD_per_Bps": ("USD per GB/s", 1e9),
    "USD_per_J": ("USD/kWh", 3.6e6),
    "tokens_per_s": ("tokens/s", 1.0),
    "per_token_USD": ("USD per M tokens", 1e6),
    "per_token_J": ("J per token", 1.0),
    "per_token_kg": ("g per M tokens", 1e9),
    "kg_per_J": ("g/kWh", 3.6e9),  # 1e3 g of 3.6e6 J
    "kg_per_mm2": ("g/cm2", 1e5),
    "kg_per_B": ("g/GB", 1e12),
    "kg_per_W": ("g/W", 1e3),
    "J_per_mm2": ("kWh/cm2", 1e2 / 3.6e6),
    "per_s_per_mm2": ("FIT/mm2", 3.6e12),
    "per_s_per_stack": ("FIT per stack", 3.6e12),
    "per_s_per_Bps": ("FIT per GB/s", 3.6e21),
    "failures_per_s": ("FIT", 3.6e12),  # per 1e9 hours
    "per_mm2": ("per cm2", 1e2),
    "per_V": ("per V", 1.0),
}
"""Canonical compound unit to what people write and the factor between them."""


def label(name: str) -> str:
    """Words for a canonical name; a part in brackets and the part behind a colon are kept.

    >>> label("hbm_bandwidth_Bps")
    'HBM bandwidth'
    """
    head, space, tail = name.partition(" ")
    head, colon, workload = head.partition(":")
    stem = head.removesuffix(f"_{unit_of(head)}").removeprefix("n_")  # a leading "n" counts something
    words = LABELS.get(head) or " ".join(SPELT.get(w, w) for w in stem.split("_"))
    return f"{words}{f' in {workload}' if colon else ''}{space}{tail}"


def unit_of(name: str) -> str:
    """Canonical unit at the end of a name, simple or compound, or "" for a count or ratio; of a workload's number too.

    >>> unit_of("cost_per_token_USD"), unit_of("step_s:decode"), unit_of("n_cores")
    ('per_token_USD', 's', '')
    """
    name = name if ": " in name else name.partition(":")[0]
    compound = [u for u in COMPOUND if f"_{name}".endswith(f"_{u}")]
    if compound:
        return max(compound, key=len)
    tail = name.rpartition("_")[2]
    return tail if tail in SCALES or tail == "frac" else ""


def written_unit(name: str) -> str:
    """Canonical unit in which a file gives the quantity `name`: that a thing counts per token is part of its name.

    >>> written_unit("cost_per_token_USD"), written_unit("heat_W_per_mm2"), written_unit("n_cores")
    ('USD', 'W_per_mm2', '')
    """
    return unit_of(name).removeprefix("per_token_")


def scoped_name(name: str) -> str:
    """Canonical name of the fact in a number that an answer rests on, or of the limit's metric.

    >>> scoped_name("node N2: pe_area_fp8_mm2"), scoped_name("limit power_W:decode <= 700")
    ('pe_area_fp8_mm2', 'power_W')
    """
    _, colon, fact = name.partition(": ")
    return fact if colon else name.removeprefix("limit ").split(" ")[0].partition(":")[0]


def scoped_label(name: str) -> str:
    """Words for a number that an answer rests on: a fact of a thing, or a limit.

    >>> scoped_label("node N2: pe_area_fp8_mm2"), scoped_label("limit silicon_mm2 <= 1600")
    ('N2: PE area FP8', 'silicon <= 1,600 mm2')
    """
    thing, colon, fact = name.partition(": ")
    if colon:
        kind, _, which = thing.partition(" ")
        return f"{which or kind}: {label(fact)}"
    metric, sign, value = name.removeprefix("limit ").split(" ")
    return f"{label(metric)} {sign} {quantity_text(scoped_name(name), float(value))}"


def stem_of(name: str) -> str:
    """A name as people may write it, without its unit.

    >>> stem_of("cost_per_token_USD"), stem_of("heat_W_per_mm2"), stem_of("n_cores")
    ('cost_per_token', 'heat', 'n_cores')
    """
    return name.removesuffix(f"_{written_unit(name)}")


def digits(value: float, n: int = 3) -> str:
    """`value` with `n` significant digits, thousands separated, without an exponent where people write none.

    >>> digits(1234.6), digits(0.00123456), digits(2.0)
    ('1,230', '0.00123', '2')
    """
    if not math.isfinite(rounded := float(f"{value:.{n}g}")):  # rounded first: 999.96 has the size of 1,000
        return {math.inf: "infinite", -math.inf: "-infinite"}.get(rounded, "unknown")
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(rounded)))
    if size >= 7 or size < -4:  # beyond, people write powers of ten
        return f"{value:.{n}g}"
    text = f"{round(value, n - 1 - size):,.{max(n - 1 - size, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


FINER = {"mm2": ("um2", 1e-6)}
"""Unit to the one for values below a thousandth of it; down to there people keep to the unit itself."""


def in_unit(value: float, unit: str, n: int = 3) -> str:
    """`value` of a canonical `unit` as people write it.

    >>> in_unit(2.4e9, "Hz"), in_unit(1.55e-6, "s"), in_unit(2.0**35, "B")
    ('2.4 GHz', '1.55 us', '32 GiB')
    """
    if unit == "frac":
        return percent(value)
    if unit in COMPOUND:
        text, factor = COMPOUND[unit]
        return f"{digits(value * factor, n)} {text}"
    if unit not in SCALES:
        return digits(value, n)
    text, factor = scale_of(value, unit)
    if factor < 1 and 0 < abs(value) < TINY * factor:
        return f"under {digits(TINY)} {text}"
    return f"{digits(value / factor, n)} {text}"


TINY = 1e-3
"""Share of the smallest scale of a unit below which a value is what rounding leaves."""


def scale_of(value: float, unit: str) -> tuple[str, float]:
    """The scale of `unit` in which people write `value`: its text and size."""
    scales = SCALES[unit]
    size = abs(value) * (1 + 1e-9) if math.isfinite(value) else 1.0  # 999.9999999999 MB is 1 GB
    if unit in FINER and 0 < size < TINY:
        return FINER[unit]
    zero = next(s for s in scales if s[1] == 1.0)
    return max((s for s in scales if s[1] <= size), key=lambda s: s[1], default=scales[0] if size else zero)


def common_scale(values: Iterable[float], unit: str) -> tuple[str, float]:
    """The scale of `unit` in which people write most of `values`, that of their median; at least one."""
    return scale_of(statistics.median(values), unit)


def quantity_text(name: str, value: float | str, n: int = 3) -> str:
    """`value` of the quantity `name` (whose ending says its canonical unit) as people write it."""
    return value if isinstance(value, str) else in_unit(value, unit_of(name), n)


def percent(frac: float, n: int = 2) -> str:
    """A ratio in percent with `n` significant digits; below a millionth as a power of ten."""
    return f"{digits(100 * frac, n)} %" if abs(frac) >= 1e-6 or frac == 0 else f"{100 * frac:.0e} %"


def times(ratio: float, n: int = 3) -> str:
    """A ratio as "4.92x"."""
    return f"{digits(ratio, n)}x"


ROUNDING = 1e-9
"""Distance from a round number that is rounding error [relative]."""


def enough_text(name: str, value: float, more: bool) -> str:
    """A positive quantity in three digits, rounded up where `more` is enough, else down.

    >>> enough_text("power_W", 1801.0, more=True), enough_text("hbm_capacity_B", 2.0**38, more=False)
    ('1,810 W', '255.2 GiB')
    """
    digits_after = 2 - math.floor(math.log10(value))
    shifted = value * 10.0**digits_after if digits_after >= 0 else value / 10.0**-digits_after
    whole = math.ceil(shifted * (1.0 - ROUNDING)) if more else math.floor(shifted * (1.0 + ROUNDING))
    return quantity_text(name, whole / 10.0**digits_after if digits_after >= 0 else whole * 10.0**-digits_after, 4)


def span(name: str, low: float, high: float) -> str:
    """A range as "0.4 to 1.2 GHz"; empty when it has no width or is no number."""
    if not low < high:
        return ""
    first, last = quantity_text(name, low), quantity_text(name, high)
    (number, _, unit), (_, _, unit_high) = first.partition(" "), last.partition(" ")
    return f"{number if unit == unit_high else first} to {last}"


def spelled(value: object) -> str:
    """`value` as a user's file has it, for messages: no spelling of Python's reaches the screen."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        inside = ", ".join(f"{k} = {spelled(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{ }"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(spelled(v) for v in value)}]"
    if isinstance(value, str):
        return f"'{' '.join(value.split())}'"
    return str(value) if isinstance(value, WRITTEN) else f"a value of type {type(value).__name__}"


WRITTEN = (numbers.Number, datetime.date, datetime.time, PurePath)
"""Kinds of value that files hold, or people write, beside texts and tables: they read as they are written."""
