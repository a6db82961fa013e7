"""A small sweep: one model on eight chips, two axes and a sample."""

from pathlib import Path

import pytest

from ..conftest import written

SMALL = """
[sweep]
name = "small"
shard_points = 8

[base]
chip = "a100-80"
system = "dgx-a100"
model = "llama-3.1-8b"
chips = 8
batch = 32
sequence = 2048
plan = "tp=2,pp=1,dp=4"

[[axes]]
key = "plan"
values = ["tp=2,pp=1,dp=4", "tp=8,pp=1,dp=1"]

[[axes]]
key = "hbm_bandwidth"
log_range = ["1 TBps", "4 TBps"]
points = 3

[[axes]]
sample = "sobol"
points = 4
log = { clock = ["1 GHz", "2 GHz"] }
linear = { n_cores = ["50", "150"] }
"""


@pytest.fixture
def write(tmp_path):
    """Writes the small sweep, or another text, with some of it replaced; returns the path."""

    def write(*changes: tuple[str, str], text: str = SMALL, name: str = "small.toml"):
        return Path(written(tmp_path / name, text, *changes))

    return write
