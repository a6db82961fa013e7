"""Results folders: the answer, the figures, and a manifest that says how to get them again."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax

from .. import __version__
from ..core.errors import SpecError
from ..objective.design import Choice
from ..objective.study import Study
from ..optimize.solution import Solution, as_json
from .receipts import guesses, source_keys, study_basis

PACKAGE = Path(__file__).parents[1]
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def results_folder(root: str | Path, name: str) -> Path:
    """The folder `root/name`, made if need be.

    Raises:
        SpecError: a study name that is no plain folder name, or a folder that cannot be written.
    """
    if not SAFE_NAME.fullmatch(name):
        raise SpecError(f"study.name '{name}' cannot name a folder; use letters, digits, '.', '_' and '-'")
    folder = Path(root) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be made ({error.strerror}); choose another --results") from error
    return folder


def write_results(folder: Path, study_text: str, solution: Solution) -> None:
    """Write `solution.json` and `manifest.json` into `folder`."""
    write_json(folder / "solution.json", as_json(solution))
    write_json(folder / "manifest.json", manifest(study_text, solution))


def manifest(study_text: str, solution: Solution) -> dict[str, Any]:
    """Where an answer came from: study, code, versions, and the facts it rests on."""
    return study_manifest(study_text, solution.study, solution.choice)


def study_manifest(
    study_text: str, study: Study, choice: Choice | None = None, seed: int | None = None
) -> dict[str, Any]:
    """The same for any answer to a study; of all its choices when none was made."""
    basis = study_basis(study, choice)
    return {
        "study": study.name,
        "study_sha256": digest(study_text.encode()),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dse": __version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "float_bits": 64 if jax.config.jax_enable_x64 else 32,  # pyright: ignore[reportAttributeAccessIssue]
        "device": jax.devices()[0].device_kind,
        "seed": seed,
        "sources": source_keys(basis),
        "guesses": [f"{b.thing}: {b.fact.name}" for b in guesses(basis)],
        "presets_sha256": preset_hashes(),
    }


def preset_hashes() -> dict[str, str]:
    """Digest of every data file of the package, by its place."""
    paths = sorted(p for p in PACKAGE.glob("*/data/*") if p.suffix in (".toml", ".json"))
    return {str(p.relative_to(PACKAGE)): digest(p.read_bytes()) for p in paths}


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def git_commit() -> str | None:
    """Commit the package was run from, with "+changes" when files differ from it; None outside a checkout."""
    try:
        run = [_git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no", "--", str(PACKAGE))]
    except (OSError, subprocess.SubprocessError):
        return None
    return run[0] + ("+changes" if run[1] else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


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
    """Write `value` to `path`; SpecError where that is not possible."""
    try:
        path.write_text(json_text(value) + "\n", encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror})") from error
