"""Every source key resolves: in the data files and in the docstrings."""

import ast
import re
import tomllib
from pathlib import Path

import dse

ROOT = Path(dse.__file__).parent
BIB = ROOT / "core" / "references.bib"
KEY = re.compile(r"\[([a-z]+\d{4}[a-z0-9]*)\]")


def bib_keys() -> list[str]:
    return re.findall(r"^@\w+\{([^,\s]+),", BIB.read_text(), re.MULTILINE)


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
    keys = bib_keys()
    assert len(keys) == len(set(keys)), sorted(k for k in set(keys) if keys.count(k) > 1)
    assert all(re.fullmatch(r"[a-z]+\d{4}[a-z0-9]*", k) for k in keys)


def test_entries_have_title_year_and_a_place_to_look():
    for entry in re.split(r"^@", BIB.read_text(), flags=re.MULTILINE)[1:]:
        key = entry.split("{", 1)[1].split(",", 1)[0]
        for field in ("title", "year"):
            assert re.search(rf"^\s*{field} = ", entry, re.MULTILINE), f"{key}: no {field}"
        assert re.search(r"^\s*(url|doi|note) = ", entry, re.MULTILINE), f"{key}: nowhere to look it up"


def test_sources_of_data_files_resolve():
    keys = set(bib_keys())
    for path in sorted(ROOT.rglob("*.toml")):
        content = tomllib.loads(path.read_text())
        for place, fact in facts(content, path.name):
            assert fact["source"] in keys, f"{place}: source '{fact['source']}' is not in references.bib"
            cited = KEY.findall(f"{fact.get('where', '')} {fact.get('note', '')}")
            assert set(cited) <= keys, f"{place}: {set(cited) - keys} not in references.bib"


def test_citations_in_docstrings_resolve():
    keys = set(bib_keys())
    missing = [
        f"{path.relative_to(ROOT)}:{line}: [{key}]"
        for path in sorted(ROOT.rglob("*.py"))
        for line, text in docstrings(path)
        for key in KEY.findall(text)
        if key not in keys
    ]
    assert not missing, "not in references.bib: " + "; ".join(missing)
