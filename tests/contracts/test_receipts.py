"""Every source key resolves: in the data files and in the docstrings."""

import ast
import re
import tomllib
from pathlib import Path

import bibtexparser

import dse
from dse.core.bibliography import PATH, bibliography

ROOT = Path(dse.__file__).parent
KEY = re.compile(r"\[([a-z]+\d{4}[a-z0-9]*)\]")


def facts(node: object, place: str):
    """All tables below `node` that carry a source, with their place."""
    if isinstance(node, dict):
        if "source" in node and not isinstance(node["source"], dict):
            yield place, node
        for name, child in node.items():
            yield from facts(child, f"{place}.{name}")


def docstrings(path: Path):
    """Strings that stand alone: docstrings of modules, classes, functions and fields."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def test_bibliography_has_each_key_once_in_lower_case():
    assert bibtexparser.parse_file(str(PATH)).failed_blocks == []  # a key used twice is one
    assert len(bibliography()) > 100
    assert all(re.fullmatch(r"[a-z]+\d{4}[a-z0-9]*", k) for k in bibliography())


def test_the_bibliography_rule_bites():
    twice = "@misc{a2020,\n title = {A},\n}\n@misc{a2020,\n title = {B},\n}\n"
    assert len(bibtexparser.parse_string(twice).failed_blocks) == 1


def test_entries_have_title_year_and_a_place_to_look():
    for entry in bibtexparser.parse_file(str(PATH)).entries:
        given = {f.key for f in entry.fields}
        assert {"title", "year"} <= given, f"{entry.key}: no title or year"
        assert given & {"url", "doi", "note"}, f"{entry.key}: nowhere to look it up"


def test_sources_of_data_files_resolve():
    keys = set(bibliography())
    for path in sorted(ROOT.rglob("*.toml")):
        content = tomllib.loads(path.read_text())
        for place, fact in facts(content, path.name):
            assert fact["source"] in keys, f"{place}: source '{fact['source']}' is not in references.bib"
            cited = KEY.findall(f"{fact.get('where', '')} {fact.get('note', '')}")
            assert set(cited) <= keys, f"{place}: {set(cited) - keys} not in references.bib"


def test_citations_in_docstrings_resolve():
    keys = set(bibliography())
    missing = [
        f"{path.relative_to(ROOT)}:{line}: [{key}]"
        for path in sorted(ROOT.rglob("*.py"))
        for line, text in docstrings(path)
        for key in KEY.findall(text)
        if key not in keys
    ]
    assert not missing, "not in references.bib: " + "; ".join(missing)
