"""Units of throughput mean what they say, or nothing."""

import pytest

from dse.calibrate.rates import Rate, rate


@pytest.mark.parametrize(
    ("unit", "meaning"),
    [
        ("tok/s", Rate("tokens", 1.0, False)),
        ("tokens per second per GPU", Rate("tokens", 1.0, True)),
        ("ktok/s", Rate("tokens", 1e3, False)),
        ("M tokens/min", Rate("tokens", 1e6 / 60, False)),
        ("samples/sec/device", Rate("sequences", 1.0, True)),
        ("seq/s/chip", Rate("sequences", 1.0, True)),
        ("it/s", Rate("steps", 1.0, False)),
        ("tokens/day", Rate("tokens", 1 / 86400, False)),
    ],
)
def test_what_a_unit_counts(unit, meaning):
    assert rate(unit) == meaning


@pytest.mark.parametrize("unit", ["", "tok", "TFLOP/s", "tok/s/user", "tokens/s/node", "GB/s", "tokens/s/GPU/layer"])
def test_units_that_mean_something_else_are_refused(unit):
    assert rate(unit) is None
