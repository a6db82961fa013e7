"""Provenance of an answer: commit, package versions and digests of all inputs."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
OUTSIDE = ("cli", "report")
"""Rooms that show answers and cannot change them."""
LIBRARIES = ("jax", "jaxlib", "equinox", "numpy", "scipy", "pyarrow")
"""Packages that numbers or files may depend on."""


def stamp() -> dict[str, Any]:
    """When an answer was computed, and by which code and data files: part of every manifest."""
    return {"date": now(), "git_commit": git_commit(), "presets_sha256": preset_hashes()}


def now() -> str:
    """The time, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def preset_hashes() -> dict[str, str]:
    """Digest of every data file of the package, by its place."""
    paths = sorted(p for p in PACKAGE.glob("*/data/*") if p.suffix in (".toml", ".json"))
    return {str(p.relative_to(PACKAGE)): digest(p.read_bytes()) for p in paths}


@cache
def code_hash() -> str:
    """Digest of all the code that can change an answer."""
    # sorted: the order of a folder is the file system's
    paths = sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in OUTSIDE)
    return digest("".join(f"{p.relative_to(PACKAGE)} {digest(p.read_bytes())}\n" for p in paths).encode())


def versions() -> dict[str, str]:
    """Versions of this package, Python and `LIBRARIES`."""
    own = importlib.import_module(__name__.partition(".")[0]).__version__  # its door imports every room: none back
    return {"dse": own, "python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def software() -> dict[str, str]:
    """Everything but the question that decides an answer: code, data files and versions, each in one short text."""
    presets = digest(repr(sorted(preset_hashes().items())).encode())
    return {"code": code_hash(), "presets": presets, **versions()}


def digest(content: Any) -> str:
    """SHA-256 of bytes, or of anything that lends them, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def git_commit() -> str | None:
    """Commit the package was run from, with "+changes" when files differ from it; None outside a checkout."""
    try:
        run = [_git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no", "--", str(PACKAGE))]
    except (OSError, subprocess.SubprocessError):
        return None
    # a file that nobody added is not seen here; the code's digest beside this one holds it
    return run[0] + ("+changes" if run[1] else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
