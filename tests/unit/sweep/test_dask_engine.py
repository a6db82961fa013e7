"""A cluster that nobody else reaches, workers that are refused by name, and what a run gives up."""

import contextlib
import warnings

import psutil
import pytest

import dse
from dse.core.errors import SpecError
from dse.sweep import dask_engine, engine
from dse.sweep.engine import ATTEMPTS, local, plan_work, run
from dse.sweep.folder import status
from dse.sweep.spec import load_sweep, own_files
from dse.sweep.store import Failure, open_store


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tls://10.0.0.1:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("10.0.0.1:8786", True),
        ("tcp://0.0.0.0:8786", True),
    ],
)
def test_talk_that_leaves_the_machine_unencrypted(address, told):
    assert dask_engine.is_open(address) is told


def test_a_worker_of_other_code_is_refused_by_name():
    """Before: it was accepted, and its answers were stamped with the client's identity."""
    mine = {"code": "a" * 64, "scipy": "1.17.1", "chip.toml": "b" * 64}
    assert dask_engine.refusal("tcp://x:1", mine, dict(mine)) is None
    assert dask_engine.refusal("tcp://x:1", mine, {**mine, "more": "1"}) is None
    told = dask_engine.refusal("tcp://x:1", mine, {**mine, "scipy": "1.16.0", "chip.toml": ""})
    assert told == (
        "worker tcp://x:1 refused: it has other scipy 1.16.0 for 1.17.1, chip.toml missing for bbbbbbbbbbbb; "
        "start it from the code and files of this sweep"
    )
    assert "cannot say which code it runs (AttributeError" in str(dask_engine.refusal("x", mine, "AttributeError: no"))


def test_users_files_are_part_of_what_a_worker_must_have(write, tmp_path):
    (tmp_path / "mine.toml").write_text('[mine]\nbase = "a100-80"\n')
    path = write(('chip = "a100-80"', 'chip = "mine.toml"\ncalibration = "prior-guess"'))
    sweep = load_sweep(path)
    assert own_files(sweep) == dict(sweep.files) and sweep.files
    (tmp_path / "mine.toml").unlink()
    assert own_files(sweep) == {"mine.toml": ""}


@pytest.fixture
def slow_disk(monkeypatch):
    """Everything that Dask warns of when it takes a second is warned of; warnings are errors here."""
    from distributed import core

    real = core.warn_on_duration
    monkeypatch.setattr(core, "warn_on_duration", lambda _, told: real("0 s", told))


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process listens; none of one that has ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"}
    return set()


@pytest.mark.slow
def test_nothing_listens_beyond_this_machine(write, tmp_path, slow_disk):
    """Before: 0.0.0.0:8787 in plain HTTP without a password, and the workers likewise; on a slow disk no cluster."""
    with dask_engine.dask_engine(workers=1) as compute:
        store = open_store(load_sweep(write()), tmp_path)
        run(store, plan_work(store), compute)
        every = [psutil.Process(), *psutil.Process().children(recursive=True)]
        assert set().union(*map(listening, every)) == {"127.0.0.1"}
    assert len(dse.results.load(store.folder)) == 24


def test_a_worker_starts_on_a_slow_disk(monkeypatch):
    """Also under `python -W error`, which worker processes take over; other warnings are left as they are."""
    import distributed

    def slow(**asked):
        warnings.warn("Creating scratch directories is taking a surprisingly long time. (2.08s)", stacklevel=1)
        return asked

    monkeypatch.setattr(distributed, "Worker", slow)
    assert dask_engine.patient_worker(nthreads=1) == {"nthreads": 1}
    with pytest.raises(UserWarning, match="something else"):
        warnings.warn("something else", stacklevel=1)


def test_a_cluster_that_cannot_be_made_is_one_line(write, tmp_path, monkeypatch):
    """Before: a traceback of two pages."""
    import distributed

    def failing(**_):
        raise RuntimeError("Cluster failed to start:\n no room")

    monkeypatch.setattr(distributed, "LocalCluster", failing)
    store = open_store(load_sweep(write()), tmp_path)
    told = r"no Dask cluster could be made here \(RuntimeError: Cluster failed to start: no room\); --engine local"
    with pytest.raises(SpecError, match=told), dask_engine.dask_engine(workers=1) as compute:
        run(store, plan_work(store), compute)


def test_a_slow_machine_keeps_its_workers():
    """A worker that was killed may need more than Dask's 15 s to come back; a cluster of one would wait for ever."""
    import dask
    from dask.utils import parse_timedelta

    with dask.config.set(dask_engine.SETTINGS):
        assert parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")) >= 300
    assert dask_engine.REACH_S >= 20


def test_one_retry_policy(write, tmp_path, monkeypatch):
    """What may pass is tried three times and then noted; the others go on, and resuming tries again."""
    store = open_store(load_sweep(write()), tmp_path)
    tried: list[int] = []
    real = engine.run_shard

    def shaky(store, index):
        tried.append(index)
        if index == 1:
            raise MemoryError("no\nroom")
        return real(store, index)

    monkeypatch.setattr(engine, "run_shard", shaky)
    assert run(store, plan_work(store), local) == (Failure(1, "MemoryError: no room"),)
    assert tried.count(1) == ATTEMPTS and tried.count(0) == tried.count(2) == 1
    found = status(store.folder)
    assert [(f["shard"], f["reason"]) for f in found["given_up"]] == [(1, "MemoryError: no room")]
    assert (found["whole"], found["missing"]) == (2, 1)
    monkeypatch.undo()
    assert run(store, plan_work(store), local) == ()
    assert status(store.folder)["given_up"] == [] and status(store.folder)["finished"]


def test_what_would_fail_everywhere_stops_the_run(write, tmp_path, monkeypatch):
    store = open_store(load_sweep(write()), tmp_path)

    def full(*_):
        raise SpecError("disk full")

    monkeypatch.setattr(engine, "run_shard", full)
    with pytest.raises(SpecError, match="disk full"):
        run(store, plan_work(store), local)
