"""Storage of a checkpoint's weights from `quantization_config`: which parts are quantised and which stay in 16 bit.

Source: the formats' own documentation, named in `data/storage.toml`; keys as in [wolf2020transformers] release 5.24.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..core.errors import SpecError
from .blocks import Block, Experts, Mlp
from .config_file import show
from .families.common import Body
from .quantisers import by_word, integer, is_plain, method_of, narrow_format, wide_as_narrow
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
    if raw is None or is_plain(raw):
        return Stored("bf16", "none")
    method = method_of(raw)
    if method == "compressed-tensors" or (raw.get("quantized_layers") and method != "fp8"):
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
    said = str(raw.get("moe_quant_algo") or raw.get("expert_dtype") or beside).lower()
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
        found |= dict.fromkeys(_mostly([pattern], body), name)
    return found


def _groups(raw: dict[str, Any], place: str, body: Body) -> dict[str, str]:
    """The format of each part by the groups of compressed-tensors, each with its targets; 16 bit where none aims.

    ModelOpt lists modules of mixed precision one by one, each with its algorithm.
    """
    groups = raw.get("config_groups")
    listed = [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    aimed = _one_by_one(raw, place) or [
        (_names(g, "targets", place) or ["Linear"], _one_group(g["weights"], place))
        for g in listed if isinstance(g.get("weights"), dict)
    ]  # fmt: skip
    if not aimed:
        raise SpecError(f"{place}: quantization_config has no config_groups with weights; add them")
    found = dict.fromkeys(LINEARS, "bf16")
    for targets, name in reversed(aimed):
        head = ("head",) if "lm_head" in targets else ()
        found |= dict.fromkeys((*(LINEARS if "Linear" in targets else _mostly(targets, body)), *head), name)
    return found


def _one_by_one(raw: dict[str, Any], place: str) -> list[tuple[list[str], str]]:
    """Names of modules for each format of `quantized_layers`; nothing without it."""
    listed = raw.get("quantized_layers") or {}
    found: dict[str, list[str]] = {}
    for name, inner in listed.items() if isinstance(listed, dict) else ():
        stored = by_word(inner.get("quant_algo") if isinstance(inner, dict) else None)
        if stored is None:
            raise SpecError(
                f"{place}: quantization_config.quantized_layers has {show(name)} with an unknown quant_algo"
            )
        found.setdefault(stored, []).append(name)
    return [(names, stored) for stored, names in found.items()]


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
    lists = LISTS if raw.get("quant_method") != "fp8" else LISTS[1:]  # "ignore" is of ModelOpt's parts there
    return dict.fromkeys(_mostly([x for key in lists for x in _names(raw, key, place)], body), "bf16")


def _mostly(names: list[str], body: Body) -> list[str]:
    """Parts for which `names` stand in at least half of the layers that have them."""
    entries, parts = by_layer(names), _parts_of(body)
    beside = any(isinstance(b.feed, Experts) and b.feed.parallel_ffn for b in body.blocks)
    go_by = {p: "apart" if beside and p == "experts" else p for p in parts}
    return [
        p for p, layers in parts.items() if 0 < len(layers) <= 2 * sum(covers(entries, go_by[p], i) for i in layers)
    ]


LISTS = ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "exclude", "llm_int8_skip_modules")
"""Keys of the lists."""
PREFIXES = ("model.layers.{}.", "model.language_model.layers.{}.", "language_model.model.layers.{}.")
"""What stands before the name of a module in a layer."""
MODULES = {
    "attention": tuple(f"{block}.{name}" for block in ("self_attn", "attn", "linear_attn", "attention", "mixer")
                       for name in ("q_proj", "q_b_proj", "wq_b", "qkv_proj", "in_proj", "in_proj_qkv",
                                    "in_proj_qkvz")),
    "mlp": tuple(f"{block}.{name}" for block in ("mlp", "feed_forward", "ffn", "mixer")
                 for name in ("up_proj", "gate_up_proj", "fc1")),
    "experts": ("mlp.experts.0.up_proj", "mlp.experts.gate_up_proj", "block_sparse_moe.experts.0.w1",
                "moe.experts.0.up_proj", "feed_forward.experts.0.up_proj", "ffn.experts.0.w1", "ffn.experts.0.up_proj",
                "mixer.experts.0.up_proj"),
    "apart": ("experts.0.up_proj", "experts.gate_up_proj", "moe.experts.0.up_proj"),
    "shared": tuple(f"{block}.{one}.up_proj" for block in ("mlp", "block_sparse_moe", "moe", "feed_forward", "ffn",
                                                            "mixer")
                    for one in ("shared_expert", "shared_experts", "share_expert")),
}  # fmt: skip
"""Names that the largest matrices of a part go by; "apart" are experts beside an MLP, which alone is then `mlp`."""
LAYER = re.compile(r"layers\.(\d{1,9})\.", re.ASCII)
"""The number of a layer in a name."""


def is_name(entry: str) -> bool:
    """Whether an entry can be compared with names: all but a regular expression that is none."""
    try:
        return _matcher(entry) is not None
    except (re.error, OverflowError, RecursionError, MemoryError):
        return False


def by_layer(listed: list[str]) -> dict[int | None, list[str]]:
    """Entries of a list by the layer that each names, None for those without one."""
    found: dict[int | None, list[str]] = {}
    for entry in listed:
        number = None if entry.startswith("re:") else LAYER.search(f"{entry}.")
        found.setdefault(int(number.group(1)) if number else None, []).append(entry)
    return found


def covers(entries: dict[int | None, list[str]], part: str, layer: int) -> bool:
    """Whether `entries` name the largest matrices of a part in a layer."""
    anywhere = entries.get(None, [])
    if _any_match(tuple(x for x in anywhere if not HAS_DIGIT(x)), part, 0):
        return True
    if any(_stands_for(LAYER.split(f"{x}.")[-1].rstrip("."), part) for x in entries.get(layer, [])):
        return True
    return _any_match(tuple(x for x in anywhere if HAS_DIGIT(x)), part, layer)


HAS_DIGIT = re.compile(r"\d").search
"""Whether an entry may single out layers."""


@lru_cache(maxsize=4096)
def _stands_for(inside: str, part: str) -> bool:
    """Whether what an entry names inside a layer is, or holds, one of the names that a part goes by."""
    return not inside or any(_matcher(inside)(name) for name in MODULES[part])


@lru_cache(maxsize=4096)
def _any_match(listed: tuple[str, ...], part: str, layer: int) -> bool:
    """Whether one of the entries stands for one of the names that a part of a layer goes by."""
    names = [prefix.format(layer) + name for prefix in PREFIXES for name in MODULES[part]]
    return any(_matcher(entry)(name) for entry in listed for name in names)


@lru_cache(maxsize=4096)
def _matcher(entry: str) -> Callable[[str], object]:
    """Tells whether an entry stands for a module: itself, what holds it, a glob or a regular expression."""
    if entry.startswith("re:"):
        return re.compile(entry[3:]).match
    if "*" in entry:
        forms = (entry, f"{entry}.*", f"*.{entry}", f"*.{entry}.*")
        return re.compile("|".join(fnmatch.translate(x) for x in forms)).match
    return lambda name: f".{entry}." in f".{name}."
