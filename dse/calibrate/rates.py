"""Times from published rates: bandwidths of collectives and copies, FLOP/s of products, elements per second."""

from __future__ import annotations

from typing import Any

from .operators import copied_B, n_products
from .reading import row_number, row_text

SIZED = ("busbw", "algbw", "bandwidth_per_chip", "bandwidth_per_core", "bandwidth", "throughput")
"""Metrics that are a size over a time."""

RATES = {
    "TB/s": 1e12, "GB/s": 1e9, "GiB/s": 2.0**30, "MB/s": 1e6, "TFLOP/s": 1e12, "TFLOPS": 1e12, "PFLOP/s": 1e15,
    "Gelem/s": 1e9, "GFLOP/s": 1e9, "Gb/s": 1e9 / 8, "Gbps": 1e9 / 8, "GBps": 1e9,
}  # fmt: skip
"""Size per second of a published unit."""

WIRE = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    **dict.fromkeys(("all_gather", "reduce_scatter", "all_to_all"), lambda n: (n - 1) / n),
    "send_recv": lambda n: 1.0,
}
"""Bus bandwidth over algorithm bandwidth of n ranks, as nccl-tests defines it."""


def _size(row: Any) -> float:
    """What a row's rate counts: bytes of its message or copy, FLOP of its product, elements; 0 where unknown."""
    unit, metric = row_text(row, "unit"), row_text(row, "metric")
    if "elem" in unit:
        return row_number(row, "elements", 0)
    if "FLOP" in unit:
        m, n, k = (row_number(row, c, 0) for c in ("M", "N", "K"))
        return 2 * m * n * k * n_products(row)
    wire = WIRE.get(row_text(row, "collective").lower())
    if wire is None:
        return copied_B(row)
    if metric not in ("busbw", "algbw"):
        return 0.0  # which of the two a plain bandwidth means is not said
    ranks = max(row_number(row, "num_ranks", 0), 1.0)
    return row_number(row, "message_bytes", 0) * (wire(ranks) if metric == "busbw" else 1.0)


def rated_s(row: Any) -> float | None:
    """Seconds behind a row's rate; None where the rate or the size of what it counts is not known."""
    per_s = RATES.get(row_text(row, "unit"), 0.0) * row_number(row, "value", 0)
    size = _size(row) if row_text(row, "metric") in SIZED else 0.0
    return size / per_s if size > 0 and per_s > 0 else None
