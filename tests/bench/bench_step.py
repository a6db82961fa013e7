"""Prints training step times per second, full breakdown, what a gradient costs, and compile times: `make bench`.

A dense model and a mixture of experts; eight numbers of the chip vary from point to point. Ratios of one run on one
machine. Aims on two cores: 1,000,000 /s dense, 300,000 /s for the mixture, compiled in less than 5 s.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dse
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.physics.calibration import default_calibration
from dse.physics.step import step_time
from dse.study.design import FREE, with_free

AXES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip
POINTS, CHUNK = 200_000, 2_000

CASES = {
    "GPT-3 175B, 1,024 A100": (
        "dgx-a100", 1024, dse.Training(dse.model("gpt-3-175b"), 1536, 2048), dse.Plan(tp=8, pp=8, dp=16, interleave=3),
    ),
    "Qwen3 235B-A22B, 1,024 H100": (
        "dgx-h100", 1024, dse.Training(dse.model("qwen3-235b-a22b"), 2048, 4096), dse.Plan(tp=4, pp=8, dp=32, ep=8),
    ),
    "DeepSeek-V3 671B, 2,048 H100": (
        "dgx-h100", 2048, dse.Training(dse.model("deepseek-v3"), 4096, 4096), dse.Plan(pp=16, dp=128, ep=64),
    ),
}  # fmt: skip
"""System, chips, workload and plan."""


def functions(system, workload, plan):
    """Breakdown and value with gradient of a step, from logs of `AXES`, and the logs of the chip as it is."""
    c = default_calibration(system.chip.name)
    d = demand(workload, plan, system, chip_reference(system.chip, c))
    base = np.log([float(v) for v in (FREE[a](system.chip) for a in AXES)])

    def step(x):
        return step_time(d, with_free(system.chip, dict(zip(AXES, jnp.exp(x), strict=True))), c)

    def breakdown(x):
        s = step(x)
        parts = (s.total_s, s.compute_s, s.tensor_exposed_s, s.pipeline_exposed_s, s.bubble_s, s.data_exposed_s)
        return jnp.stack([*parts, s.optimizer_s, s.hbm_B])

    return breakdown, jax.value_and_grad(lambda x: step(x).total_s), base


def timed_s(run, *inputs):
    """Seconds of one call."""
    start = time.perf_counter()
    jax.block_until_ready(run(*inputs))
    return time.perf_counter() - start


def per_point_s(f, base):
    """Best seconds per point of `f` over a batch around `base`, and the seconds the first call took longer."""
    z = jnp.asarray(base + np.random.default_rng(0).uniform(-0.7, 0.7, (POINTS, len(AXES))))
    run = jax.jit(partial(jax.lax.map, f, batch_size=CHUNK))
    first = timed_s(run, z)
    best = min(timed_s(run, z) for _ in range(3))
    return best / POINTS, first - best


def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)  # compile times of a first run
    for name, (kind, n_chips, workload, plan) in CASES.items():
        breakdown, gradient, base = functions(dse.system(kind, n_chips), workload, plan)
        print(name)
        seconds = {}
        for what, f in {"full breakdown": breakdown, "value and gradient": gradient}.items():
            seconds[what], compile_s = per_point_s(f, base)
            rate, each = 1 / seconds[what], seconds[what] * 1e6
            print(f"  {what:20s} {rate:12,.0f} /s   {each:.2f} us each, compiled in {compile_s:.1f} s")
        print(f"  gradient over forward {seconds['value and gradient'] / seconds['full breakdown']:.2f}")


if __name__ == "__main__":
    main()
