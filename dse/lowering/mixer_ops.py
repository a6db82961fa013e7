"""Attention and recurrences on one tensor-parallel rank: split of heads, matrix products, element-wise work.

Source: [shoeybi2019] section 3 for heads over tensor ranks; [dao2024ssd] section 8.1 for the heads of state spaces.
"""

from __future__ import annotations

import math

from ..workload.latent import Latent
from ..workload.mixers import AbstractMixer, Attention
from ..workload.op import Kind, Op, Product, passes
from ..workload.recurrences import Recurrence, ShortConvolution

STATE_B = 4.0
"""Recurrences are carried between chunks in fp32, as sums in the array [dao2024ssd]."""


def heads_of(mixer: Attention | Latent, tp: int) -> tuple[float, float]:
    """Query and KV heads of one rank (KV heads are replicated below one)."""
    return mixer.n_heads / tp, max(mixer.n_kv_heads / tp, 1.0)


def recurrence_op(mixer: Recurrence, tp: int, queries: float, sequences: float, phase: str) -> Op:
    """Many tokens through a recurrence on one rank, in chunks of C tokens whose products fill the array.

        dual: scores C C d_k, values C C d_v, read C d_k d_v, add d_k C d_v
        delta: besides, keys on keys C C d_k, its triangular inverse on both C C (d_k + d_v), correction C d_k d_v
        scan: no products, `state_token` passes over the state per token
    per chunk and head (scores per key head), with d_k and d_v rows and columns of a head's state. States cross the
    memory interface once per chunk and direction; a backward pass repeats them and takes two gradients.
    Source: [dao2024ssd] section 6 for the chunks; [yang2024gateddelta] section 3.3 for the delta rule in chunks;
    [gu2023mamba] section 3.3 for the scan.
    """
    n, times = passes(), 1.0 if phase == "forward" else passes()["recurrence_backward"]
    heads, keys = mixer.n_heads / tp, (mixer.n_key_heads or mixer.n_heads) / tp
    d_k, d_v, tokens = mixer.key_dim, mixer.value_dim, queries * sequences
    # 2 B of queries and keys by key head, of values and results by head
    streams = 2.0 * tokens * (2 * keys * d_k + 2 * heads * d_v)
    if mixer.form == "scan":
        elements = n["state_token"] * tokens * mixer.n_recurrent / tp * times
        return Op("scan", Kind.RECURRENCE, (), "bf16", times * streams, elements)
    size = min(n[f"chunk_{mixer.form}"], queries)  # a short prompt is one chunk, without padding
    chunks = times * math.ceil(queries / size) * sequences
    # in the order of the list above
    products = [
        Product(size, size, d_k, keys * chunks), Product(size, d_v, size, heads * chunks),
        Product(size, d_v, d_k, heads * chunks), Product(d_k, d_v, size, heads * chunks),
    ]  # fmt: skip
    if mixer.form == "delta":
        products += [
            Product(size, size, d_k, keys * chunks), Product(size, d_k + d_v, size, heads * chunks),
            Product(size, d_v, d_k, heads * chunks),
        ]  # fmt: skip
    # read at the beginning of a chunk and written at its end, never within
    states = 2 * STATE_B * heads * d_k * d_v * chunks
    scores = n["chunk_scores"] * size * size * heads * chunks
    return Op("recurrence", Kind.RECURRENCE, tuple(products), "bf16", times * streams + states, scores)


def recurrence_step_op(mixer: AbstractMixer, tp: int, sequences: float, state_B: float) -> Op:
    """One token per sequence through a recurrence: the whole mixer's `state_B` per sequence is read and written.

    Source: [gu2023mamba] section 3.1: the recurrent form needs the state alone, whatever the context.
    """
    state = mixer.n_recurrent if isinstance(mixer, Recurrence) else 0
    elements = passes()["state_token"] * state / tp * sequences
    return Op("state", Kind.RECURRENCE, (), "bf16", 2 * state_B / tp * sequences, elements)


def index_op(mixer: Attention | Latent, queries: float, seen: float, read: float, sequences: float, kv_B: float) -> Op:
    """The indexer's scores of `queries` on `seen` positions each, `read` keys crossing the memory interface, and top-k.

    Source: [deepseek2025v32] section 2.1 and eq. 1: ReLU of products, weighted, summed over all heads, on every rank.
    """
    i = mixer.indexer
    assert i is not None
    # pooled positions have one key together: fewer to score and to read
    seen, read = seen / i.rate, read / i.rate
    scores = sequences * queries * seen
    product = Product(queries * i.n_heads, seen, i.head_dim, sequences)
    n = passes()
    work = scores * (i.n_heads * n["index_score"] + n["top_k"])
    moved = sequences * (read * i.head_dim * kv_B + 2.0 * queries * i.n_heads * i.head_dim)
    return Op("indexer", Kind.ATTENTION, (product,), "bf16", moved, work)


def mixer_elements(
    mixer: AbstractMixer, tp: int, tokens: float, phase: str, norm: float, n_rotary: float
) -> tuple[float, float]:
    """Element passes and moves of a mixer's small work per rank: rotary positions, or convolution, gates and norm.

    `norm` is the passes of one normalisation in the phase, `n_rotary` reads and writes per element that positions turn.
    """
    n = passes()
    if isinstance(mixer, Attention | Latent):
        heads, kv_heads = heads_of(mixer, tp)
        # of a latent, positions turn the rotary part of each query and of the one key that all heads share
        turned = (heads + 1.0) * mixer.rope_dim if isinstance(mixer, Latent) else (heads + kv_heads) * mixer.head_dim
        rotated, gated = tokens * turned, tokens * mixer.gate_width / tp
        return rotated * n["rope"] + gated * n[f"activation_{phase}"], rotated * n_rotary + gated * 2
    again = 1.0 if phase == "forward" else 2.0
    if isinstance(mixer, ShortConvolution):
        channels = tokens * mixer.channels / tp
        return channels * again * (mixer.taps + 2), channels * again * 4
    assert isinstance(mixer, Recurrence)
    convolved, width = tokens * mixer.conv_channels / tp, tokens * mixer.width / tp
    activation = n[f"activation_{phase}"]
    # a tap is a multiply-add; backward once for inputs and once for taps
    work = convolved * (again * mixer.conv_taps + activation) + width * (norm + activation)
    return work, 2 * convolved + 3 * width


def kept_B_per_token(mixer: AbstractMixer, tp: int, in_B: float, kept_B: float) -> float:
    """Bytes that a mixer keeps per token on one rank until the backward pass, its input apart.

    Attention: queries, result, keys, values, and the copy of the result that a narrower product reads. A recurrence:
    what it projects, what convolution makes of it, its result, and a state per chunk.
    Source: [korthikanti2022] section 4.1 for what is counted; [dao2024ssd] section 6 for states per chunk.
    """
    if isinstance(mixer, Attention | Latent):
        heads, kv_heads = heads_of(mixer, tp)
        both = mixer.head_dim + mixer.value_dim  # queries are as wide as keys, results as values
        own_copy = in_B * heads * mixer.value_dim if in_B < kept_B else 0.0
        return kept_B * (heads + kv_heads) * both + own_copy + kept_B * mixer.gate_width / tp
    if isinstance(mixer, ShortConvolution):
        # two gates, values, what is convolved, and its result
        return 5 * kept_B * mixer.channels / tp
    assert isinstance(mixer, Recurrence)
    n = passes()
    # a scan has no chunks of its own, and is taken to keep a state as often as the dual form
    state = STATE_B * mixer.n_recurrent / (n["chunk_dual"] if mixer.form == "scan" else n[f"chunk_{mixer.form}"])
    return (kept_B * (mixer.projected + mixer.conv_channels + mixer.width) + in_B * mixer.width + state) / tp


def cache_split(mixer: AbstractMixer, tp: int) -> int:
    """Tensor ranks over which a sequence's cache or state is split; a latent is whole on each."""
    if isinstance(mixer, Latent):
        return 1
    # ranks beyond the KV heads hold copies of them, which split nothing
    return min(tp, mixer.n_kv_heads) if isinstance(mixer, Attention) else tp


def ring_width(mixer: AbstractMixer, tp: int, latent: bool) -> float:
    """Elements per token that go around context ranks: keys and values, or the latent they are expanded from."""
    if isinstance(mixer, Latent) and latent:
        return float(mixer.n_kv)
    if isinstance(mixer, Attention | Latent) and not (isinstance(mixer, Attention) and mixer.cross):
        return heads_of(mixer, tp)[1] * (mixer.head_dim + mixer.value_dim)
    return 0.0


def absorbed_width(mixer: Latent) -> int:
    """Width of a head's result in decode, before it is expanded to values; where nothing is expanded, that of a value.

    Source: [deepseek2024v2] section 2.1.2: the rotary part of an entry takes part in scores alone.
    """
    return mixer.value_dim if mixer.pool else mixer.kv_rank


def result_width(mixer: AbstractMixer, tp: int) -> float:
    """Partial results per token that context ranks add up in decode; the latent's are not expanded yet."""
    if isinstance(mixer, Latent):
        return mixer.n_heads / tp * absorbed_width(mixer)
    return mixer.n_heads / tp * mixer.value_dim if isinstance(mixer, Attention) and not mixer.cross else 0.0


def mixer_rules(mixer: AbstractMixer, tp: int, name: str) -> list[tuple[bool, str]]:
    """Whether `tp` splits the heads of a mixer evenly; fewer KV or key heads are replicated equally often."""
    if isinstance(mixer, ShortConvolution):
        return [(mixer.channels % tp == 0, f"tp={tp} does not divide the {mixer.channels} channels of {name}")]
    # a head is not split: its scores need all of its query and key
    if isinstance(mixer, Attention | Latent):
        what, few, n_few = "heads", "KV heads", mixer.n_kv_heads
    else:
        assert isinstance(mixer, Recurrence)
        what, few, n_few = f"{mixer.name} heads", f"{mixer.name} key heads", mixer.n_key_heads or mixer.n_heads
    return [
        (mixer.n_heads % tp == 0, f"tp={tp} does not divide the {mixer.n_heads} {what} of {name}"),
        (
            n_few % tp == 0 or tp % n_few == 0,
            f"tp={tp} neither divides the {n_few} {few} of {name} nor is a multiple of them",
        ),
    ]
