"""Receipts: loaded in canonical units, refused when incomplete."""

from pathlib import Path

import pytest

from dse.core.errors import ReceiptError, UnitError, UnknownNameError
from dse.core.provenance import load_receipts, number, pick, text, worst_first

GOOD = """
[hbm3]
title = "a stack"
bandwidth_GBps = { value = 819.0, range = [800.0, 820.0], kind = "datasheet", source = "jedec2022hbm3", where = "t. 1" }
energy_pJ_per_bit = { value = 3.9, kind = "paper", source = "oconnor2017", note = "device and IO" }
node = { value = "N3P", kind = "guess", source = "dse2026" }
"""


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "facts.toml"
    path.write_text(content)
    return path


def test_facts_arrive_in_canonical_units_with_their_receipt(tmp_path: Path):
    facts = load_receipts(write(tmp_path, GOOD))["hbm3"]
    bandwidth = facts["bandwidth_Bps"]
    # 819 GB/s = 819e9 B/s; the range converts alike
    assert (bandwidth.value, bandwidth.low, bandwidth.high) == pytest.approx((8.19e11, 8e11, 8.2e11))
    assert (bandwidth.kind, bandwidth.source, bandwidth.where) == ("datasheet", "jedec2022hbm3", "t. 1")
    # 3.9 pJ/bit x 8 bit/B = 31.2 pJ/B; no range means low = high = value
    energy = facts["energy_J_per_B"]
    assert energy.value == pytest.approx(3.12e-11)
    assert energy.low == energy.high == energy.value
    assert energy.note == "device and IO"
    assert text(facts, "node") == "N3P"
    assert set(facts) == {"bandwidth_Bps", "energy_J_per_B", "node"}  # a title is no fact


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        ('x_W = { value = 1.0, source = "a" }', "missing kind"),
        ('x_W = { value = 1.0, kind = "guess" }', "missing source"),
        ('x_W = { kind = "guess", source = "a" }', "missing value"),
        ('x_W = { value = 1.0, kind = "rumour", source = "a" }', "kind 'rumour' is not one of"),
        ('x_W = { value = 3.0, range = [1.0, 2.0], kind = "guess", source = "a" }', "outside its range"),
        ('x_W = { value = [], kind = "guess", source = "a" }', r"value = \[\]; expected a number"),
        ('x_W = { value = 1.0, range = true, kind = "guess", source = "a" }', "range = true; expected the low and"),
    ],
)
def test_incomplete_facts_are_refused(tmp_path: Path, fact: str, says: str):
    with pytest.raises(ReceiptError, match=says):
        load_receipts(write(tmp_path, f"[thing]\n{fact}\n"))


def test_duplicate_fact_is_refused(tmp_path: Path):
    fact = 'x_W = { value = 1.0, kind = "guess", source = "a" }\n'
    with pytest.raises(ReceiptError, match="not valid TOML: Cannot overwrite a value"):
        load_receipts(write(tmp_path, "[thing]\n" + fact + fact))


def test_unknown_unit_is_refused(tmp_path: Path):
    with pytest.raises(UnitError, match="unknown unit 'furlong'"):
        load_receipts(write(tmp_path, '[a]\nx_W_per_furlong = { value = 1.0, kind = "guess", source = "a" }\n'))


def test_missing_fact_is_an_error_not_a_default(tmp_path: Path):
    facts = load_receipts(write(tmp_path, GOOD))["hbm3"]
    with pytest.raises(ReceiptError, match="no fact 'price_USD'"):
        number(facts, "price_USD")
    with pytest.raises(ReceiptError, match="no fact 'topology'"):
        text(facts, "topology")
    with pytest.raises(ReceiptError, match="is the text 'N3P', expected a number"):
        number(facts, "node")


def test_unknown_name_offers_near_matches(tmp_path: Path):
    things = load_receipts(write(tmp_path, GOOD))
    with pytest.raises(UnknownNameError, match="unknown memory 'hbm4'; did you mean hbm3"):
        pick(things, "memory", "hbm4")


def test_guesses_come_first(tmp_path: Path):
    facts = load_receipts(write(tmp_path, GOOD))["hbm3"]
    assert [r.kind for r in worst_first(list(facts.values()))] == ["guess", "paper", "datasheet"]
