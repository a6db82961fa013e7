"""Throughput-interactivity curve of a model on a chip: all engines evaluated, and their Pareto front."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from ..core.counts import n_padded
from ..core.errors import PlanError
from ..core.pareto import is_unbeaten
from ..core.types import FloatLike, stack_records
from ..evaluation.assembly import chip_reference
from ..hardware.system import System
from ..lowering import engines as make
from ..lowering.engines import SCHEDULERS, Policy, Reader, Shape, Writer
from ..lowering.headroom import usable_B
from ..lowering.plan import plan_text
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration, calibration_for
from ..physics.evaluate import check_rest, chip_technology, silicon
from ..technology.presets import Technology
from ..workload.requests import Requests
from .menu import Menu, menu_of
from .steady import Engine, Passes, ServingPoint, n_accepted_tokens, pass_costs, steady_state

STEADY_s = 3600.0
"""Time over which traffic is taken as steady: an hour, a small part of the day that it follows."""


@dataclasses.dataclass(frozen=True)
class Promise:
    """Latency limits (TPOT, TTFT) for a share of requests; None: no limit."""

    tpot_s: float | None = None
    ttft_s: float | None = None
    quantile_frac: float = 0.95
    """Share of requests that must meet both limits."""


@dataclasses.dataclass(frozen=True)
class Serving:
    """One engine in steady state."""

    writer: Writer
    reader: Reader
    scheduler: str
    """One of `SCHEDULERS`."""
    point: ServingPoint

    @property
    def tpot_s(self) -> float:
        """Time per output token at the percentile [s]."""
        return float(self.point.tpot_s)

    @property
    def chip_tokens_per_s(self) -> float:
        """Tokens out per second and chip."""
        return float(self.point.chip_tokens_per_s)


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """All evaluated engines of one chip and model."""

    system: System
    requests: Requests
    promise: Promise
    policy: Policy
    calibration: Calibration
    menu: Menu
    """All evaluated engines, within the limits or not."""
    costs: Passes
    """Times and energies of all passes: those of writers, then those of readers by kind of request."""
    points: ServingPoint

    def steady(self) -> np.ndarray:
        """Whether each engine's queue reaches a steady state; the times of a saturated one are meaningless."""
        p = self.points
        return np.asarray((p.load_frac < 1) & np.isfinite(p.ttft_s) & (p.settling_s <= STEADY_s))

    def kept(self) -> np.ndarray:
        """Whether each engine meets the latency limits, with a queue in steady state."""
        tpot, ttft = (np.inf if x is None else x for x in (self.promise.tpot_s, self.promise.ttft_s))
        p = self.points
        return np.asarray(self.steady() & (p.tpot_s <= tpot) & (p.ttft_s <= ttft))

    def at(self, i: int) -> Serving:
        """Engine `i`."""
        m = self.menu
        scheduler = SCHEDULERS[int(m.scheduler_index[i])]
        point = jax.tree.map(lambda x: x[i], self.points)
        return Serving(m.writers[int(m.writer_index[i])], m.readers[int(m.reader_index[i])], scheduler, point)

    def fastest_writer(self) -> tuple[int, float]:
        """The fastest decode engine without prefills, and its time per token [s]: the floor of TPOT."""
        # decode passes alone, which every engine runs at least: no promise can be below the fastest of them
        n, policy = len(self.menu.writers), self.policy
        beat = np.asarray(self.costs.pass_s)[:n] * (1.0 + policy.n_drafted * policy.draft_frac)
        best = int(np.argmin(beat))
        accepted = n_accepted_tokens(np.asarray(policy.acceptance_frac), policy.n_drafted)
        return best, float(beat[best]) / float(accepted)

    def fastest_reader(self) -> tuple[int, float]:
        """The fastest prefill engine for the slowest kind of prompt, and its time [s]: the floor of TTFT."""
        n, kinds = len(self.menu.writers), len(self.requests.lengths)
        passes = np.asarray([r.n_passes for r in self.menu.readers], dtype=float)
        # a promise holds for every kind of prompt, so that the slowest one sets the floor
        slowest = (np.asarray(self.costs.pass_s)[n:].reshape(-1, kinds) * passes).max(axis=1)
        best = int(np.argmin(slowest))
        return best, float(slowest[best])

    @property
    def best(self) -> tuple[Serving, ...]:
        """Pareto-optimal engines in TPOT and throughput per chip within the limits, fastest first."""
        where = np.flatnonzero(self.kept())
        tpot_s, tokens_per_s = (np.asarray(x)[where] for x in (self.points.tpot_s, self.points.chip_tokens_per_s))
        front = np.flatnonzero(is_unbeaten(np.stack([tpot_s, -tokens_per_s], axis=-1)))
        return tuple(self.at(int(where[i])) for i in front[np.argsort(tpot_s[front])])


def serving_curve(
    system: System,
    requests: Requests,
    promise: Promise,
    policy: Policy,
) -> Curve:
    """All engines of at most `system.n_chips` chips that serve `requests`, evaluated in steady state.

    Sizes that divide the system, all valid plans, sequences in powers of two, and the three schedulers; engines apart
    pair every decoding with every prompt-reading plan at several loads.
    Source: [pope2022] section 4 for the trade between batch, latency and throughput.
    PlanError: no plan divides the model, or not even one request fits in memory (with the shortfall).
    SpecError: every answer is one token.
    """
    requests.check_decodes()
    tech, c = chip_technology(system.chip), calibration_for(system.chip.name, requests)
    static_W = silicon(system.chip, tech).static_W
    # before hundreds of engines are lowered: a chip that its own leakage fills serves nothing
    check_rest(system.chip, tech, static_W)
    ref = chip_reference(system.chip, c)
    shapes = make.shapes(system, requests)
    writers = make.writers(requests, shapes, policy, promise.quantile_frac, ref)
    if not writers:
        raise PlanError(_misfit(system, requests, shapes, promise.quantile_frac, policy.n_drafted))
    menu = menu_of(requests, writers, shapes, policy, ref)
    costs = batched_costs(menu.demands, system, tech, c)
    engine = _engines(menu, requests, policy, float(c.request_s))
    points = _steady_states(menu, engine, costs, static_W, tech, promise.quantile_frac)
    return Curve(system, requests, promise, policy, c, menu, costs, points)


def _misfit(system: System, requests: Requests, shapes: list[Shape], quantile_frac: float, n_drafted: int) -> str:
    """Why nothing can serve: no plan, or the leanest one's shortfall."""
    name, chips = requests.model.name, system.n_chips
    if not shapes:
        return f"no plan divides {name} over {chips} or fewer chips of {system.name}; choose another number of chips"
    need = {s: make.writer_memory(requests, s, 1, quantile_frac, n_drafted) for s in shapes}
    shape = min(need, key=lambda s: need[s].total)
    m, have = need[shape], float(usable_B(system.chip))
    return (
        f"{name} with {requests.longest:,} tokens of context does not fit: {plan_text(shape.plan)} on "
        f"{shape.system.n_chips} x {system.chip.name} needs {m.total / 2**30:.1f} GiB per chip (weights "
        f"{m.weights_B / 2**30:.1f}, KV cache {m.kv_B / 2**30:.1f}) and may use {have / 2**30:.1f} GiB, a shortfall of "
        f"{(m.total - have) / 2**30:.1f} GiB; use more chips, narrower weights or KV, or less context"
    )


def batched_costs(demands: list[StepDemand], system: System, tech: Technology, c: Calibration) -> Passes:
    """Time and energy of every pass, as host arrays; the batch is padded so that few sizes are compiled."""
    stacked = stack_records(demands + demands[:1] * (n_padded(len(demands)) - len(demands)))
    return jax.tree.map(lambda x: np.asarray(x)[: len(demands)], _costs(stacked, system.chip, tech, c))


# once per process: wrapped inside a function, they would compile at every call
_costs = jax.jit(jax.vmap(pass_costs, in_axes=(0, None, None, None)))
_states = jax.jit(jax.vmap(steady_state, in_axes=(0, 0, 0, None, None, None)))


def _engines(menu: Menu, requests: Requests, policy: Policy, request_s: float) -> Engine:
    n, w, r = len(menu.writer_index), menu.writer_index, menu.reader_index
    accepted = float(n_accepted_tokens(np.asarray(policy.acceptance_frac), policy.n_drafted))
    sizes = np.asarray([(x.n_sequences, x.shape.plan.dp, x.shape.system.n_chips) for x in menu.writers], dtype=float)
    reads = np.asarray([(x.shape.plan.dp, x.shape.system.n_chips) for x in menu.readers], dtype=float)
    return Engine(
        *sizes[w].T,
        n_output=np.full(n, requests.n_output),
        n_accepted=np.full(n, accepted),
        draft_frac=np.full(n, policy.n_drafted * policy.draft_frac),
        n_passes=np.asarray([x.n_passes for x in menu.readers], dtype=float)[r],
        share_frac=np.tile([x.share_frac for x in requests.lengths], (n, 1)),
        together_frac=(menu.scheduler_index == 1).astype(float),
        apart_frac=(menu.scheduler_index == 2).astype(float),
        n_prompt_ranks=reads[r, 0],
        n_prompt_chips=reads[r, 1],
        prompt_load_frac=menu.prompt_load_frac,
        transfer_s=menu.transfer_s,
        request_s=np.full(n, request_s),
    )


def _steady_states(
    menu: Menu, engine: Engine, costs: Passes, static_W: FloatLike, tech: Technology, quantile_frac: float
) -> ServingPoint:  # fmt: skip
    n, kinds = len(menu.writer_index), engine.share_frac.shape[-1]
    fill = np.arange(n_padded(n)) % n  # engines over again up to a power of two, so that few sizes are compiled
    # costs stand in the order of the menu's demands: a row per writer, then one per reader and kind of request
    prompt_at = len(menu.writers) + menu.reader_index[:, None] * kinds + np.arange(kinds)
    parts = ((engine, fill), (costs, menu.writer_index[fill]), (costs, prompt_at[fill]))
    e, decode, prompt = (jax.tree.map(lambda x, at=at: x[at], tree) for tree, at in parts)
    points = _states(e, decode, prompt, np.asarray(static_W), tech, np.asarray(quantile_frac))
    return jax.tree.map(lambda x: np.asarray(x)[:n], points)
