"""Storage of a checkpoint's weights from `quantization_config`: which parts are quantised and which stay in 16 bit.

Source: the formats' own documentation, named in `data/storage.toml`; keys as in [wolf2020transformers] release 5.24.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ..core.errors import SpecError
from .config_file import show
from .families.common import Body
from .module_names import LINEARS, WIDE, is_name, mostly, parts_of
from .per_module import counted, module_formats
from .quantisers import (
    ZERO,
    by_word,
    head_apart,
    integer,
    is_plain,
    method_of,
    narrow_format,
    wide_as_narrow,
)


@dataclasses.dataclass(frozen=True)
class Stored:
    """How weights are stored."""

    spec: str
    """Format of most weights and of parts, as `storage.format_of` reads it."""
    method: str
    """What made it, as the file says; "none" for plain 16-bit weights."""
    notes: tuple[tuple[str, str], ...] = ()
    """Keys that are read and not counted, with why."""


NARROW_EXPERTS = {"fp4": "mxfp4", "fp8": "fp8"}
"""Formats of `expert_dtype`: FP4 with a power of two for 32 elements."""


def stored_as(raw: dict[str, Any] | None, place: str, body: Body, expert_dtype: str = "") -> Stored:
    """The storage that `quantization_config` describes, 16 bit without one; SpecError for an unknown one."""
    if raw is None or is_plain(raw):
        return Stored("bf16", "none")
    method = method_of(raw)
    _refuse_sparse(raw, place)
    if method == "compressed-tensors" or (raw.get("quantized_layers") and method != "fp8"):
        made = _groups(raw, place, body)
        # most weights are in experts where there are any, so theirs is the format that goes unnamed
        narrow = made["experts"] if parts_of(body)["experts"] else made["mlp"]
    else:
        narrow = narrow_format(raw, method, place)
        # from the general to the particular: what comes later replaces what came before
        made = {p: narrow for p in LINEARS} | _experts_apart(raw, place, expert_dtype) | _by_pattern(raw, place, body)
        made |= _by_bits(raw, place, body)
    made |= dict.fromkeys(wide_as_narrow(raw, method), narrow) | head_apart(raw, method, place)
    apart, notes = counted(module_formats(raw, place), narrow, body, place) if method == "mlx" else ({}, ())
    made |= apart
    # what a list keeps wide has the last word: quantisers look there before they look at formats
    parts = {p: "bf16" for p in WIDE} | made | _kept(raw, place, body)
    # gpt-oss: the library turns experts alone into MXFP4, whatever the lists say
    if method == "mxfp4":
        parts |= {"attention": "bf16", "mlp": "bf16", "shared": "bf16"}
    has = parts_of(body)
    # parts like the rest, or that the model lacks, go unsaid: equal storages are equal texts
    others = [f"{p}={x}" for p, x in parts.items() if x != narrow and (p not in LINEARS or has[p])]
    return Stored(",".join([narrow, *others]), method, notes)


def _experts_apart(raw: dict[str, Any], place: str, beside: str) -> dict[str, str]:
    """The format of experts where the file names one for them."""
    said = str(raw.get("moe_quant_algo") or raw.get("expert_dtype") or beside).lower()
    if not said:
        return {}
    known = NARROW_EXPERTS | {"nvfp4": "nvfp4"}
    if said not in known:
        raise SpecError(f"{place}: expert_dtype = {show(said)} is not known; allowed: {', '.join(known)}")
    return {"experts": known[said]}


def _by_pattern(raw: dict[str, Any], place: str, body: Body) -> dict[str, str]:
    """The format of parts that Quark's `layer_quant_config` names by pattern."""
    listed = raw.get("layer_quant_config") or {}
    if not isinstance(listed, dict):
        raise SpecError(f"{place}: quantization_config has layer_quant_config = {show(listed)}, expected an object")
    found = {}
    for pattern, inner in listed.items():
        weight = inner.get("weight") if isinstance(inner, dict) else None
        # a pattern that says nothing of weights leaves them in 16 bit
        name = by_word(weight.get("dtype")) if isinstance(weight, dict) else "bf16"
        if name is None or not is_name(pattern):
            raise SpecError(
                f"{place}: quantization_config.layer_quant_config has {show(pattern)} with an unknown dtype"
            )
        found |= dict.fromkeys(mostly([pattern], body), name)
    return found


def _by_bits(raw: dict[str, Any], place: str, body: Body) -> dict[str, str]:
    """The format of parts with bits of their own in GPTQModel's `dynamic` (a regular expression; `-:` is left out).

    AutoRound has them in `extra_config`, by name or expression. More than 8 bits are 16.
    """
    named: dict[str, list[str]] = {}
    for key in ("dynamic", "extra_config"):
        listed = raw.get(key) or {}
        if not isinstance(listed, dict) or not all(isinstance(x, dict) for x in listed.values()):
            raise SpecError(f"{place}: quantization_config has {key} = {show(listed)}, expected an object of objects")
        for name, inner in listed.items():
            bits = 16 if name.startswith("-:") else inner.get("bits")
            if bits is None:  # a group size or an order of its own: as narrow as the rest
                continue
            group = inner.get("group_size", raw.get("group_size"))
            found = "bf16" if bits == 16 else integer(bits, place, group, ZERO)
            plain = name.removeprefix("-:").removeprefix("+:")
            named.setdefault(found, []).append(f"re:{plain}" if key == "dynamic" or ".*" in plain else plain)
    odd = next((x for names in named.values() for x in names if not is_name(x)), None)
    if odd is not None:
        raise SpecError(f"{place}: quantization_config has {show(odd[3:])}, which is no regular expression")
    of_parts = [(mostly(names, body) + ["head"] * ("lm_head" in names), stored) for stored, names in named.items()]
    return {part: stored for parts, stored in of_parts for part in parts}


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
    for targets, name in reversed(aimed):  # a module goes to the first group that aims at it, so the first comes last
        head = ("head",) if "lm_head" in targets else ()
        found |= dict.fromkeys((*(LINEARS if "Linear" in targets else mostly(targets, body)), *head), name)
    return found


def _refuse_sparse(raw: dict[str, Any], place: str) -> None:
    """SpecError for weights of which half or more are left out: their bytes and products are not modelled."""
    said = raw.get("sparsity_config")
    inner: dict[str, Any] = said if isinstance(said, dict) else {}
    words = [str(x) for x in (raw.get("format"), inner.get("format"), inner.get("sparsity_structure")) if x]
    # "dense" is how compressed-tensors writes that nothing is left out
    sparse = [x for x in words if re.search(r"sparse|24\b|^2:4$|bitmask", x) and x != "dense"]
    if sparse and inner.get("sparsity_structure") != "unstructured":
        raise SpecError(f"{place}: quantization_config says {show(sparse[0])}: sparse weights are not modelled")


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
        # a scale for 32 elements is the microscaling format's [ocp2023mx]; FP8 has fewer
        return "mxfp8" if weights.get("group_size") == 32 else "fp8"
    if kind == "float" and bits == 4:
        return "nvfp4" if weights.get("group_size", 16) == 16 else "mxfp4"  # blocks of 16 or of 32 tell them apart
    # a group that is not symmetric keeps its zero point
    return integer(bits, place, weights.get("group_size"), ZERO if weights.get("symmetric") is False else "")


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
    return dict.fromkeys(mostly([x for key in lists for x in _names(raw, key, place)], body), "bf16")


LISTS = ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "exclude", "llm_int8_skip_modules")
"""Keys of the lists."""
