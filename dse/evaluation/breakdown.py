"""One workload on one system taken apart: where the step goes, what operators meet, how sure; and room for a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ..core.errors import RoomError
from ..core.types import as_float
from ..hardware.chip import Chip, pool_B
from ..hardware.system import System
from ..lowering.demand import demand
from ..lowering.executed import as_run
from ..lowering.headroom import usable_frac
from ..lowering.plan import Plan
from ..lowering.serving_ops import serving_ops
from ..lowering.software import COMPILED
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..lowering.training_ops import shard, training_ops
from ..physics.calibration import Calibration, calibration, calibration_for, measured_band
from ..physics.evaluate import Evaluation
from ..physics.step import op_traffic_B, step_time
from ..workload.op import Op
from ..workload.transformer import Training, Workload
from .assembly import band_s, chip_reference, evaluate

BOUNDS = ("compute", "tile", "hbm", "vector", "dma")
"""Limits of an operator, in the order of `OpTimes`; starting it is the sixth, "launch"."""


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of a rank, over a whole step."""

    name: str
    precision: str
    """Precision its products run at on this chip."""
    seconds: float
    run_s: float
    run_FLOP: float
    """Matrix FLOP of one run, padding excluded."""
    run_B: float
    """Memory traffic of one run, reuse included."""
    bound: str
    """Limit that would take longest alone."""

    @property
    def intensity(self) -> float:
        """FLOP per byte of memory traffic; infinite where the traffic belongs to a streamed block."""
        return self.run_FLOP / self.run_B if self.run_B > 0 else math.inf

    @property
    def achieved_FLOPps(self) -> float:
        """FLOP per second of one chip while the operator runs."""
        return self.run_FLOP / self.run_s


@dataclasses.dataclass(frozen=True)
class Finding:
    """An evaluation with everything a report shows beside it."""

    system: System
    workload: Workload
    plan: Plan
    evaluation: Evaluation
    operators: tuple[Operator, ...]
    """Operators, longest first."""
    calibration: str
    fastest_s: float
    """Step time that one in ten unseen measurements falls below; of a prior, with every number at its good end."""
    slowest_s: float
    """Step time that one in ten unseen measurements exceeds; of a prior, with every number at its bad end."""

    @property
    def novelty(self) -> str:
        """What is new about the chip and its software to the fit: nothing ("pair"), "stack", "family" or "vendor"."""
        measured = measured_band(calibration(self.calibration), isinstance(self.workload, Training))
        return measured[0] if measured else ""

    @property
    def chip_tokens_per_s(self) -> float:
        """Tokens of one chip per second."""
        return float(self.evaluation.tokens_per_s) / self.system.n_chips

    @property
    def tokens_per_J(self) -> float:
        """Tokens per joule of the packages."""
        return self.chip_tokens_per_s / float(self.evaluation.power_W)

    def share_frac(self, time_s: float) -> float:
        """A time as a share of the step."""
        return time_s / float(self.evaluation.step_s)

    @property
    def usable_memory_B(self) -> float:
        """HBM of one chip that tensors may fill."""
        return usable_frac() * float(self.system.chip.hbm_capacity_B)


def find(system: System, workload: Workload, plan: Plan | None) -> Finding:
    """`workload` on `system` under `plan` (None: the fastest that fits), with band and operators; as `evaluate`."""
    c = calibration_for(system.chip.name, workload)
    e = evaluate(system, workload, plan, calibration=c)
    shown = operators(system, workload, e.plan, e.result, c)
    return Finding(system, workload, e.plan, e.result, shown, c.name, *band_s(system, workload, e.plan, c))


def operators(
    system: System, workload: Workload, plan: Plan, evaluation: Evaluation, c: Calibration
) -> tuple[Operator, ...]:
    """Operators of the slowest rank with their times, longest first."""
    chip, array = system.chip, array_shape(system.chip.core.tensor)
    d = demand(workload, plan, system, chip_reference(chip, c), array)
    traffic = np.asarray(op_traffic_B(d.ops, as_float(pool_B(chip) * c.tile_memory_frac)))
    times = evaluation.step.ops
    limits = np.stack([np.asarray(getattr(times, f"{b}_s")) for b in BOUNDS])
    total, launch = np.asarray(times.total_s), np.asarray(d.ops.n_launches) * float(c.launch_s)
    runs = np.asarray(d.ops.runs) * float(d.n_micro)
    found = []
    for i, op in enumerate(rank_ops(as_run(workload, array), plan)):
        worst = int(np.argmax(limits[:, i]))
        found.append(
            Operator(
                name=op.name,
                precision=array.runs_in(op.precision),
                seconds=float(runs[i] * total[i]),
                run_s=float(total[i]),
                run_FLOP=2.0 * op.macs,
                run_B=float(traffic[i]),
                bound="launch" if launch[i] > limits[worst, i] else BOUNDS[worst],
            )
        )
    return tuple(sorted(found, key=lambda o: -o.seconds))


def rank_ops(workload: Workload, plan: Plan) -> list[Op]:
    """The operators of a rank in the order in which `demand` lists them; names and products are every software's."""
    training = isinstance(workload, Training)
    return [p.op for p in (training_ops(workload, shard(plan, COMPILED)) if training else serving_ops(workload, plan))]


def step_parts(e: Evaluation) -> list[tuple[str, float]]:
    """Where the step goes, in seconds; the parts add up to `step_s`."""
    s, total = e.step, float(e.step.total_s)
    return [
        ("operators", float(s.compute_s)),
        ("host starts", float(s.host_exposed_s)),
        ("tensor-parallel traffic", float(s.tensor_exposed_s)),
        ("stage-to-stage traffic", float(s.pipeline_exposed_s)),
        ("pipeline bubble", float(s.bubble_s)),
        ("data-parallel traffic", float(s.data_exposed_s)),
        ("optimizer", float(s.optimizer_s)),
        ("slowed by the power limit", float(e.step_s) - total),
    ]


def binding(e: Evaluation, ops: tuple[Operator, ...]) -> list[tuple[str, float]]:
    """What the step waits for, as shares of it, largest first; operators count for the limit they meet."""
    step = float(e.step_s)
    shares = {name: seconds / step for name, seconds in step_parts(e) if name != "operators"}
    for op in ops:
        name = "compute" if op.bound == "tile" else op.bound
        shares[name] = shares.get(name, 0.0) + op.seconds / step
    return sorted(((n, s) for n, s in shares.items() if s > 0), key=lambda x: -x[1])


def spent(d: StepDemand, chip: Chip, c: Calibration) -> dict[str, float]:
    """Share of a pass by what it waits for, largest first; an operator counts for the limit it meets alone."""
    step = step_time(d, chip, c)
    t, runs = step.ops, np.asarray(d.ops.runs) * float(d.n_micro)
    limits = np.stack([np.asarray(x) for x in (t.hbm_s, t.compute_s, t.tile_s, t.vector_s, t.dma_s)])
    names = ("reading weights and cache", "arithmetic", "arithmetic", "element-wise work", "DMA")
    launch = np.asarray(d.ops.n_launches) * float(c.launch_s)
    found = {"messages between chips": float(step.tensor_exposed_s + step.pipeline_exposed_s + step.data_exposed_s)}
    found["other stages"] = float(step.bubble_s)
    found["starting kernels"] = float(runs @ launch)
    found["the serving loop"] = float(step.host_exposed_s)
    for i, which in enumerate(np.argmax(limits, axis=0)):
        seconds = float(runs[i] * (np.asarray(t.total_s)[i] - launch[i]))
        found[names[which]] = found.get(names[which], 0.0) + seconds
    total = float(step.total_s)
    return {k: v / total for k, v in sorted(found.items(), key=lambda x: -x[1]) if v > 0}


DOMAINS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Domains tried in turn, each a half or a third more: an answer is at most that far from the fewest."""


def find_room(
    system_at: Callable[[int], System], n_domain: int, workload_at: Callable[[int], Workload], plan: Plan | None
) -> tuple[Finding, str]:
    """As `find`, on the first number of `DOMAINS` that holds the model (one with a plan), and what was too few.

    RoomError where nothing tried holds it (of one domain, by how much); PlanError as `evaluate`.
    """
    first: RoomError | None = None
    few = 0
    for n in (k * n_domain for k in (DOMAINS if plan is None else DOMAINS[:1])):
        try:
            found = find(system_at(n), workload_at(n), plan)
        except RoomError as error:
            first, few = first or error, n
            continue
        told = f"{few:,} x {found.system.chip.name} do not hold {found.workload.model.name}: it takes {n:,}, shown here"
        return found, told if few else ""
    assert first is not None
    raise first
