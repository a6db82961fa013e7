"""Mixers without a growing KV cache: recurrences with a fixed-size state (Mamba, delta nets), short convolutions."""

from __future__ import annotations

import dataclasses

from typing_extensions import override

from .mixers import AbstractMixer


@dataclasses.dataclass(frozen=True)
class Recurrence(AbstractMixer):
    """A fixed-size state per sequence that every token decays, updates and reads, instead of a growing KV cache.

        S_t = D_t S_(t-1) + k_t v_t',   o_t = S_t' q_t
    with S a key_dim x value_dim matrix per head. The delta rule first takes out what the key already points to.
    Source: [gu2023mamba], [dao2024ssd] (state spaces), [yang2024gateddelta] (delta rule), [minimax2025] (lightning).
    """

    name: str
    n_heads: int
    """Heads of the state."""
    key_dim: int
    """Rows of a head's state."""
    value_dim: int
    projected: int
    """Outputs of the projection of the input: queries, keys, values, gates."""
    form: str
    """One of `FORMS`: which work a chunk of tokens takes."""
    conv_channels: int = 0
    """Channels of the short convolution."""
    conv_taps: int = 0
    """Taps of the short convolution."""
    inner: tuple[tuple[int, int], ...] = ()
    """Inputs and outputs of further linear layers (low-rank gates, step sizes)."""
    n_key_heads: int = 0
    """Heads of keys and queries where several heads of the state share them; 0 for as many."""
    state_format: str = "bf16"
    """How the state is kept between passes."""

    @property
    @override
    def kind(self) -> str:
        return self.name

    @property
    def width(self) -> int:
        """Inputs of the output projection."""
        return self.n_heads * self.value_dim

    @override
    def n_weights(self, hidden: int) -> int:
        return hidden * (self.projected + self.width) + sum(k * n for k, n in self.inner) + self.n_unmultiplied

    @property
    @override
    def n_unmultiplied(self) -> int:
        # a scan's decay is a full matrix of its state's size, other forms have one number per head
        decay = self.n_heads * self.key_dim * self.value_dim if self.form == "scan" else 0
        return self.conv_channels * self.conv_taps + decay

    @property
    @override
    def n_kv(self) -> int:
        return 0

    @override
    def n_kept(self, context: float) -> float:
        return 0.0

    @property
    def n_recurrent(self) -> int:
        """Elements of the state proper."""
        return self.n_heads * self.key_dim * self.value_dim

    @property
    def n_conv(self) -> int:
        """Inputs that the short convolution remembers."""
        # all taps but the one for the token at hand
        return self.conv_channels * max(self.conv_taps - 1, 0)

    @property
    def n_state(self) -> int:
        """State elements per sequence, independent of its length."""
        return self.n_recurrent + self.n_conv

    @override
    def n_product_macs(self, cached: float, queries: float) -> float:
        """One product adds to the state, one reads it; the delta rule reads it once more. Convolution besides."""
        return self.n_recurrent * (3.0 if self.form == "delta" else 2.0) + self.conv_channels * self.conv_taps


FORMS = ("scan", "dual", "delta")
"""How many tokens are read: one by one, in chunks [dao2024ssd], or with the delta rule [yang2024gateddelta]."""


@dataclasses.dataclass(frozen=True)
class ShortConvolution(AbstractMixer):
    """A convolution over the last few positions, between input-dependent gates. Source: [liquid2025lfm2] section 2."""

    channels: int
    taps: int

    @property
    @override
    def kind(self) -> str:
        return "short convolution"

    @override
    def n_weights(self, hidden: int) -> int:
        # two gates and the values in, one projection out
        return hidden * self.channels * 4 + self.channels * self.taps

    @property
    @override
    def n_unmultiplied(self) -> int:
        return self.channels * self.taps

    @property
    @override
    def n_kv(self) -> int:
        return 0

    @override
    def n_kept(self, context: float) -> float:
        return 0.0

    @property
    def n_state(self) -> int:
        """State elements per sequence."""
        return self.channels * (self.taps - 1)  # the token at hand is no past

    @override
    def n_product_macs(self, cached: float, queries: float) -> float:
        return float(self.channels * self.taps)


def state_elements(mixer: AbstractMixer) -> int:
    """Elements that a mixer keeps for a sequence whatever its length: none of attention, whose cache grows."""
    return mixer.n_state if isinstance(mixer, Recurrence | ShortConvolution) else 0
