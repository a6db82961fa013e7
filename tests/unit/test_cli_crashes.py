"""What used to end in a traceback: one line each."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dse import cli
from dse.cli import commands, main

from .conftest import refused, written

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache_elsewhere")]

TINY = Path(__file__).parents[1] / "data" / "tiny.toml"
FORECAST = Path(__file__).parents[2] / "sweeps" / "forecast_trainium4.toml"
ROOT = Path(__file__).parents[2]


def study(tmp_path, *changes: tuple[str, str]) -> str:
    return written(tmp_path / "study.toml", TINY.read_text(), *changes)


def test_a_box_without_a_multiple_of_the_dies(tmp_path, capsys):
    path = study(tmp_path, ("n_dies = [1, 2]", "n_dies = [8]"), ('n_stacks = ["2", "8"]', 'n_stacks = ["4", "5"]'))
    told = refused(capsys, "optimize", path, "--results", str(tmp_path))
    assert "free.n_stacks: bounds 4 and 5 hold no multiple of choices.n_dies = 8; widen them" in told.replace("\n", " ")


def test_cores_that_fill_no_grid_are_told_the_nearest_that_do(tmp_path, capsys):
    """46 is twice 23, a prime: it was told to be no multiple of 2. 20 (4 x 5) and 24 (4 x 6) of a die fill grids."""
    path = study(tmp_path, ("n_dies = [1, 2]", "n_dies = [2]"), ('n_cores = ["2", "64"]', "n_cores = 46"))
    told = refused(capsys, "optimize", path, "--results", str(tmp_path)).replace("\n", " ")
    assert "46 hold no number of cores that fills a grid on each of choices.n_dies = 2 (nearest: 40 and 48)" in told


def test_no_entry_of_dies_suits_all_counts(tmp_path, capsys):
    """8 fits cores 8 to 8 alone, 3 fits stacks 3 to 3 alone."""
    changes = (("n_dies = [1, 2]", "n_dies = [8, 3]"), ('["2", "64"]', '["8", "8"]'), ('["2", "8"]', '["3", "3"]'))
    told = refused(capsys, "optimize", study(tmp_path, *changes), "--results", str(tmp_path))
    assert "no entry of choices.n_dies has multiples of itself inside the bounds of" in told


@pytest.mark.parametrize("gap", [(), ("--gap", "0.01", "--seconds", "20")])
def test_a_study_without_workloads(tmp_path, capsys, gap):
    text = TINY.read_text()
    begin, end = text.index("[workloads.decode]"), text.index("[choices]")
    limits = text.index('[[limits]]\nmetric = "power"'), text.index('[[limits]]\nmetric = "silicon"')
    text = text[:begin] + text[end : limits[0]] + text[limits[1] :]
    text = text.replace('name = "tiny"', 'name = "tiny"\nminimise = "package_cost"')
    (tmp_path / "study.toml").write_text(text)
    argv = ("optimize", str(tmp_path / "study.toml"), "--no-figures", "--results", str(tmp_path), *gap)
    assert main([*argv, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema_version"] == 2 and answer["metrics"]["delivered_range"] is None


def test_an_infeasible_study_names_no_unknown_range(tmp_path, capsys):
    """Before: "over its ranges unknownx to unknownx"."""
    path = study(tmp_path, ('at_most = "700 W"', 'at_most = "1 W"'))
    assert main(["optimize", path, "--no-figures", "--results", str(tmp_path)]) == 1
    assert "unknownx" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (10**8, "expected at most 10,000: no such model exists"),
        (10**30, f"num_hidden_layers = {10**30}, expected at most 1,099,511,627,776: no such model exists"),
    ],
)
def test_a_model_beyond_any(tmp_path, capsys, layers, told):
    """What no number of a model can be is refused as it is read, before what no number of layers can be."""
    config = json.loads((ROOT / "dse" / "workload" / "data" / "llama-3.1-8b.json").read_text())
    (tmp_path / "deep.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
    assert told in refused(capsys, "evaluate", "h100", str(tmp_path / "deep.json"))


@pytest.mark.parametrize("error", [OSError(36, "File name too long"), MemoryError(), RecursionError("too deep")])
def test_the_machines_refusal_is_one_line(monkeypatch, capsys, error):
    class Command:
        def run(self):
            raise error

    monkeypatch.setattr(commands, "parse", lambda argv: Command())
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dse: {type(error).__name__}") and said.count("\n") == 1


def test_a_sweep_of_nothing(capsys, tmp_path):
    assert "missing SPEC.toml" in refused(capsys, "sweep")
    assert "give the results folder of a sweep" in refused(capsys, "sweep", "--status", str(tmp_path))


def test_ctrl_c_after_the_answer(monkeypatch):
    """In the last moments there is nothing left to stop: Python's own farewell was a traceback."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(commands, "main", lambda: 0)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    try:
        assert cli.entry() == 0 and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("module", ["tyro", "jax", "numpy", "dse.hardware.presets"])
def test_ctrl_c_while_a_module_loads(module, tmp_path):
    """Before: Python's traceback, an ImportError of the package that was loading, or a crash of its C++ (1 in 10)."""
    (tmp_path / "sitecustomize.py").write_text(STOPS.format(module))
    run = subprocess.run(
        [sys.executable, "-m", "dse.cli", "chips"], capture_output=True, cwd=ROOT, timeout=600,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert (run.returncode, run.stderr, run.stdout) == (130, b"dse: interrupted\n", b"")


STOPS = """
import signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without one

class Stops:
    def find_spec(self, name, path=None, target=None):
        if name == "{0}":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Stops())
"""


STOPPED = """
import atexit, sys
from dse import cli
from dse.cli import commands

class Package:
    def __del__(self):
        print("taken down")

def stopped():
    raise KeyboardInterrupt

kept = Package()
atexit.register(print, "tidied up")
commands.main = stopped
sys.exit(cli.entry())
"""


def test_a_program_that_ctrl_c_ends_is_not_taken_down_in_order():
    """Before: a segmentation fault in every other one that was stopped while a program was being compiled."""
    run = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert (run.returncode, run.stderr, run.stdout) == (130, "dse: interrupted\n", "tidied up\n")


def test_ctrl_c_inside_the_garbage_collector_is_not_lost(monkeypatch, capsys):
    """One in fifteen was: a traceback in the middle of an answer, and exit code 0."""

    class Deaf:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class Command:
        def run(self):
            Deaf()
            time.sleep(60)

    monkeypatch.setattr(commands, "parse", lambda argv: Command())
    monkeypatch.setattr(sys, "unraisablehook", cli.ctrl_c_again)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without one
    try:
        begin = time.monotonic()
        assert main([]) == 130 and time.monotonic() - begin < 60
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "dse: interrupted\n"


def test_a_pipe_that_closes_is_no_error():
    """`dse models --json | head -1`: what is still buffered at the end meets a closed pipe."""
    code = "import sys; from dse.cli import entry; sys.argv = ['dse', 'models', '--json']; sys.exit(entry())"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert run.stdout is not None
    run.stdout.close()
    run.stdout = None
    assert run.communicate(timeout=600)[1] == b"" and run.returncode == 0


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["front", str(TINY), "--points", "100000000000"], "points of a front = 100,000,000,000: give at most 100,000"),
        (["optimize", str(TINY), "--near", "-1"], "--near -1: give 0, or a share such as 0.01"),
        (["optimize", str(TINY), "--near", "nan"], "--near nan: give 0, or a share"),
        # a folder that takes no answer is told before the minutes that an answer takes
        (["validate", "--kind", "training", "--results", "/dev/null"], "/dev/null/validation: cannot be made"),
        (["forecast", str(FORECAST), "--results", "/dev/null"], "/dev/null: cannot be made"),
        (["ablation", "--results", "/dev/null"], "/dev/null/ablation: cannot be made"),
        (["front", str(TINY), "--points", "1"], "points of a front = 1: give at least 2"),
        (["risk", str(TINY), "--samples", "100000000000"], "samples = 100,000,000,000: give at most 1,000,000"),
        (["risk", str(TINY), "--seed", "-1"], "seed = -1: give at least 0"),
        (["forecast", str(FORECAST), "--draws", "100000000000"], "draws = 100,000,000,000: give at most 1,000,000"),
        (["forecast", str(FORECAST), "--seed", "-1"], "seed = -1: give at least 0"),
        (["serve", "h100", "llama-3.1-8b", "--draft", "100000000000", "--accept", "0.5"], "drafted tokens = 100,000,"),
        (["sweep", "scaleup_domain", "--engine", "dask", "--workers", "100000000000"], "workers = 100,000,"),
    ],
)  # fmt: skip
def test_absurd_counts_are_one_line_at_once(argv, told, tmp_path, capsys, monkeypatch):
    """Before: 15 minutes, 745 GB, for ever, or a traceback of NumPy's."""
    monkeypatch.chdir(tmp_path)
    begin = time.monotonic()
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and told in err and err.count("\n") == 1 and time.monotonic() - begin < 20


def test_a_program_that_another_command_was_writing_is_compiled_again(tmp_path):
    """JAX writes its files in place: a command that was killed meanwhile left a warning to every later one."""
    asked = (sys.executable, "-m", "dse", "evaluate", "trainium2", "llama-3.1-8b", "--phase", "decode", "--chips", "1")
    # an environment in which nothing says where programs are kept but the home
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XDG_CACHE_HOME": str(tmp_path)}
    before = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
    programs = list((tmp_path / "dse" / "jax").glob("*-cache"))
    assert programs
    for path in programs:
        path.write_bytes(path.read_bytes()[:100])
    after = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
    assert (after.stdout, after.stderr) == (before.stdout, before.stderr) and "cache" not in after.stderr
