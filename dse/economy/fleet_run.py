"""`fleet_run`: a training run on thousands of chips for weeks: interruptions, goodput, cost, energy and carbon."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.types import as_float
from ..evaluation.assembly import evaluate
from ..hardware.system import System
from ..lowering.plan import Plan
from ..physics.evaluate import Evaluation
from ..workload.transformer import Training
from .job import Job, Upkeep, job_of, n_spare_chips
from .knobs import band, turned_alone
from .ownership import HOUR_s
from .owning import Deal, deal, racked, token_upkeep
from .presets import receipts_of, rents
from .reliability import (
    daly_interval_s,
    first_order_goodput_frac,
    hardware_per_s,
    n_spare_units,
    slowdown,
    total_per_s,
    transfer_s,
    young_interval_s,
)
from .server import embodied_kg
from .simulation import Cluster, Outcome, simulate


@dataclasses.dataclass(frozen=True)
class Interruptions:
    """Failure rates, checkpointing and goodput of a job on many chips."""

    by_component_per_s: dict[str, float]
    """Interruption rate of the whole job by component [1/s]."""
    total_per_s: float
    range_per_s: tuple[float, float]
    """Interruption rate over the range between clusters."""
    write_s: float
    """Time lost per checkpoint."""
    restart_s: float
    """Time lost per interruption: detection, restart, reading the checkpoint."""
    interval_s: float
    daly_interval_s: float
    """Daly's higher-order optimum of the interval."""
    goodput_frac: float
    """Useful time over wall time."""
    first_order_frac: float
    """First-order goodput (ETTR), as in [kokolis2025]."""
    goodput_range: tuple[float, float]
    """Goodput over the range of failure rates between clusters."""
    n_spare_chips: float

    @property
    def mtbf_s(self) -> float:
        """Mean time between interruptions."""
        return 1.0 / self.total_per_s


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run of given wall time: tokens, interruptions, cost, energy and carbon."""

    system: System
    workload: Training
    plan: Plan
    evaluation: Evaluation
    seconds: float
    interruptions: Interruptions
    upkeep: Upkeep
    tokens: float
    cost_USD: float
    cost_range_USD: tuple[float, float]
    """Cost of the same tokens over the ranges of prices and failure rates."""
    rent_USD: dict[str, float]
    """Rent of the chips at work for the whole run, by kind of contract."""
    energy_J: float
    running_kg: float
    embodied_kg: float
    """Embodied carbon of chips and servers, by the run's share of their life."""

    @property
    def n_interruptions(self) -> float:
        """Expected number of interruptions."""
        return self.seconds * self.interruptions.total_per_s

    @property
    def n_spare_chips(self) -> float:
        """Spare chips of this run, its share of the pool of a pod."""
        return self.system.n_chips * (float(self.upkeep.held) - 1.0)

    @property
    def interruptions_by_component(self) -> dict[str, float]:
        """Expected number of interruptions by component."""
        return {k: v * self.seconds for k, v in self.interruptions.by_component_per_s.items()}

    @property
    def interruption_shares_frac(self) -> dict[str, float]:
        """Share of interruptions by component."""
        return {k: n / self.n_interruptions for k, n in self.interruptions_by_component.items()}

    @property
    def spare_frac(self) -> float:
        """Spares over chips at work."""
        return self.n_spare_chips / self.system.n_chips

    @property
    def per_million_tokens(self) -> dict[str, float]:
        """Cost, energy and carbon per million tokens, by field; rents by kind of contract."""
        fields = {n: getattr(self, n) for n in ("cost_USD", "energy_J", "running_kg", "embodied_kg")}
        return {n: 1e6 * v / self.tokens for n, v in (fields | self.rent_USD).items()}

    @property
    def interruptions_range(self) -> tuple[float, float]:
        """Expected number of interruptions over the range between clusters."""
        low, high = self.interruptions.range_per_s
        return low * self.seconds, high * self.seconds


def interruptions(d: Deal, job: Job) -> Interruptions:
    """Failure rates and goodput of `job` on the chips of `d`; ranges are those between two clusters of one operator."""
    r, n, chip = d.economy.reliability, float(job.n_chips), d.chip
    o = racked(d, as_float(chip.power_limit_W))
    total, move = n * float(total_per_s(o.failures)), float(transfer_s(job.state_B, chip, r))
    write, restart = float(job.stall_s) + move, float(r.detect_s + r.restart_s) + move
    # rates are in proportion to the level, so its range is theirs; the high rate makes the low goodput
    low, high = (total * x / float(r.level) for x in level_range(d))
    kept = [1.0 / float(slowdown(as_float(t), as_float(write), as_float(restart))) for t in (total, low, high)]
    spares = n_spare_units(hardware_per_s(o.failures), job.n_chips, r.repair_s, d.economy.sparing)
    interval = young_interval_s(as_float(write), as_float(1.0 / total))
    return Interruptions(
        by_component_per_s={k.removesuffix("_per_s"): n * float(v) for k, v in o.failures.__dict__.items()},
        total_per_s=total,
        range_per_s=(low, high),
        write_s=write,
        restart_s=restart,
        interval_s=float(interval),
        daly_interval_s=float(daly_interval_s(as_float(write), as_float(1.0 / total))),
        goodput_frac=kept[0],
        first_order_frac=float(first_order_goodput_frac(interval, *(as_float(x) for x in (total, write, restart)))),
        goodput_range=(kept[2], kept[1]),
        n_spare_chips=float(spares * n_spare_chips(job, d.economy)),
    )


def level_range(d: Deal) -> tuple[float, float]:
    """Range of the failure level between clusters."""
    fact = next(f for f in receipts_of("reliability", d.economy.reliability.name) if f.name == "level")
    return fact.low, fact.high


def fleet_run(system: System, workload: Training, wall_s: float, plan: Plan | None = None) -> Run:
    """A training run of `wall_s` seconds on all chips of `system` plus spares; `plan` None: the fastest that fits.

    PlanError: as `evaluate`. UnknownNameError: no economic facts (host, price or margin) for the chip.
    """
    d = deal(system)
    found = evaluate(system, workload, plan)
    plan, e = found.plan, found.result
    job = job_of(workload, system.n_chips, d.economy.reliability)
    # at the power of this step, not at the share of the limit that an owner without a workload assumes
    u = token_upkeep(d, job, e.step_s, e.power_W)
    # failures are in the wall time of a step already, so that no goodput is taken off again
    tokens = wall_s / float(u.wall_step_s) * float(job.tokens)
    held = system.n_chips * float(u.held) * wall_s
    o = racked(d, as_float(d.chip.power_limit_W))
    # by the chip-seconds held: spares grow old as chips at work do
    made = float(embodied_kg(o.embodied)) / float(d.economy.ownership.life_s) * held
    energy = float(u.energy_per_token_J) * tokens
    return Run(
        system, workload, plan, e, wall_s, interruptions(d, job), u, tokens,
        cost_USD=float(u.cost_per_token_USD) * tokens,
        cost_range_USD=_cost_range_USD(d, workload, system.n_chips, e, tokens),
        rent_USD={k: float(f.value) * system.n_chips * wall_s / HOUR_s for k, f in rents(d.chip.name).items()},
        energy_J=energy,
        running_kg=energy * float(d.economy.carbon.grid_kg_per_J),
        embodied_kg=made,
    )  # fmt: skip


def _cost_range_USD(d: Deal, workload: Training, n_chips: int, e: Evaluation, tokens: float) -> tuple[float, float]:
    def answer(x: Deal) -> float:
        # anew for every turn: bytes and stall of a checkpoint are among the facts that are turned
        job = job_of(workload, n_chips, x.economy.reliability)
        return tokens * float(token_upkeep(x, job, e.step_s, e.power_W).cost_per_token_USD)

    return band(answer(d), turned_alone(answer, d))


def simulated(run: Run, n_failures: int) -> Outcome:
    """Discrete-event simulation of the run, to check the closed form; SpecError without simpy (extra `fleet`)."""
    i = run.interruptions
    d = deal(run.system)
    lost = hardware_per_s(racked(d, as_float(d.chip.power_limit_W)).failures)
    taken = run.system.n_chips * float(lost)
    # the simulation takes and repairs whole units, of as many chips as one failure takes
    block = n_spare_chips(job_of(run.workload, run.system.n_chips, d.economy.reliability), d.economy)
    # up: a part of a unit replaces nothing
    spares = int(np.ceil(i.n_spare_chips / float(block)))
    cluster = Cluster(
        # the network beyond the server takes no unit away either, and counts with software
        hardware_per_s=taken, software_per_s=i.total_per_s - taken, interval_s=i.interval_s, write_s=i.write_s,
        restart_s=i.restart_s, repair_s=float(d.economy.reliability.repair_s), n_spares=spares,
    )  # fmt: skip
    return simulate(cluster, n_failures)


@dataclasses.dataclass(frozen=True)
class Kept:
    """Goodput of a job of some size."""

    goodput_frac: float
    goodput_range: tuple[float, float]
    """Over the range between clusters."""
    per_held_frac: float
    """Goodput per chip held, spares included."""


def goodput_by_size(system: System, state_B: float, sizes: list[float]) -> list[Kept]:
    """Goodput by cluster size, each with its own spares; a chip saves `state_B` bytes per checkpoint at any size."""
    d, out = deal(system), []
    for n in sizes:
        # 1 token: rates and goodput ask for none
        i = interruptions(d, Job(n, 1.0, state_B, d.economy.reliability.stall_s))  # type: ignore[arg-type]
        out.append(Kept(i.goodput_frac, i.goodput_range, i.goodput_frac / (1.0 + i.n_spare_chips / n)))
    return out
