"""Cache between runs, in the user's cache folder: entries are keyed by content and by the source of their modules.

An entry that is damaged, or cannot be read or written, is made again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import xxhash

from .errors import SpecError
from .files import write_whole

T = TypeVar("T")
ROOMS = (
    "core", "technology", "hardware", "workload", "lowering", "physics", "evaluation", "economy", "serving", "study",
    "optimize", "calibrate", "explore", "sweep",
)  # fmt: skip
"""Rooms whose text decides an answer, in an order in which each knows none behind it."""
KEPT_VERSIONS = 6
"""Versions of those rooms of which anything stays."""
UNSAID = " at 0x"
"""Mark of a thing that a text names without saying what it is."""
DIGEST_B = 16
"""Length of the checksum at the head of every file."""


class _Place:
    """Where things are kept; nowhere until a command says so."""

    folder: Path | None = None


def keep_in(folder: Path | None) -> None:
    """Keep things in `folder` from now on, in this process; None: nowhere."""
    _Place.folder = folder


def is_kept() -> bool:
    """Whether anything is kept."""
    return _Place.folder is not None


@cache
def version_of(room: str) -> str:
    """Fingerprint of the code and the data of a room and of all it may know."""
    package, text = Path(__file__).parents[1], xxhash.xxh3_128()
    # only rooms that it may know: a change of a report keeps what physics made
    for name in ROOMS[: ROOMS.index(room) + 1]:
        for path in sorted((package / name).rglob("*")):
            if path.suffix in (".py", ".toml", ".json", ".csv"):
                text.update(f"{path.relative_to(package)}\n".encode())
                text.update(path.read_bytes())
    return text.hexdigest()


def kept(room: str, what: str) -> bytes | None:
    """What `keep` was given for the same version of a room and the same text; None where nothing sound is there."""
    if _Place.folder is None or UNSAID in what:
        return None
    try:
        data = _path(_Place.folder, room, what).read_bytes()
    except OSError:
        return None
    head, body = data[:DIGEST_B], data[DIGEST_B:]  # what was cut off or flipped is made again, never loaded
    return body if head == xxhash.xxh3_128_digest(body) else None


def keep(room: str, what: str, body: bytes) -> None:
    """Keep `body` under a text that says all that it depends on, and the version of `room`; a full disk is no error."""
    if _Place.folder is None or UNSAID in what:
        return
    path = _path(_Place.folder, room, what)
    with contextlib.suppress(OSError, SpecError):
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _forget_old(_Place.folder)
        write_whole(path, lambda p: p.write_bytes(xxhash.xxh3_128_digest(body) + body))


def kept_record(room: str, what: str, make: Callable[[], T]) -> T:
    """What `make` returns, a record of numbers: made once for a text that says all that it depends on."""
    if (body := kept(room, what)) is not None:
        # written by `keep` under a digest of this code, with a checksum of its own
        return pickle.loads(body)
    made = make()
    keep(room, what, pickle.dumps(made, pickle.HIGHEST_PROTOCOL))
    return made


def _path(folder: Path, room: str, what: str) -> Path:
    return folder / version_of(room) / xxhash.xxh3_128_hexdigest(what.encode())


def _forget_old(folder: Path) -> None:
    """Remove the versions written to longest ago; who still reads one makes its things again."""
    # a folder's time is that of its newest file: reading leaves it as it is
    found = sorted((os.stat(p).st_mtime, p) for p in folder.iterdir())
    for _, old in found[:-KEPT_VERSIONS]:
        shutil.rmtree(old, ignore_errors=True)
