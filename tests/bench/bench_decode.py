"""Prints decode steps per second: `make bench`.

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
from dse.physics.calibration import calibration_for
from dse.physics.step import step_time
from dse.study.design import FREE, with_free

AXES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip
POINTS, CHUNK = 400_000, 2_000


def main() -> None:
    system = dse.system("trn2-16")
    workload = dse.Decode(dse.model("llama-3.1-70b"), 64, 8192, "fp8", "fp8")
    c = calibration_for("trainium2", workload)
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


def _time(run, z) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(z))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
