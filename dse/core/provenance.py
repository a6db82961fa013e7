"""Receipts (`Sourced`): value, range, kind and source of every number, read from TOML data files.

Each fact is a sub-table with the unit in its name, converted to canonical units on loading.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .errors import DseError, ReceiptError, SpecError, UnknownNameError
from .files import read_text, read_toml
from .kept import kept_record
from .text import spelled, unit_of
from .units import canonical, quantity

KINDS = ("guess", "estimate", "derived", "press", "paper", "datasheet", "measured")
"""Kinds of evidence, from least to most reliable; tables list guesses first."""


@dataclasses.dataclass(frozen=True)
class Sourced:
    """One number or name with its receipt: range, kind, source; in canonical units."""

    name: str
    value: float | str
    """Number in the canonical unit of `name`, or a text (a node, a topology)."""
    low: float
    """Low end of the range; the value itself if the source gives no range."""
    high: float
    kind: str
    """One of `KINDS`."""
    source: str
    where: str
    """Place in the source (table, page), or the arithmetic."""
    note: str = ""
    """Disagreements and assumptions."""


Receipts = dict[str, Sourced]
Thing = TypeVar("Thing")


def _fact(name: str, raw: dict[str, Any], place: str) -> Sourced:
    missing = [k for k in ("value", "kind", "source") if k not in raw]
    if missing:
        raise ReceiptError(f"{place}.{name}: missing {', '.join(missing)}; every fact needs value, kind, source")
    if raw["kind"] not in KINDS:
        raise ReceiptError(f"{place}.{name}: kind '{raw['kind']}' is not one of {', '.join(KINDS)}")
    value = raw["value"]
    texts = tuple(str(raw.get(k, "")) for k in ("kind", "source", "where", "note"))
    if isinstance(value, str):
        return Sourced(name, value, float("nan"), float("nan"), *texts)
    if not _is_number(value):
        raise ReceiptError(f"{place}.{name}: value = {spelled(value)}; expected a number or a text")
    ends = raw.get("range", [value, value])
    if not (isinstance(ends, list) and len(ends) == 2 and all(_is_number(x) for x in ends)):
        raise ReceiptError(
            f"{place}.{name}: range = {spelled(ends)}; expected the low and the high end, such as [1.0, 2.0]"
        )
    full, number = canonical(name, float(value))
    low, high = (canonical(name, float(x))[1] for x in ends)
    if not low <= number <= high:
        raise ReceiptError(f"{place}.{name}: value {value} lies outside its range {raw.get('range')}")
    return Sourced(full, number, low, high, *texts)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


@cache
def load_receipts(path: Path) -> dict[str, Receipts]:
    """As `read_receipts`, for files of the package: read once per process and cached between runs."""
    if not path.is_file():
        return read_receipts(path)  # which says so
    return kept_record("core", repr((path.name, read_text(path))), lambda: read_receipts(path))


def read_receipts(path: Path) -> dict[str, Receipts]:
    """All tables of a data file, each a mapping from canonical fact name to its receipt.

    ReceiptError: not TOML, or a fact without value, kind or source, or outside its range. UnitError: an unknown unit.
    """
    try:
        raw = read_toml(path)
    except SpecError as error:
        raise ReceiptError(str(error)) from None
    things: dict[str, Receipts] = {}
    for thing, facts in raw.items():
        if not isinstance(facts, dict):
            raise ReceiptError(f"{path}: {thing} = {spelled(facts)} stands in no table; write [{path.stem}] above it")
        pairs = [_fact(n, r, f"{path.name}:{thing}") for n, r in facts.items() if isinstance(r, dict)]
        names = [p.name for p in pairs]  # canonical, so that one fact in two units shows
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise ReceiptError(f"{path.name}:{thing}.{twice}: stands there twice, in two units; keep one")
        things[thing] = {p.name: p for p in pairs}
    return things


@dataclasses.dataclass(frozen=True)
class OwnThing:
    """The one chip, system or technology in a user's file."""

    name: str
    base: str
    """Preset that it is based on; empty without a base."""
    inherited: Receipts
    """Facts of the base."""
    own: Receipts
    settings: dict[str, Any]
    """Keys that are not facts, as written."""
    written: dict[str, str]
    """Keys of the file's own facts as written, by canonical name, for messages."""


def own_receipts(path: Path, preset: Callable[[str], Receipts]) -> tuple[str, Receipts]:
    """Name and facts of the one thing in a user's TOML file, including those of its base; raises as `own_thing`."""
    thing = own_thing(path, preset)
    return thing.name, {**thing.inherited, **thing.own}


def own_thing(
    path: Path, preset: Callable[[str], Receipts], forms: Receipts | None = None, settings: Collection[str] = (),
    may_add: Receipts | None = None,
) -> OwnThing:  # fmt: skip
    """The one thing in a user's TOML file; missing facts come from the preset named as its `base`.

        [n2-free-sram]
        base = "N2"
        scratchpad_area_mm2_per_MiB = { value = 0.001, kind = "guess", source = "dse2026", where = "what if" }
        wafer_price = "20 kUSD"    # a plain value is a guess
    `preset` returns the facts of a name; `forms`: facts allowed without a base; `settings`: keys that are not facts;
    `may_add`: facts allowed beyond those of the base. SpecError, which names the file: more than one table, an unknown
    base or fact, a fact without a receipt, or a file that is missing or malformed.
    """
    try:
        name, facts, table = _only_table(path)
        base = "" if "base" not in table else str(table["base"])
        inherited = preset(base) if base else {}
        known, what = ({**(may_add or {}), **inherited}, f"fact of {base}") if base else (forms or {}, "fact")
        plain = {k: v for k, v in table.items() if not isinstance(v, dict) and k not in ("base", *settings)}
        guesses = {k: _plain_fact(k, v, known, what, path.name) for k, v in plain.items()}
        _check_said_once(plain, guesses, facts)
        own = {**facts, **{f.name: f for f in guesses.values()}}
        written = {canonical(k, 1.0)[0]: k for k, v in table.items() if isinstance(v, dict)}
        _check_known(written, known, what, own, table)
        written |= {f.name: k for k, f in guesses.items()}
        return OwnThing(name, base, inherited, own, {k: table[k] for k in settings if k in table}, written)
    except DseError as error:
        raise SpecError(f"{path}: {str(error).removeprefix(f'{path}:').strip()}") from error


def _only_table(path: Path) -> tuple[str, Receipts, dict[str, Any]]:
    """Name, facts and keys of the one table in a file."""
    things = read_receipts(path)
    if len(things) != 1:
        held = f"{len(things)} things ({', '.join(things)})" if things else "nothing"
        raise SpecError(f"holds {held}; keep one table per file")
    ((name, facts),) = things.items()
    return name, facts, read_toml(path)[name]


def _check_said_once(plain: dict[str, Any], guesses: dict[str, Sourced], facts: Receipts) -> None:
    """SpecError for a plain value of a fact that another key of the file has too."""
    seen = set(facts)
    for key, fact in guesses.items():
        if fact.name in seen:
            raise SpecError(f"{key} = {spelled(plain[key])}: says again what another key says; keep one")
        seen.add(fact.name)


def _check_known(written: dict[str, str], known: Receipts, what: str, own: Receipts, table: dict[str, Any]) -> None:
    """DseError for a fact that the thing does not have, or a text in place of a number."""
    for fact, key in written.items() if known else ():
        if fact not in known:
            raise UnknownNameError(what, key, known)
    text = next((key for fact, key in written.items() if fact not in own), None)
    if text:  # a unit in a name makes a number of its value, so that of a text stays in the name
        raise SpecError(f"{text}.value = {spelled(table[text].get('value'))}, expected a number")


def _plain_fact(key: str, value: Any, known: Receipts, what: str, file: str) -> Sourced:
    """`key = value` of a user's file as a guess, with its unit in the text or in the key."""
    stems = {n: n.removesuffix(f"_{unit_of(n)}") for n in known}
    full = next((n for n, stem in stems.items() if key in (n, stem)), canonical(key, 1.0)[0])
    receipt = ("guess", "dse2026", file)
    if full not in known:
        raise UnknownNameError(what, key, stems.values())  # a plain value has its unit in its text
    if isinstance(known[full].value, str):
        if not isinstance(value, str):
            raise SpecError(f"{key} = {spelled(value)}: expected a name in quotes")
        return Sourced(full, value, math.nan, math.nan, *receipt)
    if not isinstance(value, str) and not _is_number(value):
        raise SpecError(f"{key} = {spelled(value)}: expected a number, or a text with its unit")
    unit = unit_of(full)  # a number without one could be in any: only ratios and counts may be bare
    bare = not isinstance(value, str) or re.fullmatch(r"[-+0-9.eE]*", value.strip())  # "mm2" ends in a digit as well
    if bare and unit not in ("", "frac") and key == stems[full]:
        raise SpecError(f"{key} = {spelled(value)}: no unit; write it with one in quotes, or name it {full}")
    try:
        number = quantity(value, unit) if key in (full, stems[full]) else canonical(key, float(value))[1]
    except ValueError as error:
        said = "its name has the unit already, so give a number" if key not in (full, stems[full]) else str(error)
        told = said.removeprefix(f"'{value}': ")
        raise SpecError(f"{key} = {spelled(value)}: {told}") from None
    return Sourced(full, number, number, number, *receipt)


def pick(things: Mapping[str, Thing], what: str, name: str) -> Thing:
    """`things[name]`, or UnknownNameError with near matches."""
    if name not in things:
        raise UnknownNameError(what, name, things)
    return things[name]


def number(receipts: Receipts, name: str) -> float:
    """The value of a numeric fact; ReceiptError if it is missing or a text."""
    if name not in receipts:
        raise ReceiptError(f"no fact '{name}'; add it with its receipt (a guess is welcome when labelled)")
    value = receipts[name].value
    if isinstance(value, str):
        raise ReceiptError(f"fact '{name}' is the text '{value}', expected a number")
    return value


def text(receipts: Receipts, name: str) -> str:
    """The value of a text fact (a node, a topology); ReceiptError if it is missing."""
    if name not in receipts:
        raise ReceiptError(f"no fact '{name}'; add it with its receipt (a guess is welcome when labelled)")
    return str(receipts[name].value)


def number_or(receipts: Receipts, name: str, usual: float) -> float:
    """The value of an optional numeric fact, or the default `usual`."""
    return number(receipts, name) if name in receipts else usual


def text_or(receipts: Receipts, name: str, usual: str) -> str:
    """The value of an optional text fact, or the default `usual`."""
    return text(receipts, name) if name in receipts else usual


def worst_first(receipts: list[Sourced]) -> list[Sourced]:
    """Receipts sorted from guess to measured, then by name."""
    return sorted(receipts, key=lambda r: (KINDS.index(r.kind), r.name))
