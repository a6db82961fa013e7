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

    @property
    @abc.abstractmethod
    def n_state(self) -> int:
        """State elements per sequence, independent of its length."""

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
        return (self.n_heads + 1) * self.head_dim if self.n_made and not self.shared else 0


def n_index_macs(indexer: Indexer | None, cached: float, queries: float) -> float:
    """MACs per new token of the scores by which an indexer chooses."""
    if indexer is None or indexer.shared:
        return 0.0
    seen = cached + 1.0 if queries == 1 else cached + queries / 2
    return indexer.n_heads * indexer.head_dim * seen / indexer.rate


@dataclasses.dataclass(frozen=True)
class Pool:
    """How a latent attention keeps the past: recent positions whole in a window, older ones pooled into fewer entries.

    The vector of a position or entry is key and value of every head; results go back through groups of a low rank.
    Source: DeepSeek-V4's code in [wolf2020transformers] release 5.24: sliding, compressed sparse (4 positions per
    entry, overlapping, an indexer) and heavily compressed attention (128 positions per entry, all seen).
    """

    window: int
    """Recent positions that are kept whole."""
    rate: int
    """Positions per pooled entry; 0 where nothing is kept beyond the window."""
    overlap: int
    out_rank: int
    """Width that a group of heads' results is squeezed to."""
    out_groups: int


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
        return 0 if self.cross or not self.own_kv else self.n_kv_heads * (self.head_dim + self.value_dim) + index

    @override
    def n_kept(self, context: float) -> float:
        return min(float(self.window), context) if self.window else context

    @property
    @override
    def n_state(self) -> int:
        return 0

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


@dataclasses.dataclass(frozen=True)
class Latent(AbstractMixer):
    """Latent attention: keys and values expand from a cached short vector. Source: [deepseek2024v2] section 2.1."""

    n_heads: int
    query_rank: int
    """Width queries are squeezed through; 0 if they are not."""
    kv_rank: int
    """Width of the cached latent."""
    rope_dim: int
    """Width of the rotary part of each query and of the shared key."""
    nope_dim: int
    """Width of the other part of each query and key."""
    value_dim: int
    indexer: Indexer | None = None
    """What chooses the positions it sees, if any."""
    gate_width: int = 0
    """Outputs of a gate on the result."""
    pool: Pool | None = None
    """How it keeps the past where it does not keep every position; then nothing is expanded."""

    @property
    @override
    def kind(self) -> str:
        chosen = f" to {self.indexer.n_chosen:,}" if self.indexer else ""
        if self.pool is None:
            return f"latent attention{chosen}"
        beyond = f", 1 of {self.pool.rate}{chosen} beyond" if self.pool.rate else ""
        return f"pooled latent attention ({self.pool.window:,}{beyond})"

    @property
    def head_dim(self) -> int:
        """Width of a query and of a key."""
        return self.nope_dim + self.rope_dim

    @property
    def n_kv_heads(self) -> int:
        """Expanded key and value heads; one for all where nothing is expanded."""
        return 1 if self.pool else self.n_heads

    @override
    def n_weights(self, hidden: int) -> int:
        """Queries, latent and rotary key, expansion, output; indexer. Source: [deepseek2024v2] eq. 37 to 47."""
        a, wide = self.n_heads, self.head_dim
        query = (hidden + a * wide) * self.query_rank if self.query_rank else hidden * a * wide
        expand = self.kv_rank * a * (self.nope_dim + self.value_dim)
        own = query + hidden * (self.kv_rank + self.rope_dim + self.gate_width)
        own += pooled_weights(self, self.pool, hidden) if self.pool else expand + a * self.value_dim * hidden
        if self.indexer is None or self.indexer.shared:
            return own
        i = self.indexer
        return own + (self.query_rank or hidden) * i.n_heads * i.head_dim + hidden * (i.n_made * i.head_dim + i.n_heads)

    @property
    @override
    def n_unmultiplied(self) -> int:
        return self.pool.rate * self.pool.overlap * (self.kv_rank + self.rope_dim) if self.pool else 0

    @property
    @override
    def n_kv(self) -> int:
        one = self.kv_rank + self.rope_dim
        entry = -(-one // self.pool.rate) if self.pool and self.pool.rate else one
        return entry + (self.indexer.n_kv if self.indexer else 0)

    @override
    def n_kept(self, context: float) -> float:
        """Positions that it keeps; a window of whole ones counts as many times as an entry's share is smaller."""
        if self.pool is None:
            return context
        recent = min(float(self.pool.window), context)
        # pooled entries and whole positions have one count between them, in units of the share `n_kv` of an entry
        return context + recent * (self.kv_rank + self.rope_dim) / self.n_kv if self.pool.rate else recent

    @property
    @override
    def n_state(self) -> int:
        return 0

    @property
    def rate(self) -> int:
        """Positions per entry of the cache."""
        return max(self.pool.rate, 1) if self.pool else 1

    def n_attended(self, cached: float, queries: float) -> float:
        """Positions, or entries of the cache, that a new token attends to on average."""
        most = self.indexer.n_chosen * self.rate if self.indexer else 0  # it chooses entries, of `rate` positions each
        far = n_seen(cached, queries, most) / self.rate
        if self.pool is None:
            return far
        return n_seen(cached, queries, self.pool.window) + (far if self.pool.rate else 0.0)

    def n_read(self, context: float) -> float:
        """Positions, or entries of the cache, that a token reads when it is the last of `context`."""
        far = context / self.rate
        far = min(float(self.indexer.n_chosen), far) if self.indexer else far
        if self.pool is None:
            return far
        return min(float(self.pool.window), context) + (far if self.pool.rate else 0.0)

    @override
    def n_product_macs(self, cached: float, queries: float) -> float:
        seen = self.n_read(cached + 1.0) if queries == 1 else self.n_attended(cached, queries)
        macs = self.n_heads * (self.head_dim + self.value_dim) * seen
        return macs + n_index_macs(self.indexer, cached, queries)


def pooled_weights(mixer: Latent, pool: Pool, hidden: int) -> int:
    """Entries of the way back through groups of a low rank, and of what pools: a vector and a gate per entry.

        a d_v r + g r h + 2 o h d + R o d
    with a heads of value width d_v, g groups of rank r, o entries that a position contributes to, d the width of an
    entry, R positions per entry, each with an offset, and h the model's width.
    """
    back = mixer.n_heads * mixer.value_dim * pool.out_rank + pool.out_groups * pool.out_rank * hidden
    wide = pool.overlap * (mixer.kv_rank + mixer.rope_dim)
    return back + (2 * hidden * wide + pool.rate * wide if pool.rate else 0)
