"""JSON Schema of chip files, generated from the facts of the presets and the fields of `Chip`."""

from __future__ import annotations

import re

from ..core.provenance import KINDS, Sourced, load_receipts
from ..core.schemas import Schema, both_names, field_docs, one_of, quantity_schema, titled
from ..core.text import unit_of
from .checks import ZERO_ALLOWED
from .chip import Chip, Core, TensorEngine
from .devices import LOGICAL
from .fabrics import fabric_names
from .own_chip import CHIPS, OWN_SETTINGS, allowed_facts

BASE = "Preset that all other facts come from, and the software with its calibration."
PUBLISHED = {
    "die_area_mm2": "Published area of one compute die, to compare with the modelled one and to price the die by.",
    "vendor_fp32_FLOPps": "Dense matrix peak that the vendor states in FP32, to compare with the product formula.",
    "vendor_bf16_FLOPps": "Dense matrix peak that the vendor states in BF16 or FP16, likewise.",
    "vendor_fp8_FLOPps": "Dense matrix peak that the vendor states in FP8 or INT8, likewise.",
    "vendor_fp4_FLOPps": "Dense matrix peak that the vendor states in FP4, likewise.",
    LOGICAL: "Ranks that software shows of a chip whose cores it counts; at most those at the end of the range.",
}
"""Meaning of facts that no record has, by name."""
BY_PRECISION = {"macs_": "macs_per_cycle", "granule_contract_": "granule_contract"}
"""Prefixes of facts with one number per precision, and the field they fill."""


def chip_schema() -> Schema:
    """JSON Schema of a chip file: one table, complete or with a preset as its `base`."""
    facts = allowed_facts()
    docs = {**PUBLISHED, **field_docs(TensorEngine), **field_docs(Core), **field_docs(Chip)}
    named = {key: _fact_schema(facts[full], docs) for key, full in both_names(facts).items()}
    other_units = {
        rf"^{re.escape(n.removesuffix(unit_of(n)))}[A-Za-z0-9]+$": {"anyOf": [{"type": "number"}, _receipt(["number"])]}
        for n in facts
        # "per_dir" is of the name, not of a compound unit, which a plain suffix could not replace
        if unit_of(n) and "_per_" not in n.replace("_per_dir_", "_")
    }
    table = {
        "type": "object",
        "properties": {"base": {"description": BASE, **one_of(load_receipts(CHIPS))}, **_settings(), **named},
        "patternProperties": other_units,
        "additionalProperties": False,
    }
    whole = {"type": "object", "additionalProperties": table, "minProperties": 1, "maxProperties": 1}
    return titled(whole, "chip", "A chip of your own: one table under its name; with a `base`, what differs from it.")


def _settings() -> dict[str, Schema]:
    about = {
        "system": {"description": "Fabric that joins the chips.", **one_of(fabric_names(), ".toml")},
        "host": {"type": "string", "description": "Server that it stands in."},
        "price": {"description": "What a buyer pays for the package.", **quantity_schema("USD")},
        "margin": {"type": "number", "description": "What its maker adds to the cost of a package."},
        "rent": {"description": "Price of a chip-hour.", **quantity_schema("USD")},
    }
    return {key: about[key] for key in OWN_SETTINGS}


def _fact_schema(fact: Sourced, docs: dict[str, str]) -> Schema:
    """Schema of one fact: a plain value (a guess) or a table with its receipt, with the range over all presets."""
    field = next((f for start, f in BY_PRECISION.items() if fact.name.startswith(start)), fact.name)
    head: Schema = {"description": docs.get(field, ""), "x-name": fact.name}
    if isinstance(fact.value, str):
        return {**head, "anyOf": [{"type": "string"}, _receipt(["string"])]}
    plain = quantity_schema(unit_of(fact.name))
    if fact.name.startswith(ZERO_ALLOWED):
        plain["anyOf"][0] = {"type": "number", "minimum": 0}
    found = [f[fact.name].value for f in load_receipts(CHIPS).values() if fact.name in f]
    numbers = [x for x in found if not isinstance(x, str)]
    usual = {"x-presets": [min(numbers), max(numbers)]} if numbers else {}  # no preset states what has a default
    return {**head, "anyOf": [*plain["anyOf"], _receipt(["number"])], "x-unit": plain["x-unit"], **usual}


def _receipt(kinds: list[str]) -> Schema:
    texts: dict[str, Schema] = {key: {"type": "string"} for key in ("source", "where", "note")}
    ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    keys = {"value": {"type": kinds[0]}, "range": ends, "kind": one_of(KINDS), **texts}
    return {
        "type": "object",
        "properties": keys,
        "required": ["value", "kind", "source"],
        "additionalProperties": False,
    }
