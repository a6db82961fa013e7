"""Laws of area, power and cost, over the whole box of the shipped study, its corners, and all its discrete choices.

Bigger never costs less; die cost grows faster than area; every term of the core is convex in logs, gradients included.
"""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.optimize.box import bounds
from dse.optimize.space import batch_of, data_of, space_of
from dse.physics.area import block_areas, total_area_mm2
from dse.physics.evaluate import evaluate_demand, silicon
from dse.physics.full_load import full_load_power_W
from dse.physics.money import bond_loss, die_cost_USD, inverse_yield, package_cost, total_USD
from dse.physics.power import (
    power_W,
    static_W,
    supply_V,
    throttled_s,
    voltage_limit,
)
from dse.study.convex import WORK, core_logs, ratio_rows, separate
from dse.study.design import choice_technology, template, with_free
from dse.study.study import load_study
from dse.technology.presets import node, node_names, technology

pytestmark = pytest.mark.slow

STUDY = load_study(Path(__file__).parents[2] / "sweeps" / "trainium4.toml")
BASE = STUDY.baseline.chip
NAMES = tuple(f.name for f in STUDY.free)
LOW, HIGH = (np.log([getattr(f, end) for f in STUDY.free]) for end in ("lower", "upper"))
PAIRS = 2_500

shares = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=len(NAMES), max_size=len(NAMES))
choices = st.sampled_from(STUDY.choices)


@jax.jit
def bill(z, chip, tech):
    """Area, one die, static power and cost of a design at log coordinates, its supply what its clock needs."""
    c = with_free(chip, dict(zip(NAMES, jnp.exp(z), strict=True)))
    s = silicon(c, tech)
    return jnp.stack([total_area_mm2(s.area), s.die_mm2, s.static_W, total_USD(s.money)])


def structure(choice):
    return template(choice, BASE, STUDY.scaleout_Bps), choice_technology(choice, STUDY.package)


@given(choices, shares, st.sampled_from(NAMES), st.floats(1e-3, 2.0))
def test_bigger_never_costs_less(choice, share, name, growth):
    """Area, die, static power and dollars, for every free number; the package pays in one currency at least."""
    z = LOW + (HIGH - LOW) * np.asarray(share)
    more = z + growth * np.asarray([n == name for n in NAMES])
    before, after = (np.asarray(bill(x, *structure(choice))) for x in (z, more))
    assert np.isfinite(before).all() and (before > 0).all()
    assert (after >= before * (1 - 1e-12)).all()
    if name not in ("clock_Hz", "hbm_bandwidth_Bps", "hbm_capacity_B"):
        assert after[0] > before[0]


@given(st.floats(1.0, 4000.0), st.floats(1.001, 10.0), st.sampled_from(node_names()))
def test_die_cost_grows_faster_than_linear(area, growth, name):
    t = technology(name, "HBM3", "PCIe5")
    small, large = (float(die_cost_USD(jnp.asarray(a), t)) for a in (area, area * growth))
    assert large >= growth * small * (1 + 1e-12)


@given(st.floats(0.0, 0.01), st.floats(0.0, 0.01), st.floats(50.0, 858.0))
def test_cost_falls_as_yield_rises(a, b, area):
    t = technology("N5", "HBM3", "PCIe5")
    costs, yields = [], []
    for defects in sorted((a, b)):
        u = dataclasses.replace(t, node=dataclasses.replace(t.node, defect_density_per_mm2=defects))
        costs.append(float(die_cost_USD(jnp.asarray(area), u)))
        yields.append(1 / float(inverse_yield(jnp.asarray(area), u)))
    assert costs[0] <= costs[1] and yields[0] >= yields[1]


@given(st.floats(100.0, 400.0), choices)
def test_splitting_a_die_saves_silicon_but_pays_for_bonds(area, choice):
    """Two half dies cost less than one whole; the bonding loss grows with the number of parts."""
    chip, tech = structure(choice)
    whole, halves = float(die_cost_USD(jnp.asarray(2 * area), tech)), 2 * float(die_cost_USD(jnp.asarray(area), tech))
    assert halves < whole
    one, two = (dataclasses.replace(chip, n_dies=n) for n in (1.0, 2.0))
    share = [
        float(m.loss_USD) / float(m.dies_USD + m.hbm_USD + m.package_USD)
        for m in (package_cost(c, jnp.asarray(area), bond_loss(tech), tech) for c in (one, two))
    ]
    assert share[0] < share[1]


@given(st.sampled_from(node_names()), st.floats(0.3, 1.5), st.floats(1.001, 1.5))
def test_faster_clocks_need_more_volts(name, share, growth):
    n = dataclasses.replace(node(name), minimum_V=0.01, maximum_V=50.0)
    low, high = (float(supply_V(jnp.asarray(s * 2e9), jnp.asarray(2e9), n)) for s in (share, share * growth))
    assert float(n.threshold_V) < low < high
    # and the limit that stands for it in the optimisation rises with clock and falls with volts
    args = (jnp.asarray(2e9), n, n.nominal_V - n.threshold_V)
    ratio = [
        float(voltage_limit(jnp.asarray(f), jnp.asarray(v), *args)) for f, v in ((1e9, 0.7), (1.1e9, 0.7), (1e9, 0.8))
    ]
    assert ratio[2] < ratio[0] < ratio[1]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e5), st.floats(0.0, 500.0), st.floats(1.0, 3000.0), st.floats(1.0, 3.0))
def test_more_room_for_power_is_never_slower(step_s, energy, static, limit, growth):
    t = technology("N5", "HBM3", "PCIe5")
    args = (jnp.asarray(energy), jnp.asarray(static))
    tight, loose = (float(throttled_s(jnp.asarray(step_s), *args, jnp.asarray(p), t)) for p in (limit, limit * growth))
    assert step_s <= loose <= tight
    if np.isfinite(loose):
        assert float(power_W(args[0], jnp.asarray(loose), args[1], t)) <= limit * growth * (1 + 1e-9)


@settings(max_examples=20)
@given(choices, shares)
def test_doubling_every_block_doubles_area_and_leakage(choice, share):
    """Twice the cores, stacks and bandwidths on twice the dies: twice the silicon (less the crossing of dies)."""
    chip, tech = structure(choice)
    x = dict(zip(NAMES, np.exp(LOW + (HIGH - LOW) * np.asarray(share)), strict=True))
    double = {n: 2 * v if n in ("n_cores", "n_stacks", "scaleup_bandwidth_per_dir_Bps") else v for n, v in x.items()}
    one, two = (
        dataclasses.replace(with_free(chip, v), die_to_die_bandwidth_Bps=jnp.asarray(0.0), spare_frac=chip.spare_frac)
        for v in (x, double)
    )  # spare cores double too
    areas = [block_areas(c, tech) for c in (one, two)]
    assert float(total_area_mm2(areas[1])) == pytest.approx(2 * float(total_area_mm2(areas[0])), rel=1e-12)
    constant = float(tech.package.constant_W)
    volt = jnp.asarray(0.75)
    static = [float(static_W(c, tech, a, volt)) - constant for c, a in zip((one, two), areas, strict=True)]
    assert static[1] == pytest.approx(2 * static[0], rel=1e-12)


# The convex core of the shipped study: every ratio of time, V-f law, area, shoreline, power, memory and cost.


@pytest.fixture(scope="module")
def space():
    return space_of(STUDY)


@pytest.fixture(scope="module")
def every_log(space):
    """All log terms for rows of log coordinates, each under its own choice and its own plans, in one evaluation."""
    core = STUDY.core()

    def one(z, data):
        goal, ratios = core_logs(core, z, data)
        return jnp.concatenate([goal[None], ratios])

    return jax.jit(jax.vmap(one))


def points(space, n, seed):
    """Points of the whole box (auxiliaries and step times included), a third of them corners."""
    low, high = bounds(space)
    rng = np.random.default_rng(seed)
    unit = rng.random((n, low.size))
    unit[: n // 3] = rng.integers(0, 2, (n // 3, low.size))
    return low + (high - low) * unit


def drawn(space, n, seed):
    """Data of `n` random choices under random plans of each workload."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(STUDY.choices), n).tolist()
    plans = [tuple(int(rng.integers(0, len(kept))) for kept in space.plans) for _ in range(n)]
    return batch_of(space, rows, plans)


def test_midpoints_of_all_terms_under_all_choices(space, every_log):
    """2,500 pairs, each under one of the choices and random plans: g((a + b)/2) <= (g(a) + g(b))/2 + 1e-9."""
    data = drawn(space, PAIRS, 0)
    a, b = points(space, PAIRS, 1), points(space, PAIRS, 2)[::-1]
    three = jax.tree.map(lambda x: np.concatenate([x, x, x]), data)
    g = np.asarray(every_log(np.concatenate([(a + b) / 2, a, b]), three)).reshape(3, PAIRS, -1)
    middle, mean = g[0], (g[1] + g[2]) / 2
    assert g.shape[2] == 1 + len(ratio_rows(STUDY.core()))
    assert np.isfinite(g).all()
    worst = (middle - mean).max(axis=0)
    rows = ("goal", *(r.label for r in ratio_rows(STUDY.core())))
    assert {r: w for r, w in zip(rows, worst, strict=True) if w > 1e-9} == {}
    # power, area and cost bend; a straight line would pass the law for the wrong reason
    bent = {r for r, w in zip(rows, (middle - mean).min(axis=0), strict=True) if w < -1e-2}
    assert {"V-f law", "blocks on die", "full_load_fp8_W", "package_cost_USD", "step:decode"} <= bent


def test_corners_of_every_two_coordinates(space, every_log):
    """Opposite corners of any two coordinates, the others in the middle, under a random choice each."""
    low, high = bounds(space)
    centre = (low + high) / 2
    a, b = [], []
    for i, j in itertools.combinations(range(low.size), 2):
        for first, second in ((low, high), (high, low)):
            one, two = centre.copy(), centre.copy()
            one[[i, j]], two[[i, j]] = (low[i], first[j]), (high[i], second[j])
            a.append(one)
            b.append(two)
    a, b = np.stack(a), np.stack(b)
    data = drawn(space, len(a), 3)
    middle, left, right = (np.asarray(every_log(z, data)) for z in ((a + b) / 2, a, b))
    assert (middle <= (left + right) / 2 + 1e-9).all()


def test_gradients_are_finite_at_all_corners(space):
    """Every one of the 2^13 corners of the box, under one choice with two dies, through every term."""
    core = STUDY.core()
    data = data_of(space, next(i for i, c in enumerate(STUDY.choices) if c.n_dies == 2), (0, 0))
    low, high = bounds(space)
    z = np.asarray(list(itertools.product(*zip(low, high, strict=True))))
    assert len(z) == 2**13

    def weighted(z):
        goal, ratios = core_logs(core, z, data)
        return goal + jnp.sum(ratios * jnp.arange(1.0, ratios.size + 1.0))

    value, slope = jax.jit(jax.vmap(jax.value_and_grad(weighted)))(z)
    assert np.isfinite(value).all() and np.isfinite(slope).all()


def test_vmap_over_choices_equals_a_loop(space, every_log):
    n = 6
    z, data = points(space, n, 4), drawn(space, n, 5)
    together = np.asarray(every_log(z, data))
    core = STUDY.core()
    for i in range(n):
        goal, ratios = core_logs(core, z[i], jax.tree.map(lambda x, i=i: x[i], data))
        np.testing.assert_allclose(together[i], np.concatenate([[goal], ratios]), rtol=1e-12, atol=1e-12)


def test_reported_numbers_agree_with_the_core(space):
    """At one design the core's ratios and the report's metrics are the same model, computed twice."""
    index = next(i for i, c in enumerate(STUDY.choices) if c.n_dies == 2)
    data = data_of(space, index, (0, 0))
    core = STUDY.core()
    x = {f.name: np.sqrt(f.lower * f.upper) for f in STUDY.free}
    chip = with_free(data.chip, {n: jnp.asarray(v) for n, v in x.items()})
    chip = dataclasses.replace(chip, power_limit_W=jnp.asarray(1e9))
    evaluations = [evaluate_demand(d, chip, data.tech, c) for d, c in zip(data.demands, data.calibrations, strict=True)]
    s = silicon(chip, data.tech)
    x |= {"supply_V": float(s.supply_V), "die_mm2": float(s.die_mm2), WORK: 1e9}
    x |= {f"step_s:{w}": float(e.step_s) for w, e in zip(core.workloads, evaluations, strict=True)}
    _, *ratios = separate(core, {n: jnp.asarray(v) for n, v in x.items()}, data)
    found = dict(zip((r.label for r in ratio_rows(core)), np.asarray(ratios), strict=True))
    limits = {m.metric: m.value for m in STUDY.limits}
    for w in core.workloads:
        assert found[f"step:{w}"] == pytest.approx(1.0, rel=1e-9)
    for p in ("bf16", "fp8", "fp4"):
        parts = full_load_power_W(chip, data.tech, p, s.area, s.die_mm2, s.supply_V)
        power = float(sum(parts.values()))
        assert found[f"full_load_{p}_W"] * limits[f"full_load_{p}_W"] == pytest.approx(power, rel=1e-9)
    assert found["silicon_mm2"] * limits["silicon_mm2"] == pytest.approx(float(2 * s.die_mm2), rel=1e-9)
    assert found["package_cost_USD"] * limits["package_cost_USD"] == pytest.approx(float(total_USD(s.money)), rel=1e-9)
    assert max(found["blocks on die"], found["shoreline"]) == pytest.approx(1.0, rel=1e-9)
