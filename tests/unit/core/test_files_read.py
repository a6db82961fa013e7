"""Users' files: bounded in size, nesting and numbers; answers as JSON with a version and without Python's spelling."""

import dataclasses
import enum
import json

import pytest

from dse.core.errors import SpecError
from dse.core.files import ANSWER_VERSION, json_text, plain, read_text, read_toml


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("x = " + "[" * 70 + "]" * 70, "at most 64 tables or lists inside each other"),
        (".".join(["a"] * 5000) + " = 1", "nested too deeply"),
        ("x = 9" + "9" * 5000, "not valid TOML"),
        ("[a]\nx = 9223372036854775808", "a.x has a whole number above 9.2e\\+18; write it smaller or as 1e30"),
        ("x = 1\nx = 2", "not valid TOML"),
        ("\x00", "not valid TOML"),
    ],
)
def test_toml_that_is_refused(tmp_path, text, told):
    """Before: nesting and long numbers were tracebacks."""
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(SpecError, match=told) as error:
        read_toml(tmp_path / "x.toml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "long").write_bytes(b"x" * 100)
    for path, told in (
        (tmp_path / "none", "cannot be read \\(No such file"),
        (tmp_path, "cannot be read \\(Is a directory"),
        (tmp_path / "latin", "not UTF-8 text: unexpected end of data at byte 3"),
        (tmp_path / "a\0b", "cannot be read \\(embedded null"),
        (tmp_path / ("a" * 5000), "cannot be read \\(File name too long"),
    ):
        with pytest.raises(SpecError, match=told):
            read_text(path)
    monkeypatch.setattr("dse.core.files.MOST_FILE_B", 99)
    with pytest.raises(SpecError, match="longer than 0 MiB"):
        read_text(tmp_path / "long")


class Colour(enum.Enum):
    RED = "a long text"


@dataclasses.dataclass
class Thing:
    x: float
    colour: Colour


def test_answers_have_a_version_and_no_python():
    """Before: lists had no place for one, and records came out as Python spells them."""
    assert json.loads(json_text([1, 2])) == {"schema_version": ANSWER_VERSION, "rows": [1, 2]}
    told = json.loads(json_text({"thing": Thing(float("nan"), Colour.RED), "t": (1,)}))
    assert told == {"schema_version": ANSWER_VERSION, "thing": {"x": None, "colour": "red"}, "t": [1]}
    assert plain({1: 2}) == {"1": 2}
    with pytest.raises(TypeError):
        json_text({"x": object()})


def test_a_byte_order_mark_is_no_text(tmp_path):
    """Before: "Invalid statement (at line 1, column 1)"."""
    (tmp_path / "mine.toml").write_bytes(b'\xef\xbb\xbf[mine]\nbase = "h100"\n')
    assert read_toml(tmp_path / "mine.toml") == {"mine": {"base": "h100"}}
