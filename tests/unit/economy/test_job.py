"""A job's dollars, energy and carbon per token: by hand, limits that give the plain model, membership of the core."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from dse.economy.job import Job, held_over_used, job_of, job_slowdown, n_spare_chips, owned, upkeep
from dse.economy.ownership import recovery
from dse.economy.presets import economy, in_rack, reliability
from dse.hardware.presets import chip, system
from dse.optimize.curvature import curvature
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training

f = jnp.asarray
LLAMA = Training(model("llama-3.1-405b"), 2048, 8192)


def around(**changes):
    e = economy(system("dgx-h100", 16_384), "N4", 1.0)
    own = dataclasses.replace(e.ownership, **changes)
    return dataclasses.replace(e, ownership=own, recovery=recovery(own))


def without_failures(e):
    r = e.reliability
    zero = {n: 0.0 for n in r.__dict__ if "failures" in n}
    return dataclasses.replace(e, reliability=dataclasses.replace(r, **zero))


def racked(e):
    return owned(chip("h100"), f(28_000.0), f(814.0), f(950.0), f(700.0), e)


def test_checkpoint_of_a_job():
    """405.85 B weights x 14 B / 16,384 chips = 346.8 MB; serving saves nothing."""
    job = job_of(LLAMA, 16_384, reliability())
    assert float(job.state_B) == pytest.approx(14 * 405.85e9 / 16_384, rel=1e-3)
    assert float(job.tokens) == 2048 * 8192
    serving = job_of(Decode(model("llama-3.1-70b"), 256, 8192), 16, reliability())
    assert (float(serving.state_B), float(serving.stall_s), float(serving.tokens)) == (0.0, 0.0, 256.0)


def test_cost_per_token_is_hours_over_tokens():
    """USD/hour x chips held x wall hours per step / tokens per step."""
    e, job = around(), job_of(LLAMA, 16_384, reliability())
    u = upkeep(racked(e), chip("h100"), job, f(8.0), f(500.0), e)
    by_hand = float(u.chip_hour_USD) * 16_384 * float(u.held) * float(u.wall_step_s) / 3600 / (2048 * 8192)
    assert float(u.cost_per_token_USD) == pytest.approx(by_hand, rel=1e-12)
    # 500 W x 1.82 x 1.14 at the meter
    joules = 500 * 1.82 * 1.14 * 16_384 * float(u.held) * float(u.wall_step_s) / (2048 * 8192)
    assert float(u.energy_per_token_J) == pytest.approx(joules, rel=1e-12)


def test_limits_reduce_to_the_plain_model():
    """Zero failures: the step is the step and nothing is held in reserve. Free energy, infinite life: free tokens."""
    job = job_of(LLAMA, 16_384, reliability())
    e = without_failures(around())
    u = upkeep(racked(e), chip("h100"), job, f(8.0), f(500.0), e)
    assert float(u.wall_step_s) == 8.0 and float(u.held) == 1.0
    forever = {"interest_frac": 0.0, "life_s": math.inf, "facility_life_s": math.inf, "maintenance_frac": 0.0}
    free = around(price_USD_per_J=0.0, **forever)
    u = upkeep(racked(free), chip("h100"), job, f(8.0), f(500.0), free)
    assert float(u.cost_per_token_USD) == 0.0
    u = upkeep(racked(without_failures(around(**forever))), chip("h100"), job, f(8.0), f(500.0), around(**forever))
    assert float(u.cost_per_token_USD) > 0  # energy alone


def test_an_extra_stack_fails_too():
    e, job = around(), job_of(LLAMA, 16_384, reliability())
    slow = []
    for stacks in (5.0, 6.0):
        c = dataclasses.replace(chip("h100"), n_stacks=stacks)
        slow.append(float(job_slowdown(owned(c, f(28_000.0), f(814.0), f(950.0), f(700.0), e), c, job, e.reliability)))
    assert slow[1] > slow[0] > 1


def test_a_failure_takes_the_block_of_a_job():
    """16 of 64 chips on a torus: 16; 512: the torus of 64; behind switches a host of 4, whatever the job.

    Of one pool, spares in blocks of 64 are 16 times those in hosts of 4 (how many: `test_goodput`).
    """
    torus, switched = (in_rack(around(), system(s), "graviton4-4") for s in ("trn2-ultraserver", "trn3-gen2-144"))
    jobs = [Job(n, 1.0, 0.0, 0.0) for n in (1.0, 16.0, 512.0)]
    assert [float(n_spare_chips(j, torus)) for j in jobs] == [16.0, 16.0, 64.0]
    assert [float(n_spare_chips(j, switched)) for j in jobs] == [4.0, 4.0, 4.0]
    o = racked(around())
    more = [float(held_over_used(o, jobs[2], e)) - 1.0 for e in (torus, switched)]
    assert more[0] == pytest.approx(16.0 * more[1])


@pytest.mark.parametrize("job", [Job(16_384.0, 1.7e7, 3.5e8, 17.0), Job(16.0, 256.0, 0.0, 0.0)])
def test_all_of_upkeep_is_in_the_core(job):
    """Every output, as a function of silicon, stacks, links, dollars, watts and seconds."""
    c, e = chip("h100"), around()
    e = dataclasses.replace(e, host=dataclasses.replace(e.host, name=""), carbon=dataclasses.replace(e.carbon, name=""))
    names = ("area", "stacks", "up", "out", "dollars", "watts", "seconds", "capacity")
    x = {n: np.asarray(1.0) for n in names}

    def terms(v, data):
        c_, e_, job_ = data
        c_ = dataclasses.replace(
            c_, n_stacks=v["stacks"], scaleup_bandwidth_per_dir_Bps=v["up"],
            scaleout_bandwidth_per_dir_Bps=v["out"], hbm_capacity_B=v["capacity"],
        )  # fmt: skip
        rack = owned(c_, v["dollars"], v["area"], v["area"] * 1.2, v["watts"], e_)
        u = upkeep(rack, c_, job_, v["seconds"], v["watts"], e_)
        return [
            u.wall_step_s,
            u.held,
            u.chip_hour_USD,
            u.cost_per_token_USD,
            u.energy_per_token_J,
            u.carbon_per_token_kg,
        ]

    verdicts = curvature(terms, x, (c, e, job))
    assert [str(v) for v in verdicts if not v.is_convex] == []
