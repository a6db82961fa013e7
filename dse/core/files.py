"""File access: atomic writes, bounded reading of users' files, and strict JSON output."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import math
import os
import re
import secrets
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import SpecError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path`, so that a crash never leaves half a file.

    SpecError where the disk is full or the folder cannot be written; `path` is untouched.
    """
    try:
        try:
            _write_beside(path, write)
        except FileNotFoundError:  # a run beside this one tidied up what it took for a crash's
            if not path.parent.is_dir():
                raise
            _write_beside(path, write)
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; raises as `write_whole`."""
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))


def _write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Fill a file of a random name beside `path`, then give it that name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)  # the new name is data of the folder
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


ANSWERS, RUNS = Path("results"), Path("runs")
"""Where answers go, and where they go instead beside answers that ship."""
SHIPPED_MARK = "SHIPPED.md"
"""File of a folder whose answers ship with the code."""


def answer_roots(said: str | Path = "") -> tuple[Path, ...]:
    """Folders of answers, that of new ones (`said`, or `runs/` in a checkout, whose `results/` is committed) first."""
    if said != "":
        return (Path(said),)
    return (RUNS, ANSWERS) if (ANSWERS / SHIPPED_MARK).is_file() else (ANSWERS,)


def results_folder(root: str | Path, name: str, what: str = "study.name") -> Path:
    """The folder `root/name` (empty `root`: see `answer_roots`), made if need be; SpecError where it cannot be."""
    if not SAFE_NAME.fullmatch(name):
        raise SpecError(f"{what} '{name}' cannot name a folder; use letters, digits, '.', '_' and '-'")
    return made_folder(answer_roots(root)[0] / name)


def made_folder(folder: Path) -> Path:
    """`folder`, made if need be; SpecError where it cannot be, or where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be made ({error.strerror}); choose another --results") from error
    check_place(folder)
    return folder


def check_place(folder: Path) -> None:
    """SpecError where `folder` cannot be made or written, told before an answer's minutes; nothing is made."""
    there = next(p for p in (folder, *folder.absolute().parents) if is_there(p))
    if not there.is_dir():
        raise SpecError(f"{folder}: cannot be made ({there} is no folder); choose another --results")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SpecError(f"{folder}: cannot be written; choose another --results")


def is_there(path: Path) -> bool:
    """Whether a file or folder is there; a name that none can have (too long, a zero in it) is not."""
    return os.path.exists(path)  # `Path.exists` raises for such names


MOST_FILE_B = 2**26
"""Largest file of a user's that is read as text: a study or a model takes a few kB, `/dev/zero` has no end."""
MOST_NESTED = 64
"""Deepest nesting of tables and lists."""
MOST_WHOLE = 2**63 - 1
"""Largest whole number, as TOML has it."""


def read_text(path: Path) -> str:
    """The text in a user's file; SpecError for one that is missing, not UTF-8, or larger than `MOST_FILE_B`."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_FILE_B + 1)  # a device has no size to ask for
        text = content.decode("utf-8-sig")  # editors of Windows begin a file with a byte-order mark
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:  # a name with a null character
        raise SpecError(f"'{ascii(str(path))[1:-1]}': cannot be read ({error})") from error
    if len(content) > MOST_FILE_B:
        raise SpecError(f"{path}: longer than {MOST_FILE_B // 2**20} MiB; give a text file of a few kB")
    return text.replace("\r\n", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a user's TOML file; SpecError in one line where there is none to be read."""
    return toml_tables(read_text(path), path)


def toml_tables(text: str, path: Path) -> dict[str, Any]:
    """The tables in the text of `path`; SpecError for what is no TOML, nests too deeply or holds too large a number."""
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise SpecError(f"{path}: {DEEP}") from None
    except ValueError as error:
        raise SpecError(f"{path}: not valid TOML: {_short(error)}") from error
    check_sizes(tables, str(path))
    return tables


DEEP = f"nested too deeply; at most {MOST_NESTED} tables or lists inside each other are read"


def check_sizes(value: Any, path: str) -> None:
    """SpecError for what `value` of a file nests too deeply, and for whole numbers that no machine word holds."""
    waiting = [(value, "", 0)]  # a list, since recursion would end where the nesting does not
    while waiting:
        here, key, depth = waiting.pop()
        if depth > MOST_NESTED:
            raise SpecError(f"{path}: {DEEP}")
        if isinstance(here, dict):
            waiting += [(v, f"{key}.{k}".lstrip("."), depth + 1) for k, v in here.items()]
        elif isinstance(here, list):
            waiting += [(v, key, depth + 1) for v in here]
        elif isinstance(here, int) and abs(here) > MOST_WHOLE:
            raise SpecError(f"{path}: {key} has a whole number above {MOST_WHOLE:.2g}; write it smaller or as 1e30")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


ANSWER_VERSION = 2
"""Version of every JSON answer of the command line; raised whenever a field changes its name, type or meaning."""


def picked(record: object, *names: str) -> dict[str, Any]:
    """Some fields of a record by name, for JSON: an array of one number is that number."""
    values = {name: getattr(record, name) for name in names}
    return {name: v.item() if hasattr(v, "item") else v for name, v in values.items()}


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: records by field, enumerations by name, NaN and infinity as null; else TypeError."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any) -> str:
    """An answer as strict, indented JSON with its `schema_version`; the items of a list under `rows`."""
    body = plain(value)
    answer = {"rows": body} if isinstance(body, list) else body
    return _dumped({"schema_version": ANSWER_VERSION, **answer})


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path`, whole or not at all; SpecError where that is not possible."""
    write_text(path, _dumped(plain(value)) + "\n")
