"""What is kept between runs: found by content, dropped when damaged, never in the way."""

import tomllib
from pathlib import Path

import pytest

from dse.core import kept as module
from dse.core.kept import KEPT_VERSIONS, ROOMS, is_kept, keep, keep_in, kept, kept_record, version_of


def test_what_was_kept_is_found_under_its_text_alone(kept_folder):
    keep("lowering", "a question", b"an answer")
    assert kept("lowering", "a question") == b"an answer"
    assert kept("lowering", "another question") is None and kept("physics", "a question") is None


def test_a_record_is_made_once(kept_folder):
    made = []
    each = [kept_record("lowering", "numbers", lambda: made.append(1) or [1.0, 2.0]) for _ in range(2)]
    assert each == [[1.0, 2.0]] * 2 and len(made) == 1


def test_nothing_is_kept_unless_a_command_says_where(tmp_path):
    keep_in(None)
    keep("lowering", "a question", b"an answer")
    assert not is_kept() and kept("lowering", "a question") is None


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"?", lambda b: b"x" + b])
def test_a_damaged_file_counts_as_none_and_is_replaced(kept_folder, damage):
    keep("lowering", "a question", b"an answer")
    (path,) = kept_folder.glob("*/*")
    path.write_bytes(damage(path.read_bytes()))
    assert kept("lowering", "a question") is None
    keep("lowering", "a question", b"an answer")
    assert kept("lowering", "a question") == b"an answer"


def test_a_full_disk_costs_the_file_and_nothing_else(kept_folder, monkeypatch):
    def full(path, write):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_whole", full)
    assert kept_record("lowering", "numbers", lambda: 3.0) == 3.0
    assert kept("lowering", "numbers") is None


def test_a_folder_that_is_a_file_costs_nothing_else(tmp_path):
    (tmp_path / "kept").write_text("")
    keep_in(tmp_path / "kept")
    assert kept_record("lowering", "numbers", lambda: 3.0) == 3.0
    keep_in(None)


def test_a_text_that_leaves_something_out_keeps_nothing(kept_folder):
    keep("lowering", "<function f at 0x7f>", b"an answer")
    assert kept("lowering", "<function f at 0x7f>") is None and not kept_folder.exists()


def test_old_versions_go(kept_folder, monkeypatch):
    for i in range(KEPT_VERSIONS + 2):
        monkeypatch.setattr(module, "version_of", lambda room, i=i: f"version{i}")
        keep("lowering", "a question", b"an answer")
    assert len(list(kept_folder.iterdir())) == KEPT_VERSIONS
    assert kept("lowering", "a question") == b"an answer"


def test_a_version_is_of_the_rooms_that_decide():
    assert len({version_of(room) for room in ROOMS}) == len(ROOMS)


def test_rooms_stand_in_an_order_that_imports_allow():
    contracts = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    level = {room.strip(): i for i, line in enumerate(reversed(layers)) for room in line.split("|")}
    levels = [level[f"dse.{room}"] for room in ROOMS]
    assert levels == sorted(levels)
    assert set(level) - {f"dse.{r}" for r in ROOMS} == {"dse.cli", "dse.explorer", "dse.report"}
