"""The tiny study, solved once."""

from pathlib import Path

import pytest

from dse.optimize.search import Search
from dse.optimize.space import Space
from dse.study.study import load_study

TINY = Path(__file__).parents[1] / "data" / "tiny.toml"


@pytest.fixture(scope="session")
def tiny():
    return load_study(TINY)


@pytest.fixture(scope="session")
def solved(tiny):
    search = Search(Space(tiny))
    search.run()
    return search
