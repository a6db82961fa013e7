"""Collectives (all-reduce, all-gather, all-to-all) as alpha-beta coefficients, on a torus, a switch and a network.

Each is lowered once to coefficients (`Traffic`), whose time is a posynomial of link bandwidths. The algorithm is
chosen at reference link speeds: a discrete choice outside the gradient.
"""

from __future__ import annotations

import dataclasses
import math

from ..workload.blocks import Experts
from .groups import Group


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes and latency counts of communication; can be added and scaled."""

    up_B: float = 0.0
    """Scale-up bytes, scaled as if sent at the chip's full scale-up bandwidth."""
    up_hops: float = 0.0
    out_B: float = 0.0
    """Scale-out bytes, at the chip's full network bandwidth."""
    out_hops: float = 0.0
    sent_B: float = 0.0
    """Bytes that physically leave a chip over scale-up links, for the energy model."""
    n_starts: float = 0.0
    """Library collectives started inside a scale-up domain, each with a start-up latency."""
    n_exchanges: float = 0.0
    """Direct exchanges: every rank writes to every other through a switch and waits once."""
    upper_s: float = 0.0
    """Extra latency of sequential messages: second switch level, and measured latency per rank."""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[float, ...]:
        """The fields in order."""
        return (
            self.up_B, self.up_hops, self.out_B, self.out_hops, self.sent_B, self.n_starts, self.n_exchanges,
            self.upper_s,
        )  # fmt: skip

    def times(self, n: float) -> Traffic:
        """This traffic `n` times."""
        return Traffic(*(n * a for a in self.parts()))


@dataclasses.dataclass(frozen=True)
class Reference:
    """Achievable link speeds and latencies at which lowering chooses collective algorithms, and stack properties."""

    up_Bps: float
    """Scale-up, one direction, all links of a chip."""
    out_Bps: float
    """Scale-out share of a chip, one direction."""
    up_hop_s: float
    out_hop_s: float
    start_s: float = 0.0
    exchange_s: float = 0.0
    has_direct: bool = True
    """Whether the stack has direct-exchange kernels; if not, only the rings and trees of a library."""
    fixed_shapes: bool = False
    """Whether the stack compiles fixed shapes, independent of which experts are chosen."""
    ranks_are_cores: bool = False
    """Whether a rank is a (logical) core, which fetches rows of its weights itself; else a chip, of several cores."""

    @property
    def fetches_rows(self) -> bool:
        """Whether a rank's program fetches weights row by row, as `pieces` has it."""
        # how a chip's cores divide the columns of a rank between them is their program's, and nowhere published
        return self.fixed_shapes and self.ranks_are_cores

    def time_s(self, t: Traffic) -> float:
        """Alpha-beta time of `t` at this reference [s]."""
        # the sum of `physics.step.traffic_time_s` in plain floats: it ranks algorithms on the host, and prices no step
        latency = t.up_hops * self.up_hop_s + t.n_starts * self.start_s + t.n_exchanges * self.exchange_s
        return latency + t.upper_s + t.up_B / self.up_Bps + t.out_B / self.out_Bps + t.out_hops * self.out_hop_s


def _in_domain(
    g: Group, volume_B: float, factor: float, hops: float, starts: float = 0.0, upper_s: float = 0.0
) -> Traffic:  # fmt: skip
    """Traffic of `factor * volume_B` bytes through the group's links in `hops` steps of a library's collective."""
    bytes_ = factor * volume_B
    # chips between two ranks pass bytes on, and spend the energy of sending them
    return Traffic(up_B=bytes_ / g.share, up_hops=hops, sent_B=bytes_ * g.n_links, n_starts=starts, upper_s=upper_s)


def _direct(g: Group, volume_B: float, factor: float, n_exchanges: float) -> Traffic:
    """Traffic of `factor * volume_B` bytes in direct exchanges through a switch."""
    bytes_ = factor * volume_B
    # behind a switch a byte leaves a chip once: no chip in between sends it on
    return Traffic(up_B=bytes_ / g.share, sent_B=bytes_, n_exchanges=n_exchanges, upper_s=n_exchanges * g.upper_s)


def all_gather(g: Group, volume_B: float, ref: Reference) -> Traffic:
    """All-gather (or its mirror, reduce-scatter) of a result of `volume_B` bytes by the faster algorithm.

        t = (n - 1)/n V / B + hops alpha
    with hops n - 1 on a ring, which a library starts, or 1 where every pair is connected through a switch.
    Source: [thakur2005] section 4 (ring); [aws2026nki] for mesh, ring and their ranges on Trainium.
    """
    n = g.size
    if n <= 1:
        return Traffic()
    # every rank lacks all but its own n-th of the result
    ring = _in_domain(g, volume_B, (n - 1) / n, g.ring_hops, upper_s=g.ring_upper_s)
    if not g.switched:
        return ring
    if not ref.has_direct:
        return dataclasses.replace(ring, n_starts=1.0)
    # all pairs at once: the bytes of a ring, and one wait in place of n - 1
    return min(_in_domain(g, volume_B, (n - 1) / n, 1.0, upper_s=g.upper_s), ring, key=ref.time_s)


def all_reduce(g: Group, volume_B: float, ref: Reference) -> Traffic:
    """All-reduce of a vector of `volume_B` bytes, the fastest of the known algorithms.

        direct, through a switch:  one-shot (n - 1) V, 1 exchange;  two-shot 2 (n-1)/n V, 2 exchanges
        library:  ring 2 (n-1)/n V, 1 start and two rings of hops
        reduction in the switch:  (1 + 1/n) V, 2 starts, 2 hops: a rank answers reads of all slices and writes its own
        torus:  see `mesh` and `halving`
    Source: [thakur2005] section 4; [aws2026nki] mesh, RDH and ring algorithms of Trainium; [klenk2020] section IV for
    reductions in switches; each kind's latency is fitted to measured collectives.
    """
    n = g.size
    if n <= 1:
        return Traffic()
    # a library's ring is always there; the others need links or software for them
    candidates = [_in_domain(g, volume_B, 2 * (n - 1) / n, 2 * g.ring_hops, 1.0, 2 * g.ring_upper_s)]
    if g.reduces_in_network:
        candidates.append(in_switch(g, volume_B))
    if not g.switched:
        candidates += [mesh(g, volume_B), *halving(g, volume_B)]
    elif ref.has_direct:
        candidates += [_direct(g, volume_B, n - 1, 1.0), _direct(g, volume_B, 2 * (n - 1) / n, 2.0)]
    return min(candidates, key=ref.time_s)


def in_switch(g: Group, volume_B: float) -> Traffic:
    """All-reduce of `volume_B` bytes by switches that add up: see `all_reduce`."""
    return _in_domain(g, volume_B, 1.0 + 1.0 / g.size, 2.0, 2.0, 2 * g.upper_s)


def mesh(g: Group, volume_B: float) -> Traffic:
    """All-reduce of short vectors of `volume_B` on a torus: every rank gets all of an axis whole, one axis by another.

        (m - 1) V / B over an axis of m,  1 start, hops to the furthest rank of each axis
    Source: [aws2026nki] mesh algorithm.
    Assumes: as `halving`, for energy every link is as busy as the busiest, which short vectors can afford.
    """
    return _in_domain(g, volume_B, g.whole, g.n_farthest, 1.0)


def halving(g: Group, volume_B: float) -> list[Traffic]:
    """All-reduce on a torus by recursive halving and doubling; none where a power of two does not fill each axis.

        2 (n - 1)/n V / B times `Group.n_crowding`,  1 start, 2 log2 n hops
    Source: [thakur2005] section 4.5; [aws2026nki] RDH.
    """
    n = g.size
    return [_in_domain(g, volume_B, 2 * (n - 1) / n * g.n_crowding, 2 * math.log2(n), 1.0)] if g.n_crowding else []


def across_gather(g: Group, n_out: int, volume_B: float, ref: Reference) -> Traffic:
    """All-gather or reduce-scatter of `volume_B` over `g.size` chips in each domain and `n_out` domains.

    Each chip exchanges its 1/g.size slice across the network, by a ring (n - 1 hops) or a tree (2 log2 n hops, twice
    the bytes), then the domain completes it. Source: [thakur2005] for both; [aws2026ccl] hierarchical rings over EFA.
    """
    inside = all_gather(g, volume_B, ref)
    if n_out <= 1:
        return inside
    # all chips of a domain send at once, each its slice through its own share of the network
    slice_B, added_s = volume_B / max(g.size, 1), g.size * n_out * g.rank_s
    ring = Traffic(out_B=slice_B * (n_out - 1) / n_out, out_hops=n_out - 1.0, upper_s=added_s)
    tree = Traffic(out_B=2 * slice_B, out_hops=2 * math.ceil(math.log2(n_out)), upper_s=added_s)
    return inside + min(ring, tree, key=ref.time_s)


def across_all_reduce(g: Group, n_out: int, volume_B: float, ref: Reference) -> Traffic:
    """All-reduce over domains: reduce-scatter, then all-gather, or the domain's best; in trees [nvidia2021nccl]."""
    if n_out <= 1:
        return all_reduce(g, volume_B, ref)
    # scattering a sum mirrors gathering it: the same bytes and hops once more
    tree = dataclasses.replace(g, rank_s=0.0)  # what ranks add to a ring
    return across_gather(tree, n_out, volume_B, ref).times(2.0)


def send(volume_B: float, way: Group | None) -> Traffic:
    """Message of `volume_B` to a neighbour stage, `way` of two ranks as from `group`, or None between domains."""
    if way is None:
        return Traffic(out_B=volume_B, out_hops=1.0)
    return _in_domain(way, volume_B, 1.0, 1.0, upper_s=way.upper_s)


def all_to_all(g: Group, n_out: int, volume_B: float) -> Traffic:
    """Even exchange of `volume_B` per rank with `g.size` ranks in each of `n_out` domains, n in all.

        switch:  V (n_in - 1)/n over scale-up        torus:  V n_in/n max over axes of floor(m^2/4)/m / share
        outside:  V (n - n_in)/n
    with m ranks along an axis: chips of a torus pass on what goes further, so that each byte takes several links.
    Source: [austin2025] chapter 3 for rings.
    """
    n = g.size * n_out
    if n <= 1:
        return Traffic()
    # what is for ranks of this domain, the sender's own share too, which `busiest` and `n_mean_links` leave out
    inside_B = volume_B / n_out
    hops, near_s = (1.0, g.upper_s) if g.size > 1 else (0.0, 0.0)
    near = Traffic(up_B=inside_B * g.busiest, up_hops=hops, sent_B=inside_B * g.n_mean_links, upper_s=near_s)
    if n_out == 1:
        return near
    return near + Traffic(out_B=volume_B * (n - g.size) / n, out_hops=1.0, upper_s=g.size * n_out * g.rank_s)


def n_copies(e: Experts, n_ranks: int) -> float:
    """Expected ranks of `n_ranks` that have an expert which a token visits; each of them gets it once.

        n (1 - C(E - E/n, k) / C(E, k))
    with k different experts of E, E/n of them on each of n ranks.
    Source: [deepseek2025deepep] dispatch layout: a token goes to ranks, which know what experts it is for; the
    expectation is elementary.
    Assumes: experts equally popular; no group of them is preferred.
    """
    each = e.n_experts / n_ranks
    missed = math.prod(max(1.0 - each / (e.n_experts - i), 0.0) for i in range(e.per_token))
    return n_ranks * (1.0 - missed)


def forwarded(g: Group, n_out: int, token_B: float, e: Experts) -> Traffic:
    """Tokens of `token_B` per rank to their experts, one copy per domain, where chips pass them on.

        outside:  V (d - 1)/d times `n_copies` of d domains    inside:  V times `n_copies` of all ranks, as `all_to_all`
    with V `token_B` and d `n_out`. What comes back is added up in the domain and sent once.
    Source: [deepseek2025deepep] kernels with forwarding, for training and prompts.
    """
    inside = all_to_all(g, 1, token_B * n_copies(e, g.size * n_out))
    away_B = token_B * n_copies(e, n_out) * (n_out - 1) / n_out
    return inside + Traffic(out_B=away_B, out_hops=1.0, upper_s=g.size * n_out * g.rank_s)


def to_experts(g: Group, n_out: int, token_B: float, e: Experts, ref: Reference) -> Traffic:
    """Tokens to the ranks of their experts, once to each: straight there, or `forwarded` where that is faster."""
    straight = all_to_all(g, n_out, token_B * n_copies(e, g.size * n_out))
    return straight if n_out == 1 else min(straight, forwarded(g, n_out, token_B, e), key=ref.time_s)
