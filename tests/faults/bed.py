"""A sweep in a folder of its own, run as a user runs it, in processes that can be killed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SPEC = """
[sweep]
name = "crash"
shard_points = 64
seed = {seed}

[base]
chip = "trainium3"
system = "trn3-gen1-64"
model = "llama-3.1-8b"
chips = 16
batch = 256
sequence = 4096

[[axes]]
sample = "sobol"
points = {points}
log = {{ clock = ["1 GHz", "3 GHz"], hbm_bandwidth = ["2 TBps", "10 TBps"], n_cores = ["4", "32"] }}
"""
STUDY = ROOT / "tests" / "data" / "tiny.toml"
LIMIT_S = 900
"""Seconds after which what was to end is taken to hang; a slow machine must not look like that."""
TWO = ("--engine", "dask", "--workers", "2")
"""Flags of a run on two workers here."""


@dataclasses.dataclass
class Bed:
    """A folder with the specification, and what the result must be."""

    folder: Path
    points: int
    expected: str = ""
    """Digest of the rows of a run in peace."""
    front_points: int = 12
    """Points of a front that is killed."""

    def __post_init__(self):
        for name, seed in (("crash", 0), ("other", 1)):
            (self.folder / f"{name}.toml").write_text(SPEC.format(points=self.points, seed=seed))
        if not self.expected:
            self.finish("peace")
            self.expected = self.digest("peace")

    def command(self, results: str, *flags: str, spec: str = "crash") -> list[str]:
        words = ("sweep", str(self.folder / f"{spec}.toml"), "--results", str(self.folder / results))
        return [sys.executable, "-m", "dse.cli", *words, *flags]

    def start(self, command: list[str]) -> subprocess.Popen:
        with (self.folder / "log.txt").open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment())

    def said(self) -> str:
        """What the last process said."""
        return (self.folder / "log.txt").read_text()

    def ask(self, command: list[str]) -> tuple[int, str]:
        """Exit code and last line of a process; anything but one line of ours is a failure."""
        code = self.start(command).wait(LIMIT_S)
        assert "Traceback" not in self.said(), self.said()[-3000:]
        return code, (self.said().strip().splitlines() or [""])[-1]

    def finish(self, results: str, *flags: str) -> None:
        """A run to the end."""
        code, _ = self.ask(self.command(results, *flags))
        assert code == 0, self.said()[-3000:]

    def sweep(self, results: str) -> Path:
        return self.folder / results / "crash"

    def digest(self, results: str) -> str:
        """Digest of all rows; the folder holds nothing else but the manifest."""
        names = {p.name for p in self.sweep(results).iterdir()}
        assert names <= {"manifest.json", "results.parquet", "shards", "failures"}, names
        return hashlib.sha256((self.sweep(results) / "results.parquet").read_bytes()).hexdigest()

    def same(self, results: str) -> str:
        """What a round must end in."""
        assert self.digest(results) == self.expected, "other rows than in peace"
        return "bit-identical"

    def whole(self, results: str) -> list[Path]:
        return sorted((self.sweep(results) / "shards").glob("[!.]*.parquet"))

    def unmerged(self, results: str) -> list[Path]:
        """Shards of the sweep as two slices of which the second is not finished; computed once, then copied."""
        if not (self.folder / "half").exists():
            self.finish("half", "--shard", "0/2")
        shutil.rmtree(self.folder / results, ignore_errors=True)
        shutil.copytree(self.folder / "half", self.folder / results)
        return self.whole(results)

    def until(self, run: subprocess.Popen, results: str, shards: int) -> None:
        """Wait until so many shards are whole."""
        begin = time.monotonic()
        while run.poll() is None and len(self.whole(results)) < shards and time.monotonic() - begin < LIMIT_S:
            time.sleep(0.01)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def kill_group(run: subprocess.Popen) -> None:
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait(LIMIT_S)


def kill_client(run: subprocess.Popen) -> None:
    """The client alone: its workers must go by themselves."""
    children = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait(LIMIT_S)
    _, left = psutil.wait_procs(children, timeout=LIMIT_S)
    assert not left, f"orphans: {left}"


def workers_of(run: subprocess.Popen) -> list[psutil.Process]:
    """Dask's worker processes below a run."""
    below = psutil.Process(run.pid).children(recursive=True)
    return [p for p in below if any("spawn_main" in word for word in p.cmdline())]


@contextmanager
def cluster(bed: Bed, *, path: Path | None = None) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address and process of a scheduler with one worker, on loopback; packages in `path` come first for the worker."""
    place = bed.folder / "scheduler.json"
    place.unlink(missing_ok=True)
    common = ("--scheduler-file", str(place), "--host", "127.0.0.1", "--no-dashboard")
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", *common, "--port", "0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    scheduler = subprocess.Popen(words, env=environment(), **quiet)
    address, begin = "", time.monotonic()
    while not address:
        assert scheduler.poll() is None and time.monotonic() - begin < LIMIT_S, "no scheduler"
        try:
            address = json.loads(place.read_text())["address"]
        except (OSError, ValueError, KeyError):
            time.sleep(0.05)
    looks = f"{path}:{ROOT}" if path is not None else str(ROOT)
    words = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        *common,
        "--nthreads",
        "1",
        "--death-timeout",
        str(LIMIT_S),
    ]
    worker = subprocess.Popen(words, env=environment(PYTHONPATH=looks), cwd=bed.folder, **quiet)
    try:
        yield address, scheduler
    finally:
        kill_group(worker)
        kill_group(scheduler)
