"""No link of a torus carries more than it can: messages routed link by link, against the bytes that lowering charges.

All groups of a domain work at once. A message goes along one axis after the other, around a ring the shorter way, half
of it either way where both are as long; a group that fills an axis in part does not go around.
"""

import itertools
import math
from collections import Counter

import pytest

from dse.hardware.system import Fabric
from dse.lowering.collective import Reference, all_gather, all_to_all, halving, mesh, send
from dse.lowering.groups import group

REF = Reference(1e9, 1e8, 0.0, 0.0)
TORI = [(8,), (12,), (9,), (4, 4), (8, 4), (4, 4, 4), (3, 3), (16, 2)]


def shared_out(dims, n, before):
    """`n` ranks over axes of which inner ones took `before`, innermost first; None where they do not fit evenly."""
    found = []
    for length, taken in zip(dims, before, strict=True):
        use = min(length // taken, n)
        if n % use or (length // taken) % use:
            return None
        n //= use
        found.append(use)
    return found if n == 1 else None


def placed(dims, inner, size):
    taken = shared_out(dims, inner, [1] * len(dims))
    use = shared_out(dims, size, taken) if taken else None
    return (taken, use) if use else None


CASES = [
    (dims, inner, size)
    for dims, inner, size in itertools.product(TORI, (1, 2, 3, 4, 8), (2, 3, 4, 8, 9, 12, 16, 64))
    if placed(dims, inner, size)
]


def fabric(dims):
    """Axes of unequal speed."""
    parts = [i + 1.0 for i in range(len(dims))]
    return Fabric("torus", dims, tuple(p / sum(parts) for p in parts))


def groups(dims, inner, size):
    """Every group as its ranks' places by coordinate within the group."""
    taken, use = placed(dims, inner, size)
    rest = [length // (t * u) for length, t, u in zip(dims, taken, use, strict=True)]
    for first in itertools.product(*(range(t) for t in taken)):
        for block in itertools.product(*(range(r) for r in rest)):
            yield {
                k: tuple(f + t * (i + u * b) for f, t, i, u, b in zip(first, taken, k, use, block, strict=True))
                for k in itertools.product(*(range(u) for u in use))
            }


def along(load, dims, closed, start, axis, end, amount_B):
    """Adds a message along one axis to the loads of its links; returns where it then is."""
    length, here = dims[axis], start[axis]
    ahead = (end - here) % length
    if closed[axis]:
        ways = {1: ahead, -1: length - ahead} if ahead else {}
        shortest = min(ways.values(), default=0)
        ways = {d: n for d, n in ways.items() if n == shortest}
    else:
        ways = {1 if end > here else -1: abs(end - here)}
    for step, n_links in ways.items():
        for i in range(n_links):
            place = (*start[:axis], (here + step * i) % length, *start[axis + 1 :])
            load[place, axis, step] += amount_B / len(ways)
    return (*start[:axis], end, *start[axis + 1 :])


def charged(dims, inner, size, messages):
    """Time at full speed of 1 B/s on the busiest link, and bytes over all links by chip, of messages of every group.

    `messages` gives those of one group as sender, receiver and bytes.
    """
    taken, use = placed(dims, inner, size)
    closed = [t * u == length for t, u, length in zip(taken, use, dims, strict=True)]
    load = Counter()
    for ranks in groups(dims, inner, size):
        for a, b, amount_B in messages(ranks):
            here = ranks[a]
            for axis, end in enumerate(ranks[b]):
                here = along(load, dims, closed, here, axis, end, amount_B) if here[axis] != end else here
    # an axis gives each of its two directions half of its part of the speed
    part = fabric(dims).axis_share
    busiest_s = max(x / (part[axis] / 2) for (_, axis, _), x in load.items())
    return busiest_s, sum(load.values()) / math.prod(dims)


@pytest.mark.parametrize(("dims", "inner", "size"), CASES)
def test_an_even_exchange_takes_what_its_busiest_link_takes(dims, inner, size):
    seconds, sent = charged(
        dims, inner, size, lambda ranks: [(a, b, 1.0 / size) for a in ranks for b in ranks if a != b]
    )
    t = all_to_all(group(fabric(dims), inner, size), 1, 1.0)
    assert (t.up_B, t.sent_B) == (pytest.approx(seconds), pytest.approx(sent))


def passed_on(ranks, closed, piece):
    """Messages of ranks along an axis that all get a `piece` from each: half from either side, or by both ends."""
    order = sorted(ranks)
    for k, rank in enumerate(order):
        after, before = order[(k + 1) % len(order)], order[k - 1]
        if closed:
            yield from ((rank, r, (len(order) - 1) / 2 * piece) for r in (after, before))
        else:
            yield from ((rank, after, (k + 1) * piece),) if k + 1 < len(order) else ()
            yield from ((rank, before, (len(order) - k) * piece),) if k else ()


@pytest.mark.parametrize(("dims", "inner", "size"), [c for c in CASES if sum(u > 1 for u in placed(*c)[1]) == 1])
def test_a_ring_takes_what_its_busiest_link_takes(dims, inner, size):
    """All-gather of 1 B: around a ring half of what others have comes from either side; along a line all of it."""
    taken, use = placed(dims, inner, size)
    axis = next(i for i, u in enumerate(use) if u > 1)
    closed = taken[axis] * size == dims[axis]

    seconds, sent = charged(dims, inner, size, lambda ranks: passed_on(ranks, closed, 1 / size))
    t = all_gather(group(fabric(dims), inner, size), 1.0, REF)
    # around a ring of two, each of them gets half of one piece over either link
    assert (t.up_B, t.sent_B) == (pytest.approx(seconds), pytest.approx(sent))


@pytest.mark.parametrize(("dims", "inner", "size"), [c for c in CASES if c[2] == 2])
def test_a_message_to_the_next_stage_takes_what_its_busiest_link_takes(dims, inner, size):
    seconds, sent = charged(dims, inner, size, lambda ranks: [(min(ranks), max(ranks), 1.0)])
    t = send(1.0, group(fabric(dims), inner, 2))
    assert (t.up_B, t.sent_B / 2) == (pytest.approx(seconds), pytest.approx(sent))  # every second chip sends


@pytest.mark.parametrize(("dims", "inner", "size"), [c for c in CASES if sum(u > 1 for u in placed(*c)[1]) == 1])
def test_whole_vectors_and_halves_of_them_take_what_their_busiest_link_takes(dims, inner, size):
    """All-reduce of 1 B. Whole: around a ring half of the others' vectors come from either side, along a line all of
    those behind. Halves: partners 1, 2, 4 .. apart exchange 1/2, 1/4, 1/8 .., and the same way back."""
    taken, use = placed(dims, inner, size)
    axis = next(i for i, u in enumerate(use) if u > 1)
    closed = taken[axis] * size == dims[axis]

    g = group(fabric(dims), inner, size)
    assert mesh(g, 1.0).up_B == pytest.approx(
        charged(dims, inner, size, lambda ranks: passed_on(ranks, closed, 1.0))[0]
    )
    if size & (size - 1):
        assert halving(g, 1.0) == []
        return
    seconds = 0.0
    for i in range(size.bit_length() - 1):

        def partners(ranks, i=i):
            order = sorted(ranks)
            return [(r, order[k ^ 2**i], 2 * 0.5 ** (i + 1)) for k, r in enumerate(order)]

        seconds += charged(dims, inner, size, partners)[0]
    (t,) = halving(g, 1.0)
    assert t.up_B == pytest.approx(seconds)
