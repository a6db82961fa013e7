"""Energy operator by operator adds up to the step's; nothing burns more than it is cooled for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.physics.calibration import default_calibration
from dse.physics.evaluate import chip_technology, evaluate_demand, silicon
from dse.physics.heat import cooled, hottest_W, op_energy_J, sustained_J
from dse.physics.power import crossing_B, energy_J, step_energy, work_W
from dse.physics.step import step_time
from dse.workload.blocks import Block, Mlp, Run
from dse.workload.mixers import Attention
from dse.workload.presets import model
from dse.workload.recurrences import ShortConvolution
from dse.workload.transformer import Decode, Model, Training


def test_operators_together_burn_what_the_step_burns():
    """Energy of all runs of all operators is the step's, but for its links and the optimizer's bytes."""
    plan, w = Plan(tp=16, pp=1, dp=4), Training(model("llama-3.1-8b"), 64, 4096)
    s = system("trn2-ultraserver", 64)
    c, t = default_calibration("trainium2"), chip_technology(s.chip)
    d = demand(w, plan, s, chip_reference(s.chip, c))
    d = dataclasses.replace(d, optimizer_B=np.float64(0.0))
    volt, die = jnp.asarray(0.7), jnp.asarray(300.0)
    step = step_time(d, s.chip, c)
    whole = step_energy(d, step, s.chip, t, volt, die)
    one = op_energy_J(d.ops, s.chip, t, c, volt, die)
    crossing = float(crossing_B(step.hbm_B, s.chip) * t.die_to_die.energy_J_per_B)
    links = float(whole.link_J) - crossing
    assert float(d.n_micro * jnp.sum(d.ops.runs * one)) == pytest.approx(float(energy_J(whole)) - links, rel=1e-9)


@pytest.mark.parametrize("order", ["turn", "stream"])
def test_no_operator_burns_more_than_it_is_cooled_for(order):
    """With energy over power as one more bound, what is hottest stays below the limit, and just below."""
    s = system("trn2-ultraserver", 64)
    c, t = default_calibration("trainium2"), chip_technology(s.chip)
    plan = Plan(tp=16, pp=1, dp=4, order=order)
    d = demand(Training(model("llama-3.1-8b"), 64, 4096), plan, s, chip_reference(s.chip, c))
    made = silicon(s.chip, t)
    at = (made.supply_V, made.die_mm2)
    hot = float(hottest_W(d, step_time(d, s.chip, c), s.chip, t, c, *at, made.static_W))
    limit = 0.8 * hot
    allowed = cooled(sustained_J(d, s.chip, t, c, *at), work_W(jnp.asarray(limit), made.static_W, t))
    slower = step_time(d, s.chip, c, allowed)
    assert 0.9 * limit < float(hottest_W(d, slower, s.chip, t, c, *at, made.static_W)) <= limit * (1 + 1e-9)
    assert float(slower.total_s) > float(step_time(d, s.chip, c).total_s)


def test_an_operator_that_a_stream_leaves_nothing_burns_nothing():
    """A short convolution has one operator for its state, whose traffic joins the stream: 0 J in 0 s. Before: NaN."""
    conv, own = (Run(Block((m,), Mlp(8192)), 8) for m in (ShortConvolution(2048, 3), Attention(16, 4, 128)))
    m = Model("mixed", 2048, 32_000, (conv, own), tied_embeddings=True, norm_passes=2.0, max_context=32_768)
    s = system("trn2-16", 8)
    c, t = default_calibration("trainium2", "neuronx"), chip_technology(s.chip)
    d = demand(Decode(m, 8, 1024), Plan(tp=8, micro_batch=8, order="stream"), s, chip_reference(s.chip, c))

    def hottest(clock_Hz):
        return evaluate_demand(d, dataclasses.replace(s.chip, clock_Hz=clock_Hz), t, c).hottest_W

    clock_Hz = jnp.asarray(s.chip.clock_Hz)
    assert 0 < float(hottest(clock_Hz)) < float(s.chip.power_limit_W) and float(jax.grad(hottest)(clock_Hz)) > 0
