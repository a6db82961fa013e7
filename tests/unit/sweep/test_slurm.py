"""The recipe for Slurm, under a loop that sets what Slurm sets: no Slurm is asked here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dse
from dse.sweep.folder import status

RECIPE = Path(__file__).parents[3] / "sweeps" / "slurm_array.sh"


@pytest.mark.slow
def test_tasks_of_an_array_finish_the_sweep(write, tmp_path):
    """Two tasks numbered 4 and 5, in any order: the rows of one run in this process, in one file."""
    spec = write()
    alone = dse.results.run(spec, tmp_path / "alone")
    shim = tmp_path / "dse"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m dse.cli "$@"\n')
    shim.chmod(0o755)
    root = str(Path(dse.__file__).parents[1])
    for task in ("5", "4"):
        says = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "2"}
        env = {**os.environ, **says, "DSE": str(shim), "PYTHONPATH": root}
        subprocess.run(["bash", RECIPE, spec, tmp_path / "shared"], env=env, check=True, capture_output=True)
    assert status(tmp_path / "shared" / "small")["finished"]
    assert (tmp_path / "shared" / "small" / "results.parquet").read_bytes() == (
        tmp_path / "alone" / "small" / "results.parquet"
    ).read_bytes()
    assert len(alone) == 24
