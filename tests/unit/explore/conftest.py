"""The tiny study, solved once."""

from pathlib import Path

import pytest

from dse.objective.study import load_study
from dse.optimize.choices import Space
from dse.optimize.search import Search

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


@pytest.fixture(scope="session")
def tiny():
    return load_study(TINY)


@pytest.fixture(scope="session")
def solved(tiny):
    search = Search(Space(tiny))
    search.run()
    return search
