"""Ranks of a collective inside a scale-up domain: which links they have, and what share of a chip's speed these give.

No link carries more than it can: on a torus, chips that stand between two ranks pass messages on, and groups that lie
between each other share links.
"""

from __future__ import annotations

import dataclasses
import math

from ..hardware.system import Fabric


@dataclasses.dataclass(frozen=True)
class Group:
    """Ranks of one collective inside a scale-up domain."""

    size: int
    share: float
    """Share of a chip's scale-up speed the group can use."""
    switched: bool
    """Whether every pair is one hop apart."""
    reduces_in_network: bool
    ring_hops: float
    """Sequential steps of a ring all-gather: n - 1, or the sum over torus axes of (length - 1)."""
    upper_s: float = 0.0
    """What a message between ranks behind different first-level switches takes longer; 0 where there are none."""
    ring_upper_s: float = 0.0
    """The same of a ring all-gather: once from each group of ranks behind the same switches to the next."""
    rank_s: float = 0.0
    """What each rank adds to a ring between domains, where a run timed that."""
    n_links: float = 1.0
    """Links that a byte crosses from one rank to the next: more on a torus where others' ranks stand between them."""
    n_mean_links: float = 1.0
    """Links that a byte crosses to any rank, over all of them, the sender too."""
    busiest: float = 1.0
    """Bytes on the busiest axis in an even exchange, over those for all ranks, as if at the chip's full speed."""
    n_farthest: float = 1.0
    """Ranks to the one furthest away on a torus."""
    whole: float = 1.0
    """Bytes on the busiest axis where vectors go to all ranks along one axis after the other, over one vector's."""
    n_crowding: float = 1.0
    """Bytes on a link of a torus in recursive halving and doubling, over those of a ring; 0 if sizes are no powers."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """The ranks of a group along one axis of a torus."""

    size: int
    taken: int
    """Ranks of inner groups between one rank and the next."""
    closed: bool
    """Whether they go all the way around."""
    part: float
    """Share of a chip's scale-up speed on the axis, both directions."""

    @property
    def share(self) -> float:
        """Share of a chip's scale-up speed that a ring along the axis can use.

            p / s where closed, else p / (2 s),  s = `taken`
        A message passes s links to the next rank, and the s groups that lie between each other use the same links.
        """
        return self.part / self.taken / (1.0 if self.closed else 2.0)

    @property
    def n_crossing(self) -> float:
        """Bytes that cross the middle of the axis one way in an even exchange, over a rank's for all ranks: as `share`.

            floor(n^2 / 4) / n
        of a line, whose middle link parts n/2 ranks from n/2. A ring has two such links and half as far to go, and
        `share` twice as large. Source: [austin2025] chapter 3: around a ring n/4 of all bytes.
        """
        return self.size**2 // 4 / self.size

    @property
    def n_farthest(self) -> int:
        """Ranks to the one furthest away, which around a ring is half of them."""
        return self.size // 2 if self.closed else self.size - 1

    @property
    def n_crowding(self) -> float:
        """Bytes on a link in recursive halving and doubling, over those of a ring; 0 where the size is no power of 2.

            r n / (2 (n - 1)),  r = 2 log2 n - 1 around a ring, log2 n along a line
        Partners at distance d exchange a part V / (2 d), and d of them use the same link: V/2 in each of log2 n rounds
        of either half. Around a ring the last round goes both ways. Source: [thakur2005] section 4.5 for the rounds.
        """
        n, rounds = self.size, self.size.bit_length() - 1
        return 0.0 if n & (n - 1) else (2 * rounds - 1 if self.closed else rounds) * n / (2 * (n - 1))

    @property
    def n_mean_links(self) -> float:
        """Links that a byte of an even exchange crosses along the axis: n/4 around a ring, n/3 along a line."""
        n = self.size
        return self.taken * (self.n_crossing if self.closed else (n**2 - 1) / (3 * n))


def group(fabric: Fabric, inner: int, size: int) -> Group:
    """The `size` ranks that follow `inner` innermost ones in a scale-up domain.

    On a torus a full axis is a ring that uses both directions; a part of an axis, or a short one of a slice, has no
    wrap-around link and uses half of it (see `Axis`). A switch gives every group all links, as far as its second level
    carries them.
    """
    if fabric.kind == "switched":
        # inner ranks have their places behind the same switches: fewer are left for this group
        near = size if fabric.n_leaf_chips == 0 else min(max(fabric.n_leaf_chips // inner, 1), size)
        share, crossings = _switched_share(fabric.upper_share, near, size), -(-size // near) - 1
        upper_s = fabric.upper_hop_s if crossings else 0.0
        ring_s, sent = crossings * fabric.upper_hop_s, (size - 1) / size
        reduces = fabric.in_network_reduction
        return Group(size, share, True, reduces, size - 1.0, upper_s, ring_s, fabric.rank_s, 1.0, sent, sent / share)
    axes = _axes(fabric, inner, size)
    if not axes:  # one rank, which sends nothing: the share only keeps its division finite
        return Group(size, 1.0, False, False, 0.0, rank_s=fabric.rank_s, n_mean_links=0.0, busiest=0.0)
    share = sum(a.share for a in axes)
    return Group(
        size, share, False, False, sum(a.size - 1.0 for a in axes), rank_s=fabric.rank_s,
        # a ring over several axes sends on each what its speed allows, so that all end together
        n_links=sum(a.share * a.taken for a in axes) / share,
        # axes work at once, so that the slowest of them decides an even exchange
        n_mean_links=sum(a.n_mean_links for a in axes), busiest=max(a.n_crossing / a.share for a in axes),
        n_farthest=sum(a.n_farthest for a in axes),
        # parts of a vector begin on different axes: all are at work, and every part passes every axis
        whole=max((a.size - 1) / a.share for a in axes) * share,
        n_crowding=max(a.n_crowding for a in axes) if all(a.n_crowding for a in axes) else 0.0,
    )  # fmt: skip


def _axes(fabric: Fabric, inner: int, size: int) -> list[Axis]:
    """The axes of a torus along which a group has more than one rank."""
    found, left, before = list[Axis](), size, inner
    # ranks fill the innermost axes first, and the inner ones have taken their part of each
    for length, part in zip(fabric.dims, fabric.axis_share, strict=True):
        taken = math.gcd(length, before)
        before //= taken
        free = length // taken
        use = min(free, left) if left > 1 else 1
        left = -(-left // use)  # rounded up: a group that fills an axis in part still needs the next
        if use > 1:
            found.append(Axis(use, taken, use == free and length >= fabric.n_ring_chips, part))
    return found


def _switched_share(upper_share: float, near: int, size: int) -> float:
    """Share of a chip's speed for a group of which `near` ranks sit behind the same first-level switches.

        min(1, f (n - 1)/(n - near)),  f = `upper_share`
    Assumes: even exchange, (n - near)/(n - 1) of it across the second level; a ring through racks crosses less.
    """
    return 1.0 if near == size else min(1.0, upper_share * (size - 1) / (size - near))


def stage_way(fabric: Fabric, n_stage_chips: int) -> Group | None:
    """The links from a chip of a stage to that of the next one; None where a domain has no room for both."""
    # stages are outermost; where a domain holds two of them, messages count as inside, though every second one leaves
    return group(fabric, n_stage_chips, 2) if n_stage_chips * 2 <= fabric.n_chips else None


def spread(fabric: Fabric, inner: int, size: int) -> tuple[Group, int]:
    """The ranks of a group that follow `inner` innermost ones: those inside one domain, and how many domains they span.

    On a torus as many as divide both the group and what `inner` leaves of the domain stay inside.
    Assumes: behind a switch a scheduler leaves a few chips idle rather than split a group, such as 64 of 72.
    """
    if fabric.kind == "switched":
        room = max(fabric.n_chips // inner, 1)
        inside = max(d for d in range(1, min(room, size) + 1) if size % d == 0)
        return group(fabric, inner, inside), size // inside
    # a torus has no spare places: a group that does not divide its axes would straddle domains
    room = max(fabric.n_chips // inner, 1) if fabric.n_chips % inner == 0 else 1
    inside = max(d for d in range(1, min(room, size) + 1) if size % d == 0 and room % d == 0)
    return group(fabric, inner, inside), size // inside
