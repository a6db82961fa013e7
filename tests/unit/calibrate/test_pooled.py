"""Pooled fits recover what made the data, shrink sparse pairs to their kin, and leave rows out by a mask."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from dse.calibrate.batch import batch, calibration_of, predict
from dse.calibrate.cases import Case, training_case
from dse.calibrate.design import Design, block
from dse.calibrate.held_out import bands_of, half_width
from dse.calibrate.pooled import N, Pooled, pooling
from dse.calibrate.score import Scores, fitted_utilisation, ranking_summary, score, with_baseline
from dse.core.smooth import p_norm_max
from dse.physics.calibration import prior_calibration
from dse.physics.coordinates import NUMBERS, number_at, to_free
from dse.physics.pooled import LEVELS, NOVELTIES, Kin, novelty_of, power_of_two
from dse.physics.step import step_time

ROW = {
    "point_id": "x#1", "source": "somebody", "chip": "NVIDIA A100 80GB SXM", "num_chips": 64.0, "model": "GPT-175B",
    "params_B": 175.0, "layers": 96.0, "hidden": 12288.0, "ffn_hidden": 49152.0, "heads": 96.0, "kv_heads": 96.0,
    "head_dim": 128.0, "vocab": 51200.0, "seq_len": 2048.0, "global_batch": 64.0, "micro_batch": 1.0, "tp": 8.0,
    "pp": 8.0, "dp": 1.0, "cp": 1.0, "virtual_pp": 3.0, "zero_stage": 0.0, "sequence_parallel": "yes",
    "recompute": "selective", "precision": "FP16", "year": 2022.0, "metric": "step_time", "value": 13.75, "unit": "s",
}  # fmt: skip


@pytest.fixture(scope="module")
def cases():
    """Sixteen GPT rows of different micro batches, plans and recomputation, of three sources."""
    found = []
    for i, (tp, pp, micro, recompute) in enumerate(
        (t, p, m, r) for t, p in ((8, 8), (8, 4), (4, 8), (8, 1)) for m in (1, 2) for r in ("selective", "full")
    ):
        dp = 64 // (tp * pp)
        changes = {"tp": tp, "pp": pp, "dp": dp, "micro_batch": micro, "recompute": recompute, "virtual_pp": 1}
        row = {**ROW, **changes, "global_batch": 64 * dp, "point_id": f"x#{i}", "source": f"s{i % 3}"}
        case = training_case(pd.DataFrame([row]))
        assert isinstance(case, Case)
        found.append(case)
    return found


@pytest.fixture(scope="module")
def truth():
    return dataclasses.replace(prior_calibration("a100-80"), matmul_frac=0.72, scaleup_frac=0.7)


@pytest.fixture(scope="module")
def synthetic(cases, truth):
    seconds, _ = predict(cases, [truth] * len(cases))
    return [dataclasses.replace(c, measured_s=float(s)) for c, s in zip(cases, seconds, strict=True)]


@pytest.fixture(scope="module")
def pooled(synthetic):
    """The rows on A100, and two of them again as if a stack that nobody else measured had run a fifth slower."""
    other = [
        dataclasses.replace(c, stack="fsdp", source="t", point_id=f"t#{i}", measured_s=1.2 * c.measured_s)
        for i, c in enumerate(synthetic[:2])
    ]
    return Pooled(Design((block([*synthetic, *other], "training"),), LEVELS))


@pytest.fixture(scope="module")
def full(pooled):
    return pooled.fit()


def log_error(pooled, posterior):
    t, _ = pooled.design.evaluate(posterior.effects(pooled.n_units), np.ones(len(pooled.log_s), bool))
    return t - pooled.log_s


def test_fit_explains_synthetic_times(pooled, full):
    errors = np.abs(log_error(pooled, full))[:16]
    assert np.median(errors) < 0.03


def test_two_rows_move_their_stack_but_do_not_take_over(pooled, full):
    """A fifth slower (0.18 in log time): effects and offsets share it, so the prediction moves a part of the way."""
    left = -log_error(pooled, full)[16:]
    assert (left > 0.02).all() and (left < 0.18).all()


def test_steps_reach_a_stationary_point(pooled, full):
    """The gradient of the log posterior, by central differences along random directions, is small at the end."""
    rng = np.random.default_rng(1)
    on = pooled.learnt
    power, n = pooled._power(on), pooled.columns.n_effects

    def cost(z):
        t, _ = pooled.design.evaluate(z[:n].reshape(-1, N), on)
        return pooled._cost(z, pooled._residual(z, t), power, full.log_sigma)

    for _ in range(4):
        d = rng.normal(size=len(full.z))
        d /= np.linalg.norm(d)
        slope = (cost(full.z + 1e-4 * d) - cost(full.z - 1e-4 * d)) / 2e-4
        curvature = d @ full.precision @ d
        assert abs(slope) / np.sqrt(curvature) < 0.3


def test_leaving_out_is_a_mask_and_warm_starts_agree_with_cold_ones(pooled, full):
    away = (pooled.design.frame.source == "s0").to_numpy()
    warm = pooled.fit(mask=~away, start=full, iterations=20)
    cold = pooled.fit(mask=~away)
    assert np.abs(log_error(pooled, warm) - log_error(pooled, cold)).max() < 0.02


def test_spread_grows_where_rows_are_left_out(pooled, full):
    away = (pooled.design.frame["stack"] == "fsdp").to_numpy()
    without = pooled.fit(mask=~away, start=full)
    _, with_all = pooled.predict(full, away)
    _, less = pooled.predict(without, away)
    assert (less[away] > with_all[away]).all()


def test_every_row_has_its_own_calibration_in_one_program(cases):
    """Predictions of a mixed batch equal those one by one, exponents of 2 and 8 among them."""
    served = [dataclasses.replace(prior_calibration("a100-80"), overlap_p=p) for p in (2.0, 8.0)] * 8
    seconds, parts = predict(cases, served)
    for i in (0, 1, 5):
        step = step_time(cases[i].demand, cases[i].chip, served[i])
        assert seconds[i] == pytest.approx(float(step.total_s), rel=1e-9)
        assert parts["compute_s"][i] == pytest.approx(float(step.compute_s), rel=1e-9)


def test_a_traced_exponent_gives_the_same_norm():
    x = jnp.asarray([3.0, 4.0, 0.0])
    assert float(p_norm_max(x, jnp.asarray(2.0))) == pytest.approx(5.0)
    assert float(p_norm_max(x, jnp.asarray(2.0))) == pytest.approx(float(p_norm_max(x, 2.0)))


@pytest.mark.parametrize("name", NUMBERS)
def test_coordinates_go_there_and_back(name):
    for value in (0.3, 0.9) if name.endswith("_frac") else (2.0, 8.0) if name == "overlap_p" else (1e-6, 1e-3):
        assert number_at(name, to_free(name, value)) == pytest.approx(value)


def test_exponents_that_serve_are_powers_of_two():
    assert [power_of_two(p) for p in (1.0, 1.3, 2.9, 3.0, 6.0, 40.0)] == [2, 2, 4, 4, 8, 16]


def test_what_is_new():
    kin = Kin("b200", "blackwell", "prior-cuda", "vllm")
    assert novelty_of(kin, kin.units) == "pair"
    assert novelty_of(kin, kin.units[:5]) == "stack"
    assert novelty_of(kin, ("vendor:prior-cuda",)) == "family"
    assert novelty_of(kin, ("stack:vllm",)) == "vendor"


def test_a_band_weighs_sources_alike_and_covers_four_in_five():
    """Five sources of one row each: the fourth largest. A hundred more rows of the first change nothing."""
    errors = pd.DataFrame({"source": list("abcde"), "error": [0.1, -0.2, 0.3, -0.4, 0.5]})
    assert half_width(errors) == pytest.approx(0.4)
    more = pd.concat([errors, pd.DataFrame({"source": ["a"] * 100, "error": 0.1})], ignore_index=True)
    assert half_width(more) == pytest.approx(0.4)
    assert half_width(more, shrink_frac=0.5) == pytest.approx(0.3)  # a weighs 10 of 14


def test_bands_are_never_narrower_for_what_is_newer():
    rng = np.random.default_rng(0)
    errors = pd.DataFrame(
        {"source": rng.choice(list("abcdef"), 60), "error": rng.normal(size=60), "kind": "training",
         "novelty": rng.choice(NOVELTIES, 60), "new": rng.choice(list("uvw"), 60), "counts": True}
    )  # fmt: skip
    width = bands_of(errors)["training"]
    assert sorted(width.values()) == [width[n] for n in NOVELTIES]


def test_scores_put_a_baseline_and_a_band_beside(synthetic, truth):
    served = {c.point_id: truth for c in synthetic}
    s = score(synthetic, [], served, {c.point_id: ("pair", 0.1) for c in synthetic})
    table = s.by("source")
    assert set(table.source) == {"s0", "s1", "s2"}
    assert table.median_abs_err.max() < 1e-9 and (table.coverage == 1).all()
    assert (table.baseline_median_abs_err > 0.01).any()
    assert fitted_utilisation(s.predictions)["a100-80"] == pytest.approx(0.5, abs=0.3)


def test_a_baseline_left_out_never_saw_its_rows():
    """Source a runs at half the utilisation of b, so its rows are predicted at b's: half the time."""
    rows = pd.DataFrame(
        {"source": list("ab"), "chip": "h100", "model_s": 1.0, "measured_s": [4.0, 2.0], "point_id": ["a#1", "b#1"]}
    )
    assert with_baseline(rows, held_out=True).baseline_s.tolist() == [2.0, 4.0]


def test_numbers_of_a_calibration_may_be_traced():
    c = calibration_of({"matmul_frac": jnp.asarray(0.5), "overlap_p": jnp.asarray(3.0)})
    assert float(c.matmul_frac) == 0.5 and float(c.overlap_p) == 3.0


def test_batches_pad_operators(cases):
    demands, chips = batch(cases)
    assert demands.ops.runs.shape == (16, max(len(c.demand.ops.runs) for c in cases))
    assert chips.name == ""


def test_regret_is_what_the_plan_predicted_fastest_costs():
    """The second plan is predicted fastest and takes 3 s where 2 s were possible: 50 %; ranks 2 1 3 against 1 2 3."""
    one = pd.DataFrame({"predicted_s": [1.1, 1.0, 5.0], "measured_s": [2.0, 3.0, 9.0]})
    r = ranking_summary([one])
    assert (r["sweeps"], r["regret_frac"]) == (1, pytest.approx(0.5))
    assert r["spearman"] == pytest.approx(0.5)
    assert ranking_summary([])["sweeps"] == 0


def test_runs_of_one_plan_are_no_plans_of_their_own():
    """Four plans, one run thrice, are no sweep; a fifth makes one, in which the plan run thrice counts once."""
    plans = ["a", "b", "c", "d", "d", "d"]
    rows = pd.DataFrame(
        {"plan": plans, "sweep": "s", "measured_s": [1.0, 2, 3, 4, 9, 5], "predicted_s": [1.0, 2, 3, 4, 4, 4]}
    )
    fewer = Scores(rows)
    assert fewer.ranking()["sweeps"] == 0
    more = Scores(pd.concat([rows, rows.iloc[:1].assign(plan="e", measured_s=6.0, predicted_s=0.5)]))
    found = more.ranking()
    assert found["sweeps"] == 1
    assert found["spearman"] == pytest.approx(0.0)  # ranks 2 3 4 5 1 against 1 2 3 4 5: 1 - 6 x 20 / 120
    assert found["regret_frac"] == pytest.approx(5.0)


def test_attention_of_one_vendor_says_nothing_of_anothers():
    """Two compiled stacks of two vendors share the software's effect alone: of a known shift x of the one, the other
    is expected to have x k_software^2 / sum(k^2). By hand, 1 / (1 + 0.25 + 0.09 + 0.16 + 0.04 + 0.25) = 0.559 of the
    matrix products, which a compiler lays out, and 0.01 / (0.01 + 1 + 0.09 + 0.16 + 0.04 + 0.25) = 0.0065 of attention,
    whose kernels are written by hand for one matrix unit [shah2024flashattention3, aws2026nki].
    """
    k = pooling(LEVELS).spread ** 2
    shared = dict(zip(NUMBERS, k[LEVELS.index("software")] / k.sum(axis=0), strict=True))
    assert shared["matmul_frac"] == pytest.approx(1 / 1.79)
    assert shared["attention_frac"] == pytest.approx(0.01 / 1.55)
    # an unmeasured vendor is known no better for it: at least one range of its prior is left open
    assert k[:2, NUMBERS.index("attention_frac")].sum() >= 1.0
