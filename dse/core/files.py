"""Files that are whole or absent: written beside their place, flushed to disk, then renamed; and strict JSON."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import SpecError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path`, so that a crash never leaves half a file there.

    The temporary name is random: two machines may write the same file of a shared folder at once.

    Raises:
        SpecError: the disk is full or the folder cannot be written; `path` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until `path`, a file or the entries of a folder, is on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def results_folder(root: str | Path, name: str, what: str = "study.name") -> Path:
    """The folder `root/name`, made if need be.

    Raises:
        SpecError: a name that is no plain folder name, or a folder that cannot be written.
    """
    if not SAFE_NAME.fullmatch(name):
        raise SpecError(f"{what} '{name}' cannot name a folder; use letters, digits, '.', '_' and '-'")
    folder = Path(root) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be made ({error.strerror}); choose another --results") from error
    return folder


def plain(value: Any) -> Any:
    """`value` with every number that JSON cannot hold (infinite, not a number) as null."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any) -> str:
    """`value` as strict, indented JSON."""
    return json.dumps(plain(value), indent=2, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path`, whole or not at all; SpecError where that is not possible."""
    write_whole(path, lambda place: place.write_text(json_text(value) + "\n", encoding="utf-8"))
