"""The discrete space of a study: what is written under [choices], enumerated, and what can be built of each entry."""

from __future__ import annotations

import dataclasses
import itertools

from ..core.errors import SpecError
from ..core.free import Free
from ..core.provenance import number_or, text, text_or
from ..core.units import positive
from ..economy.presets import host
from ..hardware.fabrics import system_facts
from ..technology.presets import link, memory, node
from .design import STEPPED, Choice, pe_dims, steps
from .metrics import State
from .written import ChoiceTable


def check_multiples(free: tuple[Free, ...], choices: tuple[Choice, ...]) -> None:
    """Some choice must have something that can be built of every stepped number inside its bounds (see `steps`)."""
    dies = sorted({c.n_dies for c in choices})
    counts = [f for f in free if f.name in STEPPED]
    for count in counts:
        if not any(_has_multiple(count, n) for n in dies):
            what = ", ".join(map(str, dies))
            told = f"hold no multiple of choices.n_dies = {what} (cores: in a grid on a die); widen them or the choices"
            raise SpecError(f"free.{count.name}: bounds {count.lower:g} and {count.upper:g} {told}")
    if not any(all(_has_multiple(c, n) for c in counts) for n in dies):
        names = ", ".join(c.name for c in counts)
        raise SpecError(f"free: no entry of choices.n_dies has multiples of itself inside the bounds of {names}")


def _has_multiple(count: Free, n_dies: int) -> bool:
    return len(steps(count.name, n_dies, count.lower, count.upper)) > 0


def choices_of(spec: ChoiceTable, built: State | None, usual: list[str]) -> tuple[Choice, ...]:
    """The discrete space; a die that was built fits the reticle, also where the area model says otherwise.

    A system that takes one kind of link has chips with that link, whatever `link` says.
    """
    for known, names in ((node, spec.node), (memory, spec.hbm), (link, spec.link), (pe_dims, spec.pe_array)):
        for name in names:
            known(name)
    stacks = [positive(x, "B", "choices.stack_capacity") for x in spec.stack_capacity] or [0.0]
    lists = (spec.node, spec.hbm, spec.link, spec.n_dies, spec.pe_array, spec.native_fp4, spec.spare_cores)
    dies = [0.0 if built is None else float(built.die_mm2)]
    chips = [Choice(*c) for c in itertools.product(*lists, spec.fp8_rate or [0.0], stacks, dies)]
    if not chips:
        raise SpecError("choices: every list needs at least one entry")
    systems = spec.system or usual
    return tuple(dict.fromkeys(seated(c, s) for s in systems for c in chips)) if systems else tuple(chips)


def seated(choice: Choice, name: str) -> Choice:
    """A chip's structure in a system, with the links and the share of the network that the system has."""
    facts = system_facts(name)
    lanes = text_or(facts, "link", choice.link)
    link(lanes)
    if "host" in facts:
        host(text(facts, "host"))
    shared = number_or(facts, OUTSIDE, 0.0)
    return dataclasses.replace(choice, link=lanes, system=name, scaleout_Bps=shared)


OUTSIDE = "scaleout_bandwidth_per_dir_Bps"
"""Fact of a system: network share of one of its chips."""
