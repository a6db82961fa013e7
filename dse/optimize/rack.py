"""A full rack of a design: its power, its cost and its tokens."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..economy.presets import system_rack
from ..study.design import Choice
from ..study.metrics import State


@dataclasses.dataclass(frozen=True)
class RackReport:
    """A full rack of a design in the system that it chose."""

    system: str
    n_chips: float
    power_W: float
    """Provisioned power: chips, hosts, switches, conversion."""
    cost_USD: float
    """Capital: packages at what their owner pays, hosts, switches, cables, network, power, cooling."""
    held: float
    """Chips held per chip at work, spares for the hungriest workload: on a torus a failure takes its whole block."""
    rack_tokens_per_s: dict[str, float]
    """Tokens of each workload per second and rack, failures and spares counted."""
    megawatt_tokens_per_s: dict[str, float]
    """Tokens of each workload per second and megawatt at the building's meter."""


def rack_report(choice: Choice, state: State, workloads: tuple[str, ...]) -> RackReport | None:
    """The rack of a design; None if the study has neither a choice of systems nor economic or rack metrics."""
    if not choice.system or not state.upkeeps:
        return None
    each = list(zip(workloads, state.upkeeps, strict=True))
    # racks are sized for the hungriest workload, so that their power and cost are the same in each
    first = state.upkeeps[0]
    return RackReport(
        system=choice.system,
        n_chips=float(system_rack(choice.system).n_chips),
        power_W=float(np.asarray(first.rack_W)),
        cost_USD=float(np.asarray(first.rack_USD)),
        held=max(float(np.asarray(u.held)) for u in state.upkeeps),
        rack_tokens_per_s={n: 1.0 / float(np.asarray(u.rack_time_per_token_s)) for n, u in each},
        megawatt_tokens_per_s={n: 1.0 / float(np.asarray(u.megawatt_time_per_token_s)) for n, u in each},
    )
