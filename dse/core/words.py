"""Words of quantities for tables and figures, and names that users may type instead: `data/words.toml`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_FILE = tomllib.loads((Path(__file__).parent / "data" / "words.toml").read_text(encoding="utf-8"))
LABELS: dict[str, str] = _FILE["labels"]
"""Metric, free number or fact of a calibration to its words."""
MACHINES: dict[str, tuple[str, int]] = {name: (m["chip"], m["n"]) for name, m in _FILE["machines"].items()}
"""Machine of a cloud, as `plain_name` writes it, to its chip and how many it has."""
_CHIP_AND_SYSTEM = {name: [x for x in (m["chip"], m.get("system")) if x] for name, m in _FILE["machines"].items()}
MEANT: dict[str, list[str]] = _FILE["meant"] | _FILE["sold"] | _CHIP_AND_SYSTEM
"""What people ask for, as `plain_name` writes it, to the names that have it."""
SPELT: dict[str, str] = {w.lower().replace("-", ""): w for w in _FILE["spelt"]}
"""Part of a name to what people write for it, where that is not in small letters."""


def plain_name(said: str) -> str:
    """A name in small letters without separators, as the keys of `MEANT` are."""
    return re.sub("[ _-]", "", said.lower())
