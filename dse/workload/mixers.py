"""Sequence mixers: all kinds of attention, with their weights, KV-cache sizes and MACs; recurrences build on them."""

from __future__ import annotations

import abc
import dataclasses
import math

from typing_extensions import override


def n_seen(cached: float, queries: float, window: float) -> float:
    """Mean number of positions that a new token attends to, over `queries` after `cached`: mean of min(c + i, w)."""
    whole = cached + queries
    if not window or whole <= window:
        # the mean of an integral: that of the sum is half a position more, which only a single query feels
        return cached + queries / 2
    # the first `ramp` of the new tokens still see all that came before them; from there on the window is full
    ramp = max(window - cached, 0.0)
    return (ramp * (cached + window) / 2 + (queries - ramp) * window) / queries


class AbstractMixer(abc.ABC):
    """A layer part through which a token depends on earlier tokens: attention or a recurrence."""

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """Name for tables."""

    @abc.abstractmethod
    def n_weights(self, hidden: int) -> int:
        """Number of weights in a model of width `hidden`."""

    @property
    @abc.abstractmethod
    def n_unmultiplied(self) -> int:
        """Weights outside matrix products: convolution taps, decays."""

    @property
    @abc.abstractmethod
    def n_kv(self) -> int:
        """KV-cache elements per kept position."""

    @abc.abstractmethod
    def n_kept(self, context: float) -> float:
        """Positions kept in the cache for a sequence of `context` tokens."""

    @abc.abstractmethod
    def n_product_macs(self, cached: float, queries: float) -> float:
        """Mean MACs per new token with cache or state, over `queries` new tokens after `cached` ones."""


@dataclasses.dataclass(frozen=True)
class Indexer:
    """Sparse-attention indexer: selects the positions that attention reads. Source: [deepseek2025v32] section 2.1."""

    n_heads: int
    head_dim: int
    n_chosen: int
    """Positions that it chooses (top-k)."""
    shared: bool = False
    """Whether the block takes the choice of an earlier one instead of making its own."""
    rate: int = 1
    """Positions that have one key together."""
    n_made: int = 1
    """Vectors of a position for keys: more than one where pooled keys overlap; none where attention's own choose."""

    @property
    def n_kv(self) -> int:
        """Elements that it caches for a position."""
        # in whole elements a position: a key of `head_dim` for `rate` of them
        return 0 if self.shared or not self.n_made else -(-self.head_dim // self.rate)

    @property
    def n_projected(self) -> int:
        """Outputs of its projections of an input that queries and keys are both made from."""
        # + 1: its heads share one key
        return (self.n_heads + 1) * self.head_dim if self.n_made and not self.shared else 0


def n_index_macs(indexer: Indexer | None, cached: float, queries: float) -> float:
    """MACs per new token of the scores by which an indexer chooses."""
    if indexer is None or indexer.shared:
        return 0.0
    # scores are of every position, pooled `rate` to one: choosing is not sparse
    seen = cached + 1.0 if queries == 1 else cached + queries / 2
    return indexer.n_heads * indexer.head_dim * seen / indexer.rate


@dataclasses.dataclass(frozen=True)
class Attention(AbstractMixer):
    """Attention over keys and values of heads: everything before, a window, a chunk, or another sequence (an image).

    Source: [shazeer2019mqa] and [ainslie2023gqa] for fewer KV heads; [jiang2023mistral] section 2 for windows.
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    """Width of a query and of a key."""
    value_width: int = 0
    """Width of a value; 0 for that of a key."""
    window: int = 0
    """Most positions that a token sees; 0 for all."""
    chunked: bool = False
    """Whether the window is a chunk that starts anew, so that a token sees what its chunk holds."""
    causal: bool = True
    """Whether a position attends to earlier ones only (decoders) or to all (encoders)."""
    gate_width: int = 0
    """Outputs of a gate on the result."""
    own_kv: bool = True
    """Whether it makes and keeps keys and values; else it uses those of an earlier block."""
    values_are_keys: bool = False
    """Whether values are made from the keys, without weights of their own."""
    cross: bool = False
    """Whether it attends to another sequence (an image) instead of its own; text alone has none, and it rests."""
    indexer: Indexer | None = None
    """What chooses the positions it sees, if any; one choice for each of its heads."""

    @property
    @override
    def kind(self) -> str:
        if self.cross:
            return "cross attention"
        if self.window:
            return f"{'chunked' if self.chunked else 'sliding'} attention ({self.window:,})"
        if self.indexer:
            return f"attention to {self.indexer.n_chosen:,}"
        return "full attention" if self.causal else "attention both ways"

    @property
    def value_dim(self) -> int:
        """Width of a value."""
        return self.value_width or self.head_dim

    @override
    def n_weights(self, hidden: int) -> int:
        keys = self.n_kv_heads * self.head_dim if self.own_kv else 0
        values = self.n_kv_heads * self.value_dim if self.own_kv and not self.values_are_keys else 0
        # all of them products of one input of width `hidden`; the last is the projection of the result
        made = self.n_heads * self.head_dim + keys + values + self.gate_width
        made += self.indexer.n_projected if self.indexer else 0
        return hidden * (made + self.n_heads * self.value_dim)

    @property
    @override
    def n_unmultiplied(self) -> int:
        return 0

    @property
    @override
    def n_kv(self) -> int:
        index = self.indexer.n_kv if self.indexer else 0
        # an image's keys are no part of the text, and borrowed ones are counted where they are made
        return 0 if self.cross or not self.own_kv else self.n_kv_heads * (self.head_dim + self.value_dim) + index

    @override
    def n_kept(self, context: float) -> float:
        return min(float(self.window), context) if self.window else context

    def n_attended(self, cached: float, queries: float) -> float:
        """Positions that one of `queries` new tokens attends to on average, after `cached` ones.

        causal: c + q/2;  window w: the mean of min(c + i, w) over i from 0 to q;  chunk w: w/2 beyond the first;
        encoder: c + q, or w; cross: none, without an image.
        """
        if self.cross:
            return 0.0
        if not self.causal:  # a window reaches half as far to either side
            return min(self.window or math.inf, cached + queries)
        if self.chunked and cached + queries > self.window:
            return min(self.window / 2, n_seen(cached, queries, self.window))
        return n_seen(cached, queries, self.indexer.n_chosen if self.indexer else self.window)

    def n_read(self, context: float) -> float:
        """Positions that a token reads when it is the last of `context`."""
        if self.cross:
            return 0.0
        # a token stands anywhere in its chunk, on average in the middle: chunks start anew, windows slide
        if self.chunked and context > self.window:
            return self.window / 2
        return min(float(self.indexer.n_chosen), context) if self.indexer else self.n_kept(context)

    @override
    def n_product_macs(self, cached: float, queries: float) -> float:
        # one token sees itself whole; the mean over many, an integral, would give it half of itself
        seen = self.n_read(cached + 1.0) if queries == 1 else self.n_attended(cached, queries)
        return self.n_heads * (self.head_dim + self.value_dim) * seen + n_index_macs(self.indexer, cached, queries)
