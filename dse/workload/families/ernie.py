"""ERNIE 4.5: experts from a first to a last layer; text and images have experts of their own [wolf2020transformers]."""

from __future__ import annotations

import dataclasses

from ..blocks import Experts
from ..config_file import Fields
from ..transformer import Part
from .common import Body, blocks_of, body, experts, grouped, n_layers, windowed
from .feeds import WIDTH, mixed_feeds
from .windows import no_windows


def ernie(f: Fields) -> Body:
    """ERNIE 4.5: experts from a first to a last layer at an interval."""
    n = n_layers(f)
    per = f.whole("moe_intermediate_size", default=1536)
    shared = f.whole("moe_num_shared_experts", default=2, least=0) * per
    moe = experts(f, ("moe_num_experts", "num_experts"), ("moe_k", "num_experts_per_tok"), WIDTH, shared=shared,
                  per_token=6)  # fmt: skip
    first = f.whole("moe_layer_start_index", default=1, least=0)
    last = f.whole("moe_layer_end_index", default=-1, least=-1)
    step = f.whole("moe_layer_interval", default=1)
    last = n - 1 if last == -1 else last
    sparse = [first <= i <= last and (i + 1) % step == 0 for i in range(n)]
    mixers = windowed(grouped(f, kv=4), no_windows(f, n))
    return body(f, blocks_of(mixers, mixed_feeds(f, sparse, moe)), tied=True, ahead=("num_nextn_predict_layers",))


def ernie_vl(f: Fields) -> Body:
    """ERNIE 4.5 VL: text and images have experts of their own; those of images are left out."""
    n = n_layers(f)
    for key in ("moe_num_experts", "moe_intermediate_size", "moe_layer_start_index", "moe_layer_end_index"):
        value = f.raw.get(key)
        # a pair is of text and of images: what is read below is that of text
        if isinstance(value, list) and len(value) == 2:
            f.raw[f"{key}_of_images"], f.raw[key] = value[1], value[0]
    count = f.whole("moe_num_experts_of_images", default=f.whole("moe_num_experts", "num_experts", default=64), least=0)
    width = f.whole("moe_intermediate_size_of_images", default=512)
    f.skip("moe_layer_start_index_of_images", "moe_layer_end_index_of_images", "mlp_layer_types")
    made = ernie(f)
    sparse = sum(isinstance(b.feed, Experts) for b in made.blocks)
    # + 1: a row of the router for each
    beside = Part("experts of images", sparse * count * (3 * width + 1) * made.hidden, "no token of text visits them")
    return dataclasses.replace(made, left_out=[beside] if n else [])
