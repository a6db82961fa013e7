"""Fingerprints of columns inside a Parquet file: any reader reads on, no flipped bit of what is read gets through."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dse.core.errors import SpecError
from dse.sweep import folder, seal
from dse.sweep.folder import MANIFEST, SHARDS, read_tables, shard_name
from dse.sweep.results import query
from dse.sweep.seal import DamagedError, chunk_of, excerpt, n_chunks, sealed

TABLE = pa.table({"a": np.arange(300) * 1.5, "b": ["x", "yy", ""] * 100, "c": np.arange(300) % 7})


def content(groups=300) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, compression="zstd", write_page_checksum=True, row_group_size=groups)
    return sealed(sink.getvalue())


def is_intact(path, columns):
    """Whether columns are those that were written; None for a file without fingerprints."""
    try:
        return True if excerpt(path, columns, lambda footer: None) is not None else None
    except DamagedError:
        return False


def test_only_the_bytes_of_the_columns_asked_for_are_read_and_each_once(tmp_path, monkeypatch):
    """Before: the reader asked Python for bytes, or read them a second time: 13 % of reading one column of floats."""
    whole = content(100)
    (tmp_path / SHARDS).mkdir()
    (tmp_path / MANIFEST).write_text(json.dumps({"identity": "x"}))
    path = tmp_path / SHARDS / shard_name("x", 0, whole)
    path.write_bytes(whole)
    taken = []
    monkeypatch.setattr(folder, "FEW_B", 0)
    monkeypatch.setattr(seal, "TAIL_B", 16)
    monkeypatch.setattr(seal, "_take", lambda h, v, c, take=seal._take: (taken.append(c), take(h, v, c))[1])
    assert read_tables(tmp_path, ["b", "c"]).equals(TABLE.select(["b", "c"]))
    metadata = pq.read_metadata(path)
    assert taken[2:] == [chunk_of(metadata, k) for k in range(9) if k % 3]  # end and footer come first
    damaged = bytearray(whole)
    damaged[chunk_of(metadata, 3).first_B] ^= 1
    path.write_bytes(damaged)
    assert read_tables(tmp_path, ["b"]).equals(TABLE.select(["b"]))
    with pytest.raises(SpecError, match="damaged"):
        read_tables(tmp_path, ["a"])
    for size in (0, 7, 40, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(SpecError):
            read_tables(tmp_path, ["a"])


def test_other_readers_do_not_mind(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(content(100))
    assert pq.read_table(path, page_checksum_verification=True).equals(TABLE)
    assert pd.read_parquet(path, columns=["c"])["c"].sum() == TABLE["c"].to_numpy().sum()
    assert query("select sum(a) total from results", path)["total"][0] == pytest.approx(TABLE["a"].to_numpy().sum())


def test_every_chunk_has_a_fingerprint(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(content(100))
    metadata = pq.read_metadata(path)
    assert n_chunks(metadata) == 9 and is_intact(path, ["a", "b", "c"])
    for k in range(9):
        damaged, at = bytearray(path.read_bytes()), chunk_of(metadata, k)
        damaged[at.first_B + at.size_B - 1] ^= 1
        (tmp_path / "y.parquet").write_bytes(damaged)
        assert [is_intact(tmp_path / "y.parquet", [c]) for c in "abc"] == [i != k % 3 for i in range(3)]


def test_files_without_fingerprints_are_told_apart(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE, path)
    assert is_intact(path, ["a"]) is None
    pq.write_table(TABLE.slice(0, 0), path)
    assert is_intact(path, ["a"]) in (None, True)


@pytest.mark.parametrize("columns", [["a"], ["b", "c"], None])
@pytest.mark.parametrize("few_B", [0, 2**19])
def test_no_flipped_bit_of_what_is_read_gets_through(tmp_path, monkeypatch, columns, few_B):
    """One bit of every fifth byte of the file: refused, or in bytes that the columns asked for do not need.

    A small file is checked whole; a large one (here: none is small) by columns.
    """
    monkeypatch.setattr(folder, "FEW_B", few_B)
    whole = content()
    (tmp_path / SHARDS).mkdir()
    (tmp_path / MANIFEST).write_text(json.dumps({"identity": "x"}))
    path = tmp_path / SHARDS / shard_name("x", 0, whole)
    path.write_bytes(whole)
    metadata, right = pq.read_metadata(path), read_tables(tmp_path, columns)
    places = [k for k in range(3) if columns is None or "abc"[k] in columns]
    mine = {b for k in places for c in [chunk_of(metadata, k)] for b in range(c.first_B, c.first_B + c.size_B)}
    last = chunk_of(metadata, 2)
    mine |= set(range(last.first_B + last.size_B, len(whole)))
    mine |= set(range(len(whole) if few_B else 0))
    for at in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at // 5 % 8
        path.write_bytes(damaged)
        if columns is None or at in mine:
            with pytest.raises(SpecError):
                read_tables(tmp_path, columns)
        else:
            assert read_tables(tmp_path, columns).equals(right)
