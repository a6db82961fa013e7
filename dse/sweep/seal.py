"""Digests of every column's bytes inside the Parquet file, so that reading one column checks only that one.

They are stored between the last column and the footer, which readers ignore. Read more:
https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

ONE_B = 8
"""Bytes of a fingerprint."""
END_B = 8
"""Last bytes of a Parquet file: the length of its footer and a mark."""
TAIL_B = 2**14
"""Bytes read first, from the end: the footer of most files is among them."""
PART_B = 2**18
"""Bytes read at once: they are still in the processor's cache when their fingerprint is taken."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The bytes of one column in one row group."""

    first_B: int
    size_B: int

    @property
    def end_B(self) -> int:
        """Where the next byte after them is."""
        return self.first_B + self.size_B


def chunk_of(metadata: pq.FileMetaData, place: int) -> Chunk:
    """The chunk at `place` in the order in which all are written: row group by row group."""
    c = metadata.row_group(place // metadata.num_columns).column(place % metadata.num_columns)
    # a dictionary, where a column has one, lies before its data
    first_B = min(x for x in (c.dictionary_page_offset, c.data_page_offset) if x)
    return Chunk(first_B, c.total_compressed_size)


def n_chunks(metadata: pq.FileMetaData) -> int:
    """How many chunks a file has."""
    return metadata.num_row_groups * metadata.num_columns


def footer_B(content: memoryview) -> int:
    """Length of the footer, the end that says so among it."""
    # the last four bytes are the mark "PAR1"
    return int.from_bytes(content[-END_B:-4], "little") + END_B


def fingerprint(content: Any) -> str:
    """What tells damaged bytes from whole ones, many times faster than a digest that withstands an enemy."""
    return xxhash.xxh3_64_hexdigest(content)


def footer_fingerprint(content: Any) -> str:
    """The same of the footer of a Parquet file given as bytes."""
    view = memoryview(content)
    return fingerprint(view[-footer_B(view) :])


def sealed(content: pa.Buffer) -> bytes:
    """A Parquet file with the fingerprints of its chunks, and one of these, before its footer."""
    view = memoryview(content)
    end = len(view) - footer_B(view)
    metadata = pq.read_metadata(pa.BufferReader(content))
    chunks = [chunk_of(metadata, k) for k in range(n_chunks(metadata))]
    each = b"".join(xxhash.xxh3_64_digest(view[c.first_B : c.first_B + c.size_B]) for c in chunks)
    # behind the columns, where offsets in the footer stay true; the last one tells sealed files from others
    return b"".join([view[:end], each, xxhash.xxh3_64_digest(each), view[end:]])


class DamagedError(Exception):
    """Bytes that are not those that were written."""


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """What some columns of a file take, for a Parquet reader: their bytes at their places, the rest never read."""

    content: np.ndarray
    """As long as the file; only the bytes asked for are those of the file."""
    metadata: pq.FileMetaData
    """Its footer, read."""


def footer_of(path: Path) -> bytes:
    """The footer of a Parquet file, which says where columns are; as much as there is of it in one that is cut off."""
    with path.open("rb") as file:
        size_B = os.fstat(file.fileno()).st_size
        end = os.pread(file.fileno(), TAIL_B, max(size_B - TAIL_B, 0))
        length = footer_B(memoryview(end))
        return end[-length:] if length <= len(end) else os.pread(file.fileno(), length, max(size_B - length, 0))


def excerpt(path: Path, columns: Collection[str], check: Callable[[memoryview], None]) -> Excerpt | None:
    """What `columns` take of a sealed file, each byte checked, or DamagedError; None for one without fingerprints."""
    handle = os.open(path, os.O_RDONLY)
    try:
        content = np.empty(os.fstat(handle).st_size, dtype=np.uint8)  # memory that is not touched is not taken
        view = content.data
        _take(handle, view, Chunk(max(len(view) - TAIL_B, 0), min(TAIL_B, len(view))))
        length = footer_B(view)
        if length > TAIL_B:
            _take(handle, view, Chunk(max(len(view) - length, 0), min(length, len(view))))
        footer = view[-length:]
        check(footer)
        metadata = pq.read_metadata(pa.BufferReader(bytes(footer)))
        names = metadata.schema.names
        wanted = [k for k in range(n_chunks(metadata)) if names[k % len(names)] in columns]
        each = _fingerprints(handle, len(view) - length, metadata)
        if each is None:
            return None
        for k in wanted:
            if _take(handle, view, chunk_of(metadata, k)) != each[k * ONE_B : (k + 1) * ONE_B]:
                raise DamagedError
        return Excerpt(content, metadata)
    finally:
        os.close(handle)


def _fingerprints(handle: int, end: int, metadata: pq.FileMetaData) -> bytes | None:
    """Fingerprints of all chunks, which end where the footer begins; None for a file that has none."""
    n = n_chunks(metadata)
    size_B = ONE_B * (n + 1)
    block = os.pread(handle, size_B, max(end - size_B, 0))
    if n and xxhash.xxh3_64_digest(block[:-ONE_B]) == block[-ONE_B:]:
        return block[:-ONE_B]
    if n and end - chunk_of(metadata, n - 1).end_B == size_B:
        raise DamagedError  # there is room for them, and nothing else has any there
    return None


def _take(handle: int, view: memoryview, chunk: Chunk) -> bytes:
    """Read a chunk to its place in `view`, in parts that fit the cache; its fingerprint. DamagedError if cut short."""
    # the places come from a footer, which may be damaged
    if not 0 <= chunk.first_B <= chunk.end_B <= len(view):
        raise DamagedError
    taken = xxhash.xxh3_64()
    for at in range(chunk.first_B, chunk.end_B, PART_B):
        part = view[at : min(at + PART_B, chunk.end_B)]
        if os.preadv(handle, [part], at) != len(part):
            raise DamagedError
        taken.update(part)
    return taken.digest()
