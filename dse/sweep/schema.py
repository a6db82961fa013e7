"""JSON Schema of a sweep specification: the tables of its reader with the keys that a point may have."""

from __future__ import annotations

from ..core.schemas import Schema, both_names, one_of, open_table, quantity_schema, titled
from ..core.text import written_unit
from .keys import COUNTS, is_number, point_keys, study_keys
from .points import SAMPLERS
from .spec import SweepFile


def sweep_schema() -> Schema:
    """JSON Schema of a specification, of chips and workloads or of studies."""
    schema = SweepFile.model_json_schema(by_alias=True)
    points, studies = both_names(point_keys()), _study_names()
    base = {key: _value_schema(name) for key, name in points.items()}
    base["study"] = {"type": "string", "description": "A study; every point is then one design question."}
    for group in ("limits", "free", "choices"):
        inner = {k.removeprefix(f"{group}."): _value_schema(n) for k, n in studies.items() if k.startswith(f"{group}.")}
        base[group] = open_table(inner, f"What every point sets under {group} of its study.")
    base |= {key: _value_schema(name) for key, name in studies.items()}
    axis = schema["$defs"]["AxisTable"]["properties"]
    axis["key"] |= one_of([*points, *studies, "study"])
    axis["sample"] |= one_of(SAMPLERS)
    schema["properties"]["base"] = open_table(base, schema["properties"]["base"]["description"])
    return titled(schema, "sweep", "Many points: `dse sweep FILE` computes them, `dse query` reads them.")


def _study_names() -> dict[str, str]:
    """Keys of sweeps of studies, with and without their unit, to the canonical key."""
    return both_names(k for k in study_keys() if k != "study")


def _value_schema(name: str) -> Schema:
    """What a canonical key may be set to."""
    if is_number(name):
        unit = written_unit(name)
        return {**quantity_schema(unit), "x-name": name}
    if name in COUNTS or name.endswith(".n_dies"):
        return {"type": "integer", "minimum": 1, "x-name": name}
    return {"type": "boolean" if name.endswith("native_fp4") else "string", "x-name": name}
