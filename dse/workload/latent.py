"""Latent attention: keys and values expand from a short cached vector, or are pooled vectors themselves."""

from __future__ import annotations

import dataclasses

from typing_extensions import override

from .mixers import AbstractMixer, Indexer, n_index_macs, n_seen


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
        # its queries come from the squeezed query as attention's do, its keys from the layer's input
        return own + (self.query_rank or hidden) * i.n_heads * i.head_dim + hidden * (i.n_made * i.head_dim + i.n_heads)

    @property
    @override
    def n_unmultiplied(self) -> int:
        # offsets of pooled positions are added: no product meets them
        return self.pool.rate * self.pool.overlap * (self.kv_rank + self.rope_dim) if self.pool else 0

    @property
    @override
    def n_kv(self) -> int:
        one = self.kv_rank + self.rope_dim
        # in whole elements, since caches are counted by elements per position
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

    def n_attended(self, cached: float, queries: float) -> float:
        """Positions, or entries of the cache, that a new token attends to on average."""
        rate = entry_positions(self.pool)
        most = self.indexer.n_chosen * rate if self.indexer else 0  # it chooses entries, of `rate` positions each
        far = n_seen(cached, queries, most) / rate
        if self.pool is None:
            return far
        return n_seen(cached, queries, self.pool.window) + (far if self.pool.rate else 0.0)

    def n_read(self, context: float) -> float:
        """Positions, or entries of the cache, that a token reads when it is the last of `context`."""
        far = context / entry_positions(self.pool)
        far = min(float(self.indexer.n_chosen), far) if self.indexer else far
        if self.pool is None:
            return far
        return min(float(self.pool.window), context) + (far if self.pool.rate else 0.0)

    @override
    def n_product_macs(self, cached: float, queries: float) -> float:
        seen = self.n_read(cached + 1.0) if queries == 1 else self.n_attended(cached, queries)
        # as if expanded, the useful work: what decode absorbs is wider, for which MFU gives no credit
        macs = self.n_heads * (self.head_dim + self.value_dim) * seen
        return macs + n_index_macs(self.indexer, cached, queries)


def entry_positions(pool: Pool | None) -> int:
    """Positions per entry of the cache; one where every position is kept."""
    return max(pool.rate, 1) if pool else 1


def pooled_weights(mixer: Latent, pool: Pool, hidden: int) -> int:
    """Entries of the way back through groups of a low rank, and of what pools: a vector and a gate per entry.

        a d_v r + g r h + 2 o h d + R o d
    with a heads of value width d_v, g groups of rank r, o entries that a position contributes to, d the width of an
    entry, R positions per entry, each with an offset, and h the model's width.
    """
    back = mixer.n_heads * mixer.value_dim * pool.out_rank + pool.out_groups * pool.out_rank * hidden
    wide = pool.overlap * (mixer.kv_rank + mixer.rope_dim)
    return back + (2 * hidden * wide + pool.rate * wide if pool.rate else 0)
