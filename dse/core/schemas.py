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
from typing import Annotated, Any, TypeAlias

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
    # full names last: one that is spelt like another's short name is itself
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


Place: TypeAlias = tuple[str | int, ...]
"""Where something stands in a file: keys of tables and positions in lists, outermost first."""


def complaints(error: pydantic.ValidationError, tables: Any, keys: Collection[str] = ()) -> str:
    """What is wrong in a file, in one line: each field of `tables` with its place, and near matches among `keys`."""
    found = complained(error, tables, keys)
    return "; ".join(f"{'.'.join(map(str, p))}{f' = {value}' if value else ''}: {told}" for p, value, told in found)


def complained(
    error: pydantic.ValidationError, tables: Any, keys: Collection[str] = ()
) -> list[tuple[Place, str, str]]:  # fmt: skip
    """What is wrong in a file: every place of `tables` once, the value there ("" where none is to blame), and why."""
    found: dict[tuple[Place, str], list[str]] = {}
    for e in error.errors():
        place, value, told = _complaint(e, keys)
        # of a key that takes a number or a text, each is a complaint of its own
        found.setdefault((_written(place, tables, e["type"] in _ABSENT), value), []).append(told)
    return [(place, value, ", or ".join(dict.fromkeys(told))) for (place, value), told in found.items()]


_ABSENT = ("missing", "union_tag_not_found", "union_tag_invalid")
"""Complaints whose last key need not stand in the file."""


def _written(place: Place, tables: Any, absent: bool) -> Place:
    """`place` as the file has it: without pydantic's own words for the form of a table or the type of a value."""
    kept, here = [], tables
    for i, part in enumerate(place):
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            if not absent or i < len(place) - 1:
                continue
        kept.append(part)
    return tuple(kept)


def unknown_key(key: str, keys: Collection[str]) -> str:
    """What to say of a key that a table does not have, `keys` being those of all tables."""
    if key in keys:
        return "unknown key, it belongs to another table"
    # sorted, since a set of texts has another order in every run
    near = difflib.get_close_matches(key, sorted(keys), n=1)
    return "unknown key" + (f"; did you mean '{near[0]}'?" if near else "")


def _complaint(error: Any, keys: Collection[str]) -> tuple[Place, str, str]:
    """Place, value to blame (if any) and reason of one of pydantic's complaints."""
    place, kind = tuple(error["loc"]), error["type"]
    if kind == "extra_forbidden":
        return place, "", unknown_key(str(place[-1]), keys)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        tag, known = error["ctx"]["discriminator"].strip("'"), error["ctx"].get("expected_tags", "")
        return (*place, tag), "", f"'{error['ctx']['tag']}' is not one of {known}" if known else "missing"
    if kind == "missing":
        return place, "", "missing"
    if kind == "value_error":
        return place, "", str(error["ctx"]["error"])
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return place, spelled(error["input"]), "expected a table of keys and values"
    return (
        place,
        spelled(error["input"]),
        f"{error['msg'][:1].lower()}{error['msg'][1:]}".replace(" after validation", ""),
    )
