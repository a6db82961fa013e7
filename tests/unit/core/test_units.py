"""Units: conversions by hand, and refusals."""

import pytest

from dse.core.errors import UnitError
from dse.core.text import SCALES
from dse.core.units import UNITS, canonical, quantity


@pytest.mark.parametrize(
    ("name", "value", "full", "expected"),
    [
        ("stack_bandwidth_GBps", 819.0, "stack_bandwidth_Bps", 8.19e11),  # 819 x 1e9
        ("energy_pJ_per_bit", 3.9, "energy_J_per_B", 3.12e-11),  # 3.9e-12 x 8
        ("scratchpad_area_mm2_per_MiB", 0.58, "scratchpad_area_mm2_per_B", 0.58 / 1048576),
        ("wire_energy_pJ_per_bit_per_mm", 0.1, "wire_energy_J_per_B_per_mm", 8e-13),
        ("pe_area_bf16_um2", 670.0, "pe_area_bf16_mm2", 6.7e-4),
        ("defect_density_per_cm2", 0.1, "defect_density_per_mm2", 1e-3),  # 1 cm2 = 100 mm2
        ("sram_leakage_mW_per_MiB", 8.0, "sram_leakage_W_per_B", 8e-3 / 1048576),
        ("dma_area_mm2_per_GBps", 0.001, "dma_area_mm2_per_Bps", 1e-12),
        ("price_USD_per_GB", 15.0, "price_USD_per_B", 1.5e-8),
        ("scaleout_bandwidth_Gbps", 200.0, "scaleout_bandwidth_Bps", 2.5e10),  # bits: 200 / 8 GB/s
        ("capacity_GiB", 36.0, "capacity_B", 38654705664.0),  # 36 x 2^30
        ("capacity_GB", 36.0, "capacity_B", 3.6e10),
        ("leakage_per_V", 3.0, "leakage_per_V", 3.0),
        ("lane_bandwidth_per_dir_GBps", 4.0, "lane_bandwidth_per_dir_Bps", 4e9),  # per_dir qualifies, divides nothing
        ("clock_GHz", 2.4, "clock_Hz", 2.4e9),
    ],
)
def test_hand_computed_conversions(name: str, value: float, full: str, expected: float):
    got_name, got = canonical(name, value)
    assert got_name == full
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["alpha", "n_cores", "die_aspect", "placement_frac", "nominal_V"])
def test_canonical_names_stay(name: str):
    assert canonical(name, 1.5) == (name, 1.5)


def test_canonical_is_idempotent():
    once = canonical("energy_pJ_per_bit", 3.9)
    assert canonical(*once) == once


def test_gigabyte_is_decimal_and_gibibyte_binary():
    assert UNITS["GB"] == ("B", 1e9)
    assert UNITS["GiB"] == ("B", 1073741824.0)


def test_unknown_unit_in_a_ratio_is_refused():
    with pytest.raises(UnitError, match="unknown unit 'byte'"):
        canonical("energy_pJ_per_byte", 1.0)


def test_quantity_reads_a_text_with_a_unit():
    assert quantity("2.4 GHz", "Hz") == pytest.approx(2.4e9)
    assert quantity("4.9 TB/s", "Bps") == pytest.approx(4.9e12)
    assert quantity("36 GiB", "B") == pytest.approx(36 * 2**30)
    assert quantity(700, "W") == 700.0
    assert quantity("1.5", "W_per_mm2") == quantity("1.5 W/mm2", "W_per_mm2") == 1.5
    assert quantity("150 W/cm2", "W_per_mm2") == pytest.approx(1.5)
    assert quantity("3.9 pJ/bit", "J_per_B") == pytest.approx(3.12e-11)
    assert quantity("2 W per stack", "W_per_stack") == 2.0
    assert quantity("0.1 USD per M tokens", "per_token_USD") == pytest.approx(1e-7)
    assert quantity("2 g per M tokens", "per_token_kg") == pytest.approx(2e-9)
    assert quantity("0.5 J per token", "per_token_J") == quantity("0.5 J", "per_token_J") == 0.5
    assert quantity("0.5 mm2 per TB/s", "mm2_per_Bps") == pytest.approx(5e-13)


@pytest.mark.parametrize(
    ("text", "unit", "says"),
    [
        ("5 parsec", "mm", "unknown unit 'parsec'"),
        ("5 W", "B", "measures W, expected one that converts to B"),
        ("fast", "Hz", "is not a number with a unit"),
        ("fast", "s", "is not a number with a unit, such as .2.4 ms."),
        ("1.2.3 GHz", "Hz", "is not a number with a unit"),
        ("1.5 W/acre", "W_per_mm2", "unknown unit 'W/acre'; expected one that converts to W_per_mm2: W/mm2"),
        ("1.5 W", "W_per_mm2", "W measures W, expected one that converts to W_per_mm2"),
        ("700 W per M tokens", "W", "is not a number with a unit"),
        ("0.1 W per M tokens", "per_token_USD", "W measures W, expected one that converts to USD"),
        ("3 USD/h", "USD", "USD/h measures USD_per_s, expected one that converts to USD"),
    ],
)
def test_quantity_refuses(text: str, unit: str, says: str):
    with pytest.raises(UnitError, match=says):
        quantity(text, unit)


def test_every_unit_that_the_screen_writes_is_read():
    """Before: "1 MW" and "2 PB/s" were unknown, though answers are written so."""
    for unit, scales in SCALES.items():
        for text, factor in scales:
            if text not in ("t", "kFLOP", "MFLOP", "ZFLOP/s", "MFLOP/s", "kFLOP/s"):  # sizes that no hardware has
                assert quantity(f"2 {text}", unit) == pytest.approx(2 * factor)
