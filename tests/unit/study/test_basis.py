"""Guesses come widest first, and every source has its entry."""

import json
from pathlib import Path

import pytest

from dse.core.bibliography import bibtex
from dse.economy.presets import around_receipts
from dse.study.basis import Basis, basis_of, chip_basis, guesses, source_keys, study_basis
from dse.study.study import load_study, names_of_fits
from dse.workload.storage import formats_of
from dse.workload.transformer import Training

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "data" / "tiny.toml"


def test_guesses_are_guesses_and_widest_first():
    study = load_study(TINY)
    basis = study_basis(study, study.choices[0])
    found = guesses(basis)
    assert found and all(b.fact.kind == "guess" for b in found)
    spreads = [b.spread for b in found]
    assert spreads == sorted(spreads, reverse=True)
    things = {b.thing for b in basis}
    assert {"node N3P", "memory HBM4", "link SerDes224G", "link UCIe-A", "package CoWoS-L", "chip trainium3"} <= things
    assert {f"calibration {name}" for name in names_of_fits(study)} <= things
    assert len({(b.thing, b.fact.name) for b in basis}) == len(basis)


def test_a_basis_lists_the_formats_that_are_stored_and_no_other():
    """26 formats shared one name, and the last, a type of GGUF, stood for all of them in every answer."""
    study = load_study(TINY)
    specs = [
        x
        for w, _ in study.workloads.values()
        if not isinstance(w, Training)
        for x in (w.weight_precision, w.kv_precision)
    ]
    found = {b.thing for b in study_basis(study, None) if b.thing.startswith("storage")}
    assert found == {f"storage {name}" for name in formats_of(*specs)} and "storage q6_k" not in found


def test_every_source_has_an_entry():
    keys = source_keys(chip_basis("trainium3"))
    entries = bibtex(keys)
    assert entries.count("@") >= len(keys)
    assert all(f"{{{key}," in entries for key in keys)
    assert "williams2009" not in entries


def test_whatever_an_answer_rests_on_has_a_receipt():
    """Host, owner, failures, carbon and storage too: the page shows value and range of every guess it names."""
    study = load_study(TINY)
    rests_on = [*study_basis(study, None), *(Basis(*x) for x in around_receipts("x86-8", "N3P"))]
    things = {b.thing for b in rests_on}
    kinds = {t.split()[0] for t in things}
    assert {"host", "owner", "reliability", "carbon", "storage", "framework", "headroom", "kept"} <= kinds
    for b in rests_on:
        assert b.fact in [x.fact for x in basis_of(b.thing)], (b.thing, b.fact.name)
    assert basis_of("host nowhere") == basis_of("colour red") == []


@pytest.mark.parametrize("manifest", sorted((ROOT / "results").rglob("manifest.json")), ids=lambda p: p.parent.name)
def test_guesses_of_committed_answers_have_value_and_range(manifest):
    for name in json.loads(manifest.read_text()).get("guesses", ()):
        thing, _, fact = name.rpartition(": ")
        (found,) = [b.fact for b in basis_of(thing) if b.fact.name == fact]
        assert found.kind != "guess" or found.low <= float(found.value) <= found.high, name
