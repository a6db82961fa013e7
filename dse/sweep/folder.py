"""A results folder as it is read: manifest, files of its identity alone, and the digests that find damage.

Pages of a Parquet file carry checksums, and what says where they are (the footer) has a digest in the file's name or in
the manifest: so what is read is what was written, at the cost of the pages that are read. Nothing here needs JAX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
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

SHARDS = "shards"
"""Folder with one file per unit of work."""
MERGED = "results.parquet"
"""The one file of a finished small sweep."""
MANIFEST = "manifest.json"
"""Where the rows came from, and what their columns mean."""
FAILURES = "failures"
"""Folder with one file per unit of work that was given up."""
NAMED = 16
"""Hexadecimal digits of a digest in a file's name."""
END_B = 8
"""Last bytes of a Parquet file: the length of its footer and a mark."""


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
        told = str(error) or "nested too deeply"
        raise SpecError(f"{path}: not valid JSON: {told}; remove it and run the sweep with --resume") from error
    if not isinstance(found, dict):
        raise SpecError(f"{path}: no manifest of a sweep; remove it and run the sweep with --resume")
    return found


def shard_start(identity: str, index: int) -> str:
    """How the name of a shard begins; the digests of its bytes and of its footer follow."""
    return f"{index:06d}-{digest(f'{identity} {index}'.encode())[:NAMED]}-"


def shard_name(identity: str, index: int, content: Any) -> str:
    """The whole name of a shard with these bytes."""
    return f"{shard_start(identity, index)}{digest(content)[:NAMED]}-{footer_digest(content)[:NAMED]}.parquet"


def footer_digest(content: Any) -> str:
    """Digest of the footer of a Parquet file given as bytes."""
    view = memoryview(content)
    length = int.from_bytes(view[-END_B:-4], "little") + END_B
    return digest(view[-length:])


def footer_of(path: Path) -> str:
    """The same, of a file, reading no more than that; OSError where it cannot be read."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - END_B, 0))
        length = int.from_bytes(file.read(END_B)[:4], "little") + END_B
        file.seek(max(size - length, 0))
        return digest(file.read())


@dataclasses.dataclass(frozen=True)
class Shards:
    """What lies in the folder of shards."""

    mine: dict[int, Path]
    """One file for each shard of the identity that has any."""
    foreign: tuple[Path, ...]
    """Files of other specifications or other code, and strays."""


def shards_of(folder: Path, identity: str) -> Shards:
    """The shards of `identity` in a results folder, and what else is there."""
    mine: dict[int, Path] = {}
    foreign = []
    for path in sorted((folder / SHARDS).glob("[!.]*")):
        number = path.name.partition("-")[0]
        index = int(number) if number.isdecimal() and path.suffix == ".parquet" else -1
        if path.name.startswith(shard_start(identity, index)):
            mine.setdefault(index, path)
        else:
            foreign.append(path)
    return Shards(mine, tuple(foreign))


def parquet_files(folder: str | Path, verify: bool = True) -> list[Path]:
    """The files with the rows of a sweep, in order, of the manifest's identity alone; a Parquet file is itself.

    Args:
        folder: results folder of a sweep, or any Parquet file.
        verify: whether footers are compared with the digests that were written down.

    Raises:
        SpecError: nothing there, or a file that is not what was written.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    manifest = read_manifest(folder)
    if "results_sha256" in manifest and (folder / MERGED).exists():
        if verify:
            _check_merged(folder / MERGED, manifest)
        return [folder / MERGED]
    shards = shards_of(folder, str(manifest.get("identity"))).mine
    if not shards:
        raise SpecError(f"{folder}: no finished shards yet; run the sweep, or go on with --resume")
    files = [path for _, path in sorted(shards.items())]
    for path in files if verify else ():
        if not path.stem.endswith(f"-{_footer(path)[:NAMED]}"):
            raise SpecError(f"{path}: {DAMAGED}")
    return files


DAMAGED = "damaged, it is not what was written; run the sweep again with --resume (or read on with --no-verify)"


def _check_merged(path: Path, manifest: dict[str, Any]) -> None:
    """SpecError where the one file is not what was written; files of older versions are compared as a whole."""
    footer = manifest.get("results_footer_sha256")
    same = _footer(path) == footer if footer is not None else digest(path.read_bytes()) == manifest["results_sha256"]
    if not same:
        raise SpecError(f"{path}: {DAMAGED}")


def _footer(path: Path) -> str:
    try:
        return footer_of(path)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); run the sweep again with --resume") from error


def reason_counts(files: Iterable[Path], verify: bool = True) -> dict[str, int]:
    """Rows by the reason why they have no answer, the most frequent first; those with an answer under ""."""
    counts: dict[str, int] = {}
    for file in files:
        with reading(file):
            table = pq.read_table(file, columns=["reason"], page_checksum_verification=verify)
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
    """Rows of a sweep in the order of its points; only some columns where given.

    Raises:
        SpecError: no results there, damaged ones, or a column that does not exist.
    """
    files = parquet_files(folder, verify)
    with reading(folder):
        known = pq.read_schema(files[0]).names
        absent = [c for c in columns or () if c not in known]
        if absent:
            raise SpecError(f"{folder}: no column {', '.join(absent)}; it has {', '.join(known)}")
        read = functools.partial(pq.read_table, columns=columns, page_checksum_verification=verify)
        return pa.concat_tables([read(f) for f in files])


def dataset_of(folder: str | Path, verify: bool = True) -> ds.Dataset:
    """Rows of a sweep, read where and when they are asked for."""
    files = [str(f) for f in parquet_files(folder, verify)]
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=verify)
    with reading(folder):
        return ds.dataset(files, format=ds.ParquetFileFormat(default_fragment_scan_options=options))


def status(folder: Path) -> dict[str, Any]:
    """What is done in a results folder and what is not, as plain data; every byte of it is checked.

    Args:
        folder: results folder of a sweep.

    Returns:
        Points; shards that are whole, missing, damaged; files of other identities (foreign); rows, those without an
        answer (failed) and their reasons; shards that were given up, with why.

    Raises:
        SpecError: no results folder of a sweep.
    """
    manifest = read_manifest(folder)
    merged, identity, n = folder / MERGED, str(manifest.get("identity")), int(manifest.get("shards", 0))
    one = "results_sha256" in manifest and merged.exists()
    finished = one and digest(merged.read_bytes()) == manifest["results_sha256"]
    held = shards_of(folder, identity)
    whole = {i: p for i, p in held.mine.items() if p.stem.split("-")[2] == digest(p.read_bytes())[:NAMED]}
    n_whole = n if finished else len(whole)
    counts = reason_counts([merged] if finished else list(whole.values()))
    rows, answered = sum(counts.values()), counts.pop("", 0)
    return {
        "sweep": str(manifest.get("sweep")), "folder": str(folder), "finished": n_whole == n,
        "points": int(manifest.get("points", 0)), "rows": rows, "failed": rows - answered,
        "shards": n, "whole": n_whole, "missing": 0 if finished else n - len(held.mine),
        "damaged": len(held.mine) - len(whole) + (one and not finished), "foreign": len(held.foreign),
        "reasons": counts,
        "given_up": [] if finished else _given_up(folder, identity),
    }  # fmt: skip


def _given_up(folder: Path, identity: str) -> list[dict[str, Any]]:
    """Shards that runs gave up, in order, with the reason and the time; what cannot be read counts for nothing."""
    found = []
    for path in sorted((folder / FAILURES).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            says = json.loads(path.read_text(encoding="utf-8"))
            if says["identity"] == identity:
                found.append({k: says[k] for k in ("shard", "reason", "date")})
    return found
