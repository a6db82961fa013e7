"""Sweep shards on a Dask cluster: a local one made here, or one that is already running.

A shard is done when its file exists: a lost worker costs its shard, a lost scheduler a `--resume`. All workers must
see the results folder and users' files, and run the client's code, or are refused by name.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import gc
import ipaddress
import logging
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import jax

from ..core.counts import check_count
from ..core.errors import DseError, SpecError
from ..core.origin import software
from .engine import ATTEMPTS, Outcome, reason_of, run_shard
from .spec import own_files
from .store import Facts, Failure

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Worker

    from .engine import Engine
    from .store import Store

HERE = "127.0.0.1"
"""Address that nobody outside this machine reaches."""
SETTINGS = {
    # The nanny would set MALLOC_TRIM_THRESHOLD_, which makes programs that allocate much twice as slow.
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": "1"},
    "distributed.worker.multiprocessing-method": "spawn",  # forking a process that runs JAX can hang it
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    # A worker that begins anew after 15 s would be taken out of the cluster for good: a slow machine ends with none.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
}
"""Dask settings that must hold before a cluster starts."""
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "jax_compilation_cache_dir",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "jax_persistent_cache_min_compile_time_secs",
}
"""Environment that lets workers share this process's compiled programs, and where JAX keeps the values."""
REACH_S = 30
"""Seconds to wait for a scheduler that should be running."""
Basis: TypeAlias = dict[str, str]
"""What a process would answer with: code, data files and versions, and the user's own files as it sees them."""


def dask_setup(worker: object) -> None:
    """Make a worker ready while it starts, deaf to Ctrl-C, which the client answers; called by Dask as its preload."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def bear_slow_disks() -> None:
    """Let a cluster start where making a folder takes long: Dask's warning, perhaps a late one, is no error."""
    warnings.filterwarnings("ignore", "Creating scratch directories", UserWarning)


def patient_worker(**asked: object) -> Worker:
    """Dask's worker, in its own process, which has the warning filters of this one and no more."""
    from distributed import Worker

    bear_slow_disks()
    return Worker(**asked)  # pyright: ignore[reportArgumentType]


MOST_WORKERS = 1_024
"""Processes of one machine: some hundred MB each."""


@contextlib.contextmanager
def dask_engine(scheduler: str | None = None, workers: int | None = None) -> Iterator[Engine]:
    """An engine on the cluster at `scheduler`, or on new processes here, `workers` of them or one per core.

    SpecError: Dask is not installed, no scheduler answers, or no cluster can be made here.
    """
    if workers is not None:
        check_count("workers", workers, 1, MOST_WORKERS)
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise SpecError("--engine dask needs the package distributed: pip install 'dse-accelerators[sweep]'") from error
    dask.config.set(SETTINGS)
    bear_slow_disks()
    if scheduler is not None:
        with _quiet(), _reached(Client, scheduler) as client:
            yield lambda store, todo: _computed(client, store, todo)
        return
    with ThreadPoolExecutor(1) as thread:
        # processes take seconds to start: the caller finds out meanwhile what there is to do
        starting = thread.submit(_new_cluster, workers or os.cpu_count() or 1)
        try:
            yield lambda store, todo: _computed(starting.result()[1], store, todo)
        finally:
            if starting.exception() is None:
                _close(*starting.result())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own account of a lost connection, in many lines, is not shown: the run ends in one of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def is_open(scheduler: str) -> bool:
    """Whether talk with a scheduler leaves this machine unencrypted."""
    scheme, _, rest = scheduler.rpartition("://")
    host = rest.rpartition(":")[0].strip("[]")
    try:
        local = all(ipaddress.ip_address(a[4][0]).is_loopback for a in socket.getaddrinfo(host, None))
    except OSError:
        local = False
    return scheme in ("", "tcp") and not local


@contextlib.contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No collection of garbage while Dask begins to time them: one under way would end without a beginning, loudly."""
    ran = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if ran:
            gc.enable()


def _new_cluster(workers: int) -> tuple[LocalCluster, Client]:
    """A new cluster on this machine, reachable from it alone, and its client."""
    from distributed import Client, LocalCluster, Nanny

    env = {k: str(v) for k, name in CACHE.items() if (v := jax.config.values.get(name)) is not None}
    try:
        with _collector_at_rest():
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host=HERE, dashboard_address=f"{HERE}:0",
                worker_dashboard_address=f"{HERE}:0", env=env, preload=__name__, silence_logs=logging.CRITICAL,
                worker_class=functools.partial(Nanny, worker_class=patient_worker),
            )  # fmt: skip
        return cluster, Client(cluster)
    except (OSError, RuntimeError) as error:
        told = f"no Dask cluster could be made here ({reason_of(error)}); --engine local needs none"
        raise SpecError(told) from error


def _close(cluster: LocalCluster, client: Client) -> None:
    """End a cluster that has answered; where a process takes too long to go, that is no fault of the answer."""
    for part in (client, cluster):
        with contextlib.suppress(OSError):
            part.close()


def _reached(make: Callable[..., Client], scheduler: str) -> Client:
    try:
        return make(scheduler, timeout=REACH_S)
    except (OSError, ValueError) as error:
        told = "no scheduler answers there; give its address, such as tcp://host:8786"
        raise SpecError(f"--scheduler {scheduler}: {told}") from error


def basis_of(store: Store) -> Basis:
    """What this process would answer with; a file that it does not see has an empty digest."""
    return {**software(), **own_files(store.sweep)}


def refusal(worker: str, mine: Basis, theirs: object) -> str | None:
    """Why the answers of a worker would not be the client's, in one line that names it; None where they would."""
    if not isinstance(theirs, dict):
        return f"worker {worker} refused: it cannot say which code it runs ({theirs}); start it from this code"
    other = [k for k in mine if mine[k] != theirs.get(k)]
    if not other:
        return None
    told = ", ".join(f"{k} {str(theirs.get(k) or 'missing')[:12]} for {mine[k][:12]}" for k in other)
    return f"worker {worker} refused: it has other {told}; start it from the code and files of this sweep"


def _computed(client: Client, store: Store, todo: tuple[int, ...]) -> Iterator[Outcome]:
    """What came of every shard of `todo`; one on a lost worker goes to another."""
    from distributed import as_completed

    mine = basis_of(store)
    try:
        told = client.run(basis_of, store, on_error="return")
        for worker, theirs in told.items():  # pyright: ignore[reportAttributeAccessIssue]
            why = refusal(worker, mine, theirs if isinstance(theirs, dict) else reason_of(theirs))
            if why is not None:
                raise SpecError(why)
        # not pure: what the scheduler still knows of an earlier run must not answer for this one
        futures = client.map(_shard, todo, store=store, mine=mine, pure=False, retries=ATTEMPTS - 1)
        place = {f.key: i for f, i in zip(futures, todo, strict=True)}
        for future in as_completed(futures):
            if future.status == "error":
                yield place[future.key], Failure(place[future.key], reason_of(future.exception() or Exception()))
            else:
                outcome = future.result()
                if isinstance(outcome, str):
                    raise SpecError(outcome)
                yield place[future.key], outcome
            # a scheduler remembers every result until nobody asks for it any more
            future.release()
    except (OSError, concurrent.futures.CancelledError, RuntimeError) as error:
        raise SpecError(f"the Dask scheduler is gone ({reason_of(error)})") from error


def _shard(index: int, store: Store, mine: Basis) -> Facts | str:
    """`run_shard` on a worker; a text where the whole run must stop, which Dask would try again as an error."""
    from distributed import get_worker

    why = refusal(get_worker().address, mine, basis_of(store))
    if why is not None:
        return why
    try:
        return run_shard(store, index)
    except DseError as error:
        return str(error)
