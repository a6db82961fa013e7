"""Points of a front on disk: whole, of the same question and code, and never overwritten."""

import types

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.explore import points
from dse.explore.points import FIELDS, PointStore, fingerprint


def point(k: int):
    """What a part keeps of a solved problem."""
    optimum = types.SimpleNamespace(**{f: np.asarray(float(k)) for f in FIELDS})
    return types.SimpleNamespace(choice_index=k, plan_index=(0,), caps=(1.0, 2.0), weights=(1.0, 0.0), optimum=optimum)


class Rays:
    """Takes points back."""

    def __init__(self):
        self.solved = {}

    def point(self, key, plans, optimum):
        return float(optimum.z)


@pytest.fixture
def store(tmp_path):
    made = PointStore(tmp_path, "question")
    for k in range(3):
        made.append([point(k)])
    return made


def test_a_deleted_part_is_not_overwritten(store):
    """Before: parts were numbered by how many there were, so the next one took the place of the last."""
    first, middle, last = store.parts()
    kept = last.read_bytes()
    middle.unlink()
    store.append([point(7)])
    assert [p.name[:12] for p in store.parts()] == ["points-00000", "points-00002", "points-00003"]
    assert last.read_bytes() == kept and first.exists()
    rays = Rays()
    assert store.load(rays) == 3 and sorted(rays.solved.values()) == [0.0, 2.0, 7.0]


def test_points_of_other_code_are_refused(store, monkeypatch, tiny):
    """Before: the digest of the question held versions and data files, but not the code."""
    mine = fingerprint(tiny, ("a", "b"))
    monkeypatch.setattr(points, "software", lambda: {"code": "other"})
    assert fingerprint(tiny, ("a", "b")) != mine
    with pytest.raises(SpecError, match="or of other code, data files or versions; run without --resume"):
        PointStore(store.folder, "another question").load(Rays())


@pytest.mark.parametrize("place", [10, 200, -5])
def test_a_flipped_bit_is_found(store, place):
    path = store.parts()[1]
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(SpecError, match="damaged, it is not what was written; delete it and resume again"):
        store.load(Rays())


def test_a_stray_file(store):
    (store.folder / "points-notes.parquet").write_text("hello")
    with pytest.raises(SpecError, match=r"points-notes.parquet: damaged"):
        store.load(Rays())
