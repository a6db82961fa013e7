"""Fingerprints of every column's bytes, kept inside the Parquet file: who reads one column checks that one, quickly.

They lie between the last column and the footer, where no reader looks: a Parquet file is found from its end. Parquet's
own checksums of pages cost five to ten times as much. Read more: https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

ONE_B = 8
"""Bytes of a fingerprint."""
END_B = 8
"""Last bytes of a Parquet file: the length of its footer and a mark."""
PART_B = 2**18
"""Bytes read at once: they are still in the processor's cache when their fingerprint is taken."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The bytes of one column in one row group."""

    first_B: int
    """Where they begin in the file."""
    size_B: int
    """How many they are."""


def chunk_of(metadata: pq.FileMetaData, place: int) -> Chunk:
    """The chunk at `place` in the order in which all are written: row group by row group."""
    c = metadata.row_group(place // metadata.num_columns).column(place % metadata.num_columns)
    first_B = min(x for x in (c.dictionary_page_offset, c.data_page_offset) if x)
    return Chunk(first_B, c.total_compressed_size)


def n_chunks(metadata: pq.FileMetaData) -> int:
    """How many chunks a file has."""
    return metadata.num_row_groups * metadata.num_columns


def footer_B(content: memoryview) -> int:
    """Length of the footer, the end that says so among it."""
    return int.from_bytes(content[-END_B:-4], "little") + END_B


def sealed(content: pa.Buffer) -> bytes:
    """A Parquet file with the fingerprints of its chunks, and one of these, before its footer."""
    view = memoryview(content)
    end = len(view) - footer_B(view)
    metadata = pq.read_metadata(pa.BufferReader(content))
    chunks = [chunk_of(metadata, k) for k in range(n_chunks(metadata))]
    each = b"".join(xxhash.xxh3_64_digest(view[c.first_B : c.first_B + c.size_B]) for c in chunks)
    return b"".join([view[:end], each, xxhash.xxh3_64_digest(each), view[end:]])


def is_intact(path: Path, metadata: pq.FileMetaData, columns: Collection[str]) -> bool | None:
    """Whether the bytes of some columns are those that were written; None for a file without fingerprints.

    Args:
        path: a Parquet file.
        metadata: its footer, which is known to be whole.
        columns: names of columns; others are not read.
    """
    n = n_chunks(metadata)
    last = chunk_of(metadata, n - 1) if n else Chunk(0, 0)
    begin, block_B = last.first_B + last.size_B, ONE_B * (n + 1)
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        length = footer_B(memoryview(os.pread(file.fileno(), END_B, size - END_B)))
        if not n or size - length - begin != block_B:
            return None
        block = os.pread(file.fileno(), block_B, begin)
        if xxhash.xxh3_64_digest(block[:-ONE_B]) != block[-ONE_B:]:
            return False
        names = metadata.schema.names
        places = [k for k in range(n) if names[k % metadata.num_columns] in columns]
        part = memoryview(bytearray(PART_B))
        return all(_digest(file, chunk_of(metadata, k), part) == block[k * ONE_B : (k + 1) * ONE_B] for k in places)


def _digest(file: io.FileIO, chunk: Chunk, part: memoryview) -> bytes:
    """Fingerprint of a chunk, read through `part`; that of less where the file ends before it."""
    taken, left = xxhash.xxh3_64(), chunk.size_B
    file.seek(chunk.first_B)
    while left and (n := file.readinto(part[:left])):
        taken.update(part[:n])
        left -= n
    return taken.digest()
