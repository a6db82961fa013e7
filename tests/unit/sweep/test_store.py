"""The store: whole or absent, resumed, checked, merged; and what a full disk or a wrong folder says."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

import dse
from dse.core.errors import SpecError
from dse.sweep.engine import local, parse_part, plan_work, run
from dse.sweep.spec import load_sweep
from dse.sweep.store import open_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The small sweep, finished, its three shards kept beside the merged file."""
    from .conftest import SMALL

    root = tmp_path_factory.mktemp("done")
    (root / "small.toml").write_text(SMALL)
    sweep = load_sweep(root / "small.toml")
    store = open_store(sweep, root)
    for _ in local(store, range(3)):
        pass
    shutil.copytree(store.folder / "shards", root / "kept")
    run(store, plan_work(store), local)
    return root, sweep


@pytest.fixture
def store(done, tmp_path):
    """The small sweep with its shards, unmerged, in a folder of its own."""
    root, sweep = done
    made = open_store(sweep, tmp_path)
    shutil.copytree(root / "kept", made.folder / "shards", dirs_exist_ok=True)
    return made


def test_a_small_sweep_ends_as_one_file(done):
    root, _ = done
    assert sorted(p.name for p in (root / "small").iterdir()) == ["manifest.json", "results.parquet", "shards"]
    assert not list((root / "small" / "shards").iterdir())
    table = dse.results.load(root / "small")
    assert list(table["point"]) == list(range(24)) and table["ok"].all()
    assert list(table.columns[:5]) == ["point", "plan_asked", "hbm_bandwidth_Bps", "n_cores", "clock_Hz"]
    shared = table[["chip", "system", "model", "chips", "batch", "sequence"]].drop_duplicates().values.tolist()
    assert shared == [["a100-80", "dgx-a100", "llama-3.1-8b", 8, 32, 2048]], "what all points share is asked for too"


def test_unfinished_shards_can_be_read(store, done):
    left = store.path(1)
    left.unlink()
    (store.folder / "shards" / ".x.tmp").write_bytes(b"half")
    assert list(dse.results.load(store.folder)["point"]) == [*range(8), *range(16, 24)]


def damage_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


DAMAGE = {
    "missing": lambda p: p.unlink(),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "empty": lambda p: p.write_bytes(b""),
    "a flipped bit": damage_middle,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_only_what_is_not_whole_is_computed_again(store, done, kind):
    name = store.path(1).name
    DAMAGE[kind](store.path(1))
    before = {i: store.path(i).stat().st_mtime_ns for i in (0, 2)}
    work = plan_work(store)
    assert work.todo == (1,) and set(work.done) == {0, 2} and work.points(store.sweep) == 24
    for _ in local(store, work.todo):
        pass
    assert store.path(1).read_bytes() == (done[0] / "kept" / name).read_bytes()
    assert {i: store.path(i).stat().st_mtime_ns for i in (0, 2)} == before


def test_resumed_is_bit_identical(store, done):
    store.path(0).unlink()
    run(store, plan_work(store), local)
    assert store.merged.read_bytes() == (done[0] / "small" / "results.parquet").read_bytes()


def test_a_finished_sweep_has_nothing_to_do(done):
    root, sweep = done
    store = open_store(sweep, root, go_on=True)
    assert plan_work(store).todo == ()
    damage = store.merged.read_bytes()
    try:
        store.merged.write_bytes(damage[:-1])
        assert plan_work(store).todo == (0, 1, 2)
    finally:
        store.merged.write_bytes(damage)


def test_slices_share_a_folder_and_the_last_merges(store, done):
    for i in range(3):
        store.path(i).unlink()
    for part in ("0/2", "1/2"):
        assert not store.merged.exists()
        run(store, plan_work(store, parse_part(part)), local)
    assert store.merged.read_bytes() == (done[0] / "small" / "results.parquet").read_bytes()


@pytest.mark.parametrize("text", ["2/2", "1", "a/b", "-1/2", "1/2/3", "0/0"])
def test_a_wrong_slice_is_told(text):
    with pytest.raises(SpecError, match="expected slice/slices counted from 0"):
        parse_part(text)


def test_answers_are_not_overwritten_or_mixed(done, tmp_path):
    from .conftest import SMALL

    root, sweep = done
    with pytest.raises(SpecError, match=r"holds this sweep already; add --resume to complete it, or --fresh"):
        open_store(sweep, root)
    (tmp_path / "small.toml").write_text(SMALL.replace("batch = 32", "batch = 64"))
    with pytest.raises(SpecError, match=r"holds answers to another specification.* --fresh to replace them"):
        open_store(load_sweep(tmp_path / "small.toml"), root, go_on=True)
    assert len(dse.results.load(root / "small")) == 24


def test_a_comment_is_no_other_question(done, tmp_path):
    from .conftest import SMALL

    root, sweep = done
    (tmp_path / "small.toml").write_text("# why\n" + SMALL)
    assert (
        open_store(load_sweep(tmp_path / "small.toml"), root, go_on=True).identity
        == open_store(sweep, root, True).identity
    )


def test_fresh_begins_anew(store):
    fresh = open_store(store.sweep, store.folder.parent, fresh=True)
    assert plan_work(fresh).todo == (0, 1, 2)


def test_the_manifest_says_how_to_get_it_again(done):
    import json

    root, sweep = done
    manifest = json.loads((root / "small" / "manifest.json").read_text())
    assert manifest["specification"] == sweep.text and manifest["seed"] == 0 and manifest["schema_version"] == 1
    assert manifest["points"] == 24 and {"jax", "dse", "pyarrow"} <= set(manifest["versions"])
    assert manifest["columns"]["step_s"] == "double: step time under the chip's power limit"
    assert set(manifest["columns"]) == set(dse.results.load(root / "small").columns)


def test_a_full_disk_is_one_line_and_leaves_what_was_whole(store, monkeypatch):
    store.path(2).unlink()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SpecError, match=r"parquet: cannot be written \(No space left on device\)"):
        run(store, plan_work(store), local)
    monkeypatch.undo()
    assert plan_work(store).todo == (2,) and not list(store.folder.glob("shards/.*"))


def test_a_write_that_the_system_refuses(store):
    """The operating system's own refusal in the middle of a shard: a limit on the size of files."""
    store.path(2).unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SpecError, match=r"parquet: cannot be written \(File too large\)"):
            run(store, plan_work(store), local)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert plan_work(store).todo == (2,) and not list(store.folder.glob("shards/.*"))


def test_a_file_in_the_way(done, tmp_path):
    _, sweep = done
    (tmp_path / "small").write_text("")
    with pytest.raises(SpecError, match=r"small: cannot be made \(File exists\); choose another --results"):
        open_store(sweep, tmp_path)


def test_queries(done):
    root, _ = done
    answer = dse.results.query(
        "select plan, count(*) n, min(step_s) fastest from results group by plan order by plan", root / "small"
    )
    table = dse.results.load(root / "small")
    assert list(answer["n"]) == [12, 12]
    np.testing.assert_array_equal(answer["fastest"], table.groupby("plan")["step_s"].min())
    with pytest.raises(SpecError, match=r"query: .*nothing_like_it"):
        dse.results.query("select nothing_like_it from results", root / "small")
    with pytest.raises(SpecError, match=r"query: INSERT given; results are only read: give one select"):
        dse.results.query("insert into results values (1)", root / "small")
    with pytest.raises(SpecError, match=r"query: Parser Error"):
        dse.results.query("seelct 1", root / "small")


def test_reading_what_is_not_there(tmp_path, done):
    with pytest.raises(SpecError, match=r"manifest.json: cannot be read .*give the results folder of a sweep"):
        dse.results.load(tmp_path)
    with pytest.raises(SpecError, match="no column speed; it has point, plan_asked"):
        dse.results.load(done[0] / "small", ["speed"])
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(SpecError, match=r"cannot be read"):
        dse.results.load(tmp_path / "x.parquet")
