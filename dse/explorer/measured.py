"""Receipts of measurements: who published them, where, and how many of which chip."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..calibrate.measurements import read
from ..calibrate.published import preset_for


@cache
def receipts_of_measurements(kind: str) -> dict[str, Any]:
    """Shipped measurements of a kind as receipts, a row for each source and chip; UnknownNameError for another kind."""
    rows = read(kind)
    each = rows.groupby(["source", "chip", "source_url", "year"], sort=True).size()
    found = [_row(str(s), str(c), str(url), int(year), int(n)) for (s, c, url, year), n in each.items()]  # type: ignore[misc]
    return {"rows": found, "works": {}}


def _row(source: str, published: str, url: str, year: int, n: int) -> dict[str, str]:
    preset = preset_for(published)
    return {
        "thing": published, "name": f"{n:,} published {'value' if n == 1 else 'values'}", "value": str(year),
        "kind": "measured", "range": "", "source": source, "where": url, "note": "",
        "chip": preset[0] if preset else published,
    }  # fmt: skip
