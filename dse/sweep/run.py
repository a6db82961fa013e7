"""A sweep from Python: what `dse sweep` does in one process, with the rows as the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .engine import Tell, local, plan_work, run
from .results import load
from .spec import load_sweep
from .store import open_store

if TYPE_CHECKING:
    import pandas as pd


def run_sweep(
    path: str | Path, results: str | Path = "results", *, fresh: bool = False,
    tell: Tell = lambda points, failed, before: None,
) -> pd.DataFrame:  # fmt: skip
    """Compute every point of a specification, or what an earlier run left undone, and return all rows.

    Args:
        path: specification; those in `sweeps/` show every key.
        results: folder that gets a folder named after the sweep.
        fresh: forget what an earlier run left.
        tell: hears of every unit of work that is done: its points, how many failed, whether an earlier run did it.

    Returns:
        One row per point, failed ones with their reason; the same as `dse.results.load` of the folder.

    Raises:
        SpecError: a specification that does not hold, in one line, or a folder that cannot be written.
    """
    sweep = load_sweep(path)
    store = open_store(sweep, results, True, fresh)
    run(store, plan_work(store), local, tell)
    return load(store.folder)
