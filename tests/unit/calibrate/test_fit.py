"""Fits recover what made the data, stay at the prior without data, and never leave their bounds."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.cases import Case, training_case
from dse.calibrate.families import fit_all, fits_toml, serve
from dse.calibrate.fit import FITTED, batch, fit, predict, source_weights
from dse.calibrate.score import fitted_utilisation, score
from dse.physics.calibration import (
    calibration,
    calibration_names,
    calibration_receipts,
    default_calibration,
    family,
    prior_calibration,
    serving_name,
)

ROW = {
    "point_id": "x#1", "source": "somebody", "chip": "NVIDIA A100 80GB SXM", "num_chips": 64.0, "model": "GPT-175B",
    "params_B": 175.0, "layers": 96.0, "hidden": 12288.0, "ffn_hidden": 49152.0, "heads": 96.0, "kv_heads": 96.0,
    "head_dim": 128.0, "vocab": 51200.0, "seq_len": 2048.0, "global_batch": 64.0, "micro_batch": 1.0, "tp": 8.0,
    "pp": 8.0, "dp": 1.0, "cp": 1.0, "virtual_pp": 3.0, "zero_stage": 0.0, "sequence_parallel": "yes",
    "recompute": "selective", "precision": "FP16", "year": 2022.0, "metric": "step_time", "value": 13.75, "unit": "s",
}  # fmt: skip


@pytest.fixture(scope="module")
def cases():
    """Sixteen GPT rows of different micro batches, plans and recomputation."""
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
    seconds = np.asarray(predict(*batch(cases), truth))
    return [dataclasses.replace(c, measured_s=float(s)) for c, s in zip(cases, seconds, strict=True)]


@pytest.fixture(scope="module")
def fitted(synthetic):
    prior = prior_calibration("a100-80")
    return fit(synthetic, prior, {r.name: r for r in calibration_receipts(prior.name)}, "test")


def test_fit_explains_synthetic_times(fitted, synthetic):
    seconds = np.asarray(predict(*batch(synthetic), fitted.calibration))
    errors = np.abs(seconds / [c.measured_s for c in synthetic] - 1)
    assert np.median(errors) < 0.02 and errors.max() < 0.05  # the prior still pulls, with sixteen points


def test_fit_recovers_the_number_the_data_determine(fitted):
    assert float(fitted.calibration.matmul_frac) == pytest.approx(0.72, abs=0.03)
    assert fitted.determined("matmul_frac")


def logit(x):
    return np.log(float(x) / (1 - float(x)))


def test_numbers_the_data_cannot_see_keep_their_distance_from_the_matrix_share(fitted):
    """No 8-bit product in these rows: its share falls with that of all matrix work, in logit, and no further."""
    prior, found = prior_calibration("a100-80"), fitted.calibration
    moved = logit(found.matmul_frac) - logit(prior.matmul_frac)
    assert logit(found.narrow_frac) == pytest.approx(logit(prior.narrow_frac) + moved, abs=0.05)
    assert moved < -0.3
    assert not fitted.determined("narrow_frac")


def test_at_most_twelve_numbers_per_pair():
    assert len(FITTED) + 1 <= 12


def test_sources_share_weight_by_the_root_of_their_rows(cases):
    w = source_weights(cases)
    assert w.sum() == pytest.approx(1.0)
    counts = {s: sum(c.source == s for c in cases) for s in {c.source for c in cases}}
    mass = {s: sum(x for x, c in zip(w, cases, strict=True) if c.source == s) for s in counts}
    for a in counts:
        for b in counts:
            assert mass[a] / mass[b] == pytest.approx((counts[a] / counts[b]) ** 0.5)


def test_shipped_fits_are_within_bounds_and_say_what_they_rest_on():
    names = [n for n in calibration_names() if n.startswith("fit-")]
    assert "fit-ampere-megatron" in names
    for name in names:
        c = calibration(name)
        assert all(0 <= float(getattr(c, f)) <= 1 for f in FITTED if f.endswith("_frac"))
        assert all("dse calibrate" in r.where for r in calibration_receipts(name))


def test_who_serves_whom():
    names = {"fit-hopper-megatron", "fit-hopper-fsdp", "fit-tpu-xla", "fit-cdna-kernels"}
    assert serving_name(names, "h200", "fsdp") == "fit-hopper-fsdp"
    assert serving_name(names, "h800", "nanotron") == "fit-hopper-megatron"
    assert serving_name(names, "tpu-v4", "megatron") == "fit-tpu-xla"
    assert serving_name(names, "mi300x", "megatron") is None
    assert serving_name(names, "trainium3", "neuron") is None
    assert family("gb200") == "blackwell"


def test_chips_nobody_measured_keep_a_named_prior():
    assert default_calibration("trainium3").name == "prior-neuron"


def test_scores_put_a_baseline_beside_and_list_the_unmodelled(synthetic, truth):
    served = {c.point_id: truth for c in synthetic}
    s = score(synthetic, [], served)
    table = s.by("source")
    assert set(table.source) == {"s0", "s1", "s2"}
    assert table.median_abs_err.max() < 1e-9
    assert (table.baseline_median_abs_err > 0.01).any()
    assert fitted_utilisation(s.predictions)["a100-80"] == pytest.approx(0.5, abs=0.3)


def test_fits_go_to_a_file_with_receipts(synthetic):
    fits = fit_all(synthetic[:4])
    text = fits_toml({f.calibration.name: f for f in fits.values()})
    assert "[fit-ampere-megatron]" in text and "4 measurements" in text
    assert serve(fits, "a100-80", "fsdp").name == "fit-ampere-megatron"
    assert serve(fits, "tpu-v4", "xla").name == "prior-tpu"
