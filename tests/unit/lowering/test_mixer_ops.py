"""Work of mixers by hand: recurrences in chunks and token by token, indexers, and what tensor ranks share or repeat."""

import pytest

from dse.lowering.linears import Shard, block_linears, mixer_linears, replicated_weights
from dse.lowering.mixer_ops import (
    STATE_B,
    cache_split,
    index_op,
    kept_B_per_token,
    mixer_elements,
    recurrence_op,
    recurrence_step_op,
    result_width,
    ring_width,
)
from dse.workload.blocks import Block, Mlp, Run
from dse.workload.latent import Latent
from dse.workload.mixers import Attention, Indexer
from dse.workload.op import passes
from dse.workload.presets import model
from dse.workload.recurrences import Recurrence, ShortConvolution
from dse.workload.transformer import Model

DUAL = Recurrence("ssd", n_heads=8, key_dim=128, value_dim=64, projected=2048, form="dual", n_key_heads=2)
DELTA = Recurrence("delta", n_heads=4, key_dim=128, value_dim=128, projected=2048, form="delta")
SCAN = Recurrence("mamba", n_heads=1024, key_dim=16, value_dim=1, projected=2048, form="scan")
GQA = Attention(n_heads=32, n_kv_heads=8, head_dim=128)
MLA = Latent(n_heads=16, query_rank=1536, kv_rank=512, rope_dim=64, nope_dim=128, value_dim=128)


def test_a_chunk_of_a_state_space_by_hand():
    """512 tokens are two chunks of 256: scores per key head, values, read and addition per head."""
    op = recurrence_op(DUAL, 1, 512, 1, "forward")
    macs = 2 * (2 * 256 * 256 * 128 + 8 * (256 * 256 * 64 + 256 * 64 * 128 + 128 * 64 * 256))
    assert op.macs == macs
    assert op.vector_elements == passes()["chunk_scores"] * 256 * 256 * 8 * 2
    # in bf16: keys and queries of 2 heads of 128, values and results of 8 of 64; states in fp32, there and back
    assert op.hbm_B == 2 * 512 * (2 * 2 * 128 + 2 * 8 * 64) + 2 * STATE_B * 8 * 128 * 64 * 2


def test_the_delta_rule_takes_out_what_a_key_points_to():
    """A chunk of 64: besides the four products of a state space, keys on keys, the inverse on both, the correction."""
    c, d = 64, 128
    op = recurrence_op(DELTA, 1, c, 1, "forward")
    assert op.macs == 4 * (c * c * d + c * c * d + 2 * c * d * d) + 4 * (c * c * d + c * c * 2 * d + c * d * d)


def test_a_scan_multiplies_nothing_and_passes_over_its_state_per_token():
    op = recurrence_op(SCAN, 4, 100, 3, "forward")
    assert op.macs == 0
    assert op.vector_elements == passes()["state_token"] * 300 * 1024 * 16 / 4


@pytest.mark.parametrize("mixer", [DUAL, DELTA, SCAN], ids=lambda m: m.name)
def test_ranks_and_sequences_split_and_repeat_a_recurrence(mixer):
    whole, half = (recurrence_op(mixer, tp, 1024, 2, "forward") for tp in (1, 2))
    twice, back = recurrence_op(mixer, 1, 1024, 4, "forward"), recurrence_op(mixer, 1, 1024, 2, "backward")
    for of in ("macs", "vector_elements", "hbm_B"):
        assert getattr(half, of) == pytest.approx(getattr(whole, of) / 2), of
        assert getattr(twice, of) == pytest.approx(2 * getattr(whole, of)), of
        assert getattr(back, of) == pytest.approx(passes()["recurrence_backward"] * getattr(whole, of)), of


def test_a_short_prompt_is_one_chunk_of_its_own_length():
    short, full = (recurrence_op(DUAL, 1, n, 1, "forward") for n in (32, 256))
    assert short.macs == 2 * 32 * 32 * 128 + 8 * (32 * 32 * 64 + 2 * 32 * 64 * 128)
    assert short.macs < full.macs * 32 / 256


def test_one_token_reads_and_writes_the_state_and_nothing_else():
    op = recurrence_step_op(DUAL, 2, 16, state_B=1e6)
    assert op.hbm_B == 2 * 1e6 / 2 * 16
    assert op.vector_elements == passes()["state_token"] * 8 * 128 * 64 / 2 * 16


def test_the_indexer_of_deepseek_by_hand():
    """64 heads of 128 score 1,000 positions for each of 4 queries: ReLU and weight per head, then the choice."""
    mixer = Latent(16, 1536, 512, 64, 128, 128, indexer=Indexer(n_heads=64, head_dim=128, n_chosen=2048))
    op = index_op(mixer, 4, 1000, 1000, 2, 1.0)
    assert op.macs == 2 * 4 * 64 * 1000 * 128
    assert op.vector_elements == 2 * 4 * 1000 * (64 * passes()["index_score"] + passes()["top_k"])
    assert op.hbm_B == 2 * (1000 * 128 * 1.0 + 2 * 4 * 64 * 128)


def test_ranks_beyond_the_kv_heads_repeat_them():
    assert [replicated_weights(GQA, 4096, tp) for tp in (1, 8)] == [0.0, 0.0]
    # 16 ranks hold a head each where an even share is half a head: keys and values of 128
    assert replicated_weights(GQA, 4096, 16) == 4096 * (128 + 128) * 0.5
    assert [cache_split(GQA, tp) for tp in (4, 8, 16)] == [4, 8, 8]
    assert cache_split(MLA, 16) == 1 and cache_split(DUAL, 4) == 4


def test_what_squeezes_latents_is_whole_on_every_rank():
    """DeepSeek-V3: 7168 x (1536 + 512 + 64) = 15.14e6 weights on each of 8 ranks, 7/8 beyond an even share."""
    assert replicated_weights(MLA, 7168, 1) == 0.0
    assert replicated_weights(MLA, 7168, 8) == 7168 * (1536 + 512 + 64) * 7 / 8


@pytest.mark.parametrize("name", ["deepseek-v3.2", "deepseek-v4-pro", "minimax-m3", "qwen3-next-80b-a3b"])
def test_ranks_hold_what_they_multiply_with(name):
    """Weights of a rank's mixers are those of its products: none is read that is not there, none idles."""
    m, tp = model(name), 8
    for mixer, _ in m.mixers:
        held = (mixer.n_weights(m.hidden) - mixer.n_unmultiplied) / tp + replicated_weights(mixer, m.hidden, tp)
        read = sum(x.inputs * x.outputs * x.count for x in mixer_linears(mixer, m.hidden, tp, 1.0))
        assert held == pytest.approx(read, rel=1e-9)


def test_positions_turn_the_rotary_part_alone():
    """16 queries and one key for all of them, 64 of whose elements are rotary."""
    assert mixer_elements(MLA, 1, 10, "forward", 4.0, 2.0) == (10 * 17 * 64 * passes()["rope"], 10 * 17 * 64 * 2)


def test_kept_values_and_results_are_as_wide_as_values():
    """Of 16 heads: queries and keys of 128 + 64, values and results of 128, two bytes each; 8-bit copies of results."""
    assert kept_B_per_token(MLA, 1, 2.0, 2.0) == 16 * 2 * (192 + 192 + 128 + 128)
    assert kept_B_per_token(MLA, 1, 1.0, 2.0) == 16 * (2 * (192 + 192 + 128 + 128) + 128)


def test_values_narrower_than_keys_make_less_traffic():
    narrow = Attention(n_heads=32, n_kv_heads=8, head_dim=192, value_width=128)
    assert ring_width(narrow, 1, latent=False) == 8 * (192 + 128)
    assert result_width(narrow, 1) == 32 * 128
    assert ring_width(MLA, 1, latent=False) == 16 * (192 + 128)


def test_what_context_ranks_pass_around():
    assert ring_width(GQA, 4, latent=False) == 2 * 2 * 128
    assert ring_width(MLA, 4, latent=True) == 512 + 64
    assert ring_width(DUAL, 4, latent=False) == 0
    assert (result_width(GQA, 4), result_width(MLA, 4), result_width(DUAL, 4)) == (8 * 128, 4 * 512, 0)


def test_small_work_by_hand():
    """RoPE turns 32 + 8 heads of 128; a convolution of 3 taps has its gates before and after."""
    assert mixer_elements(GQA, 1, 10, "forward", 4.0, 2.0) == (10 * 40 * 128 * passes()["rope"], 10 * 40 * 128 * 2)
    conv = ShortConvolution(channels=2048, taps=3)
    assert mixer_elements(conv, 2, 10, "forward", 4.0, 2.0) == (10 * 1024 * 5, 10 * 1024 * 4)
    assert mixer_elements(conv, 2, 10, "backward", 4.0, 2.0) == (2 * 10 * 1024 * 5, 2 * 10 * 1024 * 4)


@pytest.mark.parametrize("width", [0, 256])
def test_a_rank_multiplies_with_every_weight_of_a_block(width):
    """Gemma 3n gates each block by an embedding of its own, 2 x 2048 x 256 weights more; before, none was read."""
    block = Block((GQA,), Mlp(8192), per_layer_width=width)
    m = Model("own", 2048, 32_000, (Run(block, 4),), tied_embeddings=True, norm_passes=2.0, max_context=8192)
    for tp in (1, 2):
        read = sum(x.inputs * x.outputs * x.count * x.share for x in block_linears(m, Shard(tp), 1.0))
        assert read == block.product_weights(2048) / tp
