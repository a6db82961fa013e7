"""Storage of results: one Parquet file per shard, written atomically, named by digests of specification and code.

So an existing file is a valid result. A finished small sweep is merged into one file; `folder` reads them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import SpecError
from ..core.files import results_folder, write_json, write_whole
from ..core.origin import code_hash, digest, now, software, stamp, versions
from .folder import (
    FAILURES,
    MANIFEST,
    MERGED,
    SHARDS,
    fingerprint,
    footer_fingerprint,
    held_shard,
    read_manifest,
    shard_name,
    shards_of,
)
from .keys import ALWAYS, PLAN, SCHEMA_VERSION, meaning, type_of
from .points import Points, Sweep, column_of
from .seal import sealed
from .studies import solved_columns

MERGED_ROWS = 100_000
"""Rows up to which the shards of a finished sweep become one file: many small files are slow and hard to share."""
FACTS = ("identity", "rows", "failed")
"""What the footer of every file says."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is in a shard."""

    rows: int
    failed: int

    def __add__(self, other: Facts) -> Facts:
        return Facts(self.rows + other.rows, self.failed + other.failed)


@dataclasses.dataclass(frozen=True)
class Failure:
    """A shard that was given up."""

    shard: int
    reason: str
    """What happened the last time it was tried, in one line."""


def _types(sweep: Sweep) -> dict[str, type]:
    asked = {column_of(key): type_of(key) for key in sweep.set_keys}
    answers = solved_columns(sweep) if sweep.of_studies else {PLAN: str, **dict.fromkeys(sweep.record, float)}
    return {"point": int, **asked, **answers, "ok": bool, "reason": str}


ARROW = {str: pa.string(), float: pa.float64(), bool: pa.bool_(), int: pa.int64()}


@dataclasses.dataclass(frozen=True)
class Store:
    """The folder of one sweep."""

    sweep: Sweep
    folder: Path

    @cached_property
    def identity(self) -> str:
        """Digest of everything that decides the answers: question, users' files, code, presets and versions."""
        s = self.sweep
        # shards of another size are other files: their size is part of it
        question = (s.of_studies, s.base, s.axes, s.rules, s.record, s.seed, s.shard_points, s.files)
        return digest(repr((SCHEMA_VERSION, question, sorted(software().items()))).encode())

    @cached_property
    def schema(self) -> pa.Schema:
        """Column names and types."""
        return pa.schema([(name, ARROW[kind]) for name, kind in _types(self.sweep).items()])

    def path(self, index: int) -> Path | None:
        """File of shard `index`, whole or not; None where there is none."""
        return self.present().get(index)

    def present(self) -> dict[int, Path]:
        """Files of all shards that are there, whole or not."""
        return shards_of(self.folder, self.identity).mine

    @property
    def merged(self) -> Path:
        """File of a finished small sweep."""
        return self.folder / MERGED

    def write(self, index: int, points: Points, answers: dict[str, Any]) -> Facts:
        """Write a shard, whole or not at all, and say what is in it."""
        columns = {"point": points.index, **_settings(self.sweep, points), **answers}
        # what has no number has no answer: null for SQL, where NaN would sort as the largest
        arrays = [pa.array(columns[f.name], type=f.type, from_pandas=True) for f in self.schema]
        facts = Facts(points.index.size, int(points.index.size - np.sum(answers["ok"])))
        content = content_of(self.identity, pa.table(arrays, schema=self.schema), facts)
        path = self.folder / SHARDS / shard_name(self.identity, index, content)
        write_whole(path, lambda p: p.write_bytes(content))
        return facts

    def note(self, failure: Failure) -> None:
        """Keep why a shard was given up, for `dse sweep --status`; SpecError where that is not possible."""
        (self.folder / FAILURES).mkdir(exist_ok=True)
        says = {**dataclasses.asdict(failure), "identity": self.identity, "date": now()}
        write_json(_noted(self.folder, failure.shard), says)

    def forget(self, index: int) -> None:
        """Shard `index` is done after all."""
        _noted(self.folder, index).unlink(missing_ok=True)

    def check(self, path: Path | None) -> Facts | None:
        """What is in a shard of this sweep; None where it is absent or its bytes are not those that were written."""
        if path is None or not path.exists():
            return None
        content = path.read_bytes()
        return _facts(self.identity, content) if held_shard(path).bytes_ == fingerprint(content) else None

    def check_merged(self) -> Facts | None:
        """What is in the one file of a finished small sweep; None where it is absent or not what was written."""
        says = read_manifest(self.folder).get("results_sha256")
        if says is None or not self.merged.exists():
            return None
        content = self.merged.read_bytes()
        return _facts(self.identity, content) if digest(content) == says else None


def merge(store: Store) -> None:
    """Turn the shards of a finished small sweep into one file, which counts once the manifest is written."""
    small = store.sweep.size <= MERGED_ROWS
    shards = [p for _, p in sorted(store.present().items())]
    if small and len(shards) == store.sweep.n_shards:
        try:
            tables = [pq.read_table(p, page_checksum_verification=True) for p in shards]
        except FileNotFoundError:
            return  # another slice of the same sweep is quicker
        except (OSError, pa.ArrowException) as error:
            raise SpecError(f"{store.folder / SHARDS}: damaged ({' '.join(str(error).split())})") from error
        whole = pa.concat_tables(tables)
        failed = sum(int(t.schema.metadata[b"failed"]) for t in tables)
        content = content_of(store.identity, whole, Facts(whole.num_rows, failed))
        # file, manifest, and only then the shards away: a crash at any place leaves one whole copy
        write_whole(store.merged, lambda p: p.write_bytes(content))
        says = {"results_sha256": digest(content), "results_xxh3": fingerprint(content)}
        says["results_footer_xxh3"] = footer_fingerprint(content)
        write_json(store.folder / MANIFEST, {**read_manifest(store.folder), **says})
    clear(store.folder, shards if small else [])


def content_of(identity: str, table: pa.Table, facts: Facts) -> bytes:
    """`table` as the bytes of a Parquet file, with whose it is and `facts` in its footer."""
    footer = dict(zip(FACTS, (identity, str(facts.rows), str(facts.failed)), strict=True))
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(footer), sink, compression="zstd", write_page_checksum=True)
    return sealed(sink.getvalue())


def _facts(identity: str, content: bytes) -> Facts | None:
    says = pq.read_schema(pa.BufferReader(content)).metadata
    return Facts(int(says[b"rows"]), int(says[b"failed"])) if says[b"identity"].decode() == identity else None


def _noted(folder: Path, index: int) -> Path:
    return folder / FAILURES / f"{index:06d}.json"


def clear(folder: Path, paths: Iterable[Path]) -> None:
    """Remove `paths` and the temporary files that crashes left; SpecError where that is not possible."""
    try:
        for path in (*folder.glob(f"{SHARDS}/.*.tmp"), *folder.glob(".*.tmp"), *paths):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(f"{error.filename}: cannot be removed ({error.strerror})") from error


def _settings(sweep: Sweep, points: Points) -> dict[str, Any]:
    """What base, axes and rules set, by column."""
    out: dict[str, Any] = {}
    for key in sweep.set_keys:
        if key in points.numbers:
            out[column_of(key)] = points.numbers[key]
        else:
            words = np.asarray([*sweep.choices[key], None], dtype=object)
            out[column_of(key)] = words[points.codes[key]]  # `UNSET`, -1, is the last
    return out


def open_store(sweep: Sweep, root: str | Path, go_on: bool = False, fresh: bool = False) -> Store:
    """The store of a sweep below `root`, with its manifest; SpecError for other answers, or no folder."""
    store = Store(sweep, results_folder(root, sweep.name, "sweep.name"))
    manifest = store.folder / MANIFEST
    if fresh:
        old = (*store.folder.glob(f"{SHARDS}/*.parquet"), *store.folder.glob(f"{FAILURES}/*.json"))
        clear(store.folder, [*old, store.merged, manifest])
    held = read_manifest(store.folder) if manifest.exists() else None
    if held is not None and held.get("identity") != store.identity:
        raise SpecError(
            f"{store.folder} holds answers to another specification, or by other code, presets or versions "
            f"({held.get('git_commit')}, {held.get('date')}); choose another --results, or --fresh to replace them"
        )
    if held is not None and not go_on:
        raise SpecError(f"{store.folder} holds this sweep already; add --resume to complete it, or --fresh")
    # one that is there stays: it holds the digests of a merged file
    if held is None:
        write_json(manifest, _manifest(store))
    try:
        (store.folder / SHARDS).mkdir(exist_ok=True)
    except OSError as error:
        raise SpecError(f"{store.folder / SHARDS}: cannot be made ({error.strerror})") from error
    return store


def _manifest(store: Store) -> dict[str, Any]:
    sweep = store.sweep
    meanings = {f.name: ALWAYS.get(f.name) or meaning(f.name, sweep.of_studies) for f in store.schema}
    return {
        "sweep": sweep.name,
        "schema_version": SCHEMA_VERSION,
        "identity": store.identity,
        "specification": sweep.text,
        "seed": sweep.seed,
        "points": sweep.size,
        "shards": sweep.n_shards,
        "shard_points": sweep.shard_points,
        "columns": {f.name: f"{f.type}: {meanings[f.name]}" for f in store.schema},
        **stamp(),
        "versions": versions(),
        "code_sha256": code_hash(),
        "files_sha256": dict(sweep.files),
    }
