"""A `Model` from a Hugging Face `config.json`, or one line that says why not.

Reads the keys of Llama, Mistral and Qwen (`hidden_size`, ...) and of GPT-2 (`n_embd`, ...). Where Hugging Face
documents a default (KV heads, head width, MLP width, tied embeddings) it applies; all else must be in the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import SpecError
from .transformer import Model

Config = dict[str, Any]

_KEYS = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "hidden": ("hidden_size", "n_embd"),
    "n_heads": ("num_attention_heads", "n_head"),
    "n_kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "ffn": ("intermediate_size", "n_inner"),
    "vocab": ("vocab_size",),
    "max_context": ("max_position_embeddings", "n_positions"),
}
"""Field of `Model` to the keys that may hold it."""

_GATED = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose MLP has three matrices (SwiGLU) and whose embeddings are untied by default."""
_PLAIN = ("gpt2",)
"""Model types whose MLP has two matrices and whose embeddings are tied by default."""

_NOT_YET = {
    "num_local_experts": "mixture of experts",
    "n_routed_experts": "mixture of experts",
    "num_experts": "mixture of experts",
    "kv_lora_rank": "multi-head latent attention",
}
"""Keys of models that a dense `Model` would misdescribe."""

_NORM_PASSES = {"rms_norm_eps": 4, "layer_norm_epsilon": 6, "layer_norm_eps": 6}
"""Element passes of the normalisation that each key implies."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> Config:
    """JSON object as a dict; the json module would silently keep the last of two equal keys."""
    keys = [k for k, _ in pairs]
    repeated = next((k for k in keys if keys.count(k) > 1), None)
    if repeated is not None:
        raise SpecError(f"key '{repeated}' appears twice; keep one")
    return dict(pairs)


def _read(path: Path) -> Config:
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


def _show(value: Any) -> str:
    """`value` as short text on one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _whole(raw: Config, place: str, field: str) -> int | None:
    """The positive integer of `field`, or None where the file has none of its keys."""
    key = next((k for k in _KEYS[field] if raw.get(k) is not None), None)
    if key is None:
        return None
    value = raw[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SpecError(f"{place}: {key} = {_show(value)}, expected a whole number, at least 1")
    return value


def _needed(raw: Config, place: str, field: str) -> int:
    """As `_whole`, but SpecError where it is missing."""
    value = _whole(raw, place, field)
    if value is None:
        raise SpecError(f"{place}: no {' or '.join(_KEYS[field])}; add it, a whole number, at least 1")
    return value


def _refuse_unsupported(raw: Config, place: str) -> None:
    """SpecError for a configuration that is no dense decoder with full attention."""
    for field in ("n_layers", "n_heads"):
        if not any(k in raw for k in _KEYS[field]):
            keys = " or ".join(_KEYS[field])
            raise SpecError(
                f"{place}: no {keys}, so this is no transformer configuration; give a dense decoder's config"
            )
    for key, what in _NOT_YET.items():
        if raw.get(key) not in (None, 0):
            raise SpecError(f"{place}: {key} = {_show(raw[key])}: {what} is not supported yet; use a dense model")
    window = raw.get("sliding_window")
    if window is not None and raw.get("use_sliding_window", True):
        raise SpecError(f"{place}: sliding_window = {_show(window)}: windowed attention is not supported yet; set null")


def _is_gated(raw: Config, place: str) -> bool:
    """Whether the MLP has a gate, from the model type, or from SiLU with RMSNorm for types we do not know."""
    kind, activation = raw.get("model_type"), raw.get("hidden_act", raw.get("activation_function"))
    if kind in _GATED or kind in _PLAIN:
        return kind in _GATED
    if activation in ("silu", "swish") and "rms_norm_eps" in raw:
        return True
    known = ", ".join(sorted(_GATED + _PLAIN))
    raise SpecError(
        f"{place}: model_type = {_show(kind)} with activation {_show(activation)} is not known; "
        f"allowed: {known}, or any decoder with hidden_act silu and rms_norm_eps"
    )


def _norm_passes(raw: Config, place: str) -> int:
    """Element passes of the normalisation, from which epsilon the file names."""
    key = next((k for k in _NORM_PASSES if k in raw), None)
    if key is None:
        raise SpecError(f"{place}: none of {', '.join(_NORM_PASSES)}; add the one of the model's normalisation")
    return _NORM_PASSES[key]


def _tied(raw: Config, place: str, default: bool) -> bool:
    """Whether embeddings are tied."""
    value = raw.get("tie_word_embeddings", default)
    if not isinstance(value, bool):
        raise SpecError(f"{place}: tie_word_embeddings = {_show(value)}, expected true or false")
    return value


def _heads(raw: Config, place: str, hidden: int) -> tuple[int, int, int]:
    """Query heads, KV heads and head width, checked against each other."""
    n_heads = _needed(raw, place, "n_heads")
    n_kv_heads = _whole(raw, place, "n_kv_heads") or n_heads
    if n_heads % n_kv_heads:
        raise SpecError(f"{place}: num_key_value_heads = {n_kv_heads} does not divide num_attention_heads = {n_heads}")
    head_dim = _whole(raw, place, "head_dim")
    if head_dim is None and hidden % n_heads:
        raise SpecError(f"{place}: {n_heads} heads do not divide the width {hidden}; add head_dim or use a divisor")
    return n_heads, n_kv_heads, head_dim or hidden // n_heads


def model_from_config(path: str | Path) -> Model:
    """The dense decoder transformer that a Hugging Face `config.json` describes.

    Assumes: pre-norm blocks, two norms each, no biases counted; learned positions are read past, not counted.

    Args:
        path: the file, or a folder that holds `config.json`.

    Returns:
        The model, named after the file, or after its folder where the file is called `config.json`.

    Raises:
        SpecError: unreadable or truncated file, not a dense decoder, or a value out of range; the message
            names file, key, value and what is allowed.
    """
    path = Path(path)
    path = path / "config.json" if path.is_dir() else path
    raw, place = _read(path), str(path)
    _refuse_unsupported(raw, place)
    gated = _is_gated(raw, place)
    hidden = _needed(raw, place, "hidden")
    n_heads, n_kv_heads, head_dim = _heads(raw, place, hidden)
    # GPT-2's documented default: n_inner null means four times the width.
    ffn = _needed(raw, place, "ffn") if gated else _whole(raw, place, "ffn") or 4 * hidden
    return Model(
        name=path.resolve().parent.name if path.name == "config.json" else path.stem,
        n_layers=_needed(raw, place, "n_layers"),
        hidden=hidden,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=_needed(raw, place, "vocab"),
        n_mlp_matrices=3 if gated else 2,
        tied_embeddings=_tied(raw, place, default=not gated),
        norm_passes=_norm_passes(raw, place),
        max_context=_needed(raw, place, "max_context"),
    )
