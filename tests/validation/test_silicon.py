"""Areas and powers of real chips from one set of coefficients. Nothing here is fitted to the chips it is checked on."""

import csv
import math
import statistics
from pathlib import Path

import pytest

from dse.hardware.chip import peak_FLOPps
from dse.hardware.presets import chip
from dse.physics.area import total_area_mm2
from dse.physics.calibration import default_calibration
from dse.physics.evaluate import chip_technology, silicon
from dse.physics.full_load import full_load_power_W
from dse.workload.op import linear

BYTES = Path(__file__).parents[1] / "data" / "trainium3_gemm_bytes.csv"


@pytest.mark.parametrize(
    ("name", "published_mm2"),
    [
        # +17 %: cores' crossbar ports are counted both as ports (control, 151 mm2) and in the network's share (86 mm2)
        ("a100-80", 826.0),
        # +17 %: as A100; ports 100 and network 84 mm2
        ("h100", 814.0),
        # -16 %: published as "below 600", so 600 is the largest it can be; SparseCores (about 5 % of the die), scalar
        # units and the host and management blocks of a TPU are not modelled
        ("tpu-v4", 600.0),
    ],
)
def test_die_areas_within_a_quarter(name, published_mm2, capsys):
    c = chip(name)
    s = silicon(c, chip_technology(c))
    area = float(s.die_mm2)
    with capsys.disabled():
        blocks = ", ".join(f"{k.removesuffix('_mm2')} {float(v):.0f}" for k, v in s.area.__dict__.items())
        print(f"\n{name}: {area:.0f} mm2, published {published_mm2:.0f}, {area / published_mm2 - 1:+.0%}: {blocks}")
    assert area == pytest.approx(published_mm2, rel=0.25)


@pytest.mark.parametrize(("name", "low_W", "high_W"), [("trainium3", 560.0, 1000.0), ("trainium2", 400.0, 650.0)])
def test_full_load_power_lies_in_the_published_bracket(name, low_W, high_W, capsys):
    c = chip(name)
    tech = chip_technology(c)
    s = silicon(c, tech)
    parts = {k: float(v) for k, v in full_load_power_W(c, tech, "fp8", s.area, s.die_mm2, s.supply_V).items()}
    total = sum(parts.values())
    with capsys.disabled():
        each = ", ".join(f"{k} {v / total:.0%}" for k, v in parts.items())
        print(f"\n{name}: {total:.0f} W at full FP8 load, expected {low_W:.0f} to {high_W:.0f}: {each}")
    assert low_W <= total <= high_W
    # memory, links and computation each matter, none is everything
    shares = {k: v / total for k, v in parts.items()}
    assert 0.15 <= shares["hbm"] <= 0.5
    assert 0.03 <= shares["links"] <= 0.2
    assert 0.3 <= shares["tensor"] + shares["sram"] + shares["vector"] <= 0.7


TDP_W = {
    "a100-40": 400.0, "h100": 700.0, "b200": 1000.0, "mi250x": 560.0, "mi300x": 750.0, "mi355x": 1400.0,
    "tpu-v3": 450.0, "tpu-v4i": 175.0, "gaudi2": 600.0, "gaudi3": 900.0, "maia-100": 700.0, "trainium2": 500.0,
}  # fmt: skip
"""Published TDP of twelve chips of six makers (Trainium2: an estimate); TDPs implied by efficiency are left out."""
DIES_MM2 = {
    "a100-40": 826.0, "h100": 814.0, "b200": 1600.0, "mi250x": 1448.0, "mi300x": 2400.0, "maia-100": 820.0,
    "mtia-v2": 421.0, "tpu-v4i": 400.0,
}  # fmt: skip
"""Published silicon of a package (MI300X with its base dies; B200 and TPU v4i, "below 400", are not exact)."""


def full_load_W(name):
    """The most that a chip burns in any precision it has."""
    c = chip(name)
    tech = chip_technology(c)
    s = silicon(c, tech)
    has = [p for p in ("bf16", "fp8") if float(c.core.tensor.macs_per_cycle.of(p)) > 0]
    parts = (full_load_power_W(c, tech, p, s.area, s.die_mm2, s.supply_V).values() for p in has)
    return max(float(sum(p)) for p in parts)


def test_full_load_of_twelve_chips_is_near_their_tdp(capsys):
    """Median within 20 %. Far off are chips whose printed peak no clock sustains under load: MI300X, B200."""
    ratios = {name: full_load_W(name) / tdp for name, tdp in TDP_W.items()}
    with capsys.disabled():
        print("\nfull load over TDP: " + ", ".join(f"{n} {r:.2f}" for n, r in ratios.items()))
    assert statistics.median(abs(r - 1.0) for r in ratios.values()) <= 0.2


def test_the_headline_study_gives_ratios_of_today():
    """Its reasons for the reading of the TDP said H100 1.0 and B200 1.5; the model had come to 0.82 and 1.22."""
    text = (Path(__file__).parents[2] / "sweeps" / "trainium4.toml").read_text().replace("\n# ", " ")
    told = text.partition("full load over published TDP: ")[2].partition(".\n")[0]
    names = {"Trainium2": "trainium2", "Trainium3": "trainium3", "H100": "h100", "A100": "a100-40"}
    names |= {"TPU v4i": "tpu-v4i", "MI355X": "mi355x", "B200": "b200"}
    ratios = {names[part.rpartition(" ")[0]]: float(part.rpartition(" ")[2]) for part in told.split(", ")}
    assert set(ratios) == set(names.values())
    tdps_W = TDP_W | {"trainium3": 700.0}  # about 700 W, as the study says
    assert {n: round(full_load_W(n) / tdps_W[n], 1) for n in ratios} == ratios


def test_silicon_of_eight_packages(capsys):
    """Median within 20 %, and seven of eight; TPU v4i is published as an upper bound only."""
    made = {n: silicon(chip(n), chip_technology(chip(n))).die_mm2 * chip(n).n_dies for n in DIES_MM2}
    off = {n: float(a) / DIES_MM2[n] - 1.0 for n, a in made.items()}
    with capsys.disabled():
        print("\nsilicon over published: " + ", ".join(f"{n} {x:+.0%}" for n, x in off.items()))
    assert statistics.median(abs(x) for x in off.values()) <= 0.2
    assert sum(abs(x) <= 0.2 for x in off.values()) >= 7


def test_byte_counters_of_trainium3_products():
    """BF16 products on one logical core: the law with fp32 sums in half a scratchpad is 15 % high at the median.

    The kernel keeps an operand, not the sums: a block of 1,024 rows whatever the shape.
    """
    lines = BYTES.read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    core = chip("trainium3").core
    tile_B = float(core.scratchpad_B) * float(default_calibration("trainium3").tile_memory_frac)
    off = []
    for r in rows:
        op = linear("x", float(r["M"]), float(r["K"]), float(r["N"]), "bf16")
        off.append(math.log((op.hbm_B + op.reuse_B / tile_B**0.5) / (int(r["read_B"]) + int(r["written_B"]))))
    assert len(rows) == 31
    assert statistics.median(off) == pytest.approx(0.147, abs=0.02)
    assert max(map(abs, off)) < 0.45


def test_trainium3_doubles_trainium2():
    """AWS: 2x FP8 (1.94x by its printed totals, 2.00x by the TensorE product), 1.5x HBM, 1.7x bandwidth."""
    two, three = chip("trainium2"), chip("trainium3")
    # 8 cores x 128 x 128 x 2.4 GHz either way; four MXFP8 MACs a PE instead of two
    assert float(peak_FLOPps(three, "fp8") / peak_FLOPps(two, "fp8")) == pytest.approx(2.00, abs=0.005)
    assert float(three.hbm_capacity_B / two.hbm_capacity_B) == pytest.approx(1.5)
    assert float(three.hbm_bandwidth_Bps / two.hbm_bandwidth_Bps) == pytest.approx(1.7, rel=0.02)


def test_blocks_add_up_and_denser_nodes_are_smaller():
    c = chip("trainium2")
    s = silicon(c, chip_technology(c))
    assert float(total_area_mm2(s.area)) == pytest.approx(sum(float(v) for v in s.area.__dict__.values()))
    assert float(s.die_mm2) * 2 >= float(total_area_mm2(s.area)) * (1 - 1e-12)
