"""Tables of a study from Python arguments, changes of them, and enumeration of its discrete choices."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import SpecError, UnknownNameError
from ..core.free import Free
from ..core.program import compiled
from ..core.provenance import number_or, text, text_or
from ..core.text import stem_of
from ..core.types import unnamed
from ..core.units import positive
from ..economy.presets import host
from ..hardware.chip import Chip, sides
from ..hardware.fabrics import system_facts
from ..hardware.system import System
from ..physics.operands import shared_load_frac
from ..technology.presets import link, memory, node
from .design import TOUCH, Choice, as_built, template
from .metrics import Limit, State
from .written import ChoiceTable

Bound = tuple[str | float, str | float] | str | float | Free
"""Bounds of a free number, or a fixed value: text with a unit, or a number in canonical units."""
AnyLimit = str | Mapping[str, Any] | Limit
"""A limit as "metric <= value", as the table of a file, or as a record."""
SENSES = {"<=": "at_most", ">=": "at_least"}


@dataclasses.dataclass(frozen=True)
class Written:
    """A study as it was written."""

    tables: dict[str, Any]
    """Of the form of a TOML file."""
    folder: Path
    """Where the file of a portfolio is looked for."""
    asks: tuple[str, ...] = ()
    """Metrics that it was told will be asked for, beyond goal and limits."""


def changed_tables(
    tables: Mapping[str, Any],
    *,
    limits: Iterable[AnyLimit] | AnyLimit = (),
    without: Iterable[str] = (),
    free: Mapping[str, Bound | None] | None = None,
    choices: Mapping[str, Any] | None = None,
    workloads: Mapping[str, Mapping[str, Any] | None] | None = None,
    **head: Any,
) -> dict[str, Any]:
    """The tables of a study with changes; see `Study.changed`."""
    # a text is iterable too: its letters would be dropped one by one
    drops = [without] if isinstance(without, str) else list(without)
    limited = {stem_of(x["metric"]) for x in tables.get("limits", [])}
    for x in drops:
        if stem_of(x) not in limited:
            raise UnknownNameError("limit to drop", x, limited)
    # a floor beside a cap is another limit: only those of the same metric and sense give way
    gone, news = {stem_of(x) for x in drops}, limit_tables(limits)
    taken = {(stem_of(x["metric"]), s) for x in news for s in SENSES.values() if s in x}
    left = [x for x in tables.get("limits", []) if stem_of(x["metric"]) not in gone]
    kept = [x for x in left if not any((stem_of(x["metric"]), s) in taken for s in SENSES.values() if s in x)]
    return {
        **tables,
        "study": {**tables["study"], **head},
        "choices": {**tables["choices"], **entries_of(choices or {})},
        "free": _changed("free", tables["free"], {k: ends_of(k, v) for k, v in mapping("free", free or {}).items()}),
        "workloads": _changed("workloads", tables.get("workloads", {}), workload_tables(workloads or {})),
        "limits": [*kept, *news],
    }


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with entries of `new` in place or added; None drops one that is there."""
    # a typo would drop nothing, and say nothing
    for key in (k for k, v in new.items() if v is None and k not in old):
        raise UnknownNameError(f"entry of {what} to drop", key, old)
    return {k: v for k, v in {**old, **new}.items() if v is not None}


def mapping(what: str, given: Any) -> dict[str, Any]:
    """`given` as a dictionary; SpecError for anything that is none."""
    if not isinstance(given, Mapping):
        raise SpecError(f"{what}: expected names with their values, not {_kind(given)}")
    return dict(given)


def _kind(given: object) -> str:
    return f"'{given}'" if isinstance(given, str) else f"a value of type {type(given).__name__}"


def entries_of(choices: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Entries to choose among by kind; a single one needs no list."""
    return {k: list(v) if isinstance(v, (list, tuple)) else [v] for k, v in mapping("choices", choices).items()}


def ends_of(key: str, bound: Bound | None) -> Any:
    """Bounds of a free number as the file has them; a record of another number is refused."""
    if not isinstance(bound, Free):
        return bound
    if key not in (bound.name, stem_of(bound.name)):
        raise SpecError(f"free.{key}: bounds of {bound.name}; write them under its name")
    return bound.lower, bound.upper


def workload_tables(given: Mapping[str, Any] | Iterable[Any]) -> dict[str, Any]:
    """Workloads by name; those of a list are called by their phase, with their place where a phase comes twice."""
    if isinstance(given, (list, tuple)):
        tables = [mapping(f"workloads.{i}", w) for i, w in enumerate(given)]
        phases = [str(t.get("phase", i)) for i, t in enumerate(tables)]
        names = [p if phases.count(p) == 1 else f"{p}_{i + 1}" for i, p in enumerate(phases)]
        return dict(zip(names, tables, strict=True))
    # None is kept: it is how `changed` says that a workload goes
    each = mapping("workloads", given)
    return {k: None if w is None else mapping(f"workloads.{k}", w) for k, w in each.items()}


def limit_tables(given: Iterable[AnyLimit] | AnyLimit) -> list[dict[str, Any]]:
    """Limits as the file has them; one alone needs no list."""
    if isinstance(given, (str, Mapping, Limit)):
        return [limit_table(given)]  # type: ignore[arg-type]  # of iterables a mapping is one limit
    if not isinstance(given, Iterable):
        raise SpecError(f"limits: expected a list of limits such as 'power <= 700 W', not {_kind(given)}")
    return [limit_table(x) for x in given]


def limit_table(written: AnyLimit) -> dict[str, Any]:
    """A limit as the file has it."""
    if isinstance(written, Limit):
        return {"metric": written.metric, written.sense: written.value}
    if not isinstance(written, str):
        return mapping("limits", written)
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\S.*?)\s*", written)
    if found is None:
        raise SpecError(f"limit '{written}': write it as 'metric <= value' or >=, such as 'power <= 700 W'")
    metric, sense, value = found.groups()
    return {"metric": metric, SENSES[sense]: value}


def choices_of(spec: ChoiceTable, baseline: System, built: State | None, *, at_home: bool) -> tuple[Choice, ...]:
    """The discrete space; a kind left out has the baseline's one entry, and a die that was built fits the reticle.

    A system that takes one kind of link, or states its chips' network share, overrides `link` and `scaleout_per_dir`.
    """
    _check_kinds(spec, baseline.chip)
    own = as_built(baseline.chip)
    of_chip = ("node", "hbm", "link", "n_dies", "pe_array", "native_fp4")
    lists: dict[str, list[Any]] = {
        **{k: getattr(spec, k) or [getattr(own, k)] for k in of_chip},
        "spare_cores": spec.spare_cores,
        "fp8_rate": spec.fp8_rate or [0.0],
        "stack_capacity_B": [positive(x, "B", "choices.stack_capacity") for x in spec.stack_capacity] or [0.0],
        "scaleout_Bps": spec.scaleout_per_dir or [0.0],
        "matrix_instruction": spec.matrix_instruction or [""],
    }
    for kind, known in KNOWN.items():
        for name in filter(None, lists[kind]):
            known(name)
    fits_mm2 = 0.0 if built is None else float(built.die_mm2)
    every = (dict(zip(lists, c, strict=True)) for c in itertools.product(*lists.values()))
    chips = fed_choices(tuple(Choice(**c, reticle_mm2=fits_mm2) for c in every), baseline.chip)
    systems = spec.system or ([baseline.name] if at_home else [])
    # choices that differ in a link or share which their system overrides have become one
    return tuple(dict.fromkeys(seated(c, s) for s in systems for c in chips)) if systems else chips


def _check_kinds(spec: ChoiceTable, baseline: Chip) -> None:
    """SpecError for a kind without an entry, or one that the baseline's matrix units do not have."""
    for kind in spec.model_fields_set:
        if not getattr(spec, kind):
            raise SpecError(f"choices.{kind}: every list needs at least one entry; left out, it is the baseline's")
    if spec.matrix_instruction and not float(baseline.core.tensor.instruction_rows):
        raise SpecError(
            f"choices.matrix_instruction: operands of {baseline.name} enter at the edges of its arrays; only "
            "chips whose registers feed them have instructions to choose, such as GPUs"
        )


def fed_choices(choices: tuple[Choice, ...], baseline: Chip) -> tuple[Choice, ...]:
    """Those whose matrix units shared memory can feed, or that are the baseline's; SpecError for none."""
    asked = {(c.pe_array, c.matrix_instruction): c for c in choices}
    own = as_built(baseline).pe_array  # a chip that was built works, whatever the model says of its ports
    # a port's load does not depend on the network, so that any bandwidth does
    loads = {k: float(_shared_load_frac(unnamed(template(c, baseline, 1.0)))) for k, c in asked.items()}
    fed = {k for k, u in loads.items() if u <= TOUCH or k == (own, "")}
    if not fed:
        least = min(loads.values())
        raise SpecError(
            f"choices.pe_array: shared memory of a core delivers {float(baseline.core.shared_port_B):g} bytes a cycle, "
            f"{least:.2g} times less than the smallest array asked for takes; choose a smaller array or a larger "
            "matrix_instruction"
        )
    return tuple(c for c in choices if (c.pe_array, c.matrix_instruction) in fed)


_shared_load_frac = compiled(shared_load_frac)


KNOWN = {
    "node": node, "hbm": memory, "link": link,
    **{kind: partial(sides, what=kind) for kind in ("pe_array", "matrix_instruction")},
}  # fmt: skip
"""What refuses an entry of a kind that does not exist."""


def seated(choice: Choice, name: str) -> Choice:
    """A chip's structure in a system, with the links and the share of the network that the system has."""
    facts = system_facts(name)
    lanes = text_or(facts, "link", choice.link)
    link(lanes)
    if "host" in facts:
        host(text(facts, "host"))
    # a share that the former system imposed was nobody's choice, and does not move to the next one
    chosen = 0.0 if choice.system and OUTSIDE in system_facts(choice.system) else choice.scaleout_Bps
    shared = number_or(facts, OUTSIDE, chosen)
    return dataclasses.replace(choice, link=lanes, system=name, scaleout_Bps=shared)


OUTSIDE = "scaleout_bandwidth_per_dir_Bps"
"""Fact of a system: network share of one of its chips."""
