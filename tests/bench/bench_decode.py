"""Prints decode steps per second, and how gpt-oss-120b fares on Trainium3 against Trainium2: `make bench`.

One token of Llama 3.1 70B on 16 Trainium2, eight numbers of the chip vary from point to point.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dse
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.physics.calibration import workload_calibration
from dse.physics.step import step_time
from dse.report.generations import best_served, generations_view
from dse.report.terminal import screen
from dse.study.design import FREE, with_free

AXES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip
POINTS, CHUNK = 400_000, 2_000
LIMITS_S = (0.03, 0.01, 0.006, 0.004, 0.003)


def main() -> None:
    system = dse.system("trn2-16")
    workload = dse.Decode(dse.model("llama-3.1-70b"), 64, 8192, "fp8", "fp8")
    c = workload_calibration("trainium2", workload)
    plan = dse.Plan(tp=16, micro_batch=64)
    d = demand(workload, plan, system, chip_reference(system.chip, c))
    base = np.log([float(v) for v in (FREE[a](system.chip) for a in AXES)])
    z = jnp.asarray(base + np.random.default_rng(0).uniform(-0.7, 0.7, (POINTS, len(AXES))))

    def breakdown(x):
        s = step_time(d, with_free(system.chip, dict(zip(AXES, jnp.exp(x), strict=True))), c)
        return jnp.stack([s.total_s, s.compute_s, s.host_exposed_s, s.tensor_exposed_s, s.hbm_B])

    run = jax.jit(partial(jax.lax.map, breakdown, batch_size=CHUNK))
    jax.block_until_ready(run(z))
    best = min(_time(run, z) for _ in range(3))
    print(f"decode step, breakdown {POINTS / best:12,.0f} /s   {best / POINTS * 1e6:.2f} us each")
    generations()


def generations() -> None:
    """AWS claims 3x the throughput per chip and over 5x the tokens per MW for gpt-oss, at similar latency."""
    token = dse.Decode(dse.model("gpt-oss-120b"), 1, 4096)
    for limit_s in LIMITS_S:
        old = best_served(dse.system("trn2-ultraserver", 16), token, limit_s, ("fp8", "mxfp4", "bf16"))
        new = best_served(dse.system("trn3-gen2-144", 16), token, limit_s, ("fp8", "mxfp4", "bf16"))
        print(f"\ngpt-oss-120b, 16 chips, context 4096, at most {limit_s * 1e3:g} ms per token")
        print("no plan is as fast" if old is None or new is None else "", end="")
        if old and new:
            screen().print(generations_view(old, new))


def _time(run, z) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(z))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
