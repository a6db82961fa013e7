"""Weights as whole numbers in groups that share a scale, and weights of so many bits on average; formats by name.

`int4g64` are 4 bits with a scale for 64 of them; `a` behind it (affine) adds an offset, `z` a zero point as wide as an
element. `w3.5` are 3.5 bits a weight, scales and code books included.
"""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path

from ..core.provenance import Sourced, load_receipts, number

_FILE = Path(__file__).parent / "data" / "groups.toml"
# ASCII, or \d would take digits of any script; no leading zero, so that a format has one name
_GROUPED = re.compile(r"int([234568])g([1-9]\d{0,5})([az]?)", re.ASCII)
_MEAN = re.compile(r"w([1-8](?:\.\d{1,4})?)", re.ASCII)
KINDS = {"": "plain", "a": "affine", "z": "zero"}
"""What the last letter of a name says of a group."""
PRODUCTS = "bf16"
"""Precision of products: such weights are converted to 16 bit."""


@dataclasses.dataclass(frozen=True)
class Grouped:
    """A format that its name describes."""

    n_bits: float
    """Bits of an element."""
    n_scale_bits: float
    """Bits of an element's share of what its group has."""


@cache
def grouped(name: str) -> Grouped | None:
    """The format of this name, or None where the name describes none.

        b + (s + o + z b) / g
    with elements of b bits in groups of g, and a scale of s bits, an offset of o bits and z zero points per group.
    """
    if mean := _MEAN.fullmatch(name):
        return Grouped(float(mean.group(1)), 0.0)  # the mean has scales in it already
    found = _GROUPED.fullmatch(name)
    if found is None:
        return None
    bits, size = int(found.group(1)), int(found.group(2))
    facts = load_receipts(_FILE)[KINDS[found.group(3)]]
    shared = number(facts, "scale_bits") + number(facts, "offset_bits") + number(facts, "n_zeros") * bits
    return Grouped(float(bits), shared / size)


def group_receipts(name: str) -> list[Sourced] | None:
    """Receipts of what a group of this format has beside its elements; None where the name describes no format."""
    if grouped(name) is None:
        return None
    found = _GROUPED.fullmatch(name)
    return list(load_receipts(_FILE)[KINDS[found.group(3)]].values()) if found else []
