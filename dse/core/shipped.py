"""Look-up of shipped studies, sweeps, portfolios and forecasts by bare name; and the kind of a file.

Files in the working directory take precedence over shipped ones (`sweeps`, or `dse/data/sweeps` when installed).
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import SpecError, UnknownNameError

COMMANDS = {
    "study": "dse optimize", "sweep": "dse sweep", "portfolio": "dse portfolio", "forecast": "dse forecast",
    "chip": "dse evaluate",
}  # fmt: skip
"""Kinds of file, and the command that takes each first."""
SWEEPS = "sweeps"
"""Folder of the shipped files, in a checkout and as it is written in front of a name."""
QUESTIONS = "questions"
"""Folder of the shipped questions, inside."""


def shipped_folder() -> Path:
    """Where the shipped files lie."""
    package = Path(__file__).parents[1]
    installed = package / "data" / SWEEPS
    return installed if installed.is_dir() else package.parent / SWEEPS


def shipped(name: str | Path) -> Path:
    """The file that `name` means: a path, a name in `sweeps` here, or one that came along; else UnknownNameError."""
    path = Path(name)
    if not path.name or (path.parent.name != SWEEPS and path.parent != Path()):
        return path
    stem = path.name.removesuffix(".toml")
    # a file here before one that came along: who copied a study to change it means the copy
    for found in (path, path.with_name(f"{stem}.toml"), Path(SWEEPS) / f"{stem}.toml"):
        # not `Path.is_file`, which raises for a name that is too long
        if os.path.isfile(found):
            return found
    if path.parent in (Path(), Path(SWEEPS)):
        for inside in (shipped_folder() / f"{stem}.toml", shipped_folder() / QUESTIONS / f"{stem}.toml"):
            if os.path.isfile(inside):
                return inside
    if path.suffix or path.parent != Path() or _exists(path):
        return path  # reading it says what is wrong
    raise UnknownNameError(
        "file", str(name), [p.stem for kind in ("*", f"{QUESTIONS}/*") for p in shipped_folder().glob(f"{kind}.toml")]
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return True


def kind_of(tables: Mapping[str, Any]) -> str | None:
    """What the tables of a file are, one of `COMMANDS`; None where that cannot be told."""
    if "sweep" in tables:
        return "sweep"
    if "study" in tables and "choices" in tables:
        return "study"
    if "portfolio" in tables and "models" in tables:
        return "portfolio"
    if "forecast" in tables:
        return "forecast"
    only = next(iter(tables.values())) if len(tables) == 1 else None
    return "chip" if isinstance(only, dict) and ("base" in only or "n_cores" in only) else None


def check_kind(tables: Mapping[str, Any], wanted: str, path: Path) -> None:
    """SpecError where a file surely is something else than what is wanted; it says which command takes it."""
    kind = kind_of(tables)
    if kind is not None and kind != wanted:
        raise SpecError(f"{path}: this is a {kind}, not a {wanted}; `{COMMANDS[kind]} {path}` takes it")
