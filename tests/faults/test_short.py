"""The short form of `make faults`: every kind once, kills at one moment, on a sweep of four shards."""

import random

import pytest

from .bed import Bed
from .kinds import FAULTS

pytestmark = pytest.mark.slow

SHORT = (
    "everything killed", "front killed", "result file with a flipped bit", "two writers", "disk full",
    "worker of other code",
)  # fmt: skip
"""Those that need processes; damaged, swapped, foreign, missing and stray files are in tests/unit/sweep."""


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    return Bed(tmp_path_factory.mktemp("faults"), 256, front_points=6)


@pytest.mark.parametrize("name", SHORT)
def test_ends_as_in_peace_or_in_one_line(bed, name):
    assert FAULTS[name](bed, random.Random(1)) in ("bit-identical", "one line")
