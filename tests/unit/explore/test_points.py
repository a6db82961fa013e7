"""Points of a front on disk: whole, of the same question and code, and never overwritten."""

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.explore import points
from dse.explore.points import FIELDS, PointStore, fingerprint
from dse.explore.ray import Point, Rays
from dse.optimize.interior import Optimum


def point(k: int):
    """A solved problem; only its number matters."""
    made = object.__new__(Point)
    optimum = object.__new__(Optimum)
    for name in FIELDS:
        object.__setattr__(optimum, name, np.asarray(float(k)))
    told = {"choice_index": k, "plan_index": (0,), "caps": (1.0, 2.0), "weights": (1.0, 0.0), "optimum": optimum}
    for name, value in told.items():
        object.__setattr__(made, name, value)
    return made


@pytest.fixture
def rays(monkeypatch):
    """Takes points back, by their number."""
    made = object.__new__(Rays)
    made.__dict__["solved"] = {}
    monkeypatch.setattr(Rays, "point", lambda self, key, plans, optimum: key[0])
    monkeypatch.setattr(points, "batched", lambda record, *values: None)
    return made


@pytest.fixture
def store(tmp_path):
    made = PointStore(tmp_path, "question")
    for k in range(3):
        made.append([point(k)])
    return made


def test_a_deleted_part_is_not_overwritten(store, rays):
    """Before: parts were numbered by how many there were, so the next one took the place of the last."""
    first, middle, last = store.parts()
    kept = last.read_bytes()
    middle.unlink()
    store.append([point(7)])
    assert [p.name[:12] for p in store.parts()] == ["points-00000", "points-00002", "points-00003"]
    assert last.read_bytes() == kept and first.exists()
    assert store.load(rays) == 3 and sorted(rays.solved.values()) == [0, 2, 7]


def test_points_of_other_code_are_refused(store, monkeypatch, tiny, rays):
    """Before: the digest of the question held versions and data files, but not the code."""
    mine = fingerprint(tiny, ("a", "b"))
    monkeypatch.setattr(points, "software", lambda: {"code": "other"})
    assert fingerprint(tiny, ("a", "b")) != mine
    with pytest.raises(SpecError, match="or of other code, data files or versions; run without --resume"):
        PointStore(store.folder, "another question").load(rays)


@pytest.mark.parametrize("place", [10, 200, -5])
def test_a_flipped_bit_is_found(store, rays, place):
    path = store.parts()[1]
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(SpecError, match="damaged, it is not what was written; delete it and resume again"):
        store.load(rays)


def test_a_stray_file(store, rays):
    (store.folder / "points-notes.parquet").write_text("hello")
    with pytest.raises(SpecError, match=r"points-notes.parquet: damaged"):
        store.load(rays)
