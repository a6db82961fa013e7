"""Results folders: plain names only, strict JSON, a manifest that says where an answer came from."""

import json
import math

import pytest

from dse.core.errors import SpecError
from dse.core.files import json_text, plain, results_folder, write_json
from dse.core.origin import preset_hashes


def test_folder_is_made(tmp_path):
    assert results_folder(tmp_path / "results", "trainium4").is_dir()


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "two words"])
def test_a_study_name_cannot_leave_the_results_folder(tmp_path, name):
    with pytest.raises(SpecError, match=r"study\.name"):
        results_folder(tmp_path, name)


def test_a_file_in_the_way_is_told_in_one_line(tmp_path):
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(SpecError, match="choose another --results"):
        results_folder(tmp_path / "results", "tiny")
    with pytest.raises(SpecError, match="cannot be written"):
        write_json(tmp_path / "results" / "x.json", {})


def test_numbers_that_json_cannot_hold_become_null():
    assert plain({"a": [math.inf, math.nan, 1.0]}) == {"a": [None, None, 1.0]}
    assert json.loads(json_text({"a": math.inf})) == {"schema_version": 2, "a": None}


def test_presets_are_hashed():
    hashes = preset_hashes()
    assert {"hardware/data/chips.toml", "technology/data/nodes.toml", "workload/data/llama-3.1-8b.json"} <= set(hashes)
    assert all(len(h) == 64 for h in hashes.values())
