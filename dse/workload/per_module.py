"""Modules that an MLX file stores otherwise than the rest: by name, each with its bits, or left in 16 bit.

As in published files, under `quantization` beside `bits` and `group_size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import SpecError
from .config_file import show
from .families.common import Body
from .mixed_parts import mean_format
from .module_names import LAYER, LINEARS, mostly, parts_of
from .quantisers import affine

OWN = ("bits", "group_size", "mode", "quant_method")
"""Keys of the object that are no modules."""
HEAD = ("lm_head", "output")
TABLES = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embeddings")
"""Last words of the names of tables."""
BLOCKS = {"attention": ("self_attn", "attn", "linear_attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn")}
"""First words of what stands in a layer."""
FEW = ("gate", "router", "shared_expert_gate", "e_score_correction_bias")
"""Last words of routers, which are of `rest`."""


def module_formats(raw: Mapping[str, Any], place: str) -> dict[str, str]:
    """The format of each module that the object names; SpecError for one that nobody knows."""
    found = {}
    for name, said in raw.items():
        # true is the format of the file, false none
        if name in OWN or said is True:
            continue
        if said is False:
            found[_usual(name)] = "bf16"
        elif isinstance(said, dict):
            found[_usual(name)] = affine(said, f"{place}: module {name}", raw)
        else:
            raise SpecError(
                f"{place}: quantization.{name} = {show(said)} is not known; allowed: {', '.join(OWN)}, and modules, "
                "each with bits, or false where it is 16 bit"
            )
    return found


def _usual(name: str) -> str:
    """The name of a module as other files have it: MLX calls the experts of a layer a switch."""
    return name.replace(".switch_mlp.", ".experts.")


def counted(
    formats: Mapping[str, str], usual: str, body: Body, place: str
) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Formats of the parts that modules of their own decide, and a note on modules that decide none.

    A part goes by its largest matrices in at least half of its layers; where other matrices differ from it in as many,
    by the mean of all.
    """
    found: dict[str, str] = {}
    for stored in dict.fromkeys(formats.values()):
        names = [n for n, f in formats.items() if f == stored]
        found |= dict.fromkeys((*_tables(names, body), *mostly(names, body)), stored)
    left = {n: f for n, f in formats.items() if f != found.get(part_of(n) or "", usual)}
    for part in LINEARS:
        others = [n for n in left if part_of(n) == part]
        if _several(part, others, body):
            modules = {n: f for n, f in formats.items() if part_of(n) == part}
            found[part] = _mean(part, modules, usual, body, place)
            # the mean counts all modules of the part, so that none of them is left over
            left = {n: f for n, f in left.items() if n not in modules}
    if not left:
        return found, ()
    first, stored = next(iter(left.items()))
    more = f" and {len(left) - 1} modules more" if len(left) > 1 else ""
    return found, ((f"quantization.{first}", f"{stored}{more}: too few of a part to count"),)


def _tables(names: list[str], body: Body) -> list[str]:
    """Which of head and embedding the names are; a tied table is both."""
    parts = {p for n in names if (p := part_of(n)) in ("head", "embedding")}
    return sorted(parts | ({"head"} if body.tied and "embedding" in parts else set()))


def _several(part: str, others: list[str], body: Body) -> bool:
    """Whether `others`, stored otherwise than most of the part, stand in at least half of its layers."""
    layers = parts_of(body)[part]
    held = {int(m.group(1)) for n in others if (m := LAYER.search(f"{n}."))}
    # half is enough, as in `mostly`: the two must not disagree
    return bool(layers) and 2 * len(held & set(layers)) >= len(layers)


def _mean(part: str, modules: Mapping[str, str], usual: str, body: Body, place: str) -> str:
    """The mean storage of a part of several, or SpecError where its matrices are not known by name."""
    found = mean_format(part, modules, usual, body)
    if found is None:
        first = next(n for n, f in modules.items() if f != usual)
        raise SpecError(
            f"{place}: quantization.{first} is not {usual}, as other matrices of its part ({part}) are, and not all of "
            "them are known by name: remove these modules, or name all of the part"
        )
    return found


def part_of(name: str) -> str | None:
    """The part that a module's weights belong to; None for what belongs to none or is not known."""
    inside = LAYER.split(f"{name}.")[-1].rstrip(".") if LAYER.search(f"{name}.") else ""
    first, last = inside.partition(".")[0], name.rpartition(".")[2]
    if not inside:
        return "head" if last in HEAD else "embedding" if last in TABLES else None
    # before the others: a router stands inside the MLP, and shared experts have "experts" in their name
    if last in FEW:
        return "rest"
    if "shared" in inside:
        return "shared"
    if "experts" in inside:
        return "experts"
    return next((p for p, words in BLOCKS.items() if first in words), None)
