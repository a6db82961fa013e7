"""A JSON configuration file as a dict, and its values by type: each error is one line with file, key and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import SpecError

Config = dict[str, Any]

KEYS = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "hidden": ("hidden_size", "n_embd", "n_embed"),
    "n_heads": ("num_attention_heads", "n_head"),
    "n_kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "ffn": ("intermediate_size", "n_inner"),
    "dense_ffn": ("intermediate_size_mlp",),
    "vocab": ("vocab_size",),
    "max_context": ("max_position_embeddings", "n_positions", "seq_length"),
    "n_experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "per_token": ("num_experts_per_tok", "experts_per_token"),
    "expert_ffn": ("moe_intermediate_size",),
    "shared_ffn": ("shared_expert_intermediate_size",),
    "n_shared": ("n_shared_experts",),
    "n_first_dense": ("first_k_dense_replace",),
    "moe_freq": ("moe_layer_freq",),
    "moe_step": ("decoder_sparse_step", "interleave_moe_layer_step"),
    "query_rank": ("q_lora_rank",),
    "kv_rank": ("kv_lora_rank",),
    "nope_dim": ("qk_nope_head_dim",),
    "rope_dim": ("qk_rope_head_dim",),
    "value_dim": ("v_head_dim",),
    "window": ("sliding_window",),
    "chunk": ("attention_chunk_size",),
    "n_full_first": ("max_window_layers",),
    "full_step": ("no_rope_layer_interval",),
}
"""What a value means to the keys that may hold it, the first one present winning."""
MOST = {"n_layers": 10_000}
"""Largest number of what is looked at one by one."""
MOST_WHOLE = 2**40
"""Largest of every other whole number: far above any model, far below what overflows when two are multiplied."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> Config:
    """JSON object as a dict; the json module would silently keep the last of two equal keys."""
    keys = [k for k, _ in pairs]
    repeated = next((k for k in keys if keys.count(k) > 1), None)
    if repeated is not None:
        raise SpecError(f"key '{repeated}' appears twice; keep one")
    return dict(pairs)


def read(path: Path) -> Config:
    """The JSON object in `path`, or SpecError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_repeats)
    except OSError as e:
        raise SpecError(f"{path}: cannot be read ({e.strerror}); give the path of a Hugging Face config.json") from None
    except json.JSONDecodeError as e:
        raise SpecError(f"{path}: not valid JSON at line {e.lineno}: {e.msg}; is the file truncated?") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not UTF-8 text; give the path of a Hugging Face config.json") from None
    except (SpecError, RecursionError, ValueError) as e:
        raise SpecError(f"{path}: {str(e) or 'nested too deeply'}") from None
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: holds a JSON {type(raw).__name__}, expected an object with keys such as hidden_size")
    return raw


def show(value: Any) -> str:
    """`value` as short text on one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def whole(raw: Config, place: str, field: str, least: int = 1) -> int | None:
    """The whole number of `field`, or None where the file has none of its keys."""
    key = next((k for k in KEYS[field] if raw.get(k) is not None), None)
    if key is None:
        return None
    value = raw[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SpecError(f"{place}: {key} = {show(value)}, expected a whole number, at least {least}")
    most = MOST.get(field, MOST_WHOLE)
    if value > most:
        raise SpecError(f"{place}: {key} = {show(value)}, expected at most {most:,}: no such model exists")
    return value


def needed(raw: Config, place: str, field: str) -> int:
    """As `whole`, but SpecError where it is missing."""
    value = whole(raw, place, field)
    if value is None:
        raise SpecError(f"{place}: no {' or '.join(KEYS[field])}; add it, a whole number, at least 1")
    return value


def flag(raw: Config, place: str, key: str, default: bool) -> bool:
    """True or false of `key`, `default` where it is missing."""
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise SpecError(f"{place}: {key} = {show(value)}, expected true or false")
    return value


def items(raw: Config, place: str, key: str) -> list[Any] | None:
    """The list of `key`, or None where it is missing."""
    value = raw.get(key)
    if value is not None and not isinstance(value, list):
        raise SpecError(f"{place}: {key} = {show(value)}, expected a list")
    return value
