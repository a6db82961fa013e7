"""`dse sweep` and `dse query`: answers, JSON, exit codes, interrupted runs, and one line for what goes wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import dse
from dse.cli import main
from dse.core.apart import Done
from dse.report.terminal import Tally, duration, left_text, points_progress, progress
from dse.sweep.engine import local

from .conftest import refused, written
from .sweep.conftest import SMALL
from .test_cli_hybrid import HYBRID

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache_elsewhere")]

slow = pytest.mark.slow
TINY = Path(__file__).parents[1] / "data" / "tiny.toml"
FAILING = '\n[[rules]]\nif = { plan = "tp=8,pp=1,dp=1" }\nset = { chips = 12 }\n'


@pytest.fixture
def small(tmp_path):
    """The small sweep as a file, with text replaced or added."""
    return lambda more="", *changes: written(tmp_path / "small.toml", SMALL + more, *changes)


def results(tmp_path) -> str:
    return str(tmp_path / "out")


@slow
def test_sweep_and_query(small, tmp_path, capsys):
    spec, out = small(FAILING), results(tmp_path)
    assert main(["sweep", spec, "--results", out]) == 0
    said = capsys.readouterr()
    assert "24 of 24 points" in said.err and "12 failed" in said.err
    assert "24 rows, 12 without an answer" in said.out and "chips = 12: expected a multiple of the domain" in said.out
    sql = "select plan_asked, count(*) as n, count(step_s) as answered from results group by 1 order by 1"
    assert main(["query", sql, f"{out}/small", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema_version"] == 2
    assert answer["rows"] == [
        {"plan_asked": "tp=2,pp=1,dp=4", "n": 12, "answered": 12},
        {"plan_asked": "tp=8,pp=1,dp=1", "n": 12, "answered": 0},
    ]
    assert main(["query", "select min(step_s) fastest, null as nothing from results", f"{out}/small"]) == 0
    shown = capsys.readouterr().out
    assert "fastest" in shown and "-" in shown
    assert main(["sweep", spec, "--results", out, "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["points"], found["rows"], found["failed"]) == (24, 24, 12) and len(found["reasons"]) == 1
    assert "holds this sweep already" in refused(capsys, "sweep", spec, "--results", out).replace("\n", " ")


@slow
def test_nothing_but_failures_is_exit_1(small, tmp_path, capsys):
    assert main(["sweep", small("", ("chips = 8", "chips = 12")), "--results", results(tmp_path)]) == 1
    assert "24 rows, 24 without an answer" in capsys.readouterr().out


@slow
def test_dry_run_writes_nothing(small, tmp_path, capsys):
    assert main(["sweep", small(), "--results", results(tmp_path), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["points"], found["settings"], found["shards"]) == (24, 2, 3)
    assert found["seconds"] > 0 and 1000 < found["disk_B"] < 1e6
    assert not Path(results(tmp_path)).exists()
    assert main(["sweep", small(), "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--shard", "3/3"), "--shard 3/3: expected slice/slices"),
        (("--shard", "1/3", "--fresh"), "--fresh removes what --shard keeps"),
        (("--resume", "--fresh"), "--fresh removes what --resume keeps"),
        (("--workers", "2"), "--workers 2 belongs to --engine dask"),
        (("--scheduler", "tcp://x:1"), "--scheduler tcp://x:1 belongs to --engine dask"),
        (("--resum",), "perhaps you meant --resume"),
    ],
)
def test_wrong_flags(small, tmp_path, capsys, flags, told):
    assert told in refused(capsys, "sweep", small(), "--results", results(tmp_path), *flags)


@pytest.mark.parametrize(("sql", "shown", "plain"), [
    ("[1, null] a", "[1, None]", [1, None]), ("{'a': [1.5]} a", "{'a': [1.5]}", {"a": [1.5]}),
    ("'\\x9F'::blob a", "9f", "9f"), ("map{'k': 1} a", "{'k': 1}", {"k": 1}), ("null a", "-", None),
    ("'5c7f30aa-7a0d-4e2f-9f4e-0a5a0a3b1c9d'::uuid a", "5c7f30aa", "5c7f30aa-7a0d-4e2f-9f4e-0a5a0a3b1c9d"),
    ("date '2026-11-28' a", "2026-11-28", "2026-11-28T00:00:00"), ("2.5::decimal(9, 2) a", "2.5", 2.5),
    ("18446744073709551615::ubigint a", "18446744073709551615", 2**64 - 1),
])  # fmt: skip
def test_values_of_every_type_are_shown_and_plain(sql, shown, plain, tmp_path, capsys):
    pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "x.parquet")
    assert main(["query", f"select {sql}", str(tmp_path / "x.parquet")]) == 0
    assert shown in capsys.readouterr().out
    assert main(["query", f"select {sql}", str(tmp_path / "x.parquet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"a": plain}]


def test_wrong_query(tmp_path, capsys):
    assert "give the results folder of a sweep" in refused(capsys, "query", "select 1", str(tmp_path))


def test_packages_that_are_not_there(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.parquet").write_text("")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert "pip install 'dse-accelerators[sweep]'" in refused(capsys, "query", "select 1", str(tmp_path / "x.parquet"))
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'dse-accelerators[sweep]'" in refused(capsys, "sweep", small(), "--engine", "dask")


def test_query_does_not_load_jax(tmp_path):
    code = "import sys, dse.cli; dse.cli.main(['query', 'select 1', '.']); sys.exit(int('jax' in sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(Path(dse.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, cwd=tmp_path).returncode == 0


@slow
def test_an_interrupt_says_how_to_go_on(small, tmp_path, capsys, monkeypatch):
    def interrupted(store, todo):
        yield from local(store, todo[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr("dse.sweep.engine.local", interrupted)
    spec, out = small(), results(tmp_path)
    assert main(["sweep", spec, "--results", out]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"dse: interrupted; finished shards are kept; go on with: dse sweep {spec} --results {out} --resume"
    )
    assert len(dse.results.load(f"{out}/small")) == 8
    monkeypatch.undo()
    assert main(["sweep", spec, "--results", out, "--resume"]) == 0
    assert len(dse.results.load(f"{out}/small")) == 24


@slow
def test_a_full_disk_is_one_line_and_resumable(small, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    spec, out = small(), results(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["sweep", spec, "--results", out]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be written (No space left on device); finished shards are kept; go on with: dse sweep" in last
    monkeypatch.undo()
    assert main(["sweep", spec, "--results", out, "--resume"]) == 0


def test_an_unwritable_folder_is_one_line(small, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert "choose another --results" in refused(capsys, "sweep", small(), "--results", results(tmp_path)).replace(
        "\n", ""
    )


@slow
def test_a_sweep_of_studies(tmp_path, capsys):
    """Every point of a study under its own power limit is the optimum with counts broken of that study.

    The study is the tiny one on a user's own file of a hybrid, which lies beside it.
    """
    (tmp_path / "hybrid.json").write_text(json.dumps(HYBRID))
    study = tmp_path / "mine.toml"
    study.write_text(TINY.read_text().replace("llama-3.1-8b", "hybrid.json"))
    spec = f"""
[sweep]
name = "budgets"
[base]
study = "{study}"
[[axes]]
key = "limits.power"
values = ["80 W", "700 W"]
"""
    (tmp_path / "budgets.toml").write_text(spec)
    assert main(["sweep", str(tmp_path / "budgets.toml"), "--results", results(tmp_path)]) == 0
    table = dse.results.load(f"{results(tmp_path)}/budgets")
    assert list(table["limit_power_W"]) == [80, 700] and table["ok"].all()
    assert list(table["status"]) == ["optimal", "optimal"]
    assert table["delivered_speedup"][1] > table["delivered_speedup"][0]
    assert (table["power_W_decode"] <= [80 * (1 + 1e-6), 700 * (1 + 1e-6)]).all()
    capsys.readouterr()
    argv = ["optimize", str(study), "--continuous", "--no-figures", "--json", "--results", results(tmp_path)]
    assert main(argv) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["certificate"]["proved"]
    assert table["delivered_speedup"][1] == pytest.approx(alone["metrics"]["delivered_speedup"], rel=1e-9)


def test_work_without_news_says_how_long_it_has_taken(capsys, monkeypatch):
    """Before, a front of 100 points said nothing for half a minute where there is no terminal."""
    monkeypatch.setattr("dse.report.terminal.BEAT_S", 0.04)
    with progress("lowering every plan") as tell:
        time.sleep(0.3)
        tell(Done(25, 100, "points, 300 problems"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "lowering every plan, 0 s so far" and len(lines) >= 3
    assert lines[-1].startswith("25 of 100 points, 300 problems, about ") and lines[-1].endswith(" s left")


def test_time_left_is_that_of_the_pace_so_far():
    """A quarter in 10 s: the rest in 30 s. A line that only looks like a count says nothing of the time."""
    assert left_text(Done(25, 100, "points"), 10.0) == ", about 30 s left"
    assert left_text(Done(1000, 4000, "draws"), 1000.0) == ", about 50 min left"
    assert left_text("round 1: 25 of 100 feasible", 10.0) == left_text("25 of 100 points", 10.0) == ""
    assert left_text(Done(0, 100, "points"), 10.0) == left_text(Done(100, 100, "points"), 10.0) == ""


def test_progress_says_pace_and_time_left(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with points_progress(1000) as tell:
        tell(400, 0, True)  # an earlier run's say nothing about the pace
        now[0] = 29.0
        tell(10, 0, False)  # no line before 30 s are over
        now[0] = 31.0
        tell(300, 7, False)  # 310 points in 31 s; 290 are left
        now[0] = 60.0
        tell(290, 0, False)
    assert capsys.readouterr().err.splitlines() == [
        "710 of 1,000 points, 10 points/s, 7 failed, 29 s left",
        "1,000 of 1,000 points, 10 points/s, 7 failed",
    ]


def test_durations_are_read_easily():
    assert [duration(s) for s in (0.4, 99, 150, 7200, 40000)] == ["0 s", "99 s", "2 min", "2.0 h", "11.1 h"]
    assert Tally(10).text().startswith("0 of 10 points, 0 points/s, 0 failed")
