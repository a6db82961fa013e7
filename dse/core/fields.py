"""Fields of files that people write: quantities with their unit, and what to say when one is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from functools import partial
from typing import Annotated, Any

import pydantic

from .schemas import Measured
from .text import spelled
from .units import positive

Seconds = Annotated[float, pydantic.BeforeValidator(partial(positive, unit="s", bare=False)), Measured("s", bare=False)]
"""A time as a file gives it, such as "20 ms"; a bare number could be either of two, and is refused."""
BytesPerSecond = Annotated[float, pydantic.BeforeValidator(partial(positive, unit="Bps")), Measured("Bps")]
"""A bandwidth as a file gives it, such as "100 GBps"; a bare number counts bytes per second."""


def complaints(error: pydantic.ValidationError, keys: Collection[str] = ()) -> str:
    """What is wrong in a file, in one line: each field with its place, and near matches among `keys`."""
    return "; ".join(_complaint(e, keys) for e in error.errors())


def unknown_key(key: str, keys: Collection[str]) -> str:
    """What to say of a key that a table does not have, `keys` being those of all tables."""
    if key in keys:
        return "unknown key, it belongs to another table"
    near = difflib.get_close_matches(key, sorted(keys), n=1)
    return "unknown key" + (f"; did you mean '{near[0]}'?" if near else "")


def _complaint(error: Any, keys: Collection[str]) -> str:
    place = ".".join(str(x) for x in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{place}: {unknown_key(str(error['loc'][-1]), keys)}"
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tag, known = error["ctx"]["discriminator"].strip("'"), error["ctx"].get("expected_tags", "")
        return f"{place}.{tag}: " + (f"'{error['ctx']['tag']}' is not one of {known}" if known else "missing")
    if error["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return f"{place} = {spelled(error['input'])}: expected a table of keys and values"
    if error["type"] == "missing":
        return f"{place}: missing"
    if error["type"] == "value_error":
        return f"{place}: {error['ctx']['error']}"
    return f"{place} = {spelled(error['input'])}: {error['msg']}"
