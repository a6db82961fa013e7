"""Boxes of free numbers: what is refused, and how the refusal reads."""

import dataclasses
import math

import pytest

from dse.core.errors import DseError, SpecError
from dse.core.free import Free


@pytest.mark.parametrize(("lower", "upper"), [(1.0, 2.0), (3.0, 3.0), (1e-300, 1e300)])
def test_boxes_that_make_sense(lower, upper):
    free = Free("clock_Hz", lower, upper)
    assert (free.lower, free.upper) == (lower, upper)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0), (1.0, math.nan), (math.inf, math.inf)],
)
def test_boxes_without_a_logarithm_are_refused_by_name(lower, upper):
    with pytest.raises(SpecError, match=r"clock_Hz.*positive, finite and in order") as error:
        Free("clock_Hz", lower, upper)
    assert isinstance(error.value, DseError) and isinstance(error.value, ValueError)
    assert f"{lower:g} to {upper:g}" in str(error.value)


def test_a_box_cannot_be_moved():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Free("clock_Hz", 1.0, 2.0).lower = 0.0
