"""A chip record written as a chip file: what `hardware.presets.chip_file` reads back, fact for fact."""

from __future__ import annotations

import dataclasses
import json

from ..technology.node import ByPrecision
from .chip import OPTIONAL, Chip

_BY_PRECISION = {"macs_per_cycle": "macs"}
"""Fields with a number per precision whose facts are named otherwise."""


def chip_facts(chip: Chip) -> dict[str, float | str]:
    """Facts of a chip by canonical name, as a chip file names them; its own name is left out, and what goes unsaid."""
    facts: dict[str, float | str] = {}
    for record in (chip, chip.core, chip.core.tensor):
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if isinstance(value, ByPrecision):
                stem = _BY_PRECISION.get(field.name, field.name)
                facts |= {f"{stem}_{p.name}": float(getattr(value, p.name)) for p in dataclasses.fields(value)}
            elif isinstance(value, str):
                facts[field.name] = value
            elif not dataclasses.is_dataclass(value):
                facts[field.name] = float(value)
    facts.pop("name")
    return {n: v for n, v in facts.items() if OPTIONAL.get(n) != v}


def chip_toml(chip: Chip, where: str) -> str:
    """The text of a chip file for `chip`, every fact derived by this package."""
    table = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in chip.name)
    receipt = f'kind = "derived", source = "dse2026", where = {json.dumps(where)}'
    lines = [f"{name} = {{ value = {json.dumps(value)}, {receipt} }}" for name, value in chip_facts(chip).items()]
    head = "# A chip file: each number in canonical units, with its kind and source. Written by `dse optimize`."
    return "\n".join([head, "", f"[{table}]", *lines, ""])
