"""Computation of a session's answers, independent of the transport (HTTP)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.text import label
from ..evaluation.assembly import evaluate
from ..evaluation.host import evaluated
from ..hardware.presets import chip_names, chip_system
from ..lowering.plan import plan_text
from ..optimize.space import own_plans
from ..physics.evaluate import chip_technology
from ..physics.full_load import full_load_power_W
from ..study.design import FREE
from ..study.metrics import METRICS, OF_WORKLOADS, OWNED, SPEEDUPS, Load, chip_state, mean_speedup
from ..study.study import Study
from ..workload.transformer import Workload
from .ask import Ask, python_lines
from .receipts import receipts_of_chip, receipts_of_choice
from .reoptimise import Reoptimiser, Tell
from .searches import (
    compute_front,
    compute_risk,
    compute_serving,
    compute_truth,
    fronts_in,
    risks_in,
    servings_in,
    truth_in,
)
from .state import state_of
from .subject import Plans, Subject, chip_file, described_plans, read_chip, read_fastest

FORMS = ("toml", "python")
"""What a chip can be exported as here; a table of pins is made by the page itself."""


@dataclasses.dataclass
class Answers:
    """One subject, the folder of results and the user's own chips."""

    subject: Subject
    results: tuple[Path, ...]
    """Folders with answers of other commands, see `answer_roots`."""
    found: dict[str, Any] | None = None
    own: tuple[str, ...] = ()
    """Paths of the user's own chips: a page may name these and no other file."""
    named: tuple[str, str] = ("", "")
    """Chip and model as they were named, where one chip is explored."""
    columns: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    working: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    """Held by the one search that runs: two would only share a processor."""

    @cached_property
    def state(self) -> dict[str, Any]:
        """What no slider moves."""
        return state_of(self.subject, self.found, self.own)

    @cached_property
    def reoptimiser(self) -> Reoptimiser:
        """Remembers plans."""
        return Reoptimiser(self.subject)

    @property
    def best(self) -> Plans | None:
        """Plans of the best design known: the last optimum's, or that of an earlier run; None before any."""
        return self.reoptimiser.best or (tuple(self.found["plans"]) if self.found else None)

    def evaluate(self, ask: Ask) -> dict[str, Any]:
        """Everything shown of a chip."""
        s = self.subject
        if ask.plans is None:
            read, plans, fits = read_fastest(s, ask.at, own_plans(s.space))
        else:
            plans, fits = ask.plans, [True for _ in s.core.workloads]
            read = read_chip(s, ask.at, plans)
        # as the page's own goal where that is a speed-up; a study of cost shows what is delivered all the same
        total = total_speedup(s.study, s.space.ground.traffic_frac, [w["speedup_frac"] for w in read.get("works", [])])
        return {"reading": read, "fits": fits, "speedup": total, "plans": list(plans), **described_plans(s, plans)}

    def brief(self, ask: Ask) -> dict[str, Any]:
        """What a figure of many designs needs of one, by its fastest plans: metrics, and whether it may be."""
        s = self.subject
        read, _, fits = read_fastest(s, ask.at, own_plans(s.space))
        return {"reading": {k: read[k] for k in ("metrics", "limits", "ratios")}, "fits": fits}

    def export(self, ask: Ask, form: str) -> str:
        """The chip at hand as a chip file or as Python; SpecError for another form."""
        if form not in FORMS:
            raise SpecError(f"form: one of {', '.join(FORMS)}")
        plans = tuple(self.evaluate(ask)["plans"])
        if form == "toml":
            return chip_file(self.subject, ask.at, plans)
        return python_lines(self.subject, ask, plans)

    def chip(self, name: str) -> dict[str, Any]:
        """A chip that exists, beside the one at hand."""
        if name not in self.columns:
            if name not in (*chip_names(), *self.own):
                raise UnknownNameError("chip", name, (*chip_names(), *self.own))
            # kept: evaluating a chip anew lowers all its plans
            self.columns[name] = chip_column(self.subject, name)
        return self.columns[name]

    def receipts(self, choice: str) -> dict[str, Any]:
        """Facts behind a choice."""
        n = len(self.subject.study.choices)
        if not choice.isascii() or not choice.isdecimal() or len(choice) > 9 or int(choice) >= n:
            raise SpecError(f"choice: give a whole number from 0 to {n - 1}")
        return receipts_of_choice(self.subject, int(choice))

    def search(self, kind: str, asked: dict[str, Any]) -> Callable[[Tell], None]:
        """Work of a search, to be done in a thread; SpecError for another kind."""
        limits = asked.get("limits", self.subject.limits)
        works: dict[str, Callable[[Tell], None]] = {
            "front": lambda tell: compute_front(self.subject, asked, tell),
            "serving": lambda tell: compute_serving(asked, self.own, tell),
            "truth": lambda tell: compute_truth(asked, tell),
        }
        if not self.subject.is_chip:
            works |= {
                "quick": lambda tell: self.reoptimiser.quick(limits, tell),
                "risk": lambda tell: compute_risk(self.subject, self.best, asked, tell),
                "prove": lambda tell: self.reoptimiser.prove(limits, tell),
            }
        if kind not in works:
            raise SpecError(f"search: one of {', '.join(works)}")

        def work(tell: Tell) -> None:
            tell({"progress": "waiting for another search to end"} if self.working.locked() else {"progress": "begins"})
            with self.working:
                works[kind](tell)

        return work


LEFT: dict[str, Callable[[Answers], dict[str, Any]]] = {
    "fronts": lambda a: fronts_in(a.subject, a.results),
    "risks": lambda a: risks_in(a.subject, a.results),
    "servings": lambda a: servings_in(a.results, a.own),
    "truth": lambda a: truth_in(a.results),
}
"""What other commands left in the results folder: fronts and risk studies of the study, serving curves, scores."""


def total_speedup(study: Study, traffic_frac: np.ndarray, each: list[float | None]) -> float | None:
    """Mean of the speed-ups of all workloads, as the study weighs them; None where one does not run, or never ends."""
    known = [x for x in each if x]
    if not known or len(known) < len(each):
        return None
    goal = study.goal if study.goal in SPEEDUPS else SPEEDUPS[0]
    return mean_speedup(goal, known, list(traffic_frac), study.shares)


def chip_column(subject: Subject, name: str) -> dict[str, Any]:
    """A chip as a column of a comparison: no owners' metrics; why a workload cannot run. DseError for no such chip."""
    system = chip_system(name)
    chip, loads, works = system.chip, [], []
    for w, workload in enumerate(subject.study.workloads):
        try:
            load, work = _work(subject, name, w)
        except DseError as error:
            works.append({"name": workload, "why": str(error)})
            continue
        loads.append(load)
        works.append({"name": workload, **work})
    s = chip_state(chip, loads=loads, shares=subject.study.shares)
    all_run = bool(loads) and len(loads) == len(works)
    # an owner's costs would be those of the study's server, in which this chip may not stand
    known = [n for n in subject.names if n not in OWNED and (n not in OF_WORKLOADS or all_run)]
    values = {n: METRICS[n](s) for n in known}
    load_W = full_load_power_W(chip, s.tech, "fp8", s.area, s.die_mm2, s.supply_V)
    speedups = [w.get("speedup_frac") for w in works]
    return {
        "name": name,
        "x": {f.name: float(FREE[f.name](chip)) for f in subject.study.free},
        "blank_mm2": float(chip.blank_mm2),
        "works": works,
        "speedup": total_speedup(subject.study, subject.space.ground.traffic_frac, speedups),
        "metrics": {n: [float(x) for x in v] if isinstance(v, list) else float(v) for n, v in values.items()},
        "load_W": [float(v) for v in load_W.values()],
        "receipts": receipts_of_chip(name),
        "said": f"{label('power_limit_W')} {float(chip.power_limit_W):,.0f} W, {system.name}",
    }


def _work(subject: Subject, name: str, w: int) -> tuple[Load, dict[str, Any]]:
    space = subject.space
    (workload, n_chips), (own, before_s) = list(subject.study.workloads.values())[w], space.ground.baselines[w]
    if name == subject.study.baseline.chip.name:
        d, chip = space.ground.own[w], subject.study.baseline.chip
        plan, e = own, evaluated(d, chip, chip_technology(chip), space.ground.calibrations[w])
    elif isinstance(workload, Workload):
        found = evaluate(chip_system(name, n_chips), workload)
        plan, e = found.plan, found.result
    else:
        raise DseError("a batch that is chosen with the plan, or a model in service: see `dse portfolio`")
    tokens = float(e.tokens_per_s) * float(e.step_s) / n_chips
    # the baseline's step may hold another number of tokens: its time for as many
    before = np.float64(before_s * tokens * n_chips / float(space.ground.n_tokens[w]))
    load = Load(e.step_s, e.power_W, before, np.float64(tokens), np.float64(1.0), e.hottest_W)
    numbers = {n: float(getattr(e, n)) for n in ("step_s", "power_W", "tokens_per_s", "mfu_frac", "memory_B")}
    return load, {"plan": plan_text(plan), "speedup_frac": float(before / e.step_s), **numbers}
