"""Guesses come widest first, and every source has its entry."""

from pathlib import Path

from dse.core.bibliography import bibtex
from dse.report.receipts import chip_basis, guesses, source_keys, study_basis
from dse.study.study import load_study

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


def test_guesses_are_guesses_and_widest_first():
    study = load_study(TINY)
    basis = study_basis(study, study.choices[0])
    found = guesses(basis)
    assert found and all(b.fact.kind == "guess" for b in found)
    spreads = [b.spread for b in found]
    assert spreads == sorted(spreads, reverse=True)
    things = {b.thing for b in basis}
    assert {"node N3P", "memory HBM4", "link SerDes224G", "link UCIe-A", "package CoWoS-L", "chip trainium3"} <= things
    assert "calibration prior-neuron" in things
    assert len({(b.thing, b.fact.name) for b in basis}) == len(basis)


def test_every_source_has_an_entry():
    keys = source_keys(chip_basis("trainium3"))
    entries = bibtex(keys)
    assert entries.count("@") >= len(keys)
    assert all(f"{{{key}," in entries for key in keys)
    assert "williams2009" not in entries
