"""Prints training step times per second, full breakdown, and what a gradient costs: `make bench`.

GPT-3 175B on 1,024 A100, eight numbers of the chip vary from point to point. Ratios of one run on one machine.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dse
from dse.objective.design import FREE, with_free
from dse.objective.metrics import chip_reference
from dse.performance.calibration import default_calibration
from dse.performance.demand import demand
from dse.performance.step import step_time

AXES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip
POINTS, CHUNK = 200_000, 2_000


def main() -> None:
    system = dse.system("dgx-a100", 1024)
    c = default_calibration("a100-80")
    workload = dse.Training(dse.model("gpt-3-175b"), 1536, 2048)
    plan = dse.Plan(tp=8, pp=8, dp=16, interleave=3)
    d = demand(workload, plan, system, chip_reference(system.chip, c))
    base = np.log([float(v) for v in (FREE[a](system.chip) for a in AXES)])
    z = jnp.asarray(base + np.random.default_rng(0).uniform(-0.7, 0.7, (POINTS, len(AXES))))

    def step(x):
        return step_time(d, with_free(system.chip, dict(zip(AXES, jnp.exp(x), strict=True))), c)

    def breakdown(x):
        s = step(x)
        parts = (s.total_s, s.compute_s, s.tensor_exposed_s, s.pipeline_exposed_s, s.bubble_s, s.data_exposed_s)
        return jnp.stack([*parts, s.optimizer_s, s.hbm_B])

    runs = {"full breakdown": breakdown, "value and gradient": jax.value_and_grad(lambda x: step(x).total_s)}
    seconds = {}
    for name, f in runs.items():
        run = jax.jit(partial(jax.lax.map, f, batch_size=CHUNK))
        jax.block_until_ready(run(z))
        best = min(_time(run, z) for _ in range(3))
        seconds[name] = best / POINTS
        print(f"{name:20s} {1 / seconds[name]:12,.0f} /s   {seconds[name] * 1e6:.2f} us each")
    print(f"gradient over forward {seconds['value and gradient'] / seconds['full breakdown']:.2f}")


def _time(run, z) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(z))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
