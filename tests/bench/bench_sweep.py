"""Prints what a sweep of one and two million points takes: time, memory, and ratios to a bare loop and to Dask.

GPT-3 175B on 1,024 A100, eight numbers of the chip vary: the points of bench_step.py, to Parquet. On a machine that
others use too, read processor seconds and ratios, not seconds.

    python tests/bench/bench_sweep.py [points]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """
[sweep]
name = "million"

[base]
chip = "a100-80"
system = "dgx-a100"
model = "gpt-3-175b"
chips = 1024
batch = 1536
sequence = 2048
plan = "tp=8,pp=8,dp=16,interleave=3"

[[axes]]
sample = "sobol"
points = {points}

[axes.log]
n_cores = [54, 216]
clock = ["0.7 GHz", "2.8 GHz"]
scratchpad = ["96 KiB", "1 MiB"]
vector_lanes = [32, 128]
dma_bandwidth = ["10 GBps", "60 GBps"]
hbm_bandwidth = ["1 TBps", "4 TBps"]
hbm_capacity = ["40 GiB", "160 GiB"]
scaleup_bandwidth_per_dir = ["150 GBps", "600 GBps"]
"""
LOOP = """
import sys, time
import numpy as np
from dse.report.terminal import start_jax
start_jax()
from dse.sweep.batch import evaluate_points
from dse.sweep.points import points
from dse.sweep.spec import load_sweep
sweep = load_sweep(sys.argv[1])
made = [points(sweep, sweep.shard(i)) for i in range(sweep.n_shards)]
evaluate_points(sweep, made[0])
begin, used = time.perf_counter(), time.process_time()
for some in made:
    evaluate_points(sweep, some)
print(time.perf_counter() - begin, time.process_time() - used)
"""


def measured(*command: str) -> tuple[float, float, float]:
    """Seconds, processor seconds and largest resident memory [B] of a command with all of its processes."""
    begin = time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(run.pid, 0)
    assert status == 0, command
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0


def main(points: int = 1_000_000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def sweep(n: int, *flags: str) -> tuple[float, float, float]:
            (folder / "spec.toml").write_text(SPEC.format(points=n))
            words = ("sweep", str(folder / "spec.toml"), "--results", name, "--fresh", *flags)
            return measured(sys.executable, "-m", "dse.cli", *words)

        sweep(points)  # compiles, once for good
        loop = subprocess.run([sys.executable, "-c", LOOP, str(folder / "spec.toml")], capture_output=True, check=True)
        bare_s, bare_cpu_s = map(float, loop.stdout.split()[-2:])
        print(
            f"{'bare loop, warm':28s} {bare_s:6.1f} s {bare_cpu_s:6.1f} s of processor {points / bare_cpu_s:12,.0f} /s"
        )
        runs = {
            "in process": sweep(points),
            "in process, twice the points": sweep(2 * points),
            "Dask, two workers": sweep(points, "--engine", "dask", "--workers", "2"),
        }
        for label, (wall, cpu, memory) in runs.items():
            print(f"{label:28s} {wall:6.1f} s {cpu:6.1f} s of processor, largest process {memory / 2**30:.2f} GiB")
        one, two, dask = runs.values()
        print(f"{points:,} points to Parquet: {one[0]:.1f} s, {one[0] / bare_s:.1f} times the bare loop")
        print(f"memory at twice the points {two[2] / one[2]:.2f}, time {two[0] / one[0]:.2f}")
        print(f"Dask over in process: {dask[0] / one[0]:.2f} in time, {dask[1] / one[1]:.2f} in processor seconds")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
