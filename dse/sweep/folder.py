"""Reading of a results folder: manifest, shards of its identity, and digests that detect damage.

Files, footers and columns (`seal`) have separate digests, so only what is read is checked. JAX is not needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ..core.errors import SpecError
from ..core.files import check_sizes, read_text
from ..core.origin import digest
from .seal import DamagedError, excerpt, fingerprint, footer_fingerprint, footer_of

SHARDS = "shards"
MERGED = "results.parquet"
"""The one file of a finished small sweep."""
MANIFEST = "manifest.json"
"""Where the rows came from, and what their columns mean."""
FAILURES = "failures"
"""Folder with one file per unit of work that was given up."""
FEW_B = 2**16
"""Bytes of a file that is quicker read whole, whatever columns are asked for."""
NAMED = 16
"""Hexadecimal digits of the identity's digest in a file's name."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a results folder; SpecError where there is none that can be read."""
    path = folder / MANIFEST
    try:
        text = read_text(path)
    except SpecError as error:
        raise SpecError(f"{error}; give the results folder of a sweep") from error
    try:
        found = json.loads(text)
        check_sizes(found, str(path))
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SpecError(f"{path}: not valid JSON: {told}; remove it and run the sweep with --resume") from error
    if not isinstance(found, dict) or not all(isinstance(found.get(k, 0), int) for k in ("points", "shards")):
        raise SpecError(f"{path}: no manifest of a sweep; remove it and run the sweep with --resume")
    return found


def shard_start(identity: str, index: int) -> str:
    """How the name of a shard begins; the fingerprints of its bytes and of its footer follow."""
    return f"{index:06d}-{digest(f'{identity} {index}'.encode())[:NAMED]}-"


def shard_name(identity: str, index: int, content: Any) -> str:
    """The whole name of a shard with these bytes."""
    return f"{shard_start(identity, index)}{fingerprint(content)}-{footer_fingerprint(content)}.parquet"


@dataclasses.dataclass(frozen=True)
class Shards:
    """What lies in the folder of shards."""

    mine: dict[int, Path]
    """One file for each shard of the identity that has any."""
    foreign: tuple[Path, ...]


def shards_of(folder: Path, identity: str) -> Shards:
    """The shards of `identity` in a results folder, and what else is there."""
    mine: dict[int, Path] = {}
    foreign = []
    for path in sorted((folder / SHARDS).glob("[!.]*")):  # hidden ones are still being written
        number = path.name.partition("-")[0]
        index = int(number) if number.isdecimal() and path.suffix == ".parquet" else -1
        if path.name.startswith(shard_start(identity, index)):
            mine.setdefault(index, path)
        else:
            foreign.append(path)
    return Shards(mine, tuple(foreign))


@dataclasses.dataclass(frozen=True)
class Held:
    """A file with rows, with its digests; "" for unknown ones."""

    path: Path
    bytes_: str = ""
    footer: str = ""

    def whole(self) -> bytes:
        """Its bytes; SpecError where they are not those that were written."""
        content = self.path.read_bytes()
        if self.bytes_ and fingerprint(content) != self.bytes_:
            raise SpecError(f"{self.path}: {DAMAGED}")
        return content

    def check_footer(self, footer: bytes | memoryview) -> None:
        """SpecError where `footer` is not the one that was written; pages have checksums of their own."""
        if self.footer and fingerprint(footer) != self.footer:
            raise SpecError(f"{self.path}: {DAMAGED}")


DAMAGED = "damaged, it is not what was written; run the sweep again with --resume (or read on with --no-verify)"


def held_files(folder: str | Path) -> list[Held]:
    """The files with the rows of a sweep, in order, of the manifest's identity (or the one); SpecError without."""
    folder = Path(folder)
    if folder.is_file():
        return [Held(folder)]
    manifest = read_manifest(folder)
    if "results_sha256" in manifest and (folder / MERGED).exists():
        # what a manifest lacks is no digest of anything: "" would be unknown, and pass
        return [Held(folder / MERGED, *(str(manifest.get(f"results_{k}", "none")) for k in ("xxh3", "footer_xxh3")))]
    shards = shards_of(folder, str(manifest.get("identity"))).mine
    if not shards:
        raise SpecError(f"{folder}: no finished shards yet; run the sweep, or go on with --resume")
    return [held_shard(path) for _, path in sorted(shards.items())]


def held_shard(path: Path) -> Held:
    """A shard, with what its name says of it."""
    words = [*path.stem.split("-"), "", ""]
    return Held(path, words[2] or "none", words[3] or "none")


def reason_counts(files: Iterable[Held]) -> dict[str, int]:
    """Rows by the reason why they have no answer, the most frequent first; those with an answer under ""."""
    counts: dict[str, int] = {}
    for file in files:
        with reading(file.path):
            table = _pages(file, ["reason"], verify=True)
        for pair in table["reason"].value_counts().to_pylist():
            counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@contextlib.contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Turns the complaints of the Parquet reader into one line."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise SpecError(f"{folder}: cannot be read ({told}); run the sweep again with --resume") from error


def read_tables(folder: str | Path, columns: list[str] | None = None, verify: bool = True) -> pa.Table:
    """Rows of a sweep in the order of its points; SpecError for none, damaged ones, or a column that does not exist."""
    files = held_files(folder)
    with reading(folder):
        known = pq.read_schema(files[0].path).names
        absent = [c for c in columns or () if c not in known]
        if absent:
            raise SpecError(f"{folder}: no column {', '.join(absent)}; it has {', '.join(known)}")
        if columns is None and verify:
            return pa.concat_tables([_whole(f) for f in files])
        return pa.concat_tables([_pages(f, columns, verify) for f in files])


def _whole(file: Held, columns: list[str] | None = None) -> pa.Table:
    """One pass over all bytes: quicker than checksums of every page; a bare file has only those."""
    if not file.bytes_:
        return _pages(file, columns, True)
    return pq.ParquetFile(pa.BufferReader(file.whole())).read(columns)


def _pages(file: Held, columns: list[str] | None, verify: bool) -> pa.Table:
    """Some columns: only their bytes are read and checked; of a file of another program by pages' checksums."""
    threads = columns is None or len(columns) > 1  # a thread for one column takes more than it gives
    if not verify:
        with pq.ParquetFile(file.path) as held:
            return held.read(columns, use_threads=threads)
    if file.bytes_ and file.path.stat().st_size <= FEW_B:
        return _whole(file, columns)
    if columns is not None:
        try:
            found = excerpt(file.path, columns, file.check_footer)
        except DamagedError as error:
            raise SpecError(f"{file.path}: {DAMAGED}") from error
        if found is not None:
            with pq.ParquetFile(pa.BufferReader(pa.py_buffer(found.content)), metadata=found.metadata) as held:
                return held.read(columns, use_threads=threads)
    return pq.read_table(file.path, columns=columns, page_checksum_verification=True)


def dataset_of(folder: str | Path, verify: bool = True) -> ds.Dataset:
    """Rows of a sweep, read where and when they are asked for."""
    files = held_files(folder)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=verify)
    pages = ds.ParquetFileFormat(default_fragment_scan_options=options)
    with reading(folder):
        for file in files if verify else ():
            file.check_footer(footer_of(file.path))
        return ds.dataset([str(f.path) for f in files], format=pages)


def status(folder: Path) -> dict[str, Any]:
    """What is done in a results folder and what is not, every byte checked; SpecError where it is none.

    Points; shards whole, missing, damaged, of other identities, given up and why; rows, failed ones and their reasons.
    """
    manifest = read_manifest(folder)
    identity, n = str(manifest.get("identity")), int(manifest.get("shards", 0))
    held = shards_of(folder, identity)
    one = [f for f in held_files(folder) if f.path.name == MERGED] if held.mine or (folder / MERGED).exists() else []
    finished = bool(one) and _is_whole(one[0])
    whole = [f for f in map(held_shard, held.mine.values()) if _is_whole(f)]
    n_whole = n if finished else len(whole)
    counts = reason_counts(one if finished else whole)
    rows, answered = sum(counts.values()), counts.pop("", 0)
    return {
        "sweep": str(manifest.get("sweep")), "folder": str(folder), "finished": n_whole == n,
        "points": int(manifest.get("points", 0)), "rows": rows, "failed": rows - answered,
        "shards": n, "whole": n_whole, "missing": 0 if finished else n - len(held.mine),
        "damaged": len(held.mine) - len(whole) + (bool(one) and not finished), "foreign": len(held.foreign),
        "reasons": counts, "given_up": [] if finished else _given_up(folder, identity),
    }  # fmt: skip


def _is_whole(file: Held) -> bool:
    try:
        file.whole()
    except (SpecError, OSError):
        return False
    return True


def _given_up(folder: Path, identity: str) -> list[dict[str, Any]]:
    """Shards that runs gave up, in order, with the reason and the time; what cannot be read counts for nothing."""
    found = []
    for path in sorted((folder / FAILURES).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            says = json.loads(path.read_text(encoding="utf-8"))
            if says["identity"] == identity:
                found.append({k: says[k] for k in ("shard", "reason", "date")})
    return found
