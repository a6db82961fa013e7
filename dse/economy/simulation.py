"""Discrete-event simulation of a cluster with failures, an independent check of `reliability`.

A job computes and checkpoints; failed units go to repair and spares replace them. Needs `simpy` (extra `fleet`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any

import numpy as np

from ..core.errors import SpecError


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Parameters of a simulated job, in seconds and failures per second."""

    hardware_per_s: float
    """Failures of the whole job that take a unit away."""
    software_per_s: float
    """Failures of the whole job that do not."""
    interval_s: float
    write_s: float
    restart_s: float
    repair_s: float
    """Time until a failed unit is a spare again."""
    n_spares: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Goodput and counts of a simulated job."""

    goodput_frac: float
    waiting_frac: float
    """Wall time spent waiting for a unit to come back from repair."""
    n_failures: int
    n_checkpoints: int


@dataclasses.dataclass
class _Tally:
    useful_s: float = 0.0
    waiting_s: float = 0.0
    n_failures: int = 0
    n_checkpoints: int = 0


def simulate(cluster: Cluster, n_failures: int, seed: int = 0) -> Outcome:
    """Run `cluster` until it was interrupted `n_failures` times; SpecError where simpy (extra `fleet`) is missing."""
    try:
        import simpy
    except ImportError as error:
        raise SpecError("simulation needs simpy; install dse with the extra 'fleet'") from error
    env, random, tally = simpy.Environment(), np.random.default_rng(seed), _Tally()
    spares = simpy.Container(env, init=cluster.n_spares)
    job = env.process(_job(env, cluster, spares, tally))
    stop = env.event()
    for rate, is_hardware in ((cluster.hardware_per_s, True), (cluster.software_per_s, False)):
        # a mean time of 1 / rate
        if rate > 0:
            env.process(_failures(env, rate, is_hardware, job, tally, random, n_failures, stop))
    env.run(until=stop)
    wall = float(env.now)
    return Outcome(tally.useful_s / wall, tally.waiting_s / wall, tally.n_failures, tally.n_checkpoints)


def _failures(
    env: Any, rate: float, is_hardware: bool, job: Any, tally: _Tally, random: Any, limit: int, stop: Any
) -> Generator[Any, Any, None]:
    """Interrupt the job after exponential times; the cause says whether a unit is lost."""
    while True:
        # without memory: the closed form has constant rates too
        yield env.timeout(random.exponential(1.0 / rate))
        tally.n_failures += 1
        if tally.n_failures >= limit:
            # the other kind of failures counts as well, and may have reached the limit first
            if not stop.triggered:
                stop.succeed()
            return
        # during a restart too: restarts fail like everything else, as the closed form has it
        job.interrupt(is_hardware)


def _job(env: Any, cluster: Cluster, spares: Any, tally: _Tally) -> Generator[Any, Any, None]:
    """Compute, save, repeat; after an interruption replace what failed, restart, and begin the segment again."""
    import simpy

    lost = 0  # units that failed and were not replaced yet
    begin = True
    while True:
        try:
            # not if: more may fail while the job waits
            while lost:
                since = env.now
                yield from _take(env, spares, tally, since)
                lost -= 1
            # the first segment starts from nothing lost
            if not begin:
                yield env.timeout(cluster.restart_s)
            begin = True
            yield env.timeout(cluster.interval_s)
            yield env.timeout(cluster.write_s)
            # only what a finished checkpoint holds counts: an interruption before it takes the segment away
            tally.useful_s += cluster.interval_s
            tally.n_checkpoints += 1
        except simpy.Interrupt as interruption:
            begin = False
            if interruption.cause:
                lost += 1
                env.process(_repair(env, cluster.repair_s, spares))


def _take(env: Any, spares: Any, tally: _Tally, since: float) -> Generator[Any, Any, None]:
    """Take a spare, waiting for one if need be; a request that is interrupted is withdrawn."""
    request = spares.get(1)
    try:
        yield request
    finally:
        tally.waiting_s += env.now - since
        # else the next spare would go to a request that nobody waits for
        if not request.triggered:
            request.cancel()


def _repair(env: Any, repair_s: float, spares: Any) -> Generator[Any, Any, None]:
    yield env.timeout(repair_s)
    yield spares.put(1)
