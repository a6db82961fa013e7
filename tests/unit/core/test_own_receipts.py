"""A user's own file as a difference to a preset, for chips and technology alike."""

from pathlib import Path

import pytest

import dse
from dse.core.errors import DseError
from dse.hardware.presets import chip, chip_receipts
from dse.physics.calibration import default_calibration
from dse.study.design import Choice, template
from dse.technology.presets import node, receipts

NODE = """
[thrifty]
base = "N2"
scratchpad_area_mm2_per_MiB = { value = 0.31, kind = "guess", source = "dse2026", where = "what if" }
"""
CHIP = """
[half]
base = "trainium3"
n_cores = { value = 4, kind = "guess", source = "dse2026" }
hbm_bandwidth_TBps = { value = 9.8, kind = "guess", source = "dse2026" }
"""


def write(folder: Path, text: str, name: str = "own.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_node_differs_in_what_its_file_says_and_in_nothing_else(tmp_path):
    path = write(tmp_path, NODE)
    own, base = node(path), node("N2")
    assert own.name == path
    assert float(own.scratchpad_area_mm2_per_B) == pytest.approx(0.31 / 2**20)  # 0.31 mm2/MiB over 2^20 bytes
    same = [n for n in base.__dict__ if n not in ("name", "scratchpad_area_mm2_per_B", "mac_energy_J", "pe_area_mm2")]
    assert all(float(getattr(own, n)) == float(getattr(base, n)) for n in same)
    changed = {f.name for f, g in zip(receipts("node", path), receipts("node", "N2"), strict=True) if f != g}
    assert changed == {"scratchpad_area_mm2_per_B"}


def test_an_edited_file_is_read_again(tmp_path):
    path = write(tmp_path, NODE)
    before = float(node(path).scratchpad_area_mm2_per_B)
    write(tmp_path, NODE.replace("0.31", "0.62"))
    assert float(node(path).scratchpad_area_mm2_per_B) == pytest.approx(2 * before)


def test_the_calibration_of_an_edited_chip_file_is_that_of_its_new_base(tmp_path):
    """Before: that of the base when the file was first asked for, under the same name."""
    path = tmp_path / "mine.toml"
    found = []
    for base in ("h100", "b200"):
        path.write_text(f'[mine]\nbase = "{base}"\n')
        found.append(float(default_calibration(str(path)).matmul_frac))
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("clock_GHz = { value = 1.5, %s }", "clock_MHz = { value = 1000, %s }"), "clock_Hz: stands there twice"),
        (('clock_MHz = "1.5 GHz"',), "clock_MHz = '1.5 GHz': its name has the unit already, so give a number"),
    ],
)
def test_a_number_has_one_key_and_one_unit(tmp_path, lines, words):
    """Before: the second of two keys held without a word, and a message of Python's."""
    path = tmp_path / "mine.toml"
    receipt = 'kind = "guess", source = "dse2026"'
    path.write_text("\n".join(['[mine]\nbase = "h100"', *(x % receipt if "%" in x else x for x in lines)]))
    with pytest.raises(DseError, match=words):
        chip(path)


def test_a_choice_may_name_it(tmp_path):
    path = write(tmp_path, NODE)
    own = template(Choice(path, "HBM4", "SerDes224G", 2, "128x128", True), dse.chip("trainium3"), 5e10)
    base = template(Choice("N2", "HBM4", "SerDes224G", 2, "128x128", True), dse.chip("trainium3"), 5e10)
    assert float(own.nominal_clock_Hz) == float(base.nominal_clock_Hz)


def test_a_chip_differs_in_what_its_file_says(tmp_path):
    path = write(tmp_path, CHIP)
    own, base = dse.chip(path), dse.chip("trainium3")
    assert (own.name, float(own.n_cores), float(own.hbm_bandwidth_Bps)) == ("half", 4.0, 9.8e12)
    assert float(own.clock_Hz) == float(base.clock_Hz) and own.node == base.node
    assert float(dse.peak_FLOPps(own, "fp8")) == pytest.approx(float(dse.peak_FLOPps(base, "fp8")) / 2)  # 4 of 8 cores
    mine, its = ({r.name for r in chip_receipts(x)} for x in (path, "trainium3"))
    assert mine < its and all(n.startswith("vendor_") for n in its - mine)  # what a maker claims of another chip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NODE.replace('"N2"', '"N22"'), "own.toml: unknown node 'N22'; did you mean N2"),
        (
            NODE.replace("scratchpad_area", "scratchpad_aera"),
            "unknown fact of N2 'scratchpad_aera_mm2_per_MiB'; did you",
        ),
        (NODE + '[second]\nbase = "N3P"\n', "holds 2 things"),
        (NODE.replace('kind = "guess", ', ""), "missing kind"),
        ("[half", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(tmp_path, text, words):
    with pytest.raises(DseError) as caught:
        node(write(tmp_path, text))
    assert words in str(caught.value) and "own.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(DseError, match=r"none\.toml: cannot be read"):
        node(str(tmp_path / "none.toml"))
