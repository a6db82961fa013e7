"""Units: one canonical unit per quantity inside `dse`, other units only in data files and output.

A name ends in its unit (`stack_bandwidth_GBps`, `energy_pJ_per_bit`). GB is 1e9 bytes, GiB is 2^30.
"""

from __future__ import annotations

import re

from .errors import SpecError, UnitError

# unit -> (canonical unit, multiplier)
UNITS: dict[str, tuple[str, float]] = {
    "s": ("s", 1.0), "ms": ("s", 1e-3), "us": ("s", 1e-6), "ns": ("s", 1e-9), "h": ("s", 3600.0),
    "y": ("s", 31_536_000.0),  # 8760 h, as cost models count
    "B": ("B", 1.0), "kB": ("B", 1e3), "MB": ("B", 1e6), "GB": ("B", 1e9), "TB": ("B", 1e12), "PB": ("B", 1e15),
    "KiB": ("B", 2.0**10), "MiB": ("B", 2.0**20), "GiB": ("B", 2.0**30), "TiB": ("B", 2.0**40), "PiB": ("B", 2.0**50),
    "bit": ("B", 0.125), "Gbit": ("B", 1.25e8),
    "Bps": ("Bps", 1.0), "kBps": ("Bps", 1e3), "MBps": ("Bps", 1e6), "GBps": ("Bps", 1e9), "TBps": ("Bps", 1e12),
    "PBps": ("Bps", 1e15),
    "GiBps": ("Bps", 2.0**30), "TiBps": ("Bps", 2.0**40), "Gbps": ("Bps", 1.25e8), "Tbps": ("Bps", 1.25e11),
    "FLOP": ("FLOP", 1.0), "GFLOP": ("FLOP", 1e9), "TFLOP": ("FLOP", 1e12),
    "PFLOP": ("FLOP", 1e15), "EFLOP": ("FLOP", 1e18), "ZFLOP": ("FLOP", 1e21),
    "FLOPps": ("FLOPps", 1.0), "GFLOPps": ("FLOPps", 1e9), "TFLOPps": ("FLOPps", 1e12), "PFLOPps": ("FLOPps", 1e15),
    "EFLOPps": ("FLOPps", 1e18),
    "Hz": ("Hz", 1.0), "MHz": ("Hz", 1e6), "GHz": ("Hz", 1e9), "kHz": ("Hz", 1e3), "THz": ("Hz", 1e12),
    "J": ("J", 1.0), "kWh": ("J", 3.6e6), "pJ": ("J", 1e-12), "fJ": ("J", 1e-15), "nJ": ("J", 1e-9),
    "uJ": ("J", 1e-6), "mJ": ("J", 1e-3), "kJ": ("J", 1e3), "MJ": ("J", 1e6), "GJ": ("J", 1e9),
    "W": ("W", 1.0), "mW": ("W", 1e-3), "uW": ("W", 1e-6), "nW": ("W", 1e-9),
    "kW": ("W", 1e3), "MW": ("W", 1e6), "GW": ("W", 1e9),
    "V": ("V", 1.0), "mV": ("V", 1e-3), "K": ("K", 1.0),
    "mm2": ("mm2", 1.0), "um2": ("mm2", 1e-6), "cm2": ("mm2", 1e2), "mm": ("mm", 1.0), "um": ("mm", 1e-3),
    "USD": ("USD", 1.0), "kUSD": ("USD", 1e3), "kg": ("kg", 1.0), "g": ("kg", 1e-3), "stack": ("stack", 1.0),
    "wafer": ("wafer", 1.0), "weight": ("weight", 1.0),
    "frac": ("frac", 1.0), "pct": ("frac", 1e-2),
}  # fmt: skip


def _split(name: str) -> tuple[str, list[str]]:
    """Split "energy_pJ_per_bit_per_mm" into ("energy", ["pJ", "bit", "mm"]); no known unit gives no list."""
    # "_per_dir_" counts one direction of a link; it names the quantity and is no unit
    head, *per = name.replace("_per_dir_", "_perdir_").split("_per_")
    stem, _, unit = head.rpartition("_")
    if unit in UNITS and (stem or per):
        return stem, [unit, *per]
    return (head, ["", *per]) if per and per[0] in UNITS else (name, [])


def canonical(name: str, value: float) -> tuple[str, float]:
    """Name and value in canonical units: `("energy_J_per_B", 3.12e-11)` for `("energy_pJ_per_bit", 3.9)`.

    A name without a unit (`n_cores`, `alpha`) is returned as it is; UnitError for a `_per_` part that is no known unit.
    """
    stem, units = _split(name)
    if not units:
        return name, float(value)
    unknown = [u for u in units if u and u not in UNITS]
    if unknown:
        raise UnitError(f"'{name}': unknown unit '{unknown[0]}'; known units: {', '.join(UNITS)}")
    top, *per = units
    scale = UNITS[top][1] if top else 1.0
    for u in per:
        scale /= UNITS[u][1]
    tail = "_per_".join([UNITS[top][0] if top else "", *(UNITS[u][0] for u in per)])
    full = f"{stem}_{tail}" if top else f"{stem}{tail}"
    return full.strip("_").replace("_perdir_", "_per_dir_"), float(value) * scale


PER_TOKEN = "per_token_"
"""Beginning of the units of what counts per token."""


def quantity(text: object, unit: str) -> float:
    """A number or a text such as "2.4 GHz" or "1.5 W/mm2" in the canonical `unit`; UnitError for another, or none.

    What counts per token, such as "per_token_USD", may be written of a million: "0.1 USD per M tokens".
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if unit.startswith(PER_TOKEN):
        amount, millions = re.subn(r"\s+per\s+M\s*tokens\s*$", "", str(text))
        return quantity(re.sub(r"\s+per\s+token\s*$", "", amount), unit.removeprefix(PER_TOKEN)) / 1e6**millions
    match = re.fullmatch(r"\s*([-+0-9.eE]+)\s*([A-Za-z0-9/]*)\s*", _spelt(str(text)))
    try:
        number = float(match.group(1)) if match else float("nan")
    except ValueError:
        number = float("nan")
    known = [u for u, (target, _) in UNITS.items() if target == unit]
    near = known[:2] or ([unit.replace("_per_", "/")] if "_per_" in unit else [])
    # only NaN differs from itself
    if match is None or number != number:
        raise UnitError(f"'{text}' is not a number" + (f" with a unit, such as '2.4 {near[-1]}'" if near else ""))
    if not (given := match.group(2)):
        return number
    measures, scaled = _measured(given, number)
    if not measures:
        told = f"unknown unit '{given}'; expected one that converts to {unit}: {', '.join(known or near)}"
        raise UnitError(f"'{text}': {told}")
    if measures != unit:
        raise UnitError(f"'{text}': {given} measures {measures}, expected one that converts to {unit}")
    return scaled


def _spelt(said: str) -> str:
    """A quantity with its squares, bits and "per" as units here spell them."""
    plain = re.sub(r"\s+per\s+", "/", said).replace("\u00b2", "2").replace("^2", "2")
    return re.sub(r"(?<=[kKMGT])bit(?=/s|ps)", "b", plain)


def _measured(given: str, number: float) -> tuple[str, float]:
    """The canonical unit of what is `given` as "GB/s" or "W/mm2", and the number in it; no unit if it is not known."""
    # units of rates are spelt GBps in names, GB/s, TB/sec and TFLOPS by people
    parts = re.sub("/s(ec)?$", "ps", re.sub("FLOPS(/s)?$", "FLOPps", given)).split("/")
    if not all(p in UNITS for p in parts):
        return "", number
    full, scaled = canonical("_per_".join([f"x_{parts[0]}", *parts[1:]]), number)
    return full.removeprefix("x_"), scaled


def positive(text: object, unit: str, place: str = "", bare: bool = True) -> float:
    """As `quantity`, above zero and finite, in `unit`; SpecError otherwise, which begins with `place`.

    >>> positive("2.1 GHz", "Hz"), positive("36 GiB", "B")
    (2100000000.0, 38654705664.0)

    `bare` is whether a number without a unit counts in `unit`: not where people mean several, such as times.
    """
    before = f"{place}: " if place else ""
    try:
        number = quantity(text, unit)
    except UnitError as error:
        raise SpecError(f"{before}{error}") from None
    if not 0 < number < float("inf"):
        raise SpecError(f"{before}{text} must be positive and finite")
    # true of times, of which alone it is asked; units such as mm2 end in a digit
    if not bare and not str(text).strip()[-1].isalpha():
        known = ", ".join(u for u, (target, _) in UNITS.items() if target == unit)
        raise SpecError(f"{before}{text} has no unit; give one of {known}")
    return number
