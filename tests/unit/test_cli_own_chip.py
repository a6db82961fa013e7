"""A user's own chip in his own system, and his own model, in every command, in process."""

import functools
import json
from pathlib import Path

import pytest

import dse.workload.presets
from dse.cli import main

pytestmark = pytest.mark.slow

TINY = (Path(__file__).parents[1] / "data" / "tiny.toml").read_text()
MODEL = ("model/config.json",)
CONFIG = Path(dse.workload.presets.__file__).parent / "data" / "llama-3.1-8b.json"
CHIP = '[mine]\nbase = "trainium3"\nhbm_bandwidth = "6 TB/s"\nrent = "4 USD"\nsystem = "rack.toml"\n'
SWEEP = """
[sweep]
name = "own"

[base]
chip = "mine.toml"
system = "rack.toml"
model = "model/config.json"
phase = "decode"
chips = 4
batch = 32

[[axes]]
key = "hbm_bandwidth"
values = ["5 TBps", "10 TBps"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, tmp_path_factory, monkeypatch):
    """A working directory with an own chip, a study of it, and a sweep over it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "130")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(CHIP)
    (tmp_path / "rack.toml").write_text('[rack]\nbase = "trn3-gen2-144"\nn_rack_chips = 36\n')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(CONFIG.read_text())
    own = {"trainium3": "mine.toml", "trn3-gen2-144": "rack.toml", "llama-3.1-8b": "model/config.json"}
    study = functools.reduce(lambda text, name: text.replace(f'"{name}"', f'"{own[name]}"'), own, TINY)
    (tmp_path / "tiny.toml").write_text(
        study.replace("native_fp4 = [true]", 'native_fp4 = [true]\nsystem = ["rack.toml"]')
    )
    for year in (2, 3):
        named = (tmp_path / "tiny.toml").read_text().replace('"tiny"', f'"backtest_{year}"')
        named += '\n[built]\nchip = "mine.toml"\n'
        (tmp_path / f"backtest_{year}.toml").write_text(named)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    return tmp_path


STUDY = ("--seconds", "5", "--gap", "0.05", "--json")
COMMANDS = (
    ("evaluate", "mine.toml", *MODEL, "--phase", "decode", "--chips", "4", "--json"),
    ("compare", "mine.toml,h100", *MODEL, "--chips", "1", "--json"),
    ("serve", "mine.toml,trainium3", *MODEL, "--chips", "1", "--batch", "16", "--json"),
    ("cost", "mine.toml", "--json"),
    ("fleet", "mine.toml", *MODEL, "--chips", "144", "--sequence", "2048", "--json"),
    ("chips", "mine.toml", "--json"),
    ("optimize", "tiny.toml", *STUDY),
    ("front", "tiny.toml", "--points", "3", "--no-figures", "--json"),
    ("sweep", "sweep.toml", "--json"),
    ("backtest", "--sweeps", ".", "--seconds", "1", "--json"),
    ("cite", "tiny.toml"),
    ("report", "results"),
)


def test_own_chip_own_system_and_own_model_go_through_every_command(capsys, folder):
    """One after another in one folder, as a user does it; the report shows what the others left there."""
    said = {}
    for argv in COMMANDS:
        assert main(list(argv)) == 0, argv
        said[argv[0]] = capsys.readouterr().out
        assert "--json" not in argv or json.loads(said[argv[0]]), argv
    silent = {"cite", "report", "sweep"}  # sources, the name of the page, counts of points
    assert {c for c, out in said.items() if "mine" not in out and "rack" not in out} <= silent
    answer = json.loads(said["optimize"])
    assert answer["design"]["n_cores"] >= 2 and answer["status"] in ("optimal", "unfinished")
    assert answer["design"]["choice"]["system"] == "rack.toml"
    assert list(folder.glob("**/*.html"))


@pytest.mark.parametrize("line", ["n_coers = 12", "hbm_bandwidth = 1e30", 'hbm_bandwidth = "1e30 B/s"'])
@pytest.mark.parametrize(
    "argv",
    [
        ("evaluate", "mine.toml", *MODEL), ("serve", "mine.toml", *MODEL), ("cost", "mine.toml"),
        ("fleet", "mine.toml", *MODEL), ("optimize", "tiny.toml"), ("front", "tiny.toml"), ("sweep", "sweep.toml"),
        ("backtest", "--sweeps", "."), ("chips", "mine.toml"),
    ],
    ids=lambda argv: argv[0],
)  # fmt: skip
def test_a_wrong_line_is_named_by_every_command(capsys, folder, argv, line):
    (folder / "mine.toml").write_text(f'[mine]\nbase = "trainium3"\nsystem = "rack.toml"\n{line}\n')
    assert main(list(argv)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("dse: ") and "mine.toml" in said[-1] and line.split(" =")[0] in said[-1]


@pytest.mark.parametrize("phase", [(), ("--phase", "prefill")])
@pytest.mark.parametrize(("chips", "names"), [
    ("a/mine.toml,h100", ["h100", "mine"]), ("a/mine.toml,b/mine.toml", ["a/mine.toml", "b/mine.toml"]),
])  # fmt: skip
def test_a_ranking_names_an_own_file_by_its_name_where_that_is_enough(folder, capsys, phase, chips, names):
    for below in (folder / "a", folder / "b"):
        below.mkdir()
        (below / "mine.toml").write_text(CHIP.replace("rack.toml", "../rack.toml").replace('rent = "4 USD"\n', ""))
    assert main(["compare", chips, *MODEL, "--chips", "1", *phase]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert sorted(r[1] for r in rows if r and r[0] in ("-", "1", "2")) == names
    assert {r[0] for r in rows if r[1:3] == ["no", "capacity"]} == {f"{n}:" for n in names if n != "h100"}
