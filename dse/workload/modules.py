"""Names of modules that a quantised checkpoint treats apart, and the part of a model that each stands for.

Files list whole modules (`self_attn`), globs (`model.layers.*.self_attn*`), regular expressions (`re:.*self_attn.*`)
or every single module of every layer, norms and routers included, which are 16 bit anyway.

Source: [wolf2020transformers] release 5.24, quantizers, for how each method compares names.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any

LISTS = ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers")
"""Keys of the lists."""
PREFIXES = ("model.layers.{}.", "model.language_model.layers.{}.", "language_model.model.layers.{}.")
"""What stands before the name of a module in a layer."""
MODULES = {
    "attention": tuple(f"{block}.{name}" for block in ("self_attn", "attn", "linear_attn", "attention", "mixer")
                       for name in ("q_proj", "q_b_proj", "wq_b", "qkv_proj", "in_proj", "in_proj_qkv",
                                    "in_proj_qkvz")),
    "mlp": tuple(f"{block}.{name}" for block in ("mlp", "feed_forward", "ffn")
                 for name in ("up_proj", "gate_up_proj", "fc1")),
    "experts": ("mlp.experts.0.up_proj", "mlp.experts.gate_up_proj", "block_sparse_moe.experts.0.w1",
                "moe.experts.0.up_proj", "feed_forward.experts.0.up_proj", "ffn.experts.0.w1", "ffn.experts.0.up_proj"),
    "shared": tuple(f"{block}.{one}.up_proj" for block in ("mlp", "block_sparse_moe", "moe", "feed_forward", "ffn")
                    for one in ("shared_expert", "shared_experts", "share_expert")),
}  # fmt: skip
"""Names that the largest matrices of a part go by."""
LAYER = re.compile(r"layers\.(\d+)\.")
"""The number of a layer in a name."""


def by_layer(listed: list[Any]) -> dict[int | None, list[str]]:
    """Entries of a list by the layer that each names, None for those without one."""
    found: dict[int | None, list[str]] = {}
    for entry in map(str, listed):
        number = None if entry.startswith("re:") else LAYER.search(f"{entry}.")
        found.setdefault(int(number.group(1)) if number else None, []).append(entry)
    return found


def covers(entries: dict[int | None, list[str]], part: str, layer: int) -> bool:
    """Whether `entries` name the largest matrices of a part in a layer."""
    listed = [*entries.get(None, []), *entries.get(layer, [])]
    names = [prefix.format(layer) + name for prefix in PREFIXES for name in MODULES[part]]
    return any(_matches(entry, name) for entry in listed for name in names)


def _matches(entry: str, name: str) -> bool:
    """Whether an entry stands for a module: itself, what holds it, a glob or a regular expression."""
    if entry.startswith("re:"):
        try:
            return re.match(entry[3:], name) is not None
        except re.error:
            return False
    if "*" in entry:
        return any(fnmatch.fnmatchcase(name, form) for form in (entry, f"{entry}.*", f"*.{entry}", f"*.{entry}.*"))
    return f".{entry}." in f".{name}."
