"""Kills sweeps at random times and resumes them: the result must be bit for bit that of a run in peace.

    python tests/bench/crash_sweep.py [rounds]

Each round kills, with SIGKILL, a Dask worker (the sweep must then finish by itself), the client, or the whole process
group, at a random time of a run on two local workers (up to a second after some number of shards, drawn anew, is
whole); then resumes in either engine, and compares every byte.
"""

import dataclasses
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SPEC = """
[sweep]
name = "crash"
shard_points = 64

[base]
chip = "trainium3"
system = "trn3-gen1-64"
model = "llama-3.1-70b"
chips = 128
batch = 256
sequence = 4096

[[axes]]
sample = "sobol"
points = {points}
log = {{ clock = ["1 GHz", "3 GHz"], hbm_bandwidth = ["2 TBps", "10 TBps"], n_cores = ["4", "32"] }}
"""
KINDS = ("worker", "client", "everything")
LIMIT_S = 240


@dataclasses.dataclass
class Crash:
    """A folder with the specification, and what the result must be."""

    folder: Path
    points: int

    def __post_init__(self):
        (self.folder / "crash.toml").write_text(SPEC.format(points=self.points))

    def command(self, results: str, *flags: str) -> list[str]:
        spec, root = self.folder / "crash.toml", self.folder / results
        return [sys.executable, "-m", "dse.cli", "sweep", str(spec), "--results", str(root), *flags]

    def start(self, results: str, *flags: str) -> subprocess.Popen:
        with open(self.folder / "log.txt", "a") as log:
            return subprocess.Popen(self.command(results, *flags), stdout=log, stderr=log, start_new_session=True)

    def finish(self, results: str, *flags: str) -> float:
        """Seconds of a run to the end."""
        begin = time.monotonic()
        assert self.start(results, *flags).wait(LIMIT_S) == 0, (self.folder / "log.txt").read_text()[-3000:]
        return time.monotonic() - begin

    def digest(self, results: str) -> str:
        """Digest of all rows; the folder holds nothing else but the manifest."""
        folder = self.folder / results / "crash"
        names = sorted(p.name for p in folder.iterdir()) + sorted(p.name for p in (folder / "shards").iterdir())
        assert names == ["manifest.json", "results.parquet", "shards"], names
        return hashlib.sha256((folder / "results.parquet").read_bytes()).hexdigest()

    def whole_shards(self, results: str) -> int:
        return len(list((self.folder / results / "crash" / "shards").glob("[!.]*.parquet")))


def workers(pid: int) -> list[psutil.Process]:
    """Dask's worker processes below `pid`."""
    below = psutil.Process(pid).children(recursive=True)
    return [p for p in below if any("spawn_main" in word for word in p.cmdline())]


def kill(kind: str, run: subprocess.Popen, dice: random.Random) -> str:
    """Kill what `kind` says; what was killed."""
    if run.poll() is not None:
        return "nothing: it had finished"
    if kind == "worker":
        alive = workers(run.pid)
        if not alive:
            return "nothing: no worker yet"
        alive[dice.randrange(len(alive))].kill()
    elif kind == "client":
        children = psutil.Process(run.pid).children(recursive=True)
        run.kill()
        _, left = psutil.wait_procs(children, timeout=60)
        assert not left, f"orphans: {left}"
    else:
        os.killpg(run.pid, signal.SIGKILL)
    return kind


def one_round(crash: Crash, kind: str, resume: tuple[str, ...], dice: random.Random) -> str:
    """Start on two workers, kill, resume with the flags `resume`; a line on what happened."""
    shutil.rmtree(crash.folder / "broken", ignore_errors=True)
    begin = time.monotonic()
    run = crash.start("broken", "--engine", "dask", "--workers", "2")
    wanted = dice.randrange(crash.points // 64)
    while run.poll() is None and crash.whole_shards("broken") < wanted:
        time.sleep(0.01)
    time.sleep(dice.uniform(0, 1))
    after_s = time.monotonic() - begin
    killed = kill(kind, run, dice)
    if killed in ("client", "everything"):
        run.wait(LIMIT_S)
        left = crash.whole_shards("broken")
        crash.finish("broken", "--resume", *resume)
        return f"killed {killed} after {after_s:.1f} s with {left} shards whole, resumed"
    assert run.wait(LIMIT_S) == 0, (crash.folder / "log.txt").read_text()[-3000:]
    return f"killed {killed} after {after_s:.1f} s, finished by itself"


def main(rounds: int = 10, points: int = 2048) -> None:
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        crash = Crash(Path(folder), points)
        crash.finish("peace")
        whole_s = crash.finish("peace_dask", "--engine", "dask", "--workers", "2")
        expected = crash.digest("peace")
        assert crash.digest("peace_dask") == expected
        print(f"in peace: {points:,} points, {points // 64} shards, {whole_s:.1f} s on two workers, {expected[:16]}")
        same = 0
        for i in range(rounds):
            engine = (("--engine", "dask", "--workers", "2"), ())[i % 2]
            told = one_round(crash, KINDS[i % 3], engine, dice)
            same += crash.digest("broken") == expected
            how = "Dask" if engine else "in process"
            print(f"round {i + 1}: {told} ({how}): {crash.digest('broken')[:16]}", flush=True)
        print(f"{same} of {rounds} bit-identical")
        assert same == rounds


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
