"""House rules that a machine can check; each is shown to bite."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import equinox as eqx
import pytest

import dse
from dse.core.units import UNITS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "dse").rglob("*.py"))
PLAIN = {
    "instruction_rows", "instruction_cols", "instruction_depth", "instruction_results",
    "share", "alpha", "overlap_p", "drawn_p", "yield_clustering", "die_aspect", "interposer_margin", "rows", "cols",
    "vector_lanes", "cores_per_pool", "granule_stationary", "granule_moving", "fp32", "bf16", "fp8", "fp4", "up_hops",
    "out_hops", "bubble_micro", "window_micro", "tokens", "rate", "total", "objective", "lower_bound", "violation",
    "violation_bound", "kkt_residual", "reuse_half", "reuse_one", "barrier_start", "barrier_end", "tolerance",
    "gap_tolerance", "margin", "multipliers", "lower_multipliers", "upper_multipliers", "limits", "loosening", "z",
    "bond_loss", "linear_cycles", "narrow_cycles", "attention_cycles", "tile_cycles",
    "tile_moving", "tile_contract", "vector_elements", "runs", "macs", "lower", "upper",
    "weights",
    "level", "pue", "held", "sigmas", "skew", "pipeline_depth", "too_much",
    "cost_per_token_USD", "energy_per_token_J", "carbon_per_token_kg", "rack_time_per_token_s",
    "megawatt_time_per_token_s",
}  # fmt: skip
"""Quantities without a unit, and multi-valued solver state."""
PLAIN_RETURNS = {
    "row_number", "slow_start", "log_density", "coverage", "mean_log_score", "factor",
    "number", "quantity", "positive", "p_norm_max", "overlapped", "padded", "of", "total", "margin", "gap", "spread",
    "macs",
    "extra_precisions", "inverse_yield", "bond_loss", "voltage_limit", "chip_parameters", "chip_expert_parameters",
    "in_flight", "mean_context", "baseline_metric", "log_goal", "best_goal", "speedup", "delivered", "intensity",
    "repeats", "slowdown", "job_slowdown", "provision", "held_over_used", "ratio", "geometric_mean",
    "mean_speedup", "hypervolume", "worst_gap", "swing", "fits_memory",
    "built_delivered", "ring_width", "result_width", "replicated_weights", "moe_share", "merit", "whole",
    "half_width", "to_free", "number_or", "number_at", "power_of_two",
    "chip_adapter_parameters", "limit_price", "cycle_ratio", "datapath_ratio", "naive_ratio", "sram_ratio",
}  # fmt: skip
"""Public functions that return counts, ratios, whatever unit they were given, or spell their unit out."""
PLAIN_PARAMETERS = {
    "u", "draws", "at",
    "attended", "bond_loss", "bound", "cached", "clustering", "context", "count", "default",
    "elasticity", "elements", "factor", "goal", "granule", "growth", "head_dim", "heads", "high", "inputs", "k",
    "kv_heads", "lanes", "layers", "length", "low", "lower", "m", "margin", "middle", "moved", "mult", "n",
    "norm", "norm_passes", "outputs", "p", "passes", "per_token", "pue", "queries", "rates", "ratio", "read",
    "seen", "sequences", "service_cv2", "softmax_passes", "speedup", "start", "target", "times",
    "tokens", "too_much", "upper", "usual", "value", "wanted", "window", "x", "z",
}  # fmt: skip
"""Parameters that count, compare or weigh, or take whatever unit they are given."""
NUMBERS = ("float", "Scalar", "FloatLike")


def records():
    for info in pkgutil.walk_packages(dse.__path__, "dse."):
        module = __import__(info.name, fromlist=["x"])
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, eqx.Module) and cls.__module__ == info.name and not cls.__name__.startswith("_"):
                yield cls


def has_unit(name: str, plain: set[str] = PLAIN) -> bool:
    """Whether a name ends in a known unit, such as `x_Bps`, `e_J_per_B` or `b_per_dir_Bps`, or needs none."""
    first, *per = name.replace("_per_dir_", "_").split("_per_")
    return name in plain or name.startswith("n_") or first.rpartition("_")[2] in UNITS or (per and per[-1] in UNITS)


def unitless(cls) -> list[str]:
    return [n for n, t in cls.__annotations__.items() if ("Scalar" in str(t) or "Float" in str(t)) and not has_unit(n)]


def test_numbers_of_records_say_their_unit():
    assert {f"{c.__name__}.{n}" for c in records() for n in unitless(c)} == set()


def test_the_unit_rule_bites():
    class Bad(eqx.Module):
        bandwidth: "Scalar"  # noqa: F821

    assert unitless(Bad) == ["bandwidth"]


def public_functions(tree: ast.Module):
    """Functions at the top of a module and methods of its classes, without private ones."""
    bodies = [tree.body, *(n.body for n in tree.body if isinstance(n, ast.ClassDef))]
    for node in (n for body in bodies for n in body):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def unitless_returns(tree: ast.Module) -> list[str]:
    found = [f for f in public_functions(tree) if f.returns is not None]
    returned = {f.name: ast.unparse(f.returns).strip("'\"") for f in found}
    numbers = [n for n, r in returned.items() if r in NUMBERS or r.startswith("Float[")]
    return [n for n in numbers if n not in PLAIN_RETURNS and not has_unit(n)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_named_for_the_unit_they_return(path):
    assert unitless_returns(ast.parse(path.read_text())) == []


def test_the_return_rule_bites():
    bad = "def op_time(x) -> Scalar: ...\nclass A:\n    def power(self) -> 'FloatLike': ...\ndef f_s() -> float: ..."
    assert unitless_returns(ast.parse(bad)) == ["op_time", "power"]


def number_parameters(tree: ast.Module) -> list[str]:
    """Names of the parameters of public functions that are numbers, also where None is allowed."""
    found = []
    for function in public_functions(tree):
        a = function.args
        for arg in [*a.posonlyargs, *a.args, *a.kwonlyargs]:
            kinds = ast.unparse(arg.annotation).strip("'\"").split(" | ") if arg.annotation else []
            if any(k in NUMBERS or k.startswith("Float[") for k in kinds) and not {"str", "bool"} & set(kinds):
                found.append(arg.arg)
    return found


def unitless_parameters(tree: ast.Module) -> list[str]:
    return [n for n in number_parameters(tree) if n not in PLAIN_PARAMETERS and not has_unit(n, plain=set())]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_parameters_say_their_unit(path):
    assert unitless_parameters(ast.parse(path.read_text())) == []


def test_the_parameter_rule_bites():
    bad = "def f(power: float, die_mm2: float, *, wait: 'FloatLike | None'): ...\n"
    bad += "def _g(x: float): ...\ndef h(a: str | float): ..."
    assert unitless_parameters(ast.parse(bad)) == ["power", "wait"]


def test_lists_of_exceptions_hold_nothing_stale():
    """An exception that no longer exists would excuse the next one of that name."""
    fields = {n for c in records() for n in c.__annotations__}
    functions = {f.name for path in SOURCES for f in public_functions(ast.parse(path.read_text()))}
    assert fields >= PLAIN
    assert functions >= PLAIN_RETURNS
    assert {n for path in SOURCES for n in number_parameters(ast.parse(path.read_text()))} >= PLAIN_PARAMETERS


def concrete_parents(cls) -> list[type]:
    return [b for b in cls.__mro__[1:] if issubclass(b, eqx.Module) and b is not eqx.Module and not is_abstract(b)]


def is_abstract(cls) -> bool:
    return cls.__name__.startswith("Abstract")


def test_records_are_abstract_or_final():
    assert [cls for cls in records() if concrete_parents(cls)] == []


def test_the_finality_rule_bites():
    class AbstractShape(eqx.Module):
        pass

    class Square(AbstractShape):
        pass

    class Cube(Square):
        pass

    assert concrete_parents(Square) == [] and concrete_parents(Cube) == [Square]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_prints_and_no_exits(path):
    tree = ast.parse(path.read_text())
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    if "report" not in path.parts and "cli" not in path.parts:
        assert "print" not in calls
    assert "exit" not in calls


def asserted_input(tree: ast.Module) -> list[str]:
    """Assertions that are more than a fact for the type checker: `x is not None`, `isinstance(x, T)`."""
    facts = ("is not None", "isinstance(")
    tests = [ast.unparse(n.test) for n in ast.walk(tree) if isinstance(n, ast.Assert)]
    return [t for t in tests if not all(any(f in part for f in facts) for part in t.split(" and "))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_assertion_judges_what_a_user_gave(path):
    assert asserted_input(ast.parse(path.read_text())) == []


def test_the_assertion_rule_bites():
    assert asserted_input(ast.parse("assert x is not None and isinstance(y, int)\nassert n > 0")) == ["n > 0"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path.name}:{node.lineno} {node.name}"


def beyond_the_aim(trees: dict[str, ast.Module]) -> tuple[list[str], list[str]]:
    """Functions of more than 30 lines, and classes of more than 10 methods."""
    functions, classes = [], []
    for path, node in ((path, n) for path, tree in trees.items() for n in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 30:
            functions.append(f"{path} {node.name}")
        if isinstance(node, ast.ClassDef) and sum(isinstance(m, ast.FunctionDef) for m in node.body) > 10:
            classes.append(f"{path} {node.name}")
    return functions, classes


def test_few_are_larger_than_we_aim_for():
    """A ratchet: lower it when one is split; a new one takes the place of another."""
    functions, classes = beyond_the_aim({str(p.relative_to(ROOT)): ast.parse(p.read_text()) for p in SOURCES})
    assert sum(p.read_text().count("\n") > 250 for p in SOURCES) <= 5
    assert len(functions) <= 19, functions
    assert not classes, classes


def test_the_rule_of_sizes_bites():
    long = "def f():\n" + "    x = 1\n" * 30
    many = "class A:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(11))
    assert beyond_the_aim({"a": ast.parse(long + many)}) == (["a f"], ["a A"])
    assert beyond_the_aim({"a": ast.parse("def f():\n" + "    x = 1\n" * 29)}) == ([], [])


def test_every_data_file_loads():
    files = [*(ROOT / "dse").rglob("*.toml"), *(ROOT / "sweeps").glob("*.toml")]
    assert len(files) >= 10
    for path in files:
        tomllib.loads(path.read_text())


BANNED = [
    "../" + "shared", "/work/" + "shared", "py" + "pi.org", "python" + "hosted", "npm" + "js", "ana" + "conda.org",
    "index-" + "url", "find-" + "links",
]  # fmt: skip
"""What a checkout must not need: folders beside it, package registries and their options."""


def needs(text: str) -> list[str]:
    return [b for b in BANNED if re.search(rf"{re.escape(b)}\b", text)]


def test_the_product_stands_alone():
    """No tracked text names a package registry or a folder outside the repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for path in (ROOT / name for name in listed):
        if path.is_file() and path.suffix not in {".png", ".svg", ".parquet"}:
            assert needs(path.read_text()) == [], path


def test_the_rule_of_standing_alone_bites():
    assert len(needs("see .." + "/shared and https://py" + "pi.org/simple")) == 2
    assert needs("chips that share a switch; shared experts; dse/shared_ffn; ../sharded") == []


def test_front_door_resolves_every_name():
    """The stub is the one list of public names: each exists, is what its room calls it, and there are not too many."""
    declared = re.findall(r"^from (\S+) import (\w+) as \2$", (ROOT / "dse" / "__init__.pyi").read_text(), re.MULTILINE)
    assert {name for _, name in declared} == set(dir(dse))
    assert len(declared) <= 61
    for place, name in declared:
        home = importlib.import_module(f"dse{place}" if place != "." else "dse")
        assert getattr(dse, name) is getattr(home, name)


def test_the_front_door_waits_for_nothing():
    """`import dse` loads no room, and a wrong name is an AttributeError that says so."""
    code = "import dse, sys; print([m for m in sys.modules if m.startswith('dse.') or m in ('jax', 'numpy')])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="solv"):
        dse.solv  # noqa: B018


def test_type_checkers_are_told_of_the_types():
    assert (ROOT / "dse" / "py.typed").exists()


def test_readme_python_names_exist():
    names = set(re.findall(r"dse\.(\w+)\(", (ROOT / "README.md").read_text()))
    assert names and names <= set(dir(dse))
