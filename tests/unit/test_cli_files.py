"""Files that people write: templates that run, schemas that agree with the readers, bare names, wrong kinds."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from dse.cli import main
from dse.cli.facts import TEMPLATES, first_sentence, schema_of
from dse.core.errors import SpecError, UnknownNameError
from dse.core.shipped import COMMANDS, kind_of, shipped, shipped_folder
from dse.hardware.own_chip import own_chip
from dse.serving.portfolio import load_portfolio
from dse.study.study import load_study
from dse.sweep.spec import load_sweep

from .conftest import refused

ROOT = Path(__file__).parents[2]
KINDS = ("study", "sweep", "chip", "portfolio")
LOADERS = {"study": load_study, "sweep": load_sweep, "chip": own_chip, "portfolio": load_portfolio}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "130")


def valid(kind: str, tables: dict) -> bool:
    return jsonschema.Draft202012Validator(schema_of(kind)).is_valid(tables)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        pytest.param("study", ["optimize", "mine.toml", "--seconds", "5", "--no-figures"], marks=pytest.mark.slow),
        ("sweep", ["sweep", "mine"]),
        ("chip", ["evaluate", "mine.toml", "llama-3.1-8b"]),
        pytest.param("portfolio", ["portfolio", "mine", "h100", "--chips", "2"], marks=pytest.mark.slow),
    ],
)
def test_each_template_is_answered_by_its_command(kind, command, capsys):
    assert main(["new", kind, "mine"]) == 0
    assert COMMANDS[kind] in capsys.readouterr().out
    assert main(command) == 0
    assert "mine" in capsys.readouterr().out or kind == "portfolio"


@pytest.mark.parametrize("kind", KINDS)
def test_each_template_is_read_and_valid(kind):
    path = TEMPLATES / f"{kind}.toml"
    LOADERS[kind](path)
    assert kind_of(tomllib.loads(path.read_text())) == kind
    assert valid(kind, tomllib.loads(path.read_text()))


def test_schemas_take_what_comes_along_and_name_what_they_do_not():
    paths = [*(ROOT / "sweeps").glob("*.toml"), *(ROOT / "sweeps" / "chips").glob("*.toml")]
    told = {p: kind_of(tomllib.loads(p.read_text())) for p in paths}
    assert set(told.values()) == set(COMMANDS)
    for kind in KINDS:
        check = jsonschema.Draft202012Validator(schema_of(kind))
        for path in (p for p, k in told.items() if k == kind):
            tables = tomllib.loads(path.read_text())
            assert list(check.iter_errors(tables)) == [], path
            first = next(iter(tables))
            assert not check.is_valid({**tables, first: {**tables[first], "bogus": 1}}), path


def described(schema: object) -> list[str]:
    """Places of properties without a word about them and without a name that points to one."""
    found, waiting = [], [("", schema)]
    while waiting:
        place, here = waiting.pop()
        if isinstance(here, dict):
            for key, value in here.get("properties", {}).items() if isinstance(here.get("properties"), dict) else ():
                if not {"description", "x-name", "$ref"} & set(value):
                    found.append(f"{place}.{key}")
            waiting += [(f"{place}.{k}", v) for k, v in here.items()]
        elif isinstance(here, list):
            waiting += [(place, v) for v in here]
    return found


@pytest.mark.parametrize("kind", ["study", "portfolio", "sweep"])
def test_every_key_is_explained(kind):
    assert described(schema_of(kind)) == []


def test_every_key_of_a_chip_file_is_there_and_explained():
    """Before: die_area, n_stacks and the vendors' peaks had no words; what has a default was refused by editors."""
    keys = schema_of("chip")["additionalProperties"]["properties"]
    assert [k for k, s in keys.items() if not s.get("description")] == []
    assert {"package", "pipeline_depth", "blank", "die_area"} <= set(keys)


def test_schema_says_units_defaults_and_presets(capsys):
    assert main(["schema", "study"]) == 0
    study = json.loads(capsys.readouterr().out)
    assert study["properties"]["free"]["properties"]["clock"]["x-unit"] == "Hz"
    assert study["$defs"]["Head"]["properties"]["minimise"]["default"] == "delivered_time"
    (table,) = [schema_of("chip")["additionalProperties"]]
    low, high = table["properties"]["hbm_bandwidth"]["x-presets"]
    assert 0 < low < 3.35e12 < high and table["properties"]["hbm_bandwidth"]["x-unit"] == "Bps"


def test_a_scalar_fixes_a_free_number(tmp_path):
    text = (TEMPLATES / "study.toml").read_text()
    study = load_study(TEMPLATES / "study.toml")
    (fixed,) = [f for f in study.free if f.name == "scratchpad_B"]
    assert (fixed.lower, fixed.upper) == (32 * 2**20, 32 * 2**20)
    (tmp_path / "s.toml").write_text(text.replace('"32 MiB"', '"32 GHz"'))
    with pytest.raises(SpecError, match=r"free\.scratchpad"):
        load_study(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("argv", "kind", "command"),
    [
        (["optimize", "trainium4_budget"], "sweep", "dse sweep"),
        (["front", "portfolio"], "portfolio", "dse portfolio"),
        (["sweep", "trainium4"], "study", "dse optimize"),
        (["portfolio", "trainium4", "h100"], "study", "dse optimize"),
        (["forecast", "trainium4"], "study", "dse optimize"),
        (["optimize", "forecast_trainium4"], "forecast", "dse forecast"),
        (["evaluate", str(ROOT / "sweeps" / "trainium4.toml"), "llama-3.1-8b"], "study", "dse optimize"),
        (["optimize", str(ROOT / "sweeps" / "chips" / "trainium4_design.toml")], "chip", "dse evaluate"),
    ],
)
def test_a_wrong_kind_of_file_is_told_what_it_is(argv, kind, command, capsys):
    told = refused(capsys, *argv)
    assert f"this is a {kind}" in told and command in told


def test_own_files_win_over_shipped_ones(tmp_path):
    assert shipped("trainium4") == shipped_folder() / "trainium4.toml" == shipped("sweeps/trainium4.toml")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "trainium4.toml").touch()
    assert shipped("trainium4") == Path("sweeps/trainium4.toml")
    (tmp_path / "trainium4").mkdir()  # such as a folder of results
    (tmp_path / "trainium4.toml").touch()
    assert shipped("trainium4") == shipped("trainium4.toml") == Path("trainium4.toml")
    assert shipped("elsewhere/trainium4.toml") == Path("elsewhere/trainium4.toml")
    with pytest.raises(UnknownNameError, match="did you mean trainium4"):
        shipped("trainium")


def test_studies_lists_what_comes_along(capsys):
    assert main(["studies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {r["name"] for r in rows} == {p.stem for p in shipped_folder().glob("*.toml")}
    assert all(r["question"] and r["command"].startswith("dse ") for r in rows)
    assert all(r["question"].endswith((".", "?", "!")) for r in rows), "a whole sentence"


@pytest.mark.parametrize("width", [80, 120])
def test_studies_fit_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["studies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width and "dse optimize trainium4" in lines


@pytest.mark.parametrize(("text", "said"), [
    ("# What chip?\n# More.\n[study]", "What chip?"),
    ("# One that takes\n# two lines. No more.", "One that takes two lines."),
    ("# mine.toml is it", "mine.toml is it"), ("[study]", ""),
])  # fmt: skip
def test_the_question_of_a_file_is_its_first_sentence(text, said):
    assert first_sentence(text) == said


@pytest.mark.parametrize("name", ["nowhere/mine", "", "a b", "a\0b", "-x.y.toml"])
def test_new_writes_only_plain_names_and_never_over_a_file(name, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    assert main(["new", "chip", name] if not name.startswith("-") else ["new", "chip", "--", name]) == 2
    assert sorted(tmp_path.iterdir()) == before
    capsys.readouterr()
    (tmp_path / "there.toml").write_text("mine")
    assert "exists" in refused(capsys, "new", "chip", "there")
    assert (tmp_path / "there.toml").read_text() == "mine"
