"""`dse cost` and `dse fleet`, in process: answers, JSON, and one line for every kind of bad input."""

import json

import pytest

from dse.cli import main

pytestmark = pytest.mark.usefixtures("cache_elsewhere")

PLAN = "tp=8,pp=8,dp=16,interleave=2"
SMALL = ["fleet", "h100", "llama-3.1-70b", "--chips", "1024", "--plan", PLAN, "--no-figures"]


def out_of(capsys, *argv):
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def test_cost_json(capsys, tmp_path):
    found = json.loads(out_of(capsys, "cost", "b200", "--json", "--results", str(tmp_path)))
    assert found["chip"] == "b200" and found["bill_of_materials_USD"][-1]["part"] == "total"
    assert (tmp_path / "cost" / "b200" / "waterfall.png").exists()


def test_cost_table_without_figures(capsys, tmp_path):
    shown = out_of(capsys, "cost", "trainium2", "--no-figures", "--results", str(tmp_path))
    assert "per chip-hour to own" in shown and not list(tmp_path.iterdir())


def test_fleet_json_and_table_agree(capsys):
    found = json.loads(out_of(capsys, *SMALL, "--weeks", "2", "--simulate", "--json"))
    assert found["seconds"] == 14 * 86_400
    assert found["goodput_frac"] == pytest.approx(found["simulated"]["goodput_frac"], rel=0.02)
    assert sum(found["interruptions_by_component"].values()) == pytest.approx(found["interruptions"])
    shown = out_of(capsys, *SMALL, "--weeks", "2")
    assert "llama-3.1-70b on 1,024 h100 for 2 weeks" in shown and "checkpoint every" in shown


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["cost", "h10"], ["unknown", "h10"]),
        (["cost", "maia-100"], ["chip in a fleet", 'base = "maia-100"', "host =", "price ="]),
        (["cost", "h100", "--precision", "fp8"], ["--precision", "--against"]),
        (["cost", "trainium2", "--against", "h100", "--in", "0"], ["0 tokens in", "at least 1"]),
        (["cost", "h100", "--against", "h100"], ["--against", "another chip"]),
        (["cost", "h100", "--against", "h101"], ["h101"]),
        ([*SMALL, "--weeks", "0"], ["--weeks", "above 0"]),
        ([*SMALL, "--weeks", "inf"], ["--weeks"]),
        (["fleet", "h100", "llama-3.1-70b", "--chips", "0"], ["--chips", "at least 1"]),
        (["fleet", "trainium3", "llama-3.1-70b", "--chips", "1000"], ["n_chips = 1000", "144"]),
        (["fleet", "h100", "llama-3.1-70b", "--system", "hgx-b200"], ["--system", "b200"]),
        (["fleet", "h20", "llama-3.1-70b", "--chips", "1024", "--plan", PLAN], ["chip in a fleet", "h20"]),
    ],
)
def test_bad_input_is_one_line(capsys, argv, words):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("dse: ") and err.count("\n") == 1, err
    assert all(w in err for w in words), err
