"""The same shards on a Dask cluster: one made here, or one that is already running.

The cluster has nothing to remember: a shard is done when its file is there, so a lost worker costs the shard it was
at, and a lost scheduler or client costs a `--resume`. All workers must see the results folder and users' files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import jax

from ..core.errors import SpecError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

    from .engine import Engine
    from .store import Facts, Store

ATTEMPTS = 10
"""Workers that may be lost while at the same shard before it is given up."""
SETTINGS = {
    # The nanny would set MALLOC_TRIM_THRESHOLD_, which makes programs that allocate much twice as slow.
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": "1"},
    "distributed.worker.multiprocessing-method": "spawn",  # forking a process that runs JAX can hang it
    "distributed.scheduler.allowed-failures": ATTEMPTS,
}
"""Dask settings that must hold before a cluster starts."""
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "jax_compilation_cache_dir",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "jax_persistent_cache_min_compile_time_secs",
}
"""Environment that lets workers share this process's compiled programs, and where JAX keeps the values."""
REACH_S = 10
"""Seconds to wait for a scheduler that should be running."""


def dask_setup(worker: object) -> None:
    """Make a worker ready while it starts, rather than with its first shard; called by Dask, as this is its preload.

    Ctrl-C in a terminal reaches every process; the client's answer to it is enough.
    """
    from . import engine

    del worker, engine
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def dask_engine(scheduler: str | None = None, workers: int | None = None) -> Iterator[Engine]:
    """An engine on the cluster at `scheduler`, or on new processes here, `workers` of them or one per core.

    New processes start at once, in the background: the specification can be read meanwhile.

    Raises:
        SpecError: Dask is not installed, or no scheduler answers.
    """
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise SpecError("--engine dask needs the package distributed: pip install 'dse[sweep]'") from error
    dask.config.set(SETTINGS)
    if scheduler is not None:
        with _reached(Client, scheduler) as client:
            yield lambda store, todo: _computed(client, store, todo)
        return
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(_new_cluster, workers or os.cpu_count() or 1)
        try:
            yield lambda store, todo: _computed(starting.result()[1], store, todo)
        finally:
            cluster, client = starting.result()
            client.close()
            cluster.close()


def _new_cluster(workers: int) -> tuple[LocalCluster, Client]:
    """A new cluster on this machine, and its client."""
    from distributed import Client, LocalCluster

    env = {k: str(v) for k, name in CACHE.items() if (v := jax.config.values.get(name)) is not None}
    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="", env=env, preload=__name__,
        silence_logs=logging.CRITICAL,
    )  # fmt: skip
    return cluster, Client(cluster)


def _reached(make: Callable[..., Client], scheduler: str) -> Client:
    try:
        return make(scheduler, timeout=REACH_S)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"--scheduler {scheduler}: no scheduler answers there; give its address, such as tcp://host:8786"
        ) from error


def _computed(client: Client, store: Store, todo: tuple[int, ...]) -> Iterator[tuple[int, Facts]]:
    """Every shard of `todo` as it is done; one on a lost worker goes to another."""
    from distributed import as_completed

    futures = client.map(_shard, todo, store=store, pure=False, retries=ATTEMPTS)
    for future in as_completed(futures):
        yield future.result()
        future.release()


def _shard(index: int, store: Store) -> tuple[int, Facts]:
    """`run_shard` on a worker."""
    from .engine import run_shard

    return index, run_shard(store, index)
