"""JSON Schemas of users' files, generated from their readers (extra keys start with `x-`), and error messages."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Annotated, Any

import pydantic

from .text import spelled, stem_of
from .units import positive

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
"""What the tables of a user's file hold to: no key but their own."""


@dataclasses.dataclass(frozen=True)
class Named:
    """Annotation of a key that takes a name: the names there are, asked for when a schema is."""

    names: Callable[[], Iterable[str]]
    own: str = ""
    """How the path of a user's own file ends that may stand in place of a name, such as ".toml"."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Schema]) -> Schema:
        return {**handler(core), **one_of(self.names(), self.own)}


@dataclasses.dataclass(frozen=True)
class Measured:
    """Annotation of a key that takes a quantity: its canonical unit, and whether a bare number is read in it."""

    unit: str
    bare: bool = True
    """Whether a number without a unit is taken."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Schema]) -> Schema:
        del core, handler
        return quantity_schema(self.unit, self.bare)


def one_of(names: Iterable[str], own: str = "") -> Schema:
    """A text that is one of `names`, or the path of a user's file whose name ends in `own`."""
    known: Schema = {"enum": sorted(names)}
    return {"anyOf": [known, {"type": "string", "pattern": f"{re.escape(own)}$"}]} if own else known


def quantity_schema(unit: str, bare: bool = True) -> Schema:
    """A positive number in the canonical `unit`, or a text such as "2.4 GHz"."""
    text: Schema = {"type": "string", "pattern": r"^\s*[-+0-9.eE]+\s*[A-Za-z0-9/]*(\s+per\s+[A-Za-z0-9/ ]+)?\s*$"}
    number: Schema = {"type": "number", "exclusiveMinimum": 0}
    return {"anyOf": [number, text] if bare else [text], "x-unit": unit or "1"}


def both_names(keys: Iterable[str]) -> dict[str, str]:
    """Every way to write each canonical name, with and without its unit, to that name; ambiguous ones are left out."""
    full = list(keys)
    short = [stem_of(n) for n in full]
    unique = {s: n for s, n in zip(short, full, strict=True) if short.count(s) == 1}
    return {**unique, **{n: n for n in full}}


def titled(schema: Schema, kind: str, about: str) -> Schema:
    """`schema` of a whole file with its dialect, name and meaning in front, without titles that repeat the keys."""
    return {"$schema": DIALECT, "title": f"dse {kind}", **_untitled(schema), "description": about}


def _untitled(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_untitled(x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    # a key of a file may be called title too: its schema is no text
    return {k: _untitled(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}


def field_docs(record: type) -> dict[str, str]:
    """What is written under each field of a record, in one line each; a field without a word is left out."""
    # Python keeps no docstring of a field, so that the source is asked
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else ""
            docs[field.target.id] = " ".join(str(text).split())
    return docs


def open_table(keys: Mapping[str, Schema], about: str) -> Schema:
    """A table that takes some of `keys` and nothing else."""
    return {"type": "object", "properties": dict(keys), "additionalProperties": False, "description": about}


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
