"""A cluster that nobody else reaches, workers that are refused by name, and what a run gives up."""

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


@pytest.mark.slow
def test_nothing_listens_beyond_this_machine(write, tmp_path):
    """Before: 0.0.0.0:8787 in plain HTTP without a password, and the workers likewise."""
    with dask_engine.dask_engine(workers=1) as compute:
        store = open_store(load_sweep(write()), tmp_path)
        run(store, plan_work(store), compute)
        every = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = [c.laddr.ip for p in every for c in p.net_connections() if c.status == "LISTEN"]
        assert set(listening) == {"127.0.0.1"}
    assert len(dse.results.load(store.folder)) == 24


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
