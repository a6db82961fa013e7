"""Metrics as functions of the chip: the values of an evaluation, derivatives against finite differences, batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dse
from dse.core.errors import UnknownNameError

SYSTEM = dse.system("trn3-gen2-144", 4)
DECODE = dse.Decode(dse.model("llama-3.1-8b"), 8, 1024)


def test_values_are_those_of_an_evaluation():
    found = dse.evaluate(SYSTEM, DECODE)
    plan, e = found.plan, found.result
    for name in ("step_s", "tokens_per_s", "mfu_frac", "memory_B"):
        assert float(dse.metric(name, SYSTEM, DECODE, plan)(SYSTEM.chip)) == pytest.approx(
            float(getattr(e, name)), 1e-12
        )
    assert float(dse.metric("power", SYSTEM, DECODE, plan)(SYSTEM.chip)) == pytest.approx(float(e.power_W), 1e-12)
    assert float(dse.metric("delivered_time", SYSTEM, DECODE, plan)(SYSTEM.chip)) == pytest.approx(1.0)
    with pytest.raises(UnknownNameError, match="cost_per_token_USD"):
        dse.metric("cost_per_tokens", SYSTEM, DECODE, plan)


@pytest.mark.parametrize("name", ["cost_per_token", "tokens_per_s"])
def test_one_line_gives_every_derivative_batched_and_compiled(name):
    chip, of = SYSTEM.chip, dse.metric(name, SYSTEM, DECODE)
    slope = jax.grad(of)(chip)

    def at(x):
        return dataclasses.replace(chip, hbm_bandwidth_Bps=x)

    b = float(chip.hbm_bandwidth_Bps)
    ends = [float(of(at(jnp.asarray(b * (1 + s))))) for s in (1e-5, -1e-5)]
    assert float(slope.hbm_bandwidth_Bps) == pytest.approx((ends[0] - ends[1]) / (2e-5 * b), rel=1e-4)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))
    many = jax.jit(jax.vmap(jax.grad(of)))(jax.vmap(at)(jnp.asarray([b, 2 * b])))
    assert float(many.hbm_bandwidth_Bps[0]) == pytest.approx(float(slope.hbm_bandwidth_Bps), rel=1e-9)
