"""Laws of prefill and decode at a fixed plan: proved convex, bounded by what must be read, monotone in the batch."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.optimize.curvature import curvature
from dse.physics.calibration import calibration
from dse.physics.step import Request, request_s, step_time
from dse.study.design import FREE, with_free
from dse.workload.presets import model
from dse.workload.transformer import Decode, Prefill, total_parameters

C = calibration("prior-neuron")
ON = system("trn2-16")
LLAMA, OSS, DEEPSEEK = model("llama-3.1-70b"), model("gpt-oss-120b"), model("deepseek-v3")
NAMES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip

CASES = {
    "prompt": (Prefill(LLAMA, 4, 8192), Plan(tp=16, micro_batch=4)),
    "chunks in stages": (Prefill(LLAMA, 1, 8192, "fp8", "fp8", chunk=1024, cached=4096), Plan(tp=8, pp=2)),
    "long prompt on context ranks": (Prefill(LLAMA, 1, 131072), Plan(tp=8, cp=2)),
    "converted weights": (Decode(OSS, 64, 4096, "mxfp4"), Plan(tp=16, micro_batch=64)),
    "expert ranks": (Decode(OSS, 64, 4096, "mxfp4", "fp8"), Plan(dp=16, ep=16, micro_batch=4)),
    "latent": (Decode(DEEPSEEK, 64, 4096, "fp8"), Plan(tp=4, dp=4, ep=4, micro_batch=16)),
    "a million tokens": (Decode(LLAMA, 1, 1_000_000), Plan(tp=8, cp=2)),
    "stages": (Decode(LLAMA, 8, 8192), Plan(tp=8, pp=2, micro_batch=8)),
}  # fmt: skip


def lowered(name):
    workload, plan = CASES[name]
    return demand(workload, plan, ON, chip_reference(ON.chip, C))


def seconds(workload, plan, c=C, on=ON):
    return float(step_time(demand(workload, plan, on, chip_reference(on.chip, c)), on.chip, c).total_s)


@pytest.mark.parametrize("name", CASES)
def test_time_is_proved_log_log_convex(name):
    x = {n: np.asarray(1.0) for n in NAMES}
    (verdict,) = curvature(lambda x, d: step_time(d, with_free(ON.chip, x), C).total_s, x, lowered(name))
    assert verdict.is_convex, verdict


def test_a_request_is_proved_convex_too():
    r = Request(lowered("prompt"), lowered("stages"), 1.0, 100.0)
    x = {n: np.asarray(1.0) for n in NAMES}
    (verdict,) = curvature(lambda x, d: request_s(d, with_free(ON.chip, x), C), x, r)
    assert verdict.is_convex, verdict


@pytest.mark.parametrize("name", CASES)
def test_midpoints_in_log_space_lie_below(name):
    """1,000 pairs over a factor of 16 in every resource: guards the walker."""
    d = lowered(name)
    base = np.log([float(FREE[n](ON.chip)) for n in NAMES])

    def log_time(z):
        x = dict(zip(NAMES, jnp.exp(z), strict=True))
        return jnp.log(step_time(d, with_free(ON.chip, x), C).total_s)

    g = jax.jit(jax.vmap(log_time))
    rng = np.random.default_rng(1)
    a, b = (base + np.log(4) * rng.uniform(-1, 1, (1000, len(NAMES))) for _ in range(2))
    assert (np.asarray(g((a + b) / 2)) <= (np.asarray(g(a)) + np.asarray(g(b))) / 2 + 1e-9).all()


@pytest.mark.parametrize("name", CASES)
def test_parts_add_up(name):
    s = step_time(lowered(name), ON.chip, C)
    parts = [float(getattr(s, f.name)) for f in dataclasses.fields(s) if f.name.endswith("_s") and f.name != "total_s"]
    assert sum(parts) == pytest.approx(float(s.total_s), rel=1e-9)
    assert all(p >= -1e-12 for p in parts)


def ideal(c):
    """`c` with every overhead gone and every fraction 1."""
    ones = {f: 1.0 for f in c.__dataclass_fields__ if f.endswith("_frac") and "overlap" not in f}
    zeros = {f: 0.0 for f in c.__dataclass_fields__ if f.endswith("_s")}
    return dataclasses.replace(c, **ones, **zeros, overlap_p=16.0)


@pytest.mark.parametrize(
    ("name", "tp", "storage", "stored"),
    [("llama-3.1-70b", 8, "bf16", 2.0), ("llama-3.1-70b", 8, "fp8", 1.03125), ("llama-3.1-8b", 1, "bf16", 2.0)],
)
def test_decode_at_batch_one_approaches_reading_the_weights(name, tp, storage, stored):
    """No overheads, short transfers or limits of links: left are weights (but the input table) over bandwidth."""
    m = model(name)
    fast = dataclasses.replace(ON.chip, scaleup_bandwidth_per_dir_Bps=jnp.asarray(1e18))
    fast = eqx.tree_at(lambda c: c.core.transfer_start_B, fast, jnp.asarray(0.0))
    on = dataclasses.replace(ON, chip=fast, n_chips=tp)
    read = stored * (total_parameters(m) - m.vocab * m.hidden) / tp / float(fast.hbm_bandwidth_Bps)
    assert seconds(Decode(m, 1, 1, storage), Plan(tp=tp), ideal(C), on) == pytest.approx(read, rel=0.05)
    # and never below, whatever the overheads
    assert seconds(Decode(m, 1, 1, storage), Plan(tp=tp), C, on) > read


@pytest.mark.parametrize(
    ("m", "plan"), [(LLAMA, Plan(tp=16)), (OSS, Plan(tp=16)), (OSS, Plan(dp=16, ep=16)), (DEEPSEEK, Plan(tp=4, dp=4))]
)
def test_throughput_rises_with_the_batch(m, plan):
    """Doubling the batch until far beyond memory: tokens per second never fall."""
    batches = [plan.dp * 2**i for i in range(12)]
    times = [seconds(Decode(m, b, 4096, "fp8"), dataclasses.replace(plan, micro_batch=b // plan.dp)) for b in batches]
    rates = np.asarray(batches) / np.asarray(times)
    assert (np.diff(rates) > 0).all()
    assert (np.diff(times) > 0).all()


@settings(max_examples=20)
@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_longer_contexts_and_prompts_take_longer(a, b):
    short, long = sorted((a, b))
    plan = Plan(tp=16)
    assert seconds(Decode(OSS, 1, short), plan) <= seconds(Decode(OSS, 1, long), plan) * (1 + 1e-12)
    assert seconds(Prefill(OSS, 1, short), plan) <= seconds(Prefill(OSS, 1, long), plan) * (1 + 1e-12)


def test_narrower_storage_is_never_slower_where_products_take_it():
    times = [seconds(Decode(LLAMA, 1, 4096, s), Plan(tp=16)) for s in ("bf16", "fp8")]
    assert times[1] < times[0]


def test_conversion_costs_where_products_are_wider():
    """Trainium2 has no FP4: 4-bit weights at bf16 products go through the vector engines, at FP8 as well."""
    read, asked = (Decode(LLAMA, 1, 1, "int4", product_precision=p) for p in ("bf16", "fp8"))
    free = demand(dataclasses.replace(read, weight_precision="bf16"), Plan(tp=16), ON, chip_reference(ON.chip, C))
    for w in (read, asked):
        d = demand(w, Plan(tp=16), ON, chip_reference(ON.chip, C))
        assert float(d.ops.vector_elements[0]) > 100 * float(free.ops.vector_elements[0])


def test_a_prompt_in_chunks_takes_longer_than_at_once():
    once, chunked = (seconds(Prefill(LLAMA, 1, 8192, chunk=c), Plan(tp=16)) for c in (0, 256))
    assert once < chunked < 5 * once
