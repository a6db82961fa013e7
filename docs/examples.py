"""Run every example of the docstrings, and every `>>>` of the pages: `python docs/examples.py`, as `make docs` does."""

from __future__ import annotations

import doctest
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARK = "    >>> "


def modules() -> list[str]:
    """Names of the modules whose docstrings have examples."""
    files = sorted(p for p in (ROOT / "dse").rglob("*.py") if MARK in p.read_text(encoding="utf-8"))
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files]


def pages() -> list[Path]:
    """Pages that have examples of that form."""
    return [p for p in sorted((ROOT / "docs").rglob("*.md")) if "\n>>> " in p.read_text(encoding="utf-8")]


def failures() -> tuple[int, int]:
    """How many examples do not answer as written, and how many there are; each failure is printed."""
    done = [doctest.testmod(importlib.import_module(name)) for name in modules()]
    done += [doctest.testfile(str(path), module_relative=False) for path in pages()]
    return sum(r.failed for r in done), sum(r.attempted for r in done)


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    wrong, all_of_them = failures()
    print(f"{all_of_them} examples of docstrings and pages, {wrong} wrong")
    sys.exit(1 if wrong else 0)
