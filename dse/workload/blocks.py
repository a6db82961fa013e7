"""Transformer blocks: attention or recurrence (mixers), MLP or mixture of experts (feed), and counts of each kind."""

from __future__ import annotations

import collections
import dataclasses
import itertools

from .mixers import AbstractMixer, Attention


@dataclasses.dataclass(frozen=True)
class Mlp:
    """A dense MLP of inner width `ffn`."""

    ffn: int
    n_matrices: int = 3
    """3 with a gate (SwiGLU), 2 without."""

    def n_weights(self, hidden: int) -> int:
        """Number of weights."""
        return self.n_matrices * hidden * self.ffn


@dataclasses.dataclass(frozen=True)
class Experts:
    """A mixture of experts [shazeer2017moe], with shared experts [deepseek2024v2] and an MLP [snowflake2024arctic]."""

    n_experts: int
    per_token: int
    """Routed experts each token visits (top-k)."""
    ffn: int
    """Inner width of one expert."""
    shared_ffn: int = 0
    """Inner width of all shared experts together, which every token passes."""
    n_matrices: int = 3
    """Matrices of an expert and of a shared one: 3 with a gate, 2 without."""
    parallel_ffn: int = 0
    """Inner width of a dense MLP beside the experts in the same block."""
    latent: int = 0
    """Width to which tokens are projected before the routed experts; 0 for the model's width."""

    def routed_width(self, hidden: int) -> int:
        """Width of a token on its way to the routed experts and back."""
        return self.latent or hidden

    def expert_weights(self, hidden: int) -> int:
        """Number of weights of all routed experts."""
        return self.n_experts * self.n_matrices * self.routed_width(hidden) * self.ffn

    def always_weights(self, hidden: int) -> int:
        """Weights used by every token: router, shared experts, parallel MLP, latent projections."""
        # down and up again once per token, outside the experts: 2 hidden latent
        beside = self.n_matrices * (self.shared_ffn + self.parallel_ffn)
        return hidden * (self.n_experts + beside + 2 * self.latent)

    def n_weights(self, hidden: int) -> int:
        """Number of weights of the whole layer."""
        return self.expert_weights(hidden) + self.always_weights(hidden)

    def visited_weights(self, hidden: int) -> int:
        """Entries that one token meets."""
        # experts are of one size, so that the division is exact
        return self.always_weights(hidden) + self.expert_weights(hidden) // self.n_experts * self.per_token


Feed = Mlp | Experts


@dataclasses.dataclass(frozen=True)
class Block:
    """One layer: mixers in parallel on one input, then an MLP or mixture of experts; either part may be missing."""

    mixers: tuple[AbstractMixer, ...]
    """Attention or recurrence; the results of several are added."""
    feed: Feed | None
    n_norms: int = 2
    """Normalisations of the model's width: one before each branch, and one after it for post-norm models."""
    per_layer_width: int = 0
    """Width of a per-layer embedding that the block gates and adds (Gemma 3n and 4); 0 for none."""
    norms_scale: bool = True
    """Whether a normalisation has a weight per element; without one (OLMo, nanochat) it takes as long."""

    @property
    def n_branches(self) -> int:
        """Number of additions to the residual stream."""
        # mixers side by side are summed first: one addition to the stream, however many they are
        return bool(self.mixers) + (self.feed is not None)

    @property
    def rests(self) -> bool:
        """Whether the block is idle: cross attention, for text without an image."""
        # its MLP rests too: Llama 3.2's code passes over the whole layer where there is no image
        return bool(self.mixers) and all(isinstance(m, Attention) and m.cross for m in self.mixers)

    @property
    def ends_with_mlp(self) -> bool:
        """Whether the result of a dense MLP joins the residual stream as it is: no gradient needs it.

        Assumes: norms are before branches while there is one for each.
        """
        return isinstance(self.feed, Mlp) and self.n_norms <= self.n_branches and not self.per_layer_width

    def norm_weights(self, hidden: int) -> int:
        """Weights of its normalisations of the model's width."""
        return hidden * self.n_norms if self.norms_scale else 0

    def n_weights(self, hidden: int) -> int:
        """Number of weights, including normalisations of the model's width."""
        # twice: down to the width of the layer's embedding for the gate, and up again
        beside = self.norm_weights(hidden) + 2 * hidden * self.per_layer_width
        return sum(m.n_weights(hidden) for m in self.mixers) + self.feed_weights(hidden) + beside

    def feed_weights(self, hidden: int) -> int:
        """Weights of the MLP or mixture of experts."""
        return self.feed.n_weights(hidden) if self.feed else 0

    def product_weights(self, hidden: int) -> int:
        """Weights in matrix products of one token, without the router."""
        # as `linears` leaves the router out: useful work has no part that executed work lacks
        own = sum(m.n_weights(hidden) - m.n_unmultiplied for m in self.mixers) + 2 * hidden * self.per_layer_width
        if isinstance(self.feed, Experts):
            return own + self.feed.visited_weights(hidden) - hidden * self.feed.n_experts
        return own + self.feed_weights(hidden)

    def expert_weights(self, hidden: int) -> int:
        """Weights of routed experts."""
        return self.feed.expert_weights(hidden) if isinstance(self.feed, Experts) else 0

    def visited_weights(self, hidden: int) -> int:
        """Entries that one token meets."""
        whole = self.n_weights(hidden)
        if not isinstance(self.feed, Experts):
            return whole
        return whole - self.feed.n_weights(hidden) + self.feed.visited_weights(hidden)


def feed_text(feed: Feed | None) -> str:
    """Description of an MLP or mixture of experts, for tables."""
    if feed is None:
        return ""
    if not isinstance(feed, Experts):
        return f"MLP {feed.ffn:,}"
    text = f"{feed.n_experts} experts of {feed.ffn:,}, {feed.per_token} a token"
    text += f", shared {feed.shared_ffn:,}" if feed.shared_ffn else ""
    text += f", beside an MLP of {feed.parallel_ffn:,}" if feed.parallel_ffn else ""
    return text + (f", on {feed.latent:,} of the width" if feed.latent else "")


def block_text(block: Block) -> str:
    """Description of a block, for tables."""
    parts = [m.kind for m in block.mixers]
    return " and ".join(parts) + (", " if parts and block.feed else "") + feed_text(block.feed)


@dataclasses.dataclass(frozen=True)
class Run:
    """`n` identical blocks, at any position in the model."""

    block: Block
    n: int


def runs_of(blocks: list[Block]) -> tuple[Run, ...]:
    """Blocks grouped by kind, in order of first appearance."""
    # where a block stands changes neither its time nor its memory: its kind and their number do
    return tuple(itertools.starmap(Run, collections.Counter(blocks).items()))


def last_mlp_frac(shares: tuple[tuple[Block, float], ...]) -> float:
    """Share of blocks that end with a dense MLP whose result no gradient needs; 0 where one MLP's result is needed."""
    # blocks that differ in their norms alone run the same operators: what is left out, they leave out together
    mlps = [(block, share) for block, share in shares if isinstance(block.feed, Mlp)]
    return sum(share for _, share in mlps) if all(block.ends_with_mlp for block, _ in mlps) else 0.0
