"""Pages for strangers say what is so: paths exist, rooms are those of the contract, the citation is valid."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import dse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PATH = re.compile(r"(?<![\w./])((?:dse|tests|docs|sweeps)/[\w./*-]*[\w*]|[A-Z]+\.(?:md|cff)|pyproject\.toml)")
RECIPES = ("a chip", "an operator", "a metric", "a collective", "a command")
ENTRY = {"cff-version", "message", "title", "authors"}
"""What an entry must have, by version 1.2.0 of the format (https://citation-file-format.github.io)."""


def missing(text: str) -> list[str]:
    """Paths in `text` at which the repository has nothing."""
    return [path for path in PATH.findall(text) if not list(ROOT.glob(path))]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_exists(page):
    text = (ROOT / page).read_text()
    assert len(PATH.findall(text)) >= 2
    assert missing(text) == []


def test_the_rule_of_paths_bites():
    assert missing("see `dse/core/units.py`, `dse/cost/power.py` and dse/*/data/*.toml") == ["dse/cost/power.py"]


def rooms(page: str) -> list[str]:
    """Lines of the table of rooms, as the import contract writes its layers."""
    lines = re.findall(r"^\| (`dse\..*?) \|", page, re.MULTILINE)
    return [" | ".join(re.findall(r"`(dse\.\w+)`", line)) for line in lines]


def test_the_rooms_are_those_of_the_import_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in settings["contracts"] if c["type"] == "layers")
    assert rooms(PAGE) == layers
    folders = {f"dse.{p.parent.name}" for p in (ROOT / "dse").glob("*/__init__.py")}
    assert {room for line in layers for room in line.split(" | ")} == folders


def test_each_recipe_names_files():
    parts = re.split(r"^### Add (.+)$", PAGE, flags=re.MULTILINE)
    recipes = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert tuple(recipes) == RECIPES
    for name, steps in recipes.items():
        assert PATH.findall(steps), name


def test_contributing_points_to_the_page():
    assert "docs/architecture.md" in (ROOT / "CONTRIBUTING.md").read_text()


def test_the_citation_is_valid_and_of_this_version():
    entry = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert entry.keys() >= ENTRY
    assert entry["cff-version"] == "1.2.0" and entry["type"] in ("software", "dataset")
    assert entry["version"] == dse.__version__ and entry["license"] == "Apache-2.0"
    assert all(author.keys() & {"name", "family-names"} for author in entry["authors"])
