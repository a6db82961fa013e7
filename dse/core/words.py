"""Words of quantities for tables and figures, and names that users may type instead: `data/words.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

_FILE = tomllib.loads((Path(__file__).parent / "data" / "words.toml").read_text(encoding="utf-8"))
LABELS: dict[str, str] = _FILE["labels"]
"""Metric, free number or fact of a calibration to its words."""
MEANT: dict[str, list[str]] = _FILE["meant"] | _FILE["sold"]
"""What people ask for to the names that have it."""
SPELT: dict[str, str] = {w.lower().replace("-", ""): w for w in _FILE["spelt"]}
"""Part of a name to what people write for it, where that is not in small letters."""
