"""Ten million points three ways: in this process, over Dask with two workers, and as eight slices of an array job.

Prints a table, and writes it with `--write`: whether the rows are the same, bit for bit, once in the order of their
points; time per point; and memory, beside that of a tenth of the points. On a machine that others use too, read
processor seconds.

    python tests/bench/bench_scale.py [points] [--write docs/scale.md]
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from bench_sweep import SPEC

from dse.core.origin import git_commit
from dse.sweep.folder import held_files

SLICES = 8
WORKERS = 2
BEAT_S = 0.2
"""Seconds between two looks at memory."""
HEAD = """# A sweep at scale

Written by `make bench-scale` at commit {commit}, on {cores} cores ({processor}) and {memory:.0f} GiB of memory.
{points:,} points, each GPT-3 175B on 1,024 A100 with eight numbers of the chip drawn anew, to Parquet in {shards}
shards. Compiled programs are kept from a run before, as for anyone who sweeps twice. The slices of the array job run
one after another here, each in a process of its own; on a cluster they run at once. Wall time is that of a machine on
which other programs ran too.

| how | wall s | processor s | µs per point | beside in process | largest process GiB | of a tenth | all GiB |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
"Of a tenth" is the largest process with a tenth of the points. Time per point is that of all processors, the start of
every process included; "all" is the largest sum of resident memory over all processes, pages that they share counted in
each. Rows of all three, in the order of their points: {same} (SHA-256 over the bytes of every shard: {digest}).
"""


@dataclasses.dataclass
class Run:
    """What one way took."""

    wall_s: float = 0.0
    processor_s: float = 0.0
    largest_B: int = 0
    """Largest resident memory of one process."""
    all_B: int = 0
    """Largest sum over all processes that ran at once."""

    def add(self, *command: str) -> None:
        """Run `command` to its end, and count it in."""
        begin, before = time.perf_counter(), os.times()
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(run.pid, over))
        watch.start()
        _, told = run.communicate()
        over.set()
        watch.join()
        assert run.returncode == 0, told.decode()[-2000:]
        after = os.times()
        self.wall_s += time.perf_counter() - begin
        self.processor_s += (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )

    def _watch(self, pid: int, over: threading.Event) -> None:
        while not over.wait(BEAT_S):
            try:
                parent = psutil.Process(pid)
                sizes = [p.memory_info().rss for p in (parent, *parent.children(recursive=True))]
            except psutil.Error:
                continue
            self.largest_B = max(self.largest_B, *sizes)
            self.all_B = max(self.all_B, sum(sizes))


WAYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "in process": ((),),
    f"Dask, {WORKERS} workers": (("--engine", "dask", "--workers", str(WORKERS)),),
    f"{SLICES} slices": tuple(("--shard", f"{i}/{SLICES}") for i in range(SLICES)),
}
"""Flags of every process that a way takes."""


def sweep(folder: Path, points: int, flags: tuple[tuple[str, ...], ...]) -> tuple[Run, str, int]:
    """What a sweep took, the digest of its rows in order, and its shards."""
    (folder / "spec.toml").write_text(SPEC.format(points=points))
    run = Run()
    for words in flags:
        run.add(
            sys.executable,
            "-m",
            "dse.cli",
            "sweep",
            str(folder / "spec.toml"),
            "--results",
            str(folder / "out"),
            *words,
        )
    found = hashlib.sha256()
    files = held_files(folder / "out" / "million")
    for file in files:
        found.update(file.whole())
    shutil.rmtree(folder / "out")
    return run, found.hexdigest(), len(files)


def row(name: str, points: int, run: Run, tenth: Run, first: Run) -> str:
    """One way as a line of the table."""
    cells = (
        f"{run.wall_s:.0f}",
        f"{run.processor_s:.0f}",
        f"{run.processor_s / points * 1e6:.2f}",
        f"{run.processor_s / first.processor_s:.2f}",
        f"{run.largest_B / 2**30:.2f}",
        f"{tenth.largest_B / 2**30:.2f}",
        f"{run.all_B / 2**30:.2f}",
    )
    return f"| {name} | {' | '.join(cells)} |"


def processor() -> str:
    """What the processor calls itself, where the system says so."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "processor unknown")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("points", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep(folder, asked.points // 10, WAYS["in process"])  # compiles, once for good
        tenths = {way: sweep(folder, asked.points // 10, flags)[0] for way, flags in WAYS.items()}
        runs, digests, shards = {}, set(), 0
        lines: list[str] = []
        for way, flags in WAYS.items():
            runs[way], digest, shards = sweep(folder, asked.points, flags)
            digests.add(digest)
            lines.append(row(way, asked.points, runs[way], tenths[way], runs["in process"]))
            print(lines[-1], flush=True)
    head = HEAD.format(
        commit=(git_commit() or "unknown")[:12], cores=os.cpu_count(), processor=processor(),
        memory=psutil.virtual_memory().total / 2**30, points=asked.points, shards=shards,
    )  # fmt: skip
    same = "the same bit for bit" if len(digests) == 1 else "NOT THE SAME"
    page = head + "\n".join(lines) + "\n" + TAIL.format(same=same, digest=", ".join(sorted(d[:16] for d in digests)))
    print(page)
    if asked.write and len(digests) == 1:
        asked.write.write_text(page, encoding="utf-8")
    return int(len(digests) != 1)


if __name__ == "__main__":
    sys.exit(main())
