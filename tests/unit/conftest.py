"""The tiny study, solved once; predictions beside measurements."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.score import Scores
from dse.calibrate.validate import Validation
from dse.cli import main
from dse.core.kept import keep_in
from dse.hardware.presets import system
from dse.optimize.descent import run_search
from dse.optimize.search import search_of
from dse.optimize.space import space_of
from dse.study.study import load_study

TINY = Path(__file__).parents[1] / "data" / "tiny.toml"
PARTS = ("compute_s", "host_exposed_s", "tensor_exposed_s", "pipeline_exposed_s", "data_exposed_s", "optimizer_s")


@pytest.fixture
def cache_elsewhere(tmp_path_factory, monkeypatch):
    """Commands keep what they keep between runs in a place of the tests, on a terminal of one width."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "130")


@pytest.fixture
def kept_folder(tmp_path):
    """Where results of functions are kept between runs."""
    keep_in(tmp_path / "kept")
    yield tmp_path / "kept"
    keep_in(None)


def refused(capsys, *argv: str) -> str:
    """The one line that bad input gets on stderr; nothing on stdout, exit code 2."""
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dse: ") and err.count("\n") == 1, err
    return err


def written(path: Path, text: str, *changes: tuple[str, str]) -> str:
    """Path of a file with `text`, some of it replaced."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="session")
def trn2():
    return system("trn2-16")


@pytest.fixture(scope="session")
def tiny():
    return load_study(TINY)


@pytest.fixture(scope="session")
def solved(tiny):
    search = search_of(space_of(tiny))
    run_search(search)
    return search


@pytest.fixture
def scored() -> Validation:
    """Four predictions of two sources, two rows without one."""
    predicted = np.asarray([1.1, 1.8, 1.0, 12.0])
    done = pd.DataFrame(
        {
            "point_id": ["a#1", "a#2", "b#1", "b#2"],
            "source": ["a", "a", "b", "b"],
            "chip": ["a100-80", "h100", "h100", "own-chip"],
            "calibration": "fit",
            "measured_s": [1.0, 2.0, 4.0, 10.0],
            "predicted_s": predicted,
            **{p: predicted * share for p, share in zip(PARTS, (0.5, 0.1, 0.1, 0.1, 0.1, 0.05), strict=True)},
            "bubble_s": predicted * 0.05,
            "baseline_s": [2.0, 2.0, 4.0, 5.0],
            "memory_B": [50e9, 60e9, 40e9, 90e9],
            "measured_memory_B": [40e9, 60e9, np.nan, np.nan],
            "usable_memory_B": 79e9,
            "why": "",
        }
    )
    rest = pd.DataFrame(
        {
            "point_id": ["a#3", "c#1", "c#2"],
            "source": ["a", "c", "c"],
            "chip": "h100",
            "why": ["global batch 8 below dp", "global batch 12 below dp", "no preset for chip 'B 200'"],
        }
    )
    return Validation("training", "", Path("tiny.csv"), Scores(pd.concat([done, rest], ignore_index=True)))


CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; without one pages are checked as text only."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as play:
        path = CHROMIUM or play.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium: install one, or say where it is in $CHROMIUM")
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
