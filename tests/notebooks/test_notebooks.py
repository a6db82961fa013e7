"""Every notebook runs from clean in a folder of its own, quickly, and is committed with small outputs."""

import ast
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

import dse

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST_B = 500_000
OWN = {"dse", "numpy", "pandas", "matplotlib"}
ids = [p.stem for p in NOTEBOOKS]


def code(path: Path) -> list[str]:
    return [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


def outside(source: str) -> list[str]:
    """What a cell imports beside the standard library and `OWN`, and what it reaches inside `dse` past its front."""
    tree = ast.parse(source)
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    bad = [n for n in names if n.partition(".")[0] not in OWN | set(sys.stdlib_module_names) or n.startswith("dse.")]
    used = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    return bad + [f"dse.{n.attr}" for n in used if n.value.id == "dse" and n.attr not in dir(dse)]


def errors(notebook) -> list[str]:
    """Errors and words on stderr among the outputs."""
    outputs = [o for c in notebook.cells for o in c.get("outputs", ())]
    return [
        o.get("evalue", o.get("text", "")) for o in outputs if o.output_type == "error" or o.get("name") == "stderr"
    ]


def test_there_are_eight_in_reading_order():
    assert [p.name[:2] for p in NOTEBOOKS] == [f"{i:02d}" for i in range(1, 9)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_only_public_names(path):
    assert [b for source in code(path) for b in outside(source)] == []


def test_the_rule_of_public_names_bites():
    assert outside("import jax\nfrom dse.report import page\nimport numpy as np\nimport os") == ["jax", "dse.report"]
    assert outside("dse.secret(1); dse.solve(s)") == ["dse.secret"]


ANSWER = re.compile(r"\d+\.\d+ ?(?:x|%|times)|twice as|a third (?:more|less)")
"""A factor or share in prose, which is an answer's and moves with it; cells compute those."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_prose_holds_no_figures_of_answers(path):
    """A notebook once said "4.5x against 3.4x" under a table that said 6.0 and 3.4."""
    prose = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"]
    asked = [s.partition("**Exercise.**")[0] for s in prose]
    assert [found for s in asked for found in ANSWER.findall(s)] == []


def test_the_rule_of_figures_bites():
    assert ANSWER.findall("delivers a third more than the strictest (4.5x against 3.4x)") == [
        "a third more",
        "4.5x",
        "3.4x",
    ]
    assert ANSWER.findall("What 6x takes; the band is 25 % either way") == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_records_show_themselves(path):
    """No notebook builds a table from the numbers of an answer: it shows the answer, or asks it for its `frame`."""
    called = [n.func for source in code(path) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    assert {getattr(f, "attr", getattr(f, "id", "")) for f in called} & {"DataFrame", "Series", "from_records"} == set()


def test_how_likely_is_answered_by_the_forecast_too():
    """One question with uncertain facts is not the forecast, in which the question is uncertain as well."""
    (path,) = (p for p in NOTEBOOKS if p.name.startswith("07"))
    assert any("results/forecast_trainium4" in source for source in code(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_committed_with_outputs_and_small(path):
    notebook = nbformat.read(path, 4)
    assert path.stat().st_size < LARGEST_B
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code"), "execute it before committing"
    assert any("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", ()))
    assert errors(notebook) == []
    assert "**Exercise.**" in notebook.cells[-1].source and "**The idea:**" in notebook.cells[0].source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of what a notebook finds beside itself, and one cache of compiled programs for all of them."""
    place = tmp_path_factory.mktemp("clean")
    shutil.copytree(ROOT / "sweeps", place / "sweeps")
    (place / "notebooks").mkdir()
    for answer in ("trainium4", "backtest", "forecast_trainium4"):
        shutil.copytree(ROOT / "results" / answer, place / "results" / answer)
    return place


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the machinery that starts kernels, not of this package
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_runs_from_clean(path, folder, monkeypatch):
    client = pytest.importorskip("nbclient")
    monkeypatch.setenv("DSE_FAST", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "jax"))
        monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    where = {"metadata": {"path": str(folder / "notebooks")}}
    client.NotebookClient(notebook, timeout=600, startup_timeout=600, kernel_name="python3", resources=where).execute()
    assert errors(notebook) == []
    assert any("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", ()))
