"""Who may import whom: the contracts of `pyproject.toml` bite, and lowering stays on the host."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
REPORT = sorted((ROOT / "dse" / "report").rglob("*.py"))
STATISTICS = {
    "mean", "nanmean", "average", "median", "nanmedian", "quantile", "nanquantile", "percentile", "nanpercentile",
    "std", "nanstd", "var", "histogram", "corrcoef", "corr", "expm1",
}  # fmt: skip
"""What finds a number of many: work of the answer, not of its renderers."""
LOWERING = sorted((ROOT / "dse" / "lowering").rglob("*.py"))
BREACHES = {
    "one way through the rooms": ("core/units.py", "from dse.technology import node"),
    "physics knows demands, not the plans behind them": ("physics/step.py", "from dse.lowering import plan"),
    "solvers and studies draw nothing": ("optimize/solve.py", "import matplotlib.pyplot"),
    "report shows what others computed": ("report/evaluated.py", "from dse.physics import step"),
    "no circle inside a room": ("core/units.py", "from dse.core import errors"),
}
"""For each contract a file of a small package and the line that breaks it."""
FILES = (
    "core/errors.py", "core/units.py", "technology/node.py", "hardware/chip.py", "workload/op.py",
    "workload/requests.py", "lowering/plan.py", "lowering/demand.py", "lowering/served.py", "physics/step.py",
    "evaluation/assembly.py", "economy/bill.py", "serving/curve.py", "study/study.py", "optimize/solve.py",
    "calibrate/fit.py", "explore/front.py", "sweep/engine.py", "report/evaluated.py", "explorer/app.py",
    "cli/study.py",
)  # fmt: skip


def small_package(folder: Path) -> None:
    """A package with the rooms of `dse` and nothing in them, under the same contracts without their exceptions."""
    for name in FILES:
        path = folder / "dse" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text("from dse.core import units\n" if name == "core/errors.py" else "")
    (folder / "dse" / "__init__.py").touch()
    text = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(re.sub(r"^ignore_imports = \[.*?\]\n", "", text, flags=re.M | re.S))


def broken(folder: Path) -> set[str]:
    """Names of the contracts that the package in `folder` breaks."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    told = dict(re.findall(r"^(.+) (KEPT|BROKEN)$", run.stdout, re.MULTILINE))
    assert set(told) == {c["name"] for c in CONTRACTS}, run.stdout
    return {name for name, verdict in told.items() if verdict == "BROKEN"}


def test_every_contract_has_a_breach_that_it_catches(tmp_path):
    assert set(BREACHES) == {c["name"] for c in CONTRACTS}
    small_package(tmp_path)
    assert broken(tmp_path) == set()
    for name, line in BREACHES.values():
        with (tmp_path / "dse" / name).open("a") as file:
            file.write(f"{line}\n")
    assert broken(tmp_path) == set(BREACHES)


def device_work(tree: ast.Module) -> list[str]:
    """What of JAX a module uses beyond `jax.tree`, which moves leaves of records about and makes no array.

    Records are equinox modules on both sides of the seam, so the host needs a way to stack them; everything else of
    JAX would put a lowering on a device and compile it anew for every plan.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("jax.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jax":
            found += [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").endswith("core.smooth"):
            found.append("core.smooth")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jax":
            found += [] if node.attr == "tree" else [f"jax.{node.attr}"]
    return found


@pytest.mark.parametrize("path", LOWERING, ids=lambda p: p.name)
def test_lowering_stays_on_the_host(path):
    assert device_work(ast.parse(path.read_text())) == []


def test_the_rule_of_the_host_bites():
    bad = (
        "import jax\nimport jax.numpy as jnp\nfrom jax import vmap\nfrom ..core.smooth import p_norm_max\njax.jit(f)\n"
    )
    assert device_work(ast.parse(bad)) == ["jax.numpy", "jax.vmap", "core.smooth", "jax.jit"]
    assert device_work(ast.parse("import jax\njax.tree.map(f, x)\nfrom jaxtyping import Array")) == []


def statistics_of(tree: ast.Module) -> list[str]:
    """Calls of a module that find a number of many, and the modules of statistics that it imports."""
    called = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    found = [f.attr for f in called if isinstance(f, ast.Attribute)] + [f.id for f in called if isinstance(f, ast.Name)]
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    return [f for f in found if f in STATISTICS] + [m for m in modules if m.split(".")[0] in ("statistics", "scipy")]


@pytest.mark.parametrize("path", REPORT, ids=lambda p: p.name)
def test_report_finds_no_number_of_many(path):
    assert statistics_of(ast.parse(path.read_text())) == []


LAYOUT = ("figures", "front_axes", "layout", "terminal", "style", "parity", "backtest", "front_pages", "multiples")
"""Modules of the report that place marks on a page: they reckon with points and pixels."""


def combined(tree: ast.Module) -> list[str]:
    """Products and ratios of two numbers of an answer: neither side is a constant, a unit or the name of a file."""

    def fixed(node: ast.AST) -> bool:
        match node:
            case ast.Constant() | ast.JoinedStr() | ast.List():
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name.isupper() or name in ("DAY_s", "folder", "root", "unit", "base")
            case ast.BinOp(left=left, right=right):
                return fixed(left) and fixed(right)
        return False

    found = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div | ast.Mult)]
    return [ast.unparse(n) for n in found if not fixed(n.left) and not fixed(n.right)]


WORDED = [p for p in REPORT if not p.stem.endswith(LAYOUT)]


@pytest.mark.parametrize("path", WORDED, ids=lambda p: p.name)
def test_tables_of_the_report_combine_no_numbers(path):
    """A ratio or a sum of money belongs to the answer, where every renderer finds the same one."""
    assert combined(ast.parse(path.read_text())) == []


def test_the_rule_of_tables_bites():
    bad = "x = a.goal / best\ny = f(a) * b.price\nz = design[m] / first[m]"
    assert combined(ast.parse(bad)) == ["a.goal / best", "f(a) * b.price", "design[m] / first[m]"]
    assert combined(ast.parse("100 * x\nfolder / f'{n}.png'\ns / DAY_s\nx / (7 * DAY_s)\nvalue / 1e6")) == []


def test_the_rule_of_the_report_bites():
    bad = "import statistics\nfrom scipy.stats import rankdata\nnp.median(x)\nerror.quantile(0.1)\nmean(x)\n"
    assert sorted(statistics_of(ast.parse(bad))) == ["mean", "median", "quantile", "scipy.stats", "statistics"]
    assert statistics_of(ast.parse("r.merit_quantiles(LEVELS)\ns.quantile\nfrom ..core.text import common_scale")) == []
