"""The same shards on a Dask cluster: one made here, or one that is already running.

The cluster has nothing to remember: a shard is done when its file is there, so a lost worker costs the shard it was
at, and a lost scheduler or client costs a `--resume`. All workers must see the results folder and users' files.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import jax

from ..core.errors import SpecError
from .engine import Engine, run_shard
from .store import Facts, Store

if TYPE_CHECKING:
    from distributed import Client

SETTINGS = {
    # The nanny would set MALLOC_TRIM_THRESHOLD_, which makes programs that allocate much twice as slow.
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": "1"},
    "distributed.worker.multiprocessing-method": "spawn",  # forking a process that runs JAX can hang it
    "distributed.scheduler.allowed-failures": 10,  # workers lost while at the same shard before it is given up
}
"""Dask settings that must hold before a cluster starts."""

CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "jax_compilation_cache_dir",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "jax_persistent_cache_min_compile_time_secs",
}
"""Environment that lets workers share this process's compiled programs, and where JAX keeps the values."""


def dask_engine(scheduler: str | None, workers: int | None) -> Engine:
    """An engine on the cluster at `scheduler`, or on new processes here, `workers` of them or one per core."""
    wanted = workers or os.cpu_count() or 1

    def engine(store: Store, todo: tuple[int, ...]) -> Iterator[tuple[int, Facts]]:
        if todo:
            with _client(scheduler, min(wanted, len(todo))) as client:
                yield from _computed(client, store, todo)

    return engine


def _computed(client: Client, store: Store, todo: tuple[int, ...]) -> Iterator[tuple[int, Facts]]:
    from distributed import as_completed

    shared = client.scatter(store, broadcast=True)
    futures = client.map(_shard, todo, store=shared, pure=False, retries=SETTINGS[ALLOWED])
    for future in as_completed(futures):
        yield future.result()
        future.release()


ALLOWED = "distributed.scheduler.allowed-failures"


def _shard(index: int, store: Store) -> tuple[int, Facts]:
    """`run_shard` on a worker."""
    return index, run_shard(store, index)


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Client]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SpecError("--engine dask needs the package distributed: pip install 'dse[sweep]'") from error
    dask.config.set(SETTINGS)
    if scheduler is not None:
        with _reached(Client, scheduler) as client:
            yield client
        return
    env = {k: str(v) for k, name in CACHE.items() if (v := jax.config.values.get(name)) is not None}
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="", env=env,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


def _reached(make: Callable[..., Client], scheduler: str) -> Client:
    try:
        return make(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"--scheduler {scheduler}: no scheduler answers there; give its address, tcp://host:8786"
        ) from error
