"""How a checkpoint stores its weights, from `quantization_config`: which parts are narrow and which stay in 16 bit.

Source: the formats' own documentation, named in `data/storage.toml`; keys as in [wolf2020transformers] release 5.24.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..core.errors import SpecError
from .blocks import Experts
from .config_file import show
from .families.common import Body
from .storage import PARTS


@dataclasses.dataclass(frozen=True)
class Stored:
    """How weights are stored."""

    spec: str
    """Format of most weights and of parts, as `storage.format_of` reads it."""
    method: str
    """What made it, as the file says; "none" for plain 16-bit weights."""


WIDE = ("head", "embedding", "rest")
"""Parts that every method leaves in 16 bit unless it says otherwise."""
LINEARS = tuple(p for p in PARTS if p not in WIDE)
"""Parts made of linear layers in blocks."""
NAMES = {
    "attention": ("self_attn", "attn", "attention", "mixer", "linear_attn"),
    "mlp": ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "dense_mlp", "layers.0.mlp"),
    "shared": ("shared_expert", "shared_experts"),
}
"""Words in the name of a module that is left out, and the part that it stands for."""


def stored_as(raw: dict[str, Any] | None, place: str, body: Body) -> Stored:
    """The storage that `quantization_config` describes; 16 bit without one.

    Raises:
        SpecError: a method or a width that is not known.
    """
    if raw is None:
        return Stored("bf16", "none")
    method = str(raw.get("quant_method") or raw.get("quant_algo") or "")
    narrow = _format(raw, method, place)
    parts = {p: "bf16" for p in WIDE} | {p: narrow for p in LINEARS} | _kept(raw, method)
    if method == "mxfp4":
        parts |= {"attention": "bf16", "mlp": "bf16", "shared": "bf16"}
    has = {"experts": any(isinstance(b.feed, Experts) for b in body.blocks)}
    others = [f"{p}={x}" for p, x in parts.items() if x != narrow and has.get(p, True)]
    return Stored(",".join([narrow, *others]), method)


def _format(raw: dict[str, Any], method: str, place: str) -> str:
    """The format of the narrow weights."""

    def unknown(key: str, allowed: str) -> SpecError:
        return SpecError(f"{place}: quantization_config.{key} = {show(raw.get(key))} is not known; allowed: {allowed}")

    if method == "fp8":
        return "fp8"
    if method == "mxfp4":
        return "mxfp4"
    if method in ("gptq", "awq", "auto-round", "autoround"):
        return _integer(raw.get("bits", raw.get("w_bit", 4)), place)
    if method == "bitsandbytes":
        return "int4" if raw.get("load_in_4bit") else "int8"
    if method == "modelopt" or str(raw.get("quant_algo", "")).upper() in ("FP8", "NVFP4"):
        algorithm = str(raw.get("quant_algo", "")).upper()
        if algorithm in ("FP8", "NVFP4"):
            return algorithm.lower()
        raise unknown("quant_algo", "FP8, NVFP4")
    if method == "compressed-tensors":
        return _compressed(raw, place)
    raise unknown("quant_method", "fp8, mxfp4, gptq, awq, auto-round, bitsandbytes, modelopt, compressed-tensors")


def _integer(bits: Any, place: str) -> str:
    if bits not in (4, 8):
        raise SpecError(f"{place}: quantization_config.bits = {show(bits)} is not known; allowed: 4, 8")
    return f"int{bits}"


def _compressed(raw: dict[str, Any], place: str) -> str:
    """The format of the first group of compressed-tensors: its bits and type."""
    groups = raw.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise SpecError(f"{place}: quantization_config has no config_groups with weights; add them")
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    if kind == "float" and bits == 8:
        return "fp8"
    if kind == "float" and bits == 4:
        return "nvfp4" if weights.get("group_size", 16) == 16 else "mxfp4"
    return _integer(bits, place)


def _kept(raw: dict[str, Any], method: str) -> dict[str, str]:
    """Parts whose modules the file lists as left in 16 bit."""
    listed = [str(x).lower() for key in ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers")
              for x in raw.get(key) or []]  # fmt: skip
    kept = {}
    for part, words in NAMES.items():
        if any(word in name for name in listed for word in words):
            kept[part] = "bf16"
    return kept
