"""Rows of operator measurements as `Op` records: matrix products, attention, element-wise work."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ..core.provenance import load_receipts, number
from ..technology.node import PRECISION_BITS
from ..workload.op import Kind, Op, elementwise, fused_attention, linear, passes
from .data_types import WEIGHT_ONLY_B, DataType, data_type
from .reading import FACTS, row_number, row_switch, row_text

NARROWING_PASSES = 10.0
"""Vector instructions per element that a kernel narrows by itself (counted, 5 to 20): load, widen, scale, clamp at both
ends, convert, store, and three for its place and the loop. Fused into what made the input it costs less."""

SPLIT_LAUNCHES = 2.0
"""Kernels of attention to a cache where a host starts them: pieces, then a join [dao2023flashdecoding]."""


def gemm(m: float, n: float, k: float, dtype: DataType, count: float = 1.0, kind: Kind = Kind.LINEAR) -> Op:
    """`count` products, operands moved once, results in bf16; narrower weights are widened on the way."""
    op = linear("gemm", m, k, n, dtype.precision, count=count, kind=kind)
    # timed alone an input lies there narrow already; inside a step `linear` counts the 16 bit that it comes in
    moved_B = PRECISION_BITS[dtype.precision] / 8 * m * k + dtype.weight_B * k * n + 2 * m * n
    return dataclasses.replace(
        op, hbm_B=count * moved_B, stored_elements=count * k * n, stored_bits=dtype.stored_bits
    )  # fmt: skip


def narrowing(m: float, k: float, dtype: DataType) -> list[Op]:
    """The kernel that narrows a linear layer's input before the product, which waits for the scale.

    Source: [micikevicius2022fp8] section 3 for scaling before the cast.
    """
    if dtype.narrowing_launches is None:
        return []
    op = elementwise("narrowing", m * k, NARROWING_PASSES, 1.0 + PRECISION_BITS[dtype.precision] / 16)
    return [dataclasses.replace(op, n_launches=dtype.narrowing_launches)]


ALONE = ("fp8_block", "nvfp4", *WEIGHT_ONLY_B)
"""Data types whose products scale blocks of a contraction or widen weights on the way, so that one core adds it up."""


def splits_contraction(row: Any) -> bool:
    """Whether several cores may share one contraction of a row's product, as in libraries for plain data types.

    Source: [deepseek2025deepgemm]: block-scaled and grouped products are added up by one core.
    """
    name = row_text(row, "op").lower()
    return row_text(row, "dtype").lower() not in ALONE and "grouped" not in name and "deepgemm" not in name


def n_experts_touched(n_experts: float, per_token: float, n_tokens: float) -> float:
    """Experts that at least one of `n_tokens` chooses when each chooses `per_token` of `n_experts` at random.

        E (1 - (1 - k/E)^n)
    Source: the mean of a binomial count. Assumes: balanced routing, tokens independent, choices of a token differ.
    """
    return n_experts * (1.0 - (1.0 - per_token / n_experts) ** n_tokens)


def _numbers(text: str, *words: str) -> list[float]:
    """The number after each of `words` in `text`, 0 where it is missing."""
    found = [re.search(rf"\b{w}\s+(\d+)", text) for w in words]
    return [float(m.group(1)) if m else 0.0 for m in found]


def grouped_gemm(name: str, row: Any, dtype: DataType) -> Op | str:
    """The experts of one rank: those that were chosen read their weights, all tokens are multiplied."""
    shape, note = row_text(row, "shape").lower(), row_text(row, "note").lower()
    experts, local, top_k, hidden, ffn, tokens = _numbers(shape, "experts", "local", "topk", "h", "ffn", "tokens/gpu")
    if min(experts, local, top_k, hidden, ffn, tokens) <= 0:
        return "grouped product without experts, widths or tokens"
    n_gpus = re.search(r"(\d+) gpus ep", note)
    # each of the ranks sends its tokens to experts everywhere: the rank's share is of all tokens
    n_tokens = tokens * (float(n_gpus.group(1)) if n_gpus else experts / local)
    touched = n_experts_touched(experts, top_k, n_tokens) * local / experts
    each = n_tokens * top_k / experts * local / touched  # rows per expert that is read at all, not per expert
    k, n = (hidden, 2 * ffn) if "gate" in name else (ffn, hidden)
    return gemm(each, n, k, dtype, touched, Kind.EXPERTS)


def attention(name: str, row: Any, dtype: DataType) -> Op | str:
    """Attention of a token per sequence, or a chunk of a prompt, to a cache; heads of a group stream together."""
    heads_text = row_text(row, "heads")
    query, _, cached = heads_text.partition("/")
    cached = cached or f"{row_number(row, 'kv_heads', 0):g}".removeprefix("0")
    heads, kv = (float(t) if re.fullmatch(r"[\d.]+", t) else 0.0 for t in (query, cached or query))
    width, sequences, length = (row_number(row, c, 0) for c in ("head_dim", "batch", "seq_len"))
    if min(heads, kv, length, width, sequences) <= 0:
        return f"attention without heads ('{heads_text}', as 32 or 32/8), width, length or batch"
    softmax, kv_B = passes()["softmax_forward"], dtype.kv_B
    if phase(name) == "decode":
        # heads of a group are rows of one product: they meet the same keys, which are read once for all
        return fused_attention(kv, kv, width, heads / kv, length, sequences, 2, softmax, kv_B)
    # a chunk sees all cached tokens and, by causality, half of itself
    before = _numbers(row_text(row, "shape").lower(), "kv")[0]
    seen, context = before + length * _seen_frac(row), before + length
    return fused_attention(heads, kv, width, length, context, sequences, 2, softmax, kv_B, attended=seen)


def _seen_frac(row: Any) -> float:
    """Share of a prompt that one of its tokens sees: half under a causal mask."""
    return 0.5 if row_switch(row, "causal", usual=True) else 1.0


def attended_FLOP(row: Any) -> float:
    """FLOP that a rate of attention to a prompt counts; 0 where the row does not say whether a mask is counted.

        F = 4 b h s^2 d, half under a causal mask
    Source: [dao2023flashattention2] section 4.1, of a forward pass, for both.
    """
    parts = [row_number(row, c, 0) for c in ("batch", "seq_len", "head_dim")]
    heads = re.match(r"\s*(\d+)", row_text(row, "heads"))
    if not row_text(row, "causal") or not heads or phase(row_text(row, "op")) != "prefill":
        return 0.0
    sequences, length, width = parts
    return 4 * sequences * float(heads[1]) * length**2 * width * _seen_frac(row)


ATTENDS = r"attention|attn\b|flash|\bfa ?[234]\b|sdpa|fmha"
"""Words in the name of attention."""


def phase(said: str) -> str:
    """Whether an operator is attention of a "prefill" or a "decode"; empty for another or where it does not say."""
    name = re.sub("[-_]", " ", said.lower())
    if not re.search(ATTENDS, name):
        return ""
    return "decode" if "decode" in name else "prefill" if re.search(r"prefill|\bf(or)?wa?r?d\b", name) else ""


def array_frac(row: Any) -> float:
    """Time of a row's matrix work over that of a usual product: below 1 for the winner of a search over shapes."""
    searched = "best shape" in row_text(row, "op").lower() or "maximum over" in row_text(row, "note").lower()
    return number(load_receipts(FACTS)["operators"], "best_of_search") if searched else 1.0


SMALL = {"gelu": "activation_forward", "softmax": "softmax_forward", "copy": "residual"}
"""Words in the name of an element-wise operator, and the passes over its elements."""


def calibrates(row: Any) -> bool:
    """Whether fits may learn from a row: not where a data type is presumed, nor from element-wise work but copies.

    Published element-wise operators are timed on the host, whose share, up to 50 us, is not printed.
    """
    if copied_B(row):
        return True
    return "presumed" not in row_text(row, "dtype").lower() and not _is_small(row)


def _is_small(row: Any) -> bool:
    name = row_text(row, "op").lower()
    return any(word in name for word in SMALL) and not copied_B(row)


def is_host_timed(row: Any) -> bool:
    """Whether the host's start of a kernel is in its time, as a note says or as of element-wise work alone."""
    return _is_small(row) or re.search(HOST_TIMED, row_text(row, "note").lower()) is not None


HOST_TIMED = r"\bhost[- ]?(side )?(timing|timed|timer)"
"""How notes say that the host's clock was read."""


def small_op(name: str, row: Any) -> Op | str:
    """Element-wise work that reads and writes its elements once."""
    if re.search(ATTENDS, name):
        return f"operator '{name}' does not say whether it reads a prompt (prefill) or writes a token (decode)"
    kind = next((k for k in SMALL if k in name), None)
    elements = row_number(row, "elements", 0)
    if kind is None or elements <= 0:
        return f"operator '{name}' is not modelled"
    return elementwise(name, elements, passes()[SMALL[kind]], moved=2.0)


def row_ops(row: Any, hosted: bool) -> list[Op] | str:
    """The kernels of a row in turn, or why it is not modelled; `hosted` where a host starts every kernel."""
    name, published = row_text(row, "op").lower(), row_text(row, "dtype").lower()
    # first of all: the backward of a matrix product has the word for a matrix product in its name too
    if other := re.search(OTHERS, name):
        return f"operator '{name}' is not modelled: {other[0]}"
    if cores := row_text(row, "num_sms"):
        return f"ran on {cores} cores of its chip, by its column num_sms: operators are predicted on all"
    if row_number(row, "groups", 1.0) > 1 and not row_text(row, "rows_per_group"):
        return f"groups = {row_text(row, 'groups')}, but no column rows_per_group says how many rows each product has"
    if copied_B(row):
        return [Op("copy", Kind.ELEMENTWISE, (), "bf16", hbm_B=copied_B(row), vector_elements=0.0)]
    dtype = data_type(published)
    if dtype is None and not published:
        return "no dtype; give it a column, or --given dtype=bf16"
    if dtype is None:
        return f"data type '{published}' is not modelled"
    if re.search(r"gemm|matmul|\bb?mm\b|\blinear\b", name):
        return _products(name, row, dtype)
    if phase(name) and (other := re.search(UNFUSED, name)) and not re.search(FUSED, name):
        return f"operator '{name}' is not modelled: attention of {other[0]} is not fused"
    found = attention(name, row, dtype) if phase(name) else small_op(name, row)
    if isinstance(found, str):
        return found
    joined = hosted and phase(name) == "decode"
    return [dataclasses.replace(found, n_launches=SPLIT_LAUNCHES) if joined else found]


OTHERS = r"backward|bwd|grad\b|\bsparse|mla\b|all[-_ ]?(reduce|gather)|reduce[-_ ]?scatter"
"""Words in an operator's name that make it another one than its other words say."""


UNFUSED, FUSED = r"\b(py)?torch\b|eager|naive|standard|vanilla|unfused|\bmath\b", r"sdpa|flash|flex|cudnn"
"""Words for attention whose scores go through memory, and for kernels that a framework may call instead."""


def n_products(row: Any) -> float:
    """Products of a row that are of one shape and share nothing: its groups, or its batch where its name says so."""
    if row_text(row, "rows_per_group"):
        return max(row_number(row, "groups", 1.0), 1.0)
    said = re.search(r"\bb(atch(ed)?[-_ ]?)?(gemm|matmul|mm)\b", row_text(row, "op").lower())
    return max(row_number(row, "batch", 1.0), 1.0) if said else 1.0


def _products(name: str, row: Any, dtype: DataType) -> list[Op] | str:
    """A matrix product, after the kernel that narrows its input; the experts of a rank narrow theirs inside."""
    alike = bool(row_text(row, "rows_per_group"))
    if "grouped" in name and not alike:
        experts = grouped_gemm(name, row, dtype)
        return experts if isinstance(experts, str) else [experts]
    m, n, k = (row_number(row, c, 0) for c in ("M", "N", "K"))
    if min(m, n, k) <= 0:
        return "matrix product without M, N or K"
    count = n_products(row)
    alone = alike or row_text(row, "library") or re.search(LIBRARY, name)
    before = [] if alone else narrowing(count * m, k, dtype)
    return [*before, gemm(m, n, k, dtype, count, Kind.EXPERTS if alike else Kind.LINEAR)]


LIBRARY = r"(cu|hip|roc)blas|deep[-_ ]?gemm|cutlass"
"""Libraries whose own benchmarks time a product alone, on operands that are narrow already, as tables of several do."""


def copied_B(row: Any) -> float:
    """Bytes that a copy reads and writes, where its shape prints how many; 0 elsewhere."""
    found = re.match(r"(\d+) bytes", row_text(row, "shape").lower())
    return 2.0 * float(found.group(1)) if found and "copy" in row_text(row, "op").lower() else 0.0  # read, write
