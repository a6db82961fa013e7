"""Streamed blocks: weights pass through SRAM once per tile of tokens and are prefetched, so that HBM never idles.

Without prefetching, HBM idles during collectives, launches and attention; prefetching needs SRAM for the bytes that
arrive, which is the main use of a large SRAM. Read more: [yuzuguler2025preserve].
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.types import host_record
from ..technology.node import PRECISION_BITS
from ..workload.op import Kind, Op
from .step_demand import StreamDemand
from .training_ops import Placed

SAVED_FRAC = 0.5
"""Share of the element-wise traffic of training that stays: what the backward pass needs is still written."""
MEAN_TILE_FRAC = 0.5
"""Mean of ceil(x) - x: tiles of tokens that every core runs beyond whole ones, each with all the weights."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """What a streamed block asks of memory, apart from its operators."""

    traffic: np.ndarray
    """By operator, shape (4, n_ops): compulsory bytes; coefficients of tile memory^-1/2, ^-1, and tile count."""
    ahead_B: float
    """Bytes that wait in SRAM for their operator."""


def stream_demand(stream: Stream | None, runs: np.ndarray) -> StreamDemand:
    """A stream whose operators run `runs` times per micro batch; zeros where operators run in turn."""
    if stream is None:
        return host_record(StreamDemand)
    return host_record(StreamDemand, 1.0, *(stream.traffic @ runs), stream.ahead_B)


def streamed(placed: list[Placed], training: bool) -> tuple[list[Placed], Stream]:
    """The operators of a streamed block without their memory traffic, and that traffic.

    Activations stay in SRAM, so that element-wise work starts no kernels. In inference weights arrive at most one block
    ahead; `training` writes activations, has time enough for every weight and holds none back.
    """
    ops = [dataclasses.replace(p, op=_without_traffic(p.op)) for p in placed]
    traffic = np.asarray([_traffic(p, training) for p in placed], dtype=float).T
    # the head is read as it runs: nothing after it to read ahead for
    waits = np.asarray([p.share * (p.op.kind.has_weight and p.phase != "head") for p in placed])
    return ops, Stream(traffic, 0.0 if training else float(traffic[0] @ waits))


def _without_traffic(op: Op) -> Op:
    # what stays in SRAM runs inside the kernels beside it
    launches = 0.0 if op.kind is Kind.ELEMENTWISE else op.n_launches
    # weights that are read ahead are laid out for it, in pieces as long as the scratchpad allows
    return dataclasses.replace(op, hbm_B=0.0, reuse_B=0.0, starting_B=0.0, n_launches=launches)


def _traffic(p: Placed, training: bool) -> tuple[float, float, float, float]:
    """Bytes of one operator in the stream.

        Q = q + 2 K W w M / S + n W w / 2
    of a linear layer whose token tile, S / (2 K) rows, stays while W weights of w bytes pass once per tile: M over the
    rows of a tile, and half a tile more on each of n tile memories where tokens are split over them (training).
    Source: [dao2022] for the form S^-1 of a resident tile of rows; [yuzuguler2025preserve] for reading ahead.
    """
    op = p.op
    if op.kind is Kind.ELEMENTWISE:
        return (SAVED_FRAC * op.hbm_B if training else 0.0, 0.0, 0.0, 0.0)
    if op.kind.meets_the_past:  # cache and state belong to a sequence: no other token of the tile shares their read
        return op.hbm_B, 0.0, op.reuse_B, 0.0
    if not p.streams or p.phase == "head":
        return op.hbm_B, op.reuse_B, 0.0, 0.0
    (product,) = op.products
    activations = 2.0 * product.count * product.moving * (product.contract + product.stationary)
    weights = op.hbm_B - activations  # in decode activations never leave SRAM
    # M rows in tiles of S / (2 K): every tile reads all weights again
    one = 2.0 * product.contract * product.macs * PRECISION_BITS[op.precision] / 8
    return (op.hbm_B, 0.0, one, MEAN_TILE_FRAC * weights) if training else (weights, 0.0, one, 0.0)
