"""Prints serving points per second: decode pass, prefill, queue, energy of one engine on chips that all differ.

Llama 3.3 70B in FP8 on eight Trainium2, 2,000 tokens in and 300 out; eight numbers of the chip vary from point to
point. The second line prices engines on one chip, as a curve does. Figures of one run on one machine.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dse
from dse.core.types import stack_records
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.physics.calibration import SERVING, default_calibration
from dse.physics.evaluate import chip_technology, silicon
from dse.serving.steady import Engine, Passes, pass_costs, steady_state
from dse.study.design import FREE, with_free

AXES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip
POINTS, CHUNK = 100_000, 2_000


def main() -> None:
    system, model = dse.system("trn2-ultraserver", 8), dse.model("llama-3.3-70b")
    c, chip = default_calibration("trainium2", SERVING[0]), system.chip
    tech, ref, plan = chip_technology(chip), chip_reference(chip, c), dse.Plan(tp=8)
    decode = demand(dse.Decode(model, 64, 2150, "fp8", "fp8"), plan, system, ref)
    prompt = stack_records([demand(dse.Prefill(model, 1, 2000, "fp8", "fp8"), plan, system, ref)])
    one = {
        "n_sequences": 64.0, "n_ranks": 1.0, "n_chips": 8.0, "n_output": 300.0, "n_accepted": 1.0, "draft_frac": 0.0,
        "n_passes": np.ones(1), "share_frac": np.ones(1), "together_frac": 0.0, "apart_frac": 0.0,
        "n_prompt_ranks": 1.0, "n_prompt_chips": 8.0, "prompt_load_frac": 0.0, "transfer_s": 0.0, "request_s": 0.0,
    }  # fmt: skip
    engine, static, q = Engine(**one), np.asarray(silicon(chip, tech).static_W), np.asarray(0.95)
    base = np.log([float(FREE[a](chip)) for a in AXES])
    z = jnp.asarray(base + np.random.default_rng(0).uniform(-0.7, 0.7, (POINTS, len(AXES))))

    def point(x):
        design = with_free(chip, dict(zip(AXES, jnp.exp(x), strict=True)))
        reading = jax.vmap(pass_costs, in_axes=(0, None, None, None))(prompt, design, tech, c)
        return steady_state(engine, pass_costs(decode, design, tech, c), reading, static, tech, q)

    run = jax.jit(partial(jax.lax.map, point, batch_size=CHUNK))
    print(f"engines on chips that differ {POINTS / _best(run, z):12,.0f} points/s")

    many = Engine(**{**one, "n_sequences": np.linspace(1.0, 512.0, POINTS), **_tiled(one)})
    spread = np.linspace(0.5, 2.0, POINTS)
    costs = Passes(0.01 * spread, spread), Passes(0.1 * spread[:, None], spread[:, None])
    states = jax.jit(jax.vmap(steady_state, in_axes=(0, 0, 0, None, None, None)))
    seconds = _best(lambda e: states(e, *costs, static, tech, q), many)
    print(f"engines on one chip          {POINTS / seconds:12,.0f} points/s")


def _tiled(one: dict) -> dict:
    """Every number of an engine but the sequences, once per point."""
    return {k: np.broadcast_to(v, (POINTS, *np.shape(v))) for k, v in one.items() if k != "n_sequences"}


def _best(run, x) -> float:
    """Shortest of four runs after the one that compiles [s]."""
    jax.block_until_ready(run(x))
    return min(_time(run, x) for _ in range(4))


def _time(run, x) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(x))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
