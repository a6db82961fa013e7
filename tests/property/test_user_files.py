"""Broken files of every kind a user writes: read, or refused in one line, never a traceback, whatever is in them.

Each case takes a file that works and changes it in one to three places: another value, a key gone, renamed or added, a
list cut or grown. `DSE_CASES` sets how many cases of each kind; the smallest crashes found stay as examples.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dse.calibrate.cases import Case
from dse.calibrate.measurements import read
from dse.calibrate.reading import Unmodelled, readable
from dse.calibrate.validate import SCORERS, checked, timed
from dse.core.errors import DseError
from dse.explore.forecast import load_forecast
from dse.explore.score import coverage, read_draws, read_facts, score
from dse.hardware.presets import chip
from dse.report.page import write_page
from dse.serving.portfolio import load_portfolio
from dse.study.study import load_study
from dse.sweep.folder import held_files, status
from dse.sweep.spec import load_sweep
from dse.workload.presets import model
from dse.workload.transformer import total_parameters

ROOT = Path(__file__).parents[2]
BY_DAY = 300
CASES = int(os.environ.get("DSE_CASES", str(BY_DAY)))
CHECKS = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=CASES <= BY_DAY,
    suppress_health_check=list(HealthCheck),
    database=None,
)
Path_ = tuple[Any, ...]
Change = tuple[int, str, Any]
"""Which place (counted round), what happens there, and with what."""

NASTY = (
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400, 0.0, -0.0, 1e308, 1e-300, 5e-324),
    *(math.inf, -math.inf, math.nan, True, False, "", " ", "x", "0", "-1", "inf", "nan", "1e400", "1 parsec", "2 GHz"),
    *("0 GHz", "-3 W", "nan W", "inf W", "1e400 W", "6x", "xx", "x" * 5000, "../../etc/passwd", "/dev/zero", "/"),
    *(".toml", "a.toml", "a.json", "\0", "\0.json", "{x}", "%s", "\n", "é", "\ud7ff", [], [[]], [1], [1, 2, 3]),
    *(["2 GHz", "1 GHz"], ["1 GHz", "2 GHz"], {}, {"x": 1}, {"value": []}, {"at_most": 1}, [{}], [True]),
    *([math.nan, math.nan], ["a"] * 100),
)
VALUES = st.one_of(
    st.sampled_from(NASTY), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.floats(), max_size=3)
)
FACTORS = st.sampled_from((-1, 0.1, 0.5, 2, 10, 1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e12, 1e200))
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 10**6), st.sampled_from(("set", "drop", "rename", "add", "repeat", "empty")), VALUES),
        st.tuples(st.integers(0, 10**6), st.just("scale"), FACTORS),
    ),
    min_size=1,
    max_size=3,
)


def places(tree: Any, here: Path_ = ()) -> Iterator[Path_]:
    """Every place in a tree of tables and lists, the root last."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*here, key))
    yield here


def changed(tree: Any, changes: list[Change]) -> Any:
    """A copy of `tree` with `changes`."""
    tree = copy.deepcopy(tree)
    for number, what, value in changes:
        spots = [p for p in places(tree) if p]
        if not spots:
            return tree
        *above, key = spots[number % len(spots)]
        holder = tree
        for step in above:
            holder = holder[step]
        _change(holder, key, what, copy.deepcopy(value))
    return tree


def _change(holder: Any, key: Any, what: str, value: Any) -> None:
    if what == "drop":
        del holder[key]
    elif what == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif what == "add" and isinstance(holder, dict):
        holder[str(value)[:40]] = value
    elif what == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif what == "empty":
        holder[key] = type(holder[key])()
    elif what == "scale":
        holder[key] = scaled(holder[key], value)
    else:
        holder[key] = value


def scaled(value: Any, factor: float) -> Any:
    """A number, or the number of a text with its unit, times `factor`: of the right form, and perhaps absurd."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return value  # beyond a double: absurd already
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value * factor) if isinstance(value, int) and abs(value * factor) < 2**63 else value * factor
    return re.sub(r"^\d+(\.\d+)?", lambda m: f"{float(m[0]) * factor:g}", value) if isinstance(value, str) else value


def toml(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value)) if "." in repr(value) or "e" in repr(value) else f"{value!r}.0"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_file(tree: dict[str, Any]) -> str:
    return "\n".join(f"{toml(str(k))} = {toml(v)}" for k, v in tree.items())


def reads_or_refuses(read_: Callable[[], object]) -> None:
    """The answer, or one line."""
    try:
        read_()
    except DseError as error:
        assert str(error).strip() and len(str(error)) < 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for the broken files, beside the files that they name."""
    made = tmp_path_factory.mktemp("broken")
    for name in ("sweeps/trainium4.toml", "sweeps/portfolio.toml", "tests/data/tiny.toml"):
        (made / Path(name).name).write_text((ROOT / name).read_text())
    return made


def _shipped(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text())


FACTS_OF_A_CHIP = _shipped("dse/hardware/data/chips.toml")["trainium3"]
CHIP = {"mine": {name: fact for name, fact in FACTS_OF_A_CHIP.items() if isinstance(fact, dict)}}
OWN_CHIP = {
    "mine": {
        "base": "trainium3",
        "clock_GHz": {"value": 3.0, "range": [2.0, 4.0], "kind": "guess", "source": "dse2026"},
    }
}
STUDY = _shipped("sweeps/trainium4.toml")
TINY = _shipped("tests/data/tiny.toml")
PORTFOLIO = _shipped("sweeps/portfolio.toml")
SWEEP = {
    "sweep": {"name": "small", "seed": 1, "shard_points": 8, "record": ["step_s", "power"]},
    "base": {"chip": "a100-80", "system": "dgx-a100", "model": "llama-3.1-8b", "chips": 8, "batch": 32},
    "axes": [
        {"key": "plan", "values": ["tp=2,pp=1,dp=4", "auto"]},
        {"key": "hbm_bandwidth", "log_range": ["1 TBps", "4 TBps"], "points": 3},
        {"sample": "sobol", "points": 4, "log": {"clock": ["1 GHz", "2 GHz"]}, "linear": {"n_cores": ["50", "150"]}},
        {"zip": {"node": ["N5", "N3P"], "hbm": ["HBM3", "HBM4"]}},
    ],
    "rules": [{"if": {"plan": "auto", "clock": {"at_least": "1 GHz"}}, "set": {"batch": 64}}],
}
OF_STUDIES = {
    "sweep": {"name": "budgets"},
    "base": {"study": "trainium4.toml", "limits": {"power": "1000 W"}},
    "axes": [
        {"key": "choices.node", "values": ["N2"]},
        {"key": "free.clock", "range": ["1 GHz", "2 GHz"], "points": 2},
    ],
}
SURE = {"value": 1.0, "kind": "guess", "source": "dse2026"}
FORECAST = {
    **_shipped("sweeps/forecast_trainium4.toml"),
    **{"forecast": {"study": "tiny.toml"}, "node": {"N3P": SURE}, "hbm": {"HBM4": SURE}, "link": {"SerDes224G": SURE}},
}
FACTS = {"hbm_bandwidth_Bps": "19.6 TBps", "node": "N3P", "n_cores": 32, "die_mm2": 700.0, "step_s:training": "3 s"}
DRAWS = [[f"{1e13 * i}", "N3P" if i % 2 else "N2", str(20 + i), str(600 + i), str(3 + i)] for i in range(1, 7)]
SOLUTION = {n: json.loads((ROOT / "results" / "trainium4" / n).read_text()) for n in ("solution.json", "manifest.json")}
MODELS = [json.loads(p.read_text()) for p in sorted((ROOT / "dse" / "workload" / "data").glob("*.json"))]
MANIFEST = {"identity": "abc", "shards": 3, "points": 24, "results_sha256": "a", "results_xxh3": "b"}


@CHECKS
@given(st.sampled_from([CHIP, OWN_CHIP]), CHANGES)
@example(OWN_CHIP, [(0, "set", [])])
@example(OWN_CHIP, [(0, "set", 10**400)])
@example({"x": {"base": "trainium3", "clock_GHz": {"value": [], "kind": "guess", "source": "s"}}}, [])
@example({"x": {"clock_GHz": {"value": 1, "range": [1, 2, 3], "kind": "guess", "source": "s"}}}, [])
@example({"x": {"clock_GHz": {"value": 1, "range": True, "kind": "guess", "source": "s"}}}, [])
@example({"x": {"clock_GHz": {"value": 1, "kind": ["guess"], "source": 3}}}, [])
def test_chips(folder, tree, changes):
    """Before: 258 of 1,700 were tracebacks (`value = []`, a range of three numbers or a boolean, huge integers)."""
    path = folder / "chip.toml"
    path.write_text(toml_file(changed(tree, changes)))
    reads_or_refuses(lambda: chip(path))


@CHECKS
@given(st.sampled_from([STUDY, TINY]), CHANGES)
@example({**TINY, "free": {**TINY["free"], "n_cores": ["2", "1e9"]}}, [])
@example({**TINY, "free": {**TINY["free"], "n_stacks": [2, 1e200]}}, [])
def test_studies(folder, tree, changes):
    path = folder / "study.toml"
    path.write_text(toml_file(changed(tree, changes)))
    reads_or_refuses(lambda: load_study(path))


@CHECKS
@given(st.sampled_from([SWEEP, OF_STUDIES]), CHANGES)
@example({**SWEEP, "axes": [{"sample": "latin_hypercube", "points": 500_000_000, "log": {"clock": [1e9, 2e9]}}]}, [])
@example({**SWEEP, "axes": [{"key": "clock", "range": [1e9, 2e9], "points": 500_000_000}]}, [])
def test_sweeps(folder, tree, changes):
    path = folder / "sweep.toml"
    path.write_text(toml_file(changed(tree, changes)))
    reads_or_refuses(lambda: load_sweep(path))


@settings(CHECKS, max_examples=CASES if CASES > BY_DAY else max(CASES // 3, 1))
@given(st.just(FORECAST), CHANGES)
@example(FORECAST, [])
@example({**FORECAST, "taste": {"log_n_cores_frac": {**SURE, "value": "1 parsec"}}}, [])
@example({**FORECAST, "budgets": {**FORECAST["budgets"], "tdp_W": {**SURE, "value": 0.0}}}, [])
@example({**FORECAST, "forecast": {"study": "\0"}}, [])
def test_forecasts(folder, tree, changes):
    """Before: a text where a share belongs was a traceback."""
    path = folder / "forecast.toml"
    path.write_text(toml_file(changed(tree, changes)))
    reads_or_refuses(lambda: load_forecast(path))


@CHECKS
@given(CHANGES, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.none() | VALUES.map(str)), max_size=2))
@example([], [])
@example([(2, "set", -1)], [])
@example([(2, "set", 10**400)], [])
@example([(0, "set", True)], [])
@example([], [(1, 2, "x")])
@example([], [(1, 3, "inf")])
@example([], [(1, 4, None)])
@example([], [(0, 1, '"')])
@example([], [(3, 3, "\0")])
def test_facts_of_a_forecast(folder, changes, cells):
    """Before: 404 of 1,500 were tracebacks (negative facts, draws cut short or of words)."""
    rows = copy.deepcopy(DRAWS)
    for row, column, cell in cells:
        rows[row][column : column + 1] = [] if cell is None else [cell]
    draws, facts = folder / "draws.csv", folder / "facts.toml"
    draws.write_bytes("\n".join(map(",".join, [list(FACTS), *rows])).encode("utf-8", "surrogatepass"))
    facts.write_text(toml_file(changed(FACTS, changes)))

    def scored() -> float:
        known = read_draws(draws)
        found = score(known, read_facts(facts, known))
        return coverage(found) + sum(x.log_score for x in found)

    reads_or_refuses(scored)


@settings(CHECKS, max_examples=max(CASES // 30, 1))
@given(st.sampled_from(sorted(SOLUTION)), CHANGES)
@example("manifest.json", [(0, "drop", 0)])
def test_pages_of_results(folder, name, changes):
    """Before: a guess that is a number in a manifest was a traceback."""
    made = folder / "page"
    made.mkdir(exist_ok=True)
    for known, tree in SOLUTION.items():
        (made / known).write_text(json.dumps(changed(tree, changes) if known == name else tree))
    reads_or_refuses(lambda: write_page(made))


@pytest.mark.parametrize("odd", [[], 7, {"guesses": [7]}, {"guesses": {"a": 1}}, {"sources": [["a"]]}, {"sources": 3}])
def test_manifests_of_another_form(folder, odd):
    made = folder / "page_of_odd"
    made.mkdir(exist_ok=True)
    (made / "solution.json").write_text(json.dumps(SOLUTION["solution.json"]))
    (made / "manifest.json").write_text(json.dumps(odd))
    with pytest.raises(DseError, match=r"manifest\.json: not written by this version"):
        write_page(made)


@CHECKS
@given(CHANGES)
def test_portfolios(folder, changes):
    path = folder / "other_portfolio.toml"
    path.write_text(toml_file(changed(PORTFOLIO, changes)))
    reads_or_refuses(lambda: load_portfolio(path))


@CHECKS
@given(st.sampled_from(MODELS), CHANGES)
@example({**MODELS[0], "num_hidden_layers": 10**8}, [])
def test_models(folder, tree, changes):
    path = folder / "model.json"
    path.write_text(json.dumps(changed(tree, changes)))
    reads_or_refuses(lambda: total_parameters(model(path)))


@CHECKS
@given(st.dictionaries(st.sampled_from([*MANIFEST, "specification", "columns"]), VALUES) | VALUES, st.text(max_size=30))
def test_results_folders(folder, manifest, stray):
    made = folder / "results"
    (made / "shards").mkdir(parents=True, exist_ok=True)
    (made / "manifest.json").write_text(json.dumps(manifest))
    name = "".join(c for c in stray if c.isprintable() and c != "/") or "x"
    (made / "shards" / f"0{name}"[:40]).write_bytes(b"")
    for ask in (held_files, status):
        reads_or_refuses(lambda ask=ask: ask(made))


TABLES = {kind: read(kind) for kind in SCORERS}
CELLS = st.sampled_from(
    (
        0,
        -1,
        1,
        0.5,
        1e308,
        1e-300,
        math.inf,
        -math.inf,
        math.nan,
        "",
        "x",
        "inf",
        "1e999",
        2**63,
        "é",
        "-",
        "None",
        True,
    )
)


@CHECKS
@given(
    st.sampled_from(sorted(TABLES)), st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 10**6), CELLS), min_size=1, max_size=3),
)  # fmt: skip
def test_measurements(folder, kind, row, changes):
    """Before: 13 of 600 were tracebacks (cells inf, 0, 1e308, 1e-300)."""
    every = TABLES[kind]
    first = every["point_id"].iloc[row % len(every)]
    rows = every[every["point_id"] == first].astype(object).copy()
    for place, value in changes:
        rows.iloc[0, place % rows.shape[1]] = value
    path = folder / f"{kind}.csv"
    rows.to_csv(path, index=False)
    reads_or_refuses(lambda: _cases(kind, path))


def _cases(kind: str, path: Path) -> tuple[list[Case], list[Unmodelled]]:
    """What `validate` makes of a file before it predicts."""
    rows = read(kind, path)
    checked(rows, kind, path)
    return timed(*SCORERS[kind](readable(rows)[0]))
