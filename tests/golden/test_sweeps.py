"""Points of every shipped sweep are computed again and compared with the committed rows."""

import numpy as np
import pytest

import dse
from dse.sweep.engine import answers
from dse.sweep.points import points
from dse.sweep.spec import load_sweep

from .conftest import AGAIN, ROOT, differences

SWEEPS = sorted(p.stem for p in (ROOT / "sweeps").glob("*.toml") if "[sweep]" in p.read_text())
N_POINTS = 4
"""Points of a sweep that are computed again: the first, the last and some between."""


def plain(value):
    """A cell as JSON would hold it; what is not a number is None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


@AGAIN
@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_rows_are_as_committed(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    sweep, table = load_sweep(ROOT / "sweeps" / f"{name}.toml"), dse.results.load(ROOT / "results" / name)
    for index in np.unique(np.linspace(0, sweep.size - 1, N_POINTS).round().astype(int)):
        computed = answers(sweep, points(sweep, range(index, index + 1)))
        committed = table.iloc[int(index)]
        rows = [{c: plain(v) for c, v in zip(computed, values, strict=True)} for values in
                (committed[list(computed)], [values[0] for values in computed.values()])]  # fmt: skip
        assert differences(*rows, 1e-5, f"{name} point {index} ") == []


def test_every_sweep_is_found():
    assert len(SWEEPS) >= 4
