"""House rules that a machine can check; each is shown to bite."""

import ast
import inspect
import pkgutil
import subprocess
import tomllib
from pathlib import Path

import equinox as eqx
import pytest

import dse
from dse.core.units import UNITS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "dse").rglob("*.py"))
PLAIN = {
    "alpha", "overlap_p", "yield_clustering", "die_aspect", "interposer_margin", "relative_speed", "rows", "cols",
    "vector_lanes", "cores_per_pool", "granule_stationary", "granule_moving", "fp32", "bf16", "fp8", "fp4", "up_hops",
    "out_hops", "bubble_micro", "window_micro", "tokens", "rate", "total", "objective", "lower_bound", "violation",
    "violation_bound", "kkt_residual", "reuse_half", "reuse_one", "barrier_start", "barrier_end", "tolerance",
    "gap_tolerance", "margin", "multipliers", "lower_multipliers", "upper_multipliers", "limits", "loosening", "z",
    "bond_loss", "linear_cycles", "narrow_cycles", "attention_cycles", "tile_cycles",
    "tile_moving", "tile_contract", "vector_elements", "runs", "macs", "lower", "upper",
}  # fmt: skip
"""Quantities without a unit, and multi-valued solver state."""


def records():
    for info in pkgutil.walk_packages(dse.__path__, "dse."):
        module = __import__(info.name, fromlist=["x"])
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, eqx.Module) and cls.__module__ == info.name and not cls.__name__.startswith("_"):
                yield cls


def has_unit(name: str) -> bool:
    """Whether a name ends in a known unit, such as `x_Bps`, `e_J_per_B` or `b_per_dir_Bps`, or needs none."""
    first, *per = name.replace("_per_dir_", "_").split("_per_")
    return name in PLAIN or name.startswith("n_") or first.rpartition("_")[2] in UNITS or (per and per[-1] in UNITS)


def unitless(cls) -> list[str]:
    return [n for n, t in cls.__annotations__.items() if ("Scalar" in str(t) or "Float" in str(t)) and not has_unit(n)]


def test_numbers_of_records_say_their_unit():
    assert {f"{c.__name__}.{n}" for c in records() for n in unitless(c)} == set()


def test_the_unit_rule_bites():
    class Bad(eqx.Module):
        bandwidth: "Scalar"  # noqa: F821

    assert unitless(Bad) == ["bandwidth"]


def test_records_are_final():
    for cls in records():
        parents = [b for b in cls.__mro__[1:] if b.__module__.startswith("dse")]
        assert all(p.__name__.startswith("Abstract") for p in parents), cls


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_prints_and_no_exits(path):
    tree = ast.parse(path.read_text())
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    if "report" not in path.parts and path.name != "cli.py":
        assert "print" not in calls
    assert "exit" not in calls


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path.name}:{node.lineno} {node.name}"


def test_every_data_file_loads():
    files = [*(ROOT / "dse").rglob("*.toml"), *(ROOT / "sweeps").glob("*.toml")]
    assert len(files) >= 10
    for path in files:
        tomllib.loads(path.read_text())


def test_the_product_stands_alone():
    """No tracked text names a package registry or a folder outside the repository."""
    banned = ["../" + "shared", "pypi" + ".org", "files.python" + "hosted", "registry.npm" + "js"]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".md", ".txt", ".bib", ".yml", ".yaml"} and path.is_file():
            text = path.read_text()
            assert not [b for b in banned if b in text], name


def test_front_door_resolves_every_name():
    """The lazy table and the type-checking imports name the same things, and each exists."""
    import re

    declared = set(re.findall(r"import (\w+) as \1", (ROOT / "dse" / "__init__.py").read_text()))
    assert declared == set(dir(dse)) - {"__version__"}
    assert len(declared) <= 60
    for name in declared:
        assert getattr(dse, name) is not None


def test_readme_python_names_exist():
    names = set(__import__("re").findall(r"dse\.(\w+)\(", (ROOT / "README.md").read_text()))
    assert names and names <= set(dir(dse))
