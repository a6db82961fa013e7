"""A user's own chip file: plain values are guesses, units decide, and what is wrong is named in one line."""

import dataclasses

import equinox as eqx
import pytest

import dse
from dse.cli import main
from dse.core.errors import DseError
from dse.economy.presets import price_and_margin, rents
from dse.hardware.chip import native_precisions
from dse.hardware.own_chip import chip_toml
from dse.hardware.presets import base_name, chip_names, chip_receipts, chip_system
from dse.physics.calibration import calibration_for, measured_band
from dse.physics.evaluate import chip_technology, silicon
from dse.study.design import array_of, as_built
from dse.workload.transformer import Decode


@pytest.fixture
def own(tmp_path):
    """Writes an own chip with some lines and returns its path."""

    def write(*lines: str, base: str = "trainium3") -> str:
        path = tmp_path / "mine.toml"
        path.write_text("\n".join(["[mine]", f'base = "{base}"', *lines, ""]))
        return str(path)

    return write


def test_plain_values_have_units_and_the_rest_is_the_base(own):
    path = own("n_cores = 12", 'hbm_bandwidth = "9.6 TB/s"', "hbm_capacity_GB = 288", 'hbm = "HBM4"')
    mine, base = dse.chip(path), dse.chip("trainium3")
    assert (float(mine.n_cores), float(mine.hbm_bandwidth_Bps), float(mine.hbm_capacity_B)) == (12, 9.6e12, 288e9)
    assert mine.hbm == "HBM4" and float(mine.clock_Hz) == float(base.clock_Hz)
    kinds = {f.name: f.kind for f in chip_receipts(path)}
    assert kinds["n_cores"] == kinds["hbm"] == "guess" and kinds["node"] != "guess"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("n_coers = 12", ["n_coers", "did you mean n_cores"]),
        ('clok = "2 GHz"', ["'clok'", "did you mean clock"]),
        ("clok_GHz = 2", ["'clok_GHz'", "did you mean clock"]),
        ("clok_GHz = { value = 2, kind = 'guess', source = 'dse2026' }", ["'clok_GHz'", "did you mean clock_Hz"]),
        ("clock_GHz = 24000", ["clock_GHz = 24,000 GHz; chips have"]),
        ('clock = "24 THz"', ["clock = 24,000 GHz; chips have"]),
        ("hbm_bandwidth = 1e30", ["hbm_bandwidth = 1e+30", "no unit"]),
        ("hbm_bandwidth_Bps = 1e30", ["hbm_bandwidth_Bps", "27.6 TB/s"]),
        ('hbm_bandwidth = "1e30 B/s"', ["hbm_bandwidth = 1e+15 PB/s", "27.6 TB/s"]),
        ('hbm_bandwidth = "4 GB"', ["hbm_bandwidth = '4 GB': GB measures B"]),
        ('clock = "fast"', ["clock = 'fast'", "not a number"]),
        ("n_cores = true", ["n_cores = true"]),
        ("n_cores = -4", ["n_cores = -4"]),
        ("n_cores = [1, 2]", ["n_cores = [1, 2]"]),
        ("node = 5", ["node = 5", "name in quotes"]),
        ('sram_kind = "rope"', ["sram_kind = 'rope'", "scratchpad"]),
        ("n_cores = 1.5", ["n_cores = 1.5", "whole number"]),
        ("n_stacks = 1000", ["n_stacks = 1,000", "2 to 16"]),
        ('node = "N1"', ["node = 'N1'", "did you mean N16"]),
        ('node = "N28"', ["node = 'N28'", "nodes are N7, N5", "N16"]),
        ('hbm = "HBM9"', ["hbm = 'HBM9'", "did you mean HBM4"]),
        ('link = "NVLink9"', ["link = 'NVLink9'", "did you mean NVLink6"]),
        ('clock_GHz = 2.0\nclock = "2.1 GHz"', ["clock = '2.1 GHz'", "another key"]),
        ('hbm = "none"', ["hbm = none", "without memory off its dies is not modelled"]),
        ("n_stacks = 0", ["n_stacks = 0", "without memory off its dies is not modelled"]),
        ('hbm_bandwidth = "0 GB/s"', ["hbm_bandwidth = 0", "without memory off its dies is not modelled"]),
        ('die_area = "46225 mm2"', ["die_area = 46,200 mm2", "one exposure prints 858 mm2", "n_dies"]),
        ('power_limit = "1 horse"', ["power_limit = '1 horse'", "kW, MW, GW"]),
    ],
)
def test_what_is_wrong_is_named(own, line, words):
    with pytest.raises(DseError) as caught:
        dse.chip(own(line))
    text = str(caught.value)
    assert "mine.toml" in text and "\n" not in text
    assert all(w in text for w in words), text


@pytest.mark.parametrize(
    "line", ['system = "nope"', 'host = "nope"', 'rent = "4 EUR"', 'price = "-3 USD"', "margin = 0", "rent = nan"]
)
def test_a_wrong_setting_is_named_where_nothing_asks_for_it(own, line, capsys):
    path = own(line)
    for argv in (["chips", path], ["evaluate", path, "llama-3.1-8b", "--phase", "decode", "--chips", "4"]):
        assert main(argv) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert path in said and (line.split(" =")[0] in said)


def test_it_stands_in_the_system_of_its_base_or_in_another(own):
    assert chip_system(own()).name == chip_system("trainium3").name
    path = own('system = "trn2-16"')
    assert chip_system(path, 4).name == "trn2-16" and chip_system(path, 4).chip.name == path


def test_its_calibration_is_that_of_its_family_with_a_wider_band(own):
    path, asked = own(base="h100"), Decode(dse.model("llama-3.1-8b"), 8, 1024)
    assert base_name(path) == "h100"
    mine, base = (measured_band(calibration_for(name, asked), False) for name in (path, "h100"))
    assert mine is not None and base is not None
    assert mine[1] >= base[1]


def test_its_price_is_what_the_file_says_and_never_that_of_a_product(own):
    assert price_and_margin(own())[1] == price_and_margin("trainium3")[1]
    with pytest.raises(DseError, match=r'add price = "30 kUSD" or margin = 1.5'):
        price_and_margin(own(base="h100"))
    path = own('price = "30 kUSD"', 'rent = "3 USD"', base="h100")
    assert price_and_margin(path) == (30e3, None)
    assert rents(path)["given"].value == 3.0 and rents(own()) == {}


def test_a_chip_akin_to_a_preset_may_have_what_no_preset_says(own):
    """A design as it is exported: blank silicon, and another depth of its pipelines."""
    chip = dse.chip(own("blank_mm2 = 20.0", "pipeline_depth = 1.2"))
    assert float(chip.blank_mm2) == 20.0 and float(chip.pipeline_depth) == 1.2


def test_an_area_has_its_unit_in_its_text(own):
    """Before: "no unit", since the last letter of "mm2" is a digit."""
    facts = {f.name: f.value for f in chip_receipts(own('die_area = "545 mm2"', 'blank = "3 mm2"', base="v100"))}
    assert (facts["die_area_mm2"], facts["blank_mm2"]) == (545.0, 3.0)
    with pytest.raises(DseError, match=r"die_area = '545': no unit"):
        dse.chip(own('die_area = "545"', base="v100"))


def test_a_chip_may_have_what_its_base_lacks_and_another_has(own):
    """Before: V100 has no 8-bit products and Trainium3 no published die, so that no chip akin to them could say so."""
    path = own("macs_fp8 = 2", 'narrow_products = "integer"', 'vendor_fp8 = "130 TFLOP/s"', base="v100")
    assert native_precisions(dse.chip(path)) == ("bf16", "int8")
    assert {f.name: f.value for f in chip_receipts(own('die_area = "400 mm2"'))}["die_area_mm2"] == 400.0


CARD = (
    'hbm = "GDDR6"',
    "n_stacks = 8",
    'hbm_bandwidth = "320 GB/s"',
    'hbm_capacity = "16 GiB"',
    'power_limit = "70 W"',
)


def test_a_card_with_memory_on_the_board_has_no_interposer_and_rests_below_its_power(own):
    """Before: T4 (70 W, idle 10) stood on silicon bridges, and at rest drew 73 W, so that no command took it."""
    t4 = dse.chip(own(*CARD, "n_cores = 40", 'clock = "1.59 GHz"', base="v100"))
    tech = chip_technology(t4)
    made = silicon(t4, tech)
    assert (t4.package, tech.package.name) == ("FCBGA", "FCBGA")
    rest_W = float(made.static_W) * (1.0 + float(tech.package.voltage_loss_frac))
    assert rest_W == pytest.approx(35, abs=3)
    bridged = silicon(t4, chip_technology(t4, "CoWoS-L"))
    assert float(bridged.static_W) * 1.1 > 70
    assert float(made.money.package_USD) < 0.1 * float(bridged.money.package_USD)


def test_a_file_may_name_its_package_which_else_follows_its_memory(own):
    assert dse.chip(own('package = "CoWoS-S"')).package == "CoWoS-S"
    assert dse.chip(own('hbm = "HBM3"', base="l40s")).package == "CoWoS-L"
    assert {n for n in chip_names() if dse.chip(n).package == "FCBGA"} == {
        "a10", "a10g", "a40", "l4", "l40s", "rtx-4090", "rtx-a6000", "rtx-pro-6000", "mtia-v2", "inferentia1",
    }  # fmt: skip
    with pytest.raises(DseError, match=r"package = 'CoWoS-X': unknown package 'CoWoS-X'"):
        dse.chip(own('package = "CoWoS-X"'))


def test_technology_of_ones_own_lies_beside_the_chips_file(own, tmp_path):
    """Before: looked for where the command ran, unlike a chip's system."""
    (tmp_path / "gddr6x.toml").write_text('[gddr6x]\nbase = "GDDR6"\nstack_bandwidth = "84 GB/s"\n')
    mine = dse.chip(own('hbm = "gddr6x.toml"', "n_stacks = 12", base="l40s"))
    assert float(chip_technology(mine).memory.stack_bandwidth_Bps) == 84e9 and mine.package == "FCBGA"


def test_a_written_chip_keeps_its_package(own, tmp_path):
    mine = dse.chip(own('package = "CoWoS-S"'))
    (tmp_path / "again.toml").write_text(chip_toml(mine, "a test"))
    assert dse.chip(tmp_path / "again.toml").package == "CoWoS-S"
    assert "package" not in chip_toml(dse.chip("l40s"), "a test")


def test_a_text_where_a_unit_wants_a_number_is_refused(own):
    """Before: a traceback, found by the fuzzer of users' files."""
    receipt = ('kind = "guess"', 'source = "dse2026"', 'where = "what if"')
    path = own("", "[mine.vendor_bf16_TFLOPps]", 'value = ""', *receipt)
    with pytest.raises(DseError, match=r"vendor_bf16_TFLOPps.value = '', expected a number"):
        dse.chip(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("n_dies = 1",), ["n_dies = 1", "die_to_die_bandwidth = 4.9 TB/s", "say both"]),
        (("n_dies = 4", "die_to_die_bandwidth_TBps = 0"), ["n_dies = 4", "die_to_die_bandwidth = 0", "say both"]),
        (("cores_per_pool = 16",), ["cores_per_pool = 16", "n_cores = 8"]),
        (("macs_fp32 = 0", "macs_bf16 = 0"), ["macs_fp32 = 0", "macs_bf16 = 0"]),
    ],
)
def test_facts_that_contradict_each_other_are_refused(own, lines, words):
    with pytest.raises(DseError) as caught:
        dse.chip(own(*lines))
    assert all(w in str(caught.value) for w in ["mine.toml", *words]), caught.value


def test_a_die_alone_may_drop_its_links(own):
    assert float(dse.chip(own("n_dies = 1", "die_to_die_bandwidth_TBps = 0")).n_dies) == 1


@pytest.mark.parametrize(
    ("base", "lines", "pool"),
    [
        ("h100", ("n_cores = 66",), 66),  # all 132 SMs of H100 share its L2
        ("mi250x", ("n_cores = 208",), 104),  # each of two dies has an L2 of its own: 110 of 220 cores
        ("trainium3", ("n_cores = 12",), 1),  # a scratchpad is a core's own
        ("h100", ("n_cores = 66", "cores_per_pool = 33"), 33),
    ],
)
def test_a_shared_memory_is_shared_by_the_cores_there_are(own, base, lines, pool):
    path = own(*lines, base=base)
    assert float(dse.chip(path).cores_per_pool) == pool
    (fact,) = [f for f in chip_receipts(path) if f.name == "cores_per_pool"]
    assert fact.value == pool


def test_a_clock_that_no_supply_reaches_is_refused(own):
    """N3P: 0.75 V nominal, at most 1.05 V; by the alpha-power law the clock rises by (V - t)^a / V and no further."""
    node = chip_technology(dse.chip("trainium3")).node
    t, n, m = (float(x) for x in (node.threshold_V, node.nominal_V, node.maximum_V))
    most_GHz = 2.4 * ((m - t) / (n - t)) ** float(node.alpha) * n / m
    decode = Decode(dse.model("llama-3.1-8b"), 4, 4096)
    beyond = own(f"clock_GHz = {most_GHz * 1.001}")
    with pytest.raises(DseError, match=r"clock = 3\.9.* GHz; N3P reaches 3\.9.* at 1\.05 V with nominal_clock = 2\.4"):
        dse.evaluate(chip_system(beyond, 4), decode)
    assert dse.evaluate(chip_system(own(f"clock_GHz = {most_GHz * 0.999}"), 4), decode).result.step_s > 0


@pytest.mark.parametrize("plan", ["auto", "tp=4"])
def test_a_chip_that_may_not_even_rest_is_refused(own, plan, capsys):
    argv = ["evaluate", own('power_limit = "60 W"'), "llama-3.1-8b", "--phase", "decode", "--chips", "4"]
    assert main([*argv, "--plan", plan]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "power_limit = 60 W" in said and "at rest it draws 77" in said


def test_stacks_bring_their_capacity(own):
    """A Trainium3 has 144 GiB in 4 stacks, so that 6 hold 216; a capacity that the file states holds."""
    base = dse.chip("trainium3")
    assert float(base.n_stacks) == 4
    path = own("n_stacks = 6")
    assert float(dse.chip(path).hbm_capacity_B) == pytest.approx(float(base.hbm_capacity_B) * 6 / 4)
    (fact,) = [f for f in chip_receipts(path) if f.name == "hbm_capacity_B"]
    assert fact.kind == "derived" and "in each stack" in fact.where
    assert float(dse.chip(own("n_stacks = 6", "hbm_capacity_GB = 288")).hbm_capacity_B) == 288e9


def test_stacks_bring_their_bandwidth(own):
    """Before: half as many stacks again carried no more; a bandwidth that the file states holds."""
    base = dse.chip("trainium3")
    assert float(dse.chip(own("n_stacks = 6")).hbm_bandwidth_Bps) == pytest.approx(
        float(base.hbm_bandwidth_Bps) * 6 / 4
    )
    assert float(dse.chip(own("n_stacks = 6", 'hbm_bandwidth = "6 TB/sec"')).hbm_bandwidth_Bps) == 6e12


def test_a_stated_peak_is_that_of_the_facts(own):
    """Before: 1,979 TFLOP/s, H100's peak with sparsity, changed nothing and said nothing outside of `dse chips`."""
    with pytest.raises(DseError, match=r"vendor_bf16 = .* without sparsity"):
        dse.chip(own('vendor_bf16 = "1979 TFLOPS"', base="h100"))
    near = dse.chip(own('vendor_bf16 = "989 TFLOPS"', base="h100"))
    assert float(near.hbm_bandwidth_Bps) == float(dse.chip("h100").hbm_bandwidth_Bps)


def granules(chip):
    """Granules of contraction in 16 bit, of the stationary and of the moving side."""
    t = chip.core.tensor
    return float(t.granule_contract.bf16), float(t.granule_stationary), float(t.granule_moving)


def test_an_array_of_another_size_pads_to_its_own_size(own):
    """Before: a cube of 256 x 16 padded a single row to 256 x 256, and decoding took six times what memory does.

    A study's array of the same size is the same array.
    """
    base = dse.chip("trainium3")
    half = dse.chip(own("rows = 64", "cols = 64"))
    assert granules(base) == (128, 128, 64) and granules(half) == (64, 64, 64)
    assert float(half.core.tensor.granule_contract.fp8) == float(base.core.tensor.granule_contract.fp8) / 2
    studied = array_of(dataclasses.replace(as_built(base), pe_array="64x64"), base)
    assert eqx.tree_equal(studied, half.core.tensor)
    side = dse.chip(own("rows = 128", "cols = 512"))  # four arrays side by side
    assert granules(side) == granules(base)
    assert granules(dse.chip(own("rows = 64", "granule_contract_bf16 = 32")))[0] == 32
    assert granules(dse.chip(own("rows = 32", base="h100"))) == granules(dse.chip("h100"))


def test_memory_that_no_stacks_of_its_kind_give(own):
    """Before: 80 TB/s of SRAM were 16 channels of LPDDR5, and such a chip was priced and powered."""
    sram = ('hbm_bandwidth = "80 TB/s"', 'hbm_capacity = "0.22 GB"')
    with pytest.raises(DseError, match=r"80 TB/s from 16 of LPDDR5, which give 12.8 GB/s each; .* weights in SRAM"):
        dse.chip(own(*sram, base="mtia-v2"))
    # a card with the faster kind of its memory: 84 GB/s of each device, where GDDR6 gives 72
    assert dse.chip(own('hbm_bandwidth = "1008 GB/s"', base="l40s"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        # before: "expected a table such as [base]", and "did you mean a100-80, a100-40, a10?"
        ("mine.toml", 'base = "h100"\n', "base = 'h100' stands in no table; write [mine] above it"),
        ("a100.json", '{"device": {"frequency_Hz": 1.41e9}}', "chips of your own are TOML files"),
        ("mine.yaml", "base: h100\n", "`dse new chip mine` writes one"),
        ("mine.toml", '[mine]\nbase = "h100"\nhbm_bandwidth = "8000"\n', "no unit; write it with one in quotes"),
    ],
)
def test_files_in_another_form_say_what_to_write(tmp_path, monkeypatch, capsys, name, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    assert main(["chips", name]) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('tdp = "1000 W"', "power_limit"), ('memory_bandwidth = "8 TB/s"', "hbm_bandwidth"),
        ("num_sms = 148", "n_cores"), ('boost_clock = "2 GHz"', "clock"), ('vram = "192 GB"', "hbm_capacity"),
        ('node = "TSMC 4N"', "N4"), ('node = "4nm"', "N4"),
        ('nvlink_bandwidth = "1.8 TB/s"', "scaleup_bandwidth_per_dir"),
    ],
)  # fmt: skip
def test_words_of_data_sheets_are_told_what_they_are_called_here(own, line, meant):
    """Before: all sixty keys, or those that look alike."""
    with pytest.raises(DseError, match=f"did you mean {meant}"):
        dse.chip(own(line, base="h100"))


def test_a_base_by_its_makers_name_is_told_its_own(own):
    with pytest.raises(DseError, match="did you mean h100-pcie"):
        dse.chip(own(base="NVIDIA H100 PCIe"))


def test_squares_and_bits_as_people_write_them(own):
    """26.8 Tbit/s are 3.35 TB/s; before, both were refused."""
    mine = dse.chip(own('hbm_bandwidth = "26.8 Tbit/s"', 'die_area = "814 mm\u00b2"', base="h100"))
    assert float(mine.hbm_bandwidth_Bps) == pytest.approx(3.35e12)
    assert dse.chip(own('die_area = "814 mm^2"', base="h100")) is not None
