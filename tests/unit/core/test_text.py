"""Numbers for people: the right prefix, the right digits, compound units, ranges and labels."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.core.text import (
    COMPOUND,
    SCALES,
    common_scale,
    digits,
    enough_text,
    in_unit,
    label,
    percent,
    quantity_text,
    scale_of,
    scoped_label,
    span,
    spelled,
    times,
)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("clock_Hz", 2.4e9, "2.4 GHz"),
        ("peak_fp8_FLOPps", 2.5166e15, "2.52 PFLOP/s"),
        ("hbm_bandwidth_Bps", 4.9e12, "4.9 TB/s"),
        ("hbm_capacity_B", 144 * 2**30, "144 GiB"),
        ("scratchpad_B", 32 * 2**20, "32 MiB"),
        ("step_s", 17.33, "17.3 s"),
        ("step_s", 3.4e-3, "3.4 ms"),
        ("launch_s", 1.55e-6, "1.55 us"),
        ("power_W", 1200.0, "1,200 W"),
        ("silicon_mm2", 1600.0, "1,600 mm2"),
        ("pe_area_fp8_mm2", 1.36e-4, "136 um2"),
        ("norm_area_mm2", 0.04, "0.04 mm2"),
        ("package_cost_USD", 11873.2, "11,900 USD"),
        ("supply_V", 0.7493, "0.749 V"),
        ("spare_frac", 0.25, "25 %"),
        ("n_cores", 40.0, "40"),
        ("node", "N3P", "N3P"),
        # 3.12e-11 J per byte are 3.12e-11 / 8 J per bit
        ("energy_J_per_B", 3.12e-11, "3.9 pJ/bit"),
        # 8 mW per MiB
        ("sram_leakage_W_per_B", 8e-3 / 2**20, "8 mW/MiB"),
        ("defect_density_per_mm2", 9e-4, "0.09 per cm2"),
        ("price_USD_per_B", 1e-8, "10 USD/GB"),
        ("scaleup_bandwidth_per_dir_Bps", 640e9, "640 GB/s"),
        ("tokens_per_s", 9825.7, "9,830 tokens/s"),
        ("time_s", 0.0, "0 s"),
        ("time_s", math.inf, "infinite s"),
    ],
)
def test_quantities_read_as_people_write_them(name, value, text):
    assert quantity_text(name, value) == text


@given(st.floats(1e-3, 1e18), st.sampled_from(sorted(SCALES)))
def test_the_scale_leaves_a_number_of_at_least_one_where_there_is_one(value, unit):
    _, factor = scale_of(value, unit)
    smallest = min(size for _, size in SCALES[unit])
    assert value / factor >= 1 - 1e-6 or factor == smallest


@given(st.floats(1e-12, 1e24), st.integers(1, 6))
def test_digits_keep_the_value(value, n):
    assert float(digits(value, n).replace(",", "")) == pytest.approx(value, rel=10.0 ** (1 - n))


def test_every_scale_ascends_and_every_compound_unit_prints():
    for scales in SCALES.values():
        sizes = [size for _, size in scales]
        assert sizes == sorted(sizes)
    for unit, (text, _) in COMPOUND.items():
        assert in_unit(1.0, unit).endswith(text)


def test_what_rounding_leaves_is_no_number():
    """A fitted time of 3.47e-18 s read "3.47e-09 ns"."""
    assert in_unit(3.47e-18, "s") == "under 0.001 ns" and in_unit(-1e-20, "W") == "under 0.001 nW"
    assert in_unit(0.0, "s") == "0 s" and in_unit(2e-12, "s") == "0.002 ns" and in_unit(1e-5, "USD") == "1e-05 USD"


def test_percent_times_and_span():
    assert percent(0.0012) == "0.12 %"
    assert percent(0.0) == "0 %"
    assert percent(3e-8) == "3e-06 %"
    assert times(4.857) == "4.86x"
    assert span("power_W", 150.0, 300.0) == "150 to 300 W"
    assert span("time_s", 0.5e-6, 2e-3) == "500 ns to 2 ms"
    assert span("power_W", 200.0, 200.0) == ""
    assert span("node", math.nan, math.nan) == ""


def test_labels():
    assert label("hbm_bandwidth_Bps") == "HBM bandwidth"
    assert label("clock_Hz (box)") == "clock (box)"
    assert label("power_W:training") == "power in training"
    assert label("stack bandwidth") == "stack bandwidth"
    assert label("sram_leakage_W_per_B") == "SRAM leakage"
    assert label("mac_energy_fp8_J") == "MAC energy FP8" and label("noc_area_mm2") == "NoC area"
    assert label("scaleup_hop_s") == "scale-up hop"


def test_values_are_spelled_as_a_file_has_them():
    told = {"a": [True, None, 1.5], "b": {"c": "two\nlines"}}
    assert spelled(told) == "{ a = [true, nothing, 1.5], b = { c = 'two lines' } }"


def test_the_scale_of_many_is_that_of_their_median():
    assert common_scale([1.0, 2e3, 3e12], "Bps") == scale_of(2e3, "Bps") != scale_of(1.0, "Bps")


@pytest.mark.parametrize(("value", "more", "text"), [
    (1801.0, True, "1,810 W"), (1801.0, False, "1,800 W"), (1800.0, True, "1,800 W"), (0.98765, False, "987 mW"),
    (0.3, True, "300 mW"), (999.9, True, "1,000 W"),
])  # fmt: skip
def test_a_limit_is_rounded_to_the_side_that_suffices(value, more, text):
    assert enough_text("power_W", value, more) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory HBM4: energy_J_per_B", "HBM4: energy"),
        ("passes: dequantise_frac", "passes: dequantise"),
        ("calibration fit-trainium3-neuronx: attention_frac", "fit-trainium3-neuronx: attention, of peak"),
        ("limit full_load_fp8_W <= 1800", "full-load FP8 <= 1,800 W"),
        ("limit step_s:decode <= 0.02", "step in decode <= 20 ms"),
    ],
)
def test_what_an_answer_rests_on_has_words(name, text):
    assert scoped_label(name) == text
