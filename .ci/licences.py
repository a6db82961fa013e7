"""Writes a table of the packages in a requirements file with their versions and licences, as they declare them.

python .ci/licences.py requirements.txt docs/licences.md
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

SHORT = 60
"""Longest text taken for the name of a licence: some packages put the whole licence there."""


def licence(name: str) -> str:
    """What a package calls its licence: the SPDX expression, the classifiers, or the short text."""
    try:
        says = metadata(name)
    except PackageNotFoundError:
        return "not installed here"
    classes = [c.rpartition(" :: ")[2] for c in says.get_all("Classifier") or () if c.startswith("License ::")]
    text = " ".join((says["License"] or "").split())
    return says["License-Expression"] or "; ".join(classes) or (text if len(text) <= SHORT else "see the package")


def main(requirements: str, out: str) -> None:
    """Write the table of `requirements` to `out`."""
    pins = re.findall(r"^([a-z0-9._-]+)==(\S+)", Path(requirements).read_text(encoding="utf-8"), re.MULTILINE)
    rows = "\n".join(f"| {name} | {version} | {licence(name)} |" for name, version in pins)
    head = f"# Licences of what we stand on\n\nWritten by `make licences` from {Path(requirements).name}.\n"
    Path(out).write_text(f"{head}\n| package | version | licence |\n|---|---|---|\n{rows}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
