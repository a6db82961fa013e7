"""The tiny study, solved once."""

import dataclasses
from pathlib import Path

import pytest

from dse.core.free import Free
from dse.objective.study import load_study
from dse.optimize.choices import Space
from dse.optimize.search import Search

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


def narrowed(study, **boxes):
    """The study with narrower boxes of some free numbers."""
    free = tuple(Free(f.name, *boxes[f.name]) if f.name in boxes else f for f in study.free)
    return dataclasses.replace(study, free=free)


@pytest.fixture(scope="session")
def tiny():
    return load_study(TINY)


@pytest.fixture(scope="session")
def solved(tiny):
    search = Search(Space(tiny))
    search.run()
    return search
