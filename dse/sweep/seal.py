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
TAIL_B = 2**14
"""Bytes read first, from the end: the footer of most files is among them."""
PART_B = 2**18
"""Bytes read at once: they are still in the processor's cache when their fingerprint is taken."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The bytes of one column in one row group."""

    first_B: int
    """Where they begin in the file."""
    size_B: int
    """How many they are."""

    @property
    def end_B(self) -> int:
        """Where the next byte after them is."""
        return self.first_B + self.size_B


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


class DamagedError(Exception):
    """Bytes that are not those that were written."""


class Checked(io.FileIO):
    """A sealed file that checks columns as a reader takes their bytes: they are not read twice, nor decoded damaged."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.waiting: dict[Chunk, bytes] = {}
        self.size_B = os.fstat(self.fileno()).st_size

    def last(self, size_B: int) -> bytes:
        """The last bytes of the file, as many as it has."""
        first_B = max(self.size_B - size_B, 0)
        return os.pread(self.fileno(), self.size_B - first_B, first_B)

    def footer(self) -> bytes:
        """The footer, which says where columns are: read once, for its fingerprint and for the reader."""
        end = self.last(TAIL_B)
        length = footer_B(memoryview(end))
        return end[-length:] if length <= len(end) else self.last(length)

    def watch(self, metadata: pq.FileMetaData, columns: Collection[str]) -> bool:
        """Check these columns from now on; False for a file without fingerprints.

        Args:
            metadata: the footer, which is known to be whole.
            columns: names of columns; others are not checked.

        Raises:
            DamagedError: in the fingerprints themselves.
        """
        names = metadata.schema.names
        n = metadata.num_row_groups * len(names)
        begin, block_B = chunk_of(metadata, n - 1).end_B if n else 0, ONE_B * (n + 1)
        if not n or self.size_B - metadata.serialized_size - END_B - begin != block_B:
            return False
        block = os.pread(self.fileno(), block_B, begin)
        if xxhash.xxh3_64_digest(block[:-ONE_B]) != block[-ONE_B:]:
            raise DamagedError
        places = [k for k in range(n) if names[k % len(names)] in columns]
        self.waiting = {chunk_of(metadata, k): block[k * ONE_B : (k + 1) * ONE_B] for k in places}
        return True

    def waiting_B(self) -> int:
        """Bytes still to be checked."""
        return sum(chunk.size_B for chunk in self.waiting)

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; DamagedError where a chunk among them is watched and not as it was written."""
        first_B = self.tell()
        content = super().read(-1 if size is None else size)
        view = memoryview(content)
        for chunk in [c for c in self.waiting if first_B <= c.first_B < c.end_B <= first_B + len(content)]:
            begin = chunk.first_B - first_B
            if xxhash.xxh3_64_digest(view[begin : begin + chunk.size_B]) != self.waiting.pop(chunk):
                raise DamagedError
        return content

    def finish(self) -> None:
        """Check what the reader took in other pieces than whole chunks; DamagedError."""
        part = memoryview(bytearray(min(PART_B, self.waiting_B())))
        if any(self._digest(chunk, part) != wanted for chunk, wanted in self.waiting.items()):
            raise DamagedError
        self.waiting = {}

    def _digest(self, chunk: Chunk, part: memoryview) -> bytes:
        """Fingerprint of a chunk, read through `part`; that of less where the file ends before it."""
        taken, left = xxhash.xxh3_64(), chunk.size_B
        self.seek(chunk.first_B)
        while left and (n := self.readinto(part[:left])):
            taken.update(part[:n])
            left -= n
        return taken.digest()
