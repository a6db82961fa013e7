"""How a checkpoint stores its weights, from `quantization_config`: which parts are narrow and which stay in 16 bit.

Source: the formats' own documentation, named in `data/storage.toml`; keys as in [wolf2020transformers] release 5.24.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..core.errors import SpecError
from .blocks import Block, Experts, Mlp
from .config_file import show
from .families.common import Body
from .modules import LISTS, by_layer, covers, is_name
from .quantisers import by_word, integer, method_of, narrow_format, wide_as_narrow
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
NARROW_EXPERTS = {"fp4": "mxfp4", "fp8": "fp8"}
"""Formats of `expert_dtype`: FP4 with a power of two for 32 elements."""


def stored_as(raw: dict[str, Any] | None, place: str, body: Body, expert_dtype: str = "") -> Stored:
    """The storage that `quantization_config` describes, 16 bit without one; SpecError for an unknown one."""
    if raw is None:
        return Stored("bf16", "none")
    method = method_of(raw)
    if method == "compressed-tensors":
        made = _groups(raw, place, body)
        narrow = made["experts"] if _parts_of(body)["experts"] else made["mlp"]
    else:
        narrow = narrow_format(raw, method, place)
        made = {p: narrow for p in LINEARS} | _experts_apart(raw, place, expert_dtype) | _by_pattern(raw, place, body)
    made |= dict.fromkeys(wide_as_narrow(raw, method), narrow)
    parts = {p: "bf16" for p in WIDE} | made | _kept(raw, place, body)
    if method == "mxfp4":
        parts |= {"attention": "bf16", "mlp": "bf16", "shared": "bf16"}
    has = _parts_of(body)
    others = [f"{p}={x}" for p, x in parts.items() if x != narrow and (p not in LINEARS or has[p])]
    return Stored(",".join([narrow, *others]), method)


def _experts_apart(raw: dict[str, Any], place: str, beside: str) -> dict[str, str]:
    """The format of experts where the file names one for them."""
    said = str(raw.get("expert_dtype") or beside or raw.get("moe_quant_algo") or "").lower()
    if not said:
        return {}
    known = NARROW_EXPERTS | {"nvfp4": "nvfp4"}
    if said not in known:
        raise SpecError(f"{place}: expert_dtype = {show(said)} is not known; allowed: {', '.join(known)}")
    return {"experts": known[said]}


def _parts_of(body: Body) -> dict[str, list[int]]:
    """Layers that have each part made of linear layers."""

    def has(part: str, b: Block) -> bool:
        if part == "attention":
            return bool(b.mixers)
        if part == "mlp":
            return isinstance(b.feed, Mlp) or (isinstance(b.feed, Experts) and b.feed.parallel_ffn > 0)
        return isinstance(b.feed, Experts) and (part == "experts" or b.feed.shared_ffn > 0)

    return {p: [i for i, b in enumerate(body.blocks) if has(p, b)] for p in LINEARS}


def _by_pattern(raw: dict[str, Any], place: str, body: Body) -> dict[str, str]:
    """The format of parts that Quark's `layer_quant_config` names by pattern."""
    listed = raw.get("layer_quant_config") or {}
    if not isinstance(listed, dict):
        raise SpecError(f"{place}: quantization_config has layer_quant_config = {show(listed)}, expected an object")
    found = {}
    for pattern, inner in listed.items():
        weight = inner.get("weight") if isinstance(inner, dict) else None
        name = by_word(weight.get("dtype")) if isinstance(weight, dict) else "bf16"
        if name is None or not is_name(pattern):
            raise SpecError(
                f"{place}: quantization_config.layer_quant_config has {show(pattern)} with an unknown dtype"
            )
        entries = by_layer([pattern])
        found |= {p: name for p, layers in _parts_of(body).items() if layers and _mostly(entries, p, layers)}
    return found


def _groups(raw: dict[str, Any], place: str, body: Body) -> dict[str, str]:
    """The format of each part by the groups of compressed-tensors, each with its targets; 16 bit where none aims."""
    groups = raw.get("config_groups")
    listed = [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    aimed = [(_names(g, "targets", place) or ["Linear"], _one_group(g["weights"], place)) for g in listed
             if isinstance(g.get("weights"), dict)]  # fmt: skip
    if not aimed:
        raise SpecError(f"{place}: quantization_config has no config_groups with weights; add them")
    found = {}
    for part, layers in _parts_of(body).items():
        hit = (name for targets, name in aimed if "Linear" in targets or _mostly(by_layer(targets), part, layers))
        found[part] = next(hit, "bf16")
    return found


def _one_group(weights: dict[str, Any], place: str) -> str:
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    if kind == "float" and bits == 8:
        return "fp8"
    if kind == "float" and bits == 4:
        return "nvfp4" if weights.get("group_size", 16) == 16 else "mxfp4"
    return integer(bits, place)


def _names(raw: dict[str, Any], key: str, place: str) -> list[str]:
    said = raw.get(key) or []
    if not isinstance(said, list) or not all(isinstance(x, str) and is_name(x) for x in said):
        raise SpecError(
            f"{place}: quantization_config has {key} = {show(said)}, expected a list of names of modules, or of "
            "regular expressions behind re:"
        )
    return said


def _kept(raw: dict[str, Any], place: str, body: Body) -> dict[str, str]:
    """Parts of which the file leaves at least half of the layers in 16 bit."""
    entries = by_layer([x for key in LISTS for x in _names(raw, key, place)])
    return {part: "bf16" for part, layers in _parts_of(body).items() if layers and _mostly(entries, part, layers)}


def _mostly(entries: dict[int | None, list[str]], part: str, layers: list[int]) -> bool:
    """Whether `entries` stand for a part in at least half of its layers."""
    return 2 * sum(covers(entries, part, i) for i in layers) >= len(layers)
