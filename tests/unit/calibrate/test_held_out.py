"""Leaving groups out: what cannot be left out is said at once, and bands exist where no row may count."""

import math

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.cases import Case
from dse.calibrate.held_out import _bands_of_others, bands_of, half_width, served_without, student_over_normal_frac
from dse.core.errors import SpecError
from dse.hardware.presets import chip


def test_a_file_without_a_later_generation_has_none_to_leave_out():
    """Before: a traceback (no objects to concatenate), after the fits."""
    hopper = [Case("1", "a", "h100", "megatron", 1.0, None, chip("h100"))]
    with pytest.raises(SpecError, match="no measurement is of a generation that can be left out"):
        served_without("training", hopper, "generation", print)


def test_no_case_asks_for_no_fit():
    assert served_without("inference", [], "source", print) == ({}, {})


def test_rows_that_may_not_count_still_get_a_band():
    """Two sources of one row each, neither of which may count: each gets the other's error (before: a KeyError).

    Times 3.0777 / 1.2816, quantiles of tables at 90 %: of one draw Student's law is Cauchy's, tan(0.4 pi).
    """
    errors = pd.DataFrame({
        "point_id": ["x", "y"], "source": ["a", "b"], "chip": "h100", "kind": "kernels", "counts": False,
        "error": [0.1, -0.3], "novelty": "stack",
        "new": ["pair:ampere vllm", "pair:hopper vllm"],
    })  # fmt: skip
    ratio = math.tan(0.4 * math.pi) / 1.2815516
    found = _bands_of_others(errors, "kernels")
    assert found == {"x": ("stack", round(0.3 * ratio, 4)), "y": ("stack", round(0.1 * ratio, 4))}


def test_few_draws_tell_little_of_the_spread():
    """Quantiles at 90 %, as tables of Student's t print them: 1.886, 1.638, 1.476 of 2, 3, 5 draws; normal 1.2816."""
    for n, t in ((2, 1.886), (3, 1.638), (5, 1.476)):
        assert student_over_normal_frac(n) == pytest.approx(t / 1.2816, rel=5e-4)
    assert student_over_normal_frac(10**6) == pytest.approx(1.0, abs=1e-5)


def test_a_band_of_the_next_draw_covers_what_it_says():
    """Normal errors of five sources, their spread unknown: four in five of the next, where a normal law has 74 %."""
    draws = np.random.default_rng(0).normal(size=(20000, 6))
    spread = np.sqrt((draws[:, :5] ** 2).mean(axis=1))
    covered = [(np.abs(draws[:, 5]) < r * 1.2815516 * spread).mean() for r in (student_over_normal_frac(5), 1.0)]
    assert covered == pytest.approx([0.8, 0.744], abs=0.01)


def test_all_rows_of_one_new_family_are_one_draw():
    """Four sources of two families, all off by 0.2: two draws, 0.2 times 1.8856 / 1.2816 (before: 0.2)."""
    errors = pd.DataFrame({
        "source": list("abcd"), "kind": "training", "counts": True, "error": 0.2, "novelty": "family",
        "new": ["family:blackwell"] * 3 + ["family:tpu6"],
    })  # fmt: skip
    assert bands_of(errors)["training"]["family"] == round(0.2 * 1.8856181 / 1.2815516, 4)


def test_a_quantile_of_rows_that_weigh_unlike():
    """Eight rows of one source and two of another: by row 80 % is 0.8; with sources alike eight weigh as two.

    By source each of the eight has 1/16 and each of the two 1/4: 8/16 + 1/4 reach 75 %, the last one 80 %.
    """
    errors = pd.DataFrame({"source": ["a"] * 8 + ["b"] * 2, "error": [x / 10 for x in range(1, 11)]})
    assert half_width(errors, 0.0) == 0.8 and half_width(errors, 1.0) == 1.0
