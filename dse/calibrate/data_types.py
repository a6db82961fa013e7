"""Data types as tables of operators call them, and the widths of operands behind them."""

from __future__ import annotations

import dataclasses
import re

from ..technology.node import PRECISION_BITS

WIDTHS = {
    "bfloat16": "bf16", "fp16": "bf16", "bf16": "bf16", "float16": "bf16", "half": "bf16", "fp8": "fp8",
    "fp8_block": "fp8", "fp8_e4m3": "fp8", "e4m3": "fp8", "mxfp8": "fp8", "sq": "int8",
    "float8_e4m3fn": "fp8", "float8_e4m3": "fp8", "float8": "fp8", "e5m2": "fp8", "fp8_e5m2": "fp8",
    "float8_e5m2": "fp8", "int8": "int8", "w8a8": "int8", "nvfp4": "fp4", "mxfp4": "fp4", "fp4": "fp4", "float": "fp32",
    "fp8_rowwise": "fp8", "i8": "int8", "s8": "int8", "f16": "bf16", "f8": "fp8", "f32": "fp32", "e4m3fn": "fp8",
}  # fmt: skip
"""Published data type to precision of the products; SmoothQuant multiplies 8-bit integers."""

NARROWED = {"fp8": 1.0, "nvfp4": 1.0, "fp8_block": 0.0}
"""Data types of linear layers whose input a kernel of its own narrows, and gaps before it [nvidia2022hopper]."""

WEIGHT_ONLY_B = {"int8_wo": 1.0, "int4_wo": 0.5, "w8a16": 1.0, "w4a16": 0.5}
"""Data types whose products run in 16 bit on narrower stored weights, and bytes per weight."""


@dataclasses.dataclass(frozen=True)
class DataType:
    """Widths of an operator's operands."""

    precision: str
    """Precision of the products."""
    weight_B: float
    kv_B: float
    """Bytes per cached key or value."""
    stored_bits: float
    narrowing_launches: float | None = None
    """Gaps before the kernel that first narrows a linear layer's input; None where there is none."""


def data_type(published: str) -> DataType | None:
    """Widths behind a published data type such as "bf16, KV fp8" or "FP8 (presumed)"; None if it is not known."""
    products, _, cache = published.lower().removeprefix("torch.").partition("(")[0].strip().partition(", kv ")
    products = re.sub("[- ]+", "_", products).removesuffix("_r")  # libraries of BLAS call real numbers so
    precision = "bf16" if products in WEIGHT_ONLY_B else WIDTHS.get(products)
    # a cache as wide as the products unless it is said; of weights narrowed alone it stays 16 bit
    kv = WIDTHS.get(cache.strip() or products, "bf16")
    if precision is None or (cache and cache.strip() not in WIDTHS):
        return None
    weight_B = WEIGHT_ONLY_B.get(products, PRECISION_BITS[precision] / 8)
    narrowing = NARROWED.get(published.strip().lower())
    return DataType(precision, weight_B, PRECISION_BITS[kv] / 8, 8 * weight_B, narrowing)
