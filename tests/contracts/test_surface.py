"""What strangers rely on: every command, its arguments and every public name, as listed in `surface.txt`.

A new one is added to the list; one that goes stays listed and is named, with its reason, under "Removed" in the
changelog.
"""

import dataclasses
import re
import typing
from pathlib import Path

import dse
from dse.cli import Command

ROOT = Path(__file__).parents[2]
LISTED = Path(__file__).parent / "surface.txt"


def surface() -> set[str]:
    """Lines such as `dse optimize gap` (command and argument) and `dse.solve`."""
    lines = {f"dse.{name}" for name in dir(dse)}
    for part in typing.get_args(Command):
        cls, *settings = typing.get_args(part)
        name = next(s.name for s in settings if hasattr(s, "name"))
        lines |= {f"dse {name}", *(f"dse {name} {f.name.strip('_')}" for f in dataclasses.fields(cls))}
    return lines


def removed(changelog: str) -> set[str]:
    """What the changelog says is gone: every `name` in backticks of its sections called "Removed"."""
    sections = re.findall(r"^### Removed\n(.*?)(?=^##|\Z)", changelog, re.MULTILINE | re.DOTALL)
    return {name for section in sections for name in re.findall(r"`([^`]+)`", section)}


def lost(listed: set[str], now: set[str], changelog: str) -> set[str]:
    """What was listed and exists no more, without a word in the changelog."""
    return listed - now - removed(changelog)


def test_nothing_is_lost_in_silence():
    listed = set(LISTED.read_text().splitlines())
    assert lost(listed, surface(), (ROOT / "CHANGELOG.md").read_text()) == set()


def test_what_is_new_is_listed():
    assert surface() - set(LISTED.read_text().splitlines()) == set(), "add to tests/contracts/surface.txt"


def test_the_rule_of_nothing_lost_bites():
    listed, log = (
        {"dse cite", "dse.solve", "dse cost rent"},
        "### Removed\n- `dse cite`: now in `dse report`.\n\n## 1\n",
    )
    assert lost(listed, {"dse.solve"}, log) == {"dse cost rent"}
