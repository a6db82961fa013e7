"""Storage formats of weights and KV cache: bytes per element with scales, and the matrix precision each feeds."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ..core.errors import SpecError
from ..core.provenance import Sourced, load_receipts, number, pick, text
from .grouped import PRODUCTS, group_receipts, grouped

_FILE = Path(__file__).parent / "data" / "storage.toml"


def storage_names() -> tuple[str, ...]:
    """Names of all formats."""
    return tuple(load_receipts(_FILE))


PARTS = ("attention", "mlp", "experts", "shared", "head", "embedding", "rest")
"""Parts of a model with their own storage format; "rest": norms, routers and weights outside matrix products."""


@cache
def _formats(spec: str) -> tuple[str, dict[str, str]]:
    """The default format and those of single parts, from a text such as `fp8` or `bf16,experts=mxfp4`."""
    base, *others = (s.strip() for s in spec.split(","))
    formats: dict[str, str] = {}
    for pair in others:
        part, equals, name = (s.strip() for s in pair.partition("="))
        if not equals or part not in PARTS or part in formats:
            raise SpecError(f"storage '{spec}': '{pair}' is not PART=FORMAT with one of {', '.join(PARTS)}, each once")
        formats[part] = name
    # all are checked here once, so that nobody checks again who looks one up
    for name in (base, *formats.values()):
        if name not in load_receipts(_FILE) and grouped(name) is None:
            raise SpecError(
                f"storage '{name}' is not one of {', '.join(storage_names())}; or whole numbers in groups such as "
                "int4g64, or w3.5 for 3.5 bits a weight"
            )
    return base, formats


def check_storage(spec: str) -> str:
    """`spec` if valid, such as `fp8` or `bf16,experts=mxfp4`; else SpecError with the allowed names."""
    _formats(spec)
    return spec


def check_cache(spec: str) -> str:
    """`spec` if it is one format without parts; else SpecError."""
    if "," in spec:
        raise SpecError(f"KV cache '{spec}': a cache has no parts; give one of {', '.join(storage_names())}")
    return check_storage(spec)


def format_of(spec: str, part: str) -> str:
    """The format in which `spec` stores a part's weights."""
    base, formats = _formats(spec)
    return formats.get(part, base)


def n_element_bits(name: str) -> float:
    """Bits of one stored element, without its scale."""
    own = format_of(name, "")  # "" is no part: what is asked is the format of most
    by_name = grouped(own)
    return number(load_receipts(_FILE)[own], "bits") if by_name is None else by_name.n_bits


def stored_B(name: str) -> float:
    """Bytes of one stored element with its share of the scale. Source: [ocp2023mx] section 5, or the data file's."""
    own = format_of(name, "")
    by_name = grouped(own)
    if by_name is not None:
        # a fraction of a byte: elements may have 4 bits, and a group spreads its scale over them
        return (by_name.n_bits + by_name.n_scale_bits) / 8
    facts = load_receipts(_FILE)[own]
    return (number(facts, "bits") + number(facts, "scale_bits")) / 8


def own_products(name: str) -> str:
    """Precision of matrix products that read this format without conversion."""
    own = format_of(name, "")
    return PRODUCTS if grouped(own) else text(load_receipts(_FILE)[own], "products")


def formats_of(*specs: str) -> tuple[str, ...]:
    """The formats that texts such as `bf16,experts=mxfp4` name, each once."""
    return tuple(dict.fromkeys(name for spec in specs for name in (_formats(spec)[0], *_formats(spec)[1].values())))


def format_receipts(name: str) -> list[Sourced]:
    """Receipts of one format, or of what its groups have beside their elements; UnknownNameError for another name."""
    by_name = group_receipts(name)
    return list(pick(load_receipts(_FILE), "storage", name).values()) if by_name is None else by_name


_FILE_TYPE = r"i?q\d_\w+"
"""Names of GGUF's types: bits of a whole file, tables included."""


def is_whole_file(name: str) -> bool:
    """Whether the format is of whole files, whose tables are as narrow as their layers: a type of GGUF."""
    return re.fullmatch(_FILE_TYPE, name) is not None


def file_type(said: str) -> str | None:
    """The type of GGUF in a text or the name of a file such as `model-Q4_K_M.gguf`; None where it names none."""
    types = "|".join(sorted(filter(is_whole_file, storage_names()), key=len, reverse=True))
    # bounded on both sides: the letters of one type are part of the names of others
    found = re.search(rf"(?<![a-z0-9])({types})(?![a-z0-9_])", said.lower())
    return found.group(1) if found else None
