"""Units of throughput mean what they say, or nothing."""

from types import SimpleNamespace

import pytest

from dse.calibrate.rates import Rate, message_B, rate, rated_s


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


@pytest.mark.parametrize(
    ("said", "whole_B"),
    # nccl-tests print 2^30 of what 8 ranks gather, which is each one's buffer; a share of it is an eighth
    [("", 2**30), ("buffer bytes per rank", 2**30), ("bytes per rank", 8 * 2**30)],
)
def test_bus_bandwidth_counts_what_all_ranks_gather(said, whole_B):
    """Seven eighths of it cross each link: 2^30 bytes at 350 GB/s take 2.68 ms, not an eighth of it."""
    row = SimpleNamespace(
        collective="all_gather", num_ranks=8, message_bytes=2.0**30, size_convention=said, metric="busbw", value=350.0,
        unit="GB/s",
    )  # fmt: skip
    assert message_B(row) == whole_B
    assert rated_s(row) == pytest.approx(whole_B * 7 / 8 / 350e9)


def test_a_size_per_rank_of_what_is_reduced_is_the_message():
    row = SimpleNamespace(collective="all_reduce", num_ranks=8, message_bytes=2.0**30, size_convention="per rank")
    assert message_B(row) == 2**30
