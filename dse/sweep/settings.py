"""Settings of a sweep: a combination of chip, system, workload and plans, lowered once for all its points."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from ..core.counts import n_padded
from ..core.errors import DseError
from ..core.provenance import text_or
from ..core.types import stack_records
from ..evaluation.assembly import chip_reference, lowered
from ..hardware.chip import Chip
from ..hardware.fabrics import build_fabric, system_facts
from ..hardware.own_chip import is_own
from ..hardware.presets import chip, chip_system, usual_system
from ..hardware.system import Fabric, System, fabric_for
from ..lowering.demand import StepDemand, demand
from ..lowering.plan import parse_plan, plan_text
from ..physics.calibration import Calibration, calibration, calibration_for
from ..technology.presets import Technology, technology, usual_package
from ..workload.presets import model
from ..workload.requests import SIZES, workload_of
from ..workload.transformer import PHASES, Workload
from .keys import Value, find_file


class Coefficients(eqx.Module):
    """What the compiled batch reads of a setting; names are blank so that settings stack."""

    demands: StepDemand
    chip: Chip
    """The chip, before its numbers are set."""
    tech: Technology
    calibration: Calibration


@dataclasses.dataclass(frozen=True)
class Setting:
    """A combination of choices that works."""

    coefficients: Coefficients
    plans: tuple[str, ...]
    """Text of each plan, before padding."""


Choices = tuple[tuple[str, Value], ...]
"""Key and value of every choice that a point makes."""
KEPT_SETTINGS = 16
"""Lowered settings kept at a time; the others are lowered anew when they come again."""


@lru_cache(maxsize=KEPT_SETTINGS)
def lower(choices: Choices, folder: Path, files: tuple[tuple[str, str], ...]) -> Setting | str:
    """The setting of `choices`, or in one line why there is none."""
    try:
        return _lower(_Given({k: v for k, v in choices}, folder))
    except DseError as error:
        return " ".join(str(error).split())


@dataclasses.dataclass(frozen=True)
class _Given:
    """Values of one combination by key."""

    values: dict[str, Value]
    folder: Path

    def text(self, key: str, default: str = "") -> str:
        return find_file(key, str(self.values.get(key, default)), self.folder)

    def count(self, key: str, default: int) -> int:
        return int(self.values.get(key, default))


def _lower(given: _Given) -> Setting:
    where = _system(given)
    workload = _workload(given, where.n_chips)
    c = _calibration(given, where.chip, workload)
    if given.text("plan", "auto") == "auto":
        every, demands = lowered(where, workload, c)
    else:
        every = [parse_plan(given.text("plan"))]
        demands = [demand(workload, every[0], where, chip_reference(where.chip, c))]
    own = where.chip
    hbm = given.text("hbm", own.hbm)
    # a chip whose memory moves from the board into the package, or out of it, gets the package usual there
    package = own.package if usual_package(hbm) == usual_package(own.hbm) else usual_package(hbm)
    parts = given.text("node", own.node), hbm, given.text("link", own.link)
    tech = technology(*parts, package=given.text("package", package))
    return Setting(_coefficients(demands, own, tech, c), tuple(plan_text(p) for p in every))


ASKING = ("phase", "model", "chip", "system", "precision", "weights")
"""Choices that decide which products a chip is asked for."""
MOST_ASKED = 512
"""Combinations of them that are looked at; more differ in models that ask for the same."""


def asked(choices: Mapping[str, tuple[Value, ...]], folder: Path) -> list[tuple[Chip, Workload]]:
    """Chips and what they are asked to do, for every combination of choices that decides about precision."""
    found, keys = [], [k for k in ASKING if k in choices]
    for values in itertools.islice(itertools.product(*(choices[k] for k in keys)), MOST_ASKED):
        given = _Given(dict(zip(keys, values, strict=True)), folder)
        # a combination that cannot be is a row with its reason later; here it asks for nothing
        with contextlib.suppress(DseError):
            inside = _system(given)
            found.append((inside.chip, _workload(given, inside.n_chips)))
    return found


def _calibration(given: _Given, inside: Chip, workload: Workload) -> Calibration:
    """The one asked for, or the one due to chip and workload, of your own chip by the family of its base."""
    if "calibration" in given.values:
        return calibration(given.text("calibration"))
    return calibration_for(inside.name, workload)


def _system(given: _Given) -> System:
    """The chip in the fabric of `system`; a product's own chip keeps the wiring of the product."""
    mine = given.text("chip")
    name = given.text("system") or usual_system(mine)
    facts = system_facts(name)
    fabric = _fabric(given, build_fabric(name, facts))
    kept = is_own(mine) or text_or(facts, "chip", mine) == mine
    whole = chip_system(mine, within=name).chip if kept else chip(mine)
    n_chips = given.count("chips", fabric.n_chips)
    # not by `system`, which looks the fabric up: this one may be of another size
    return System(name, whole, fabric_for(fabric, n_chips, "chips"), n_chips)


def _fabric(given: _Given, usual: Fabric) -> Fabric:
    """The system's scale-up domain, or a switched one of the size that `domain` says."""
    if "domain" not in given.values:
        return usual
    return Fabric("switched", (given.count("domain", 1),), (1.0,), in_network_reduction=usual.in_network_reduction)


def _workload(given: _Given, n_chips: int) -> Workload:
    phase = given.text("phase", PHASES[0])
    # 0 stands for a size that is left out: nothing cached, a prompt in one piece
    sizes = {k: v for k, v in given.values.items() if k in SIZES[phase] and isinstance(v, int | str) and v != 0}
    return workload_of(phase, model(given.text("model")), n_chips, sizes)


def _coefficients(demands: Sequence[StepDemand], own: Chip, tech: Technology, c: Calibration) -> Coefficients:
    n = len(demands)
    # tables of all settings have one length: a plan that needs endless memory is never taken
    never = dataclasses.replace(demands[0], memory_B=np.inf)
    stacked = stack_records([*demands, *([never] * (n_padded(n) - n))])
    blank = Technology(*(dataclasses.replace(part, name="") for part in tech.__dict__.values()))
    # names differ between chips that one batch evaluates; what a PE's narrow products are does not: its area asks
    chip_ = dataclasses.replace(own, name="", node="", hbm="", link="")
    parts = (stacked, chip_, blank, dataclasses.replace(c, name=""))
    return jax.tree.map(np.asarray, Coefficients(*parts))
