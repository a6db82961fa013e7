"""Tables of a model: blocks, parameters by part, KV cache and state, storage format, ignored keys, parts left out."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from ..core.text import digits, in_unit
from ..workload.blocks import Run, block_text, feed_text
from ..workload.counts import ahead_parameters, parameters_by_part
from ..workload.huggingface import Reading
from ..workload.recurrences import state_elements
from ..workload.transformer import active_parameters, kv_B_per_token, state_B_per_sequence, total_parameters
from .layout import table_of


def count_text(n: float) -> str:
    """A number of parameters as people write it.

    >>> count_text(4.83e9), count_text(50200)
    ('4.83 B', '0.0502 M')
    """
    return f"{digits(n / 1e9)} B" if n >= 1e7 else f"{digits(n / 1e6)} M"


def reading_numbers(r: Reading) -> dict[str, Any]:
    """Everything that was read, canonical units."""
    m, attention = r.model, r.model.attention
    return {
        "name": m.name,
        "model_type": r.model_type,
        "parameters": total_parameters(m),
        "active_parameters": active_parameters(m),
        "parameters_by_part": parameters_by_part(m),
        "parameters_that_predict_ahead": ahead_parameters(m),
        "kv_bf16_B_per_token": kv_B_per_token(m, "bf16"),
        "kv_fp8_B_per_token": kv_B_per_token(m, "fp8"),
        "state_B_per_sequence": state_B_per_sequence(m),
        "blocks": [_block_numbers(run, m.hidden) for run in m.runs],
        "left_out": [{"part": p.name, "parameters": p.n_parameters, "why": p.why} for p in m.left_out],
        "ignored": dict(r.ignored),
        "left_to_the_type": dict(r.filled),
        "weights": m.weight_format,
        "quantised_by": r.method,
        "n_layers": m.n_layers,
        "hidden": m.hidden,
        "n_experts": m.experts.n_experts if m.experts else 0,
        "n_experts_per_token": m.experts.per_token if m.experts else 0,
        "n_heads": attention.n_heads if attention else 0,
        "n_kv_heads": attention.n_kv_heads if attention else 0,
        "ffn": max((f.ffn for f, _ in m.feeds), default=0),  # dense and expert layers differ in width
        "vocab": m.vocab,
        "max_context": m.max_context,
        "source": r.source,
    }


def _block_numbers(run: Run, hidden: int) -> dict[str, Any]:
    mixers = run.block.mixers
    return {
        "n": run.n,
        "mixers": [x.kind for x in mixers],
        "feed_forward": feed_text(run.block.feed),
        "parameters": run.block.n_weights(hidden),
        "kv_elements_per_token": sum(x.n_kv for x in mixers),
        "state_elements": sum(map(state_elements, mixers)),
    }


def models_table(readings: list[Reading]) -> RenderableType:
    """All committed models in one table."""
    sizes = ("parameters", "active", "experts", "layers", "hidden", "heads", "KV heads", "KV per token (BF16)")
    rows = []
    for r in readings:
        n = reading_numbers(r)
        state = in_unit(n["state_B_per_sequence"], "B") if n["state_B_per_sequence"] else ""
        experts = f"{n['n_experts_per_token']} of {n['n_experts']}" if n["n_experts"] else ""
        rows.append((
            n["name"], *(f"{digits(n[k] / 1e9)} B" for k in ("parameters", "active_parameters")), experts,
            *(f"{n[k]:,}" for k in ("n_layers", "hidden", "n_heads", "n_kv_heads")),
            in_unit(n["kv_bf16_B_per_token"], "B"), state, f"{n['max_context']:,}",
        ))  # fmt: skip
    return table_of(("model", *sizes, "state", "context"), rows)


def model_view(r: Reading) -> RenderableType:
    """What was read of one model: blocks, parts, and what a token and a sequence keep."""
    m, n = r.model, reading_numbers(r)
    rows = []
    for run, b in zip(m.runs, n["blocks"], strict=True):
        kv = f"{b['kv_elements_per_token']:,}" if b["kv_elements_per_token"] else ""
        rows.append((f"{run.n}", f"{digits(b['parameters'] / 1e6)} M", kv, block_text(run.block)))
    heads, title = ("blocks", "weights each", "KV numbers/token", "what it is"), f"{m.name} ({r.model_type})"
    blocks = table_of(heads, rows, title=title, left=(3,), wrapped=(3,))
    parts = ", ".join(f"{k} {count_text(v)}" for k, v in n["parameters_by_part"].items() if v)
    kept = n["state_B_per_sequence"]
    state = f", state {in_unit(kept, 'B')} per sequence" if kept else ""
    lines = [
        f"{digits(n['parameters'] / 1e9, 4)} B parameters ({parts})",
        f"{digits(n['active_parameters'] / 1e9, 4)} B of them active for a token",
        f"KV cache {in_unit(n['kv_bf16_B_per_token'], 'B')} per token in BF16{state}",
        f"weights as stored: {n['weights']}" + ("" if r.method == "none" else f" (by {r.method})"),
    ]
    lines += [f"source: {r.source}"] if r.source else []
    if n["parameters_that_predict_ahead"]:
        lines.append(f"counted apart: {digits(n['parameters_that_predict_ahead'] / 1e9)} B that predict further tokens")
    lines += _notes(r)
    return Group(blocks, *(Text.from_markup(escape(x)) for x in lines))


def _notes(r: Reading) -> list[str]:
    """What is left out, what the file leaves to its type, and what was passed over."""
    lines = []
    for p in r.model.left_out:
        size = f"{digits(p.n_parameters / 1e9)} B" if p.n_parameters else "of a size that the file does not say"
        lines.append(f"left out: {p.name}, {size}: {p.why}")
    if r.filled:
        said = ", ".join(f"{key} {n:,}" for key, n in r.filled)
        lines.append(f"not in the file, so as its type has them: {said}")
    by_why: dict[str, list[str]] = {}
    for key, why in r.ignored:
        by_why.setdefault(why, []).append(key)
    lines += [f"passed over ({why}): {', '.join(keys)}" for why, keys in by_why.items()]
    return lines
