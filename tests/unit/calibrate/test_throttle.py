"""Fits start from the clock that a power limit leaves to matrix products."""

import pytest

from dse.calibrate.design import prior_facts
from dse.calibrate.throttle import clocks_frac
from dse.hardware.presets import chip, chip_names
from dse.physics.calibration import calibration_receipts, default_calibration, kin_of, prior_of
from dse.physics.coordinates import LEAST_FRAC
from dse.physics.evaluate import chip_technology
from dse.physics.pooled import CLOCK, effects
from dse.physics.throttle import OF_PRECISION
from dse.study.metrics import METRICS, chip_state


def test_the_shipped_clocks_are_those_of_todays_power_model():
    assert effects()[CLOCK] == clocks_frac()
    assert list(clocks_frac()) == list(chip_names())


@pytest.mark.parametrize("name", ["b200", "h100", "trainium2", "tpu-v6e"])
def test_a_clock_is_the_fourth_root_of_power_limit_over_full_load(name):
    state = chip_state(chip(name), chip_technology(chip(name)))
    load_W = float(METRICS["full_load_bf16_W"](state))
    assert clocks_frac()[name]["bf16"] == pytest.approx((float(chip(name).power_limit_W) / load_W) ** 0.25, abs=5e-5)


def test_more_power_is_a_higher_clock():
    """An H100 of 350 W on PCIe has the die of one of 700 W, an H200 of 600 W that of one of 700 W."""
    c = {n: x["bf16"] for n, x in clocks_frac().items()}
    assert c["h100-pcie"] < c["h100"] and c["h200-nvl"] < c["h200"] and c["mi300x"] < c["mi355x"]


def test_a_prior_moves_by_the_clock_and_in_nothing_else():
    vendors = {r.name: r for r in calibration_receipts("prior-cuda")}
    found, clock = prior_facts("b200"), clocks_frac()["b200"]
    assert found == prior_of(kin_of("b200", "megatron"))
    moved = {n: p for p, names in OF_PRECISION.items() for n in names}
    for n, fact in vendors.items():
        ratio = clock[moved[n]] if n in moved else 1.0
        ends = [(x.low, x.value, x.high) for x in (found[n], fact)]
        assert ends[0] == pytest.approx([min(x * ratio, max(x, 1 - LEAST_FRAC)) for x in ends[1]])


def test_a_family_or_a_chip_without_a_preset_keeps_the_vendors_prior():
    assert prior_of(kin_of("hopper", "vllm")) == {r.name: r for r in calibration_receipts("prior-cuda")}


def test_what_is_served_rests_on_the_same_prior():
    """Of two Hopper cards that nobody measured, the one with less power for its die is served a lower rate."""
    slow, fast = (float(default_calibration(n, "vllm").matmul_frac) for n in ("h100-nvl", "h200-nvl"))
    assert slow < fast
