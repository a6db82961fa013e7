"""Names of a checkpoint's modules, and the parts of a model that they belong to."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache

from .blocks import Block, Experts, Mlp
from .families.common import Body
from .storage import PARTS

WIDE = ("head", "embedding", "rest")
"""Parts that every method leaves in 16 bit unless it says otherwise."""
LINEARS = tuple(p for p in PARTS if p not in WIDE)


def parts_of(body: Body) -> dict[str, list[int]]:
    """Layers that have each part made of linear layers."""

    def has(part: str, b: Block) -> bool:
        if part == "attention":
            return bool(b.mixers)
        if part == "mlp":
            return isinstance(b.feed, Mlp) or (isinstance(b.feed, Experts) and b.feed.parallel_ffn > 0)
        return isinstance(b.feed, Experts) and (part == "experts" or b.feed.shared_ffn > 0)

    return {p: [i for i, b in enumerate(body.blocks) if has(p, b)] for p in LINEARS}


def mostly(names: list[str], body: Body) -> list[str]:
    """Parts for which `names` stand in at least half of the layers that have them."""
    entries, parts = by_layer(names), parts_of(body)
    # where an MLP stands beside experts, `mlp.` names the MLP alone and experts have names of their own
    beside = any(isinstance(b.feed, Experts) and b.feed.parallel_ffn for b in body.blocks)
    go_by = {p: "apart" if beside and p == "experts" else p for p in parts}
    # half is enough; a part that no layer has is named by nothing
    return [
        p for p, layers in parts.items() if 0 < len(layers) <= 2 * sum(covers(entries, go_by[p], i) for i in layers)
    ]


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
                "mixer.experts.0.up_proj", "mlp.experts.up_proj", "block_sparse_moe.experts.up_proj"),
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
    # a user's expression may be too large or too deep to compile, and not only wrong
    except (re.error, OverflowError, RecursionError, MemoryError):
        return False


def by_layer(listed: list[str]) -> dict[int | None, list[str]]:
    """Entries of a list by the layer that each names, None for those without one."""
    found: dict[int | None, list[str]] = {}
    for entry in listed:
        # an expression that spells a number may match other layers too
        number = None if entry.startswith("re:") else LAYER.search(f"{entry}.")
        found.setdefault(int(number.group(1)) if number else None, []).append(entry)
    return found


def covers(entries: dict[int | None, list[str]], part: str, layer: int) -> bool:
    """Whether `entries` name the largest matrices of a part in a layer."""
    # names without a digit are the same in every layer: asked once for layer 0, their answer is cached for all
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
    # dots around both: a word counts whole, and `mlp` is not in `mlp2`
    return lambda name: f".{entry}." in f".{name}."
