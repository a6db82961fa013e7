"""How weights and KV cache are stored: bytes per element, and the precision of products that take them as they are."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import SpecError
from ..core.provenance import Sourced, load_receipts, number, text

_FILE = Path(__file__).parent / "data" / "storage.toml"


def storage_names() -> tuple[str, ...]:
    """Names of all formats."""
    return tuple(load_receipts(_FILE))


def check_storage(name: str) -> str:
    """`name` if it is a format, else SpecError with the allowed names."""
    if name not in load_receipts(_FILE):
        raise SpecError(f"storage '{name}' is not one of {', '.join(storage_names())}")
    return name


def n_element_bits(name: str) -> float:
    """Bits of one stored element, without its scale."""
    return number(load_receipts(_FILE)[check_storage(name)], "bits")


def stored_B(name: str) -> float:
    """Bytes of one stored element with its share of the block's scale.

    Source: [ocp2023mx] section 5: 32 elements share one 8-bit scale; see the data file for other formats.
    """
    facts = load_receipts(_FILE)[check_storage(name)]
    return (number(facts, "bits") + number(facts, "scale_bits")) / 8


def own_products(name: str) -> str:
    """Precision of the products that take elements of this format without conversion."""
    return text(load_receipts(_FILE)[check_storage(name)], "products")


def storage_receipts() -> list[Sourced]:
    """Receipts of all formats."""
    return [fact for facts in load_receipts(_FILE).values() for fact in facts.values()]
