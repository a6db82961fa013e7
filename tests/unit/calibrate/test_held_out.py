"""Leaving groups out: what cannot be left out is said at once, and bands exist where no row may count."""

import pandas as pd
import pytest

from dse.calibrate.cases import Case
from dse.calibrate.held_out import _bands_of_others, half_width, served_without
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
    """Two sources of one row each, neither of which may count: each gets the other's error (before: a KeyError)."""
    errors = pd.DataFrame({
        "point_id": ["x", "y"], "source": ["a", "b"], "chip": "h100", "kind": "kernels", "counts": False,
        "error": [0.1, -0.3], "novelty": "stack",
    })  # fmt: skip
    assert _bands_of_others(errors, "kernels") == {"x": ("stack", 0.3), "y": ("stack", 0.1)}


def test_a_quantile_of_rows_that_weigh_unlike():
    """Eight rows of one source and two of another: by row 80 % is 0.8; with sources alike eight weigh as two.

    By source each of the eight has 1/16 and each of the two 1/4: 8/16 + 1/4 reach 75 %, the last one 80 %.
    """
    errors = pd.DataFrame({"source": ["a"] * 8 + ["b"] * 2, "error": [x / 10 for x in range(1, 11)]})
    assert half_width(errors, 0.0) == 0.8 and half_width(errors, 1.0) == 1.0
