"""Ctrl-C during `dse optimize`: what was found is written and named, not lost."""

import json
import math
from pathlib import Path

import pytest

from dse.cli import main
from dse.optimize.tree import Tree

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[1] / "data" / "tiny.toml"
ASKED = ("optimize", str(TINY), "--gap", "1e-9", "--no-figures", "--json")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)


def interrupted_at(monkeypatch, place, nth):
    """Ctrl-C at the n-th call of a method of the search."""
    method, calls = getattr(Tree, place), []

    def stops(self, *args):
        calls.append(args)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return method(self, *args)

    monkeypatch.setattr(Tree, place, stops)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The answer of a search that ends by itself."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*ASKED, "--results", str(folder)]) == 0
    return json.loads((folder / "tiny" / "solution.json").read_text())


@pytest.mark.parametrize("nth", [1, 2])
def test_the_best_design_so_far_is_written_with_its_gap(monkeypatch, capsys, tmp_path, whole, nth):
    """In the first batch nothing is proved yet; later the design is within the gap of the true optimum."""
    interrupted_at(monkeypatch, "_branch", nth)
    assert main([*ASKED, "--results", str(tmp_path)]) == 130
    out, err = capsys.readouterr()
    answer = json.loads((tmp_path / "tiny" / "solution.json").read_text())
    assert (
        answer == {k: v for k, v in json.loads(out).items() if k != "schema_version"}
        and (tmp_path / "tiny" / "chip.toml").exists()
    )
    assert answer["stopped"].startswith("stopped, gap ") and f"dse: {answer['stopped']}\n" in err
    best, proof = answer["metrics"]["goal"], answer["certificate"]["overall"]
    assert best >= whole["metrics"]["goal"] * (1 - 1e-9)
    if nth == 1:
        assert answer["stopped"] == "stopped, gap unknown" and answer["status"] == "unfinished"
    else:
        assert proof["lower_bound"] <= whole["metrics"]["goal"] * (1 + 1e-9)
        assert math.isclose(best / proof["lower_bound"] - 1, proof["gap"], rel_tol=1e-6, abs_tol=1e-9)
    assert "stopped" not in whole


def test_people_see_that_it_was_stopped(monkeypatch, capsys, tmp_path):
    interrupted_at(monkeypatch, "_branch", 1)
    assert main([*ASKED[:-1], "--results", str(tmp_path)]) == 130
    assert "stopped, gap unknown: the best design so far" in capsys.readouterr().out
    assert main(["report", str(tmp_path)]) == 0
    assert "stopped, gap unknown: the best design so far" in next(tmp_path.glob("*.html")).read_text()


def test_before_a_first_design_there_is_nothing_to_keep(monkeypatch, capsys, tmp_path):
    interrupted_at(monkeypatch, "_run", 1)
    assert main([*ASKED, "--results", str(tmp_path)]) == 130
    assert "dse: interrupted; --seconds S" in capsys.readouterr().err and not list(tmp_path.glob("*/*.json"))


def test_a_search_in_python_passes_ctrl_c_on(monkeypatch):
    import dse

    interrupted_at(monkeypatch, "_branch", 1)
    with pytest.raises(KeyboardInterrupt):
        dse.solve(dse.load_study(TINY), gap_frac=1e-9)


def test_what_was_found_before_a_further_question_is_kept(monkeypatch, tmp_path, whole):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dse.optimize.around.what_if", stop)
    assert main([*ASKED, "--what-if", "--results", str(tmp_path)]) == 130
    answer = json.loads((tmp_path / "tiny" / "solution.json").read_text())
    assert answer["metrics"] == whole["metrics"] and answer["stopped"].startswith("stopped, gap ")
