"""JSON Schemas of the files that people write, from what reads them; our own keys begin with `x-`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .text import stem_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


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
    text: Schema = {"type": "string", "pattern": r"^\s*[-+0-9.eE]+\s*[A-Za-z0-9/]*\s*$"}
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
    return {k: _untitled(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}


def field_docs(record: type) -> dict[str, str]:
    """What is written under each field of a record, in one line each; a field without a word is left out."""
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
