import pytest

from dse.core.errors import SpecError
from dse.core.files import read_toml, write_whole


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_whole(path, lambda p: p.write_text("new"))
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half(place):
        place.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(SpecError, match=r"a.txt: cannot be written \(No space left on device\)"):
        write_whole(path, half)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_another_run_tidies_up_is_written_again(tmp_path):
    """A run that finishes removes temporary files, also those of a run that still writes."""
    times = []

    def write(path):
        times.append(path)
        path.write_text("whole")
        if len(times) == 1:
            path.unlink()

    write_whole(tmp_path / "a.txt", write)
    assert (tmp_path / "a.txt").read_text() == "whole" and len(set(times)) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    """As editors of Windows write it; TOML and JSON know none."""
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfx = 1\r\n")
    assert read_toml(tmp_path / "a.toml") == {"x": 1}
