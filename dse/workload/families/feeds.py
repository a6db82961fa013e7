"""Which layers have experts and which a dense MLP, by the spellings that families share, and the keys they use."""

from __future__ import annotations

from ..blocks import Experts, Mlp
from ..config_file import Fields
from .common import Body, blocks_of, body, experts, grouped, mlp, n_layers, sparse_layers, windowed
from .windows import Windows, no_windows

TOP = ("num_experts_per_tok",)
ROUTED = ("n_routed_experts", "num_local_experts", "num_experts")
WIDTH = ("moe_intermediate_size",)
NEXT = ("num_nextn_predict_layers",)
AHEAD = (*NEXT, "num_mtp_layers")


def sparse_steps(f: Fields, n: int, moe: Experts | None) -> list[Mlp | Experts]:
    """Layer i from 0 has experts if the step divides i + 1 and `mlp_only_layers` does not list it."""
    step = f.whole("decoder_sparse_step", default=1)
    only = f.indices("mlp_only_layers", below=n) or []
    return mixed_feeds(f, [(i + 1) % step == 0 and i not in only for i in range(n)], moe)


def mixed_feeds(f: Fields, sparse: list[bool], moe: Experts | None, *keys: str) -> list[Mlp | Experts]:
    """Experts where `sparse` and there are any, else a dense MLP, whose width must be stated only if there is one."""
    keys = keys or ("intermediate_size",)
    f.skip(*keys)
    # the dense width is read only where a layer has it: files of experts alone leave it out or fill in a stray one
    dense = mlp(f, *keys) if moe is None or not all(sparse) else None
    found = [moe if s and moe else dense for s in sparse]
    # none is dropped: `dense` is missing only where no layer asks for it
    return [x for x in found if x is not None]


def first_dense(f: Fields, n: int, moe: Experts | None, *, first: int = 0) -> list[Mlp | Experts]:
    """The first layers are dense; from then on every `moe_layer_freq`-th counted from 0 has experts, or as listed."""
    dense = f.whole("first_k_dense_replace", "num_dense_layers", default=first, least=0)
    if dense > n:
        raise f.error("first_k_dense_replace", f"at most the {n} layers")
    if isinstance(f.raw.get("moe_layer_freq"), list):
        f.skip("mlp_layer_types")
        return mixed_feeds(f, [bool(x) for x in f.items("moe_layer_freq", length=n) or []], moe)
    step = f.whole("moe_layer_freq", default=1)
    return mixed_feeds(f, sparse_layers(f, n, [i >= dense and i % step == 0 for i in range(n)]), moe)


def shared_width(f: Fields, usual: int = 1) -> int:
    """Width of all shared experts together, each as wide as a routed one."""
    per = f.whole(*WIDTH)
    return f.whole("n_shared_experts", "num_shared_experts", default=usual, least=0) * per


def routed_and_shared(f: Fields, n: int, shared: int, first: int) -> list[Mlp | Experts]:
    """The first layers dense, then routed experts and shared ones of one width."""
    moe = experts(f, ROUTED, (*TOP, "num_experts_per_token"), WIDTH, shared=shared_width(f, shared))
    return first_dense(f, n, moe, first=first)


def with_shared(
    f: Fields, *, kv: int | None = None, head_dim: int | None = None, shared: int = 1, first: int = 0,
    windows: Windows = no_windows, norms: int = 2,
) -> Body:  # fmt: skip
    """The first layers dense, then routed and shared experts of one width (GLM-4.5, Bailing, dots, Solar)."""
    n = n_layers(f)
    feeds = routed_and_shared(f, n, shared, first)
    mixers = windowed(grouped(f, kv=kv, head_dim=head_dim), windows(f, n))
    return body(f, blocks_of(mixers, feeds, norms), tied=False, ahead=AHEAD)
