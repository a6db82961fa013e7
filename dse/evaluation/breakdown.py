"""Breakdown of a step time: parts, operators with their roofline limits, error band; smallest system that fits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ..core.errors import RoomError
from ..hardware.chip import Chip, pool_B
from ..hardware.system import System
from ..lowering.demand import demand
from ..lowering.headroom import usable_B
from ..lowering.plan import Plan
from ..lowering.serving_ops import serving_ops
from ..lowering.software import COMPILED
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape, as_run
from ..lowering.training_ops import shard, training_ops
from ..physics.calibration import Calibration, calibration, calibration_for, measured_band
from ..physics.evaluate import Evaluation
from ..physics.step import op_traffic_B, step_time
from ..workload.op import Op
from ..workload.transformer import Training, Workload
from .assembly import Evaluated, band_s, chip_reference, evaluate
from .cores import best_by_cores

BOUNDS = ("compute", "tile", "hbm", "vector", "dma")
"""Limits that can bind an operator, in the order of `OpTimes`; a sixth, "launch", is its launch latency."""


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of a rank: its time per run and per step, its work and the limit that binds it."""

    name: str
    precision: str
    """Precision in which its matrix products run on this chip."""
    seconds: float
    run_s: float
    run_FLOP: float
    """Matrix FLOP of one run, without padding."""
    run_B: float
    """HBM traffic of one run, with the extra traffic of finite tile memory."""
    bound: str
    """Limit that takes longest on its own: one of `BOUNDS` or "launch"."""

    @property
    def intensity(self) -> float:
        """Arithmetic intensity [FLOP/B]; infinite if the traffic is accounted to a streamed block."""
        return self.run_FLOP / self.run_B if self.run_B > 0 else math.inf

    @property
    def achieved_FLOPps(self) -> float:
        """Achieved FLOP/s of one chip while the operator runs."""
        return self.run_FLOP / self.run_s


@dataclasses.dataclass(frozen=True)
class Finding:
    """An evaluation with the operators and the error band that reports show beside it."""

    system: System
    workload: Workload
    plan: Plan
    evaluation: Evaluation
    operators: tuple[Operator, ...]
    """Operators, longest first."""
    calibration: str
    fastest_s: float
    """10th percentile of the step time by the error of the fit; for a prior, all its numbers at their good ends."""
    slowest_s: float
    """90th percentile of the step time by the error of the fit; for a prior, all its numbers at their bad ends."""
    by_cores: Evaluated | None = None
    """The fastest plan whose ranks are logical cores, if software has such ranks and `plan` has not."""

    @property
    def novelty(self) -> str:
        """What the fit has not seen: nothing ("pair"), the software "stack", the chip "family" or the "vendor"."""
        measured = measured_band(calibration(self.calibration), isinstance(self.workload, Training))
        return measured[0] if measured else ""

    @property
    def chip_tokens_per_s(self) -> float:
        """Throughput of one chip [tokens/s]."""
        return float(self.evaluation.tokens_per_s) / self.system.n_chips

    @property
    def tokens_per_J(self) -> float:
        """Tokens per joule of package energy."""
        return self.chip_tokens_per_s / float(self.evaluation.power_W)

    def share_frac(self, time_s: float) -> float:
        """`time_s` as a fraction of the step time."""
        return time_s / float(self.evaluation.step_s)

    @property
    def longer_by_cores_frac(self) -> float:
        """What a step takes longer under `by_cores`; 0 without."""
        return self.share_frac(float(self.by_cores.result.step_s)) - 1.0 if self.by_cores else 0.0

    @property
    def usable_memory_B(self) -> float:
        """HBM capacity of one chip that is available to tensors."""
        return float(usable_B(self.system.chip))


def find(system: System, workload: Workload, plan: Plan | None) -> Finding:
    """As `evaluate`, with the operators of the slowest rank and the error band of the step time."""
    c = calibration_for(system.chip.name, workload)
    e = evaluate(system, workload, plan, calibration=c)
    shown = operators(system, workload, e.plan, e.result, c)
    other = best_by_cores(system, workload, e.plan, c)
    return Finding(system, workload, e.plan, e.result, shown, c.name, *band_s(system, workload, e.plan, c), other)


def operators(
    system: System, workload: Workload, plan: Plan, evaluation: Evaluation, c: Calibration
) -> tuple[Operator, ...]:
    """Operators of the slowest rank with their times per step, longest first."""
    chip, array = system.chip, array_shape(system.chip.core.tensor)
    d = demand(workload, plan, system, chip_reference(chip, c), array)
    traffic = np.asarray(op_traffic_B(d.ops, np.asarray(pool_B(chip)) * float(c.tile_memory_frac)))
    times = evaluation.step.ops
    # each as if it were alone: in the norm's total all of them are mixed
    limits = np.stack([np.asarray(getattr(times, f"{b}_s")) for b in BOUNDS])
    # launching does not overlap, yet a reader asks which is longest: it competes as one more limit
    total, launch = np.asarray(times.total_s), np.asarray(d.ops.n_launches) * float(c.launch_s)
    runs, macs = np.asarray(d.ops.runs) * float(d.n_micro), np.asarray(d.ops.macs).sum(axis=-1)
    found = []
    # matched by place: names repeat between kinds of block
    for i, op in enumerate(rank_ops(as_run(workload, array), plan)):
        worst = int(np.argmax(limits[:, i]))
        found.append(
            Operator(
                name=op.name,
                precision=array.runs_in(op.precision),
                seconds=float(runs[i] * total[i]),
                run_s=float(total[i]),
                run_FLOP=2.0 * float(macs[i]),  # a MAC multiplies and adds
                run_B=float(traffic[i]),
                bound="launch" if launch[i] > limits[worst, i] else BOUNDS[worst],
            )
        )
    return tuple(sorted(found, key=lambda o: -o.seconds))


def rank_ops(workload: Workload, plan: Plan) -> list[Op]:
    """Operators of a rank in the order of `demand`, for their names; what they multiply depends on the software."""
    training = isinstance(workload, Training)
    return [p.op for p in (training_ops(workload, shard(plan, COMPILED)) if training else serving_ops(workload, plan))]


PARTS = {
    "compute_s": "operators",
    "host_exposed_s": "host starts",
    "tensor_exposed_s": "tensor-parallel traffic",
    "pipeline_exposed_s": "stage-to-stage traffic",
    "bubble_s": "pipeline bubble",
    "data_exposed_s": "data-parallel traffic",
    "optimizer_s": "optimizer",
}
"""Parts of `Step.total_s`, which they add up to, and their words."""


def step_parts(e: Evaluation) -> list[tuple[str, float]]:
    """Parts of the step time [s] that add up to `step_s`: operators, exposed communication, bubble, throttling, ..."""
    parts = [(words, float(getattr(e.step, name))) for name, words in PARTS.items()]
    return [*parts, ("slowed by the power limit", float(e.step_s) - float(e.step.total_s))]


RESIDUE = 1e-12
"""Shares below this are what rounding leaves of the difference of two times, and nothing waits for them."""


def binding(e: Evaluation, ops: tuple[Operator, ...]) -> list[tuple[str, float]]:
    """Share of the step time by what binds it, largest first; operators count for the limit that binds them."""
    # of the throttled time: what the power limit adds is a share like any other
    step = float(e.step_s)
    shares = {name: seconds / step for name, seconds in step_parts(e) if name != "operators"}
    # operators of a streamed block have no memory traffic of their own: what they wait for it is between them
    shares["hbm"] = float(e.step.compute_s) / step - sum(op.seconds for op in ops) / step
    for op in ops:
        name = "compute" if op.bound == "tile" else op.bound  # a tile too large to share is arithmetic to a reader
        shares[name] = shares.get(name, 0.0) + op.seconds / step
    return sorted(((n, s) for n, s in shares.items() if s > RESIDUE), key=lambda x: -x[1])


def spent(d: StepDemand, chip: Chip, c: Calibration) -> dict[str, float]:
    """Share of a pass by what it waits for, largest first; an operator counts for the limit it meets alone."""
    step = step_time(d, chip, c)
    t, runs = step.ops, np.asarray(d.ops.runs) * float(d.n_micro)
    # what the norm adds to the longest limit is counted with it, so that shares add up to the pass
    limits = np.stack([np.asarray(x) for x in (t.hbm_s, t.compute_s, t.tile_s, t.vector_s, t.dma_s)])
    names = ("reading weights and cache", "arithmetic", "arithmetic", "element-wise work", "DMA")
    launch = np.asarray(d.ops.n_launches) * float(c.launch_s)
    found = {"messages between chips": float(step.tensor_exposed_s + step.pipeline_exposed_s + step.data_exposed_s)}
    found["other stages"] = float(step.bubble_s)
    found["starting kernels"] = float(runs @ launch)
    found["the serving loop"] = float(step.host_exposed_s)
    found[names[0]] = float(step.compute_s) - float(runs @ np.asarray(t.total_s))  # what a streamed block waits for HBM
    for i, which in enumerate(np.argmax(limits, axis=0)):
        seconds = float(runs[i] * (np.asarray(t.total_s)[i] - launch[i]))
        found[names[which]] = found.get(names[which], 0.0) + seconds
    total = float(step.total_s)
    return {k: v / total for k, v in sorted(found.items(), key=lambda x: -x[1]) if v > 0}


def kept_on_die_B(f: Finding) -> float:
    """Tile memory of a chip [B] if weights and KV of its share of a model in service all fit there, else 0.

    Reads of weights are charged to HBM at any size, so that such a chip can be faster than told.
    """
    chip = f.system.chip
    # a warning, not another model: reads are charged to HBM whatever the size
    tiles_B = float(chip.n_cores * chip.core.scratchpad_B)
    return 0.0 if isinstance(f.workload, Training) or float(f.evaluation.memory_B) > tiles_B else tiles_B


DOMAINS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of scale-up domains tried in turn, each at most twice the one before."""


def find_room(
    system_at: Callable[[int], System], n_domain: int, workload_at: Callable[[int], Workload], plan: Plan | None
) -> tuple[Finding, str]:
    """As `find`, on the fewest `DOMAINS` in which the model fits (a plan: one), with a note if one was too few.

    RoomError if it fits in none (with the shortfall in one domain); PlanError as `evaluate`.
    """
    first: RoomError | None = None
    few = 0
    # a plan of the user divides a number of chips, so that no other number fits it
    for n in (k * n_domain for k in (DOMAINS if plan is None else DOMAINS[:1])):
        try:
            found = find(system_at(n), workload_at(n), plan)
        except RoomError as error:
            # the shortfall in one domain is told, however many were tried: the user asked for one
            first, few = first or error, n
            continue
        told = f"{few:,} x {found.system.chip.name} do not hold {found.workload.model.name}: it takes {n:,}, shown here"
        return found, told if few else ""
    assert first is not None
    raise first
