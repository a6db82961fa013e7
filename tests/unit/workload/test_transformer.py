"""Parameter and cache counts against the figures that the models' papers print."""

import dataclasses

import pytest

from dse.core.errors import SpecError
from dse.workload.blocks import Mlp, Run
from dse.workload.presets import model
from dse.workload.transformer import (
    Decode,
    Prefill,
    Training,
    active_parameters,
    check_precision,
    kv_B_per_token,
    moe_share,
    total_parameters,
)


def layer_parameters(m, dense=True):
    """Weights of one block, the dense kind or the one with experts."""
    (found,) = {r.block.n_weights(m.hidden) for r in m.runs if isinstance(r.block.feed, Mlp) is dense}
    return found


def changed(m, **fields):
    """`m` with other fields in its blocks."""
    return dataclasses.replace(m, runs=tuple(Run(dataclasses.replace(r.block, **fields), r.n) for r in m.runs))


@pytest.mark.parametrize(
    ("name", "printed", "rel"),
    [
        # 174.6e9 with Megatron's 51,200 words; learned positions (2048 x 12288 = 25e6) and biases (15e6) not counted
        ("gpt-3-175b", 174.6e9, 0.01),
        ("llama-3.1-8b", 8.03e9, 0.005),
        ("llama-3.1-70b", 70.55e9, 0.005),
        ("llama-3.1-405b", 405.85e9, 0.005),
        ("qwen3-32b", 32.76e9, 0.005),
        # Megatron's sizes, vocabulary 51,200; 530B is MT-NLG
        ("gpt3-6.7b", 6.7e9, 0.015),
        # 24 x 12 x 4096^2 + 51200 x 4096 = 5.04e9 and 44 x 12 x 6144^2 + 51200 x 6144 = 20.2e9
        ("gpt3-5b", 5.04e9, 0.005),
        ("gpt3-20b", 20.25e9, 0.005),
        ("gpt3-22b", 22e9, 0.015),
        ("gpt3-530b", 530e9, 0.005),
        ("bloom-176b", 176.25e9, 0.005),
        # 335.1e6 in the checkpoint (340e6 in the paper); pooler, positions and biases are not counted
        ("bert-large", 335.1e6, 0.015),
        ("llama-2-7b", 6.738e9, 0.005),
        ("llama-2-13b", 13.016e9, 0.005),
        ("llama-2-70b", 68.98e9, 0.005),
        ("llama-3.3-70b", 70.55e9, 0.005),
        ("mistral-7b", 7.242e9, 0.005),
        ("qwen2.5-32b", 32.76e9, 0.005),
        ("mixtral-8x7b", 46.7e9, 0.005),
        ("mixtral-8x22b", 140.6e9, 0.005),
        ("qwen3-30b-a3b", 30.5e9, 0.005),
        ("qwen3-235b-a22b", 235e9, 0.005),
        # without the 14e9 of the layer that predicts one more token
        ("deepseek-v3", 671e9, 0.005),
        ("kimi-k2", 1.04e12, 0.015),
        ("gpt-oss-20b", 20.91e9, 0.005),
        ("gpt-oss-120b", 116.83e9, 0.005),
        # 109e9 with the vision tower
        ("llama-4-scout", 109e9, 0.015),
        ("llama-4-maverick", 400e9, 0.005),
    ],
)
def test_total_parameters(name, printed, rel):
    assert total_parameters(model(name)) == pytest.approx(printed, rel=rel)


@pytest.mark.parametrize(
    ("name", "printed", "n_tables", "rel"),
    [
        ("mixtral-8x7b", 12.9e9, 2, 0.005),
        ("mixtral-8x22b", 39.1e9, 2, 0.005),
        ("qwen3-30b-a3b", 3.3e9, 2, 0.02),
        ("qwen3-235b-a22b", 22e9, 2, 0.015),
        ("deepseek-v3", 37e9, 2, 0.015),
        ("kimi-k2", 32e9, 1, 0.015),  # printed without the embedding
        ("gpt-oss-20b", 3.61e9, 1, 0.005),  # printed without the embedding
        ("gpt-oss-120b", 5.13e9, 1, 0.005),
        ("llama-4-scout", 17e9, 2, 0.015),
        ("llama-4-maverick", 17e9, 2, 0.015),
    ],
)
def test_active_parameters(name, printed, n_tables, rel):
    # all but the routed experts that a token does not visit
    m = model(name)
    active = active_parameters(m) - (2 - n_tables) * m.vocab * m.hidden
    assert active == pytest.approx(printed, rel=rel)


def test_layer_of_mixtral_by_hand():
    # attention as Llama 8B, 8 experts of three 4096 x 14336 matrices, a 4096 x 8 router, two norms
    m = model("mixtral-8x7b")
    experts = 8 * 3 * 4096 * 14336
    assert m.experts.expert_weights(4096) == experts == 1_409_286_144
    by_hand = 2 * 4096 * 4096 + 2 * 4096 * 1024 + experts + 4096 * 8 + 2 * 4096
    assert layer_parameters(m, dense=False) == by_hand == 1_451_270_144


def test_shared_expert_by_hand():
    # Llama 4 Scout: 16 routed experts and one shared, all 8192 wide, and a router of 5120 x 16
    m = model("llama-4-scout")
    attention = 5120 * 128 * (2 * 40 + 2 * 8)
    mlp = (16 + 1) * 3 * 5120 * 8192 + 5120 * 16
    assert layer_parameters(m, dense=False) == attention + mlp + 2 * 5120


def test_latent_attention_by_hand():
    # queries 7168 x 1536 and 1536 x 128 (128 + 64); latent and rotary key 7168 x (512 + 64); keys and values
    # 512 x 128 (128 + 128); output 128 x 128 x 7168: 11,010,048 + 37,748,736 + 4,128,768 + 16,777,216 + 117,440,512
    m = model("deepseek-v3")
    assert m.attention.n_weights(7168) == 11_010_048 + 37_748_736 + 4_128_768 + 16_777_216 + 117_440_512 == 187_105_280
    # without squeezing the queries: 7168 x 128 x 192 in place of the first two
    direct = dataclasses.replace(m.attention, query_rank=0)
    assert direct.n_weights(7168) == 7168 * 128 * 192 + 4_128_768 + 16_777_216 + 117_440_512


def test_dense_blocks_of_a_mixture():
    # DeepSeek-V3: 3 dense blocks of 18432 and 58 with experts
    m = model("deepseek-v3")
    assert moe_share(m) == 58 / 61
    assert layer_parameters(m) == 187_105_280 + 3 * 7168 * 18432 + 2 * 7168
    blocks = 3 * layer_parameters(m) + 58 * layer_parameters(m, dense=False)
    assert total_parameters(m) == blocks + 2 * 129280 * 7168 + 7168


def test_kv_of_latent_attention():
    # 61 layers x (512 + 64) x 2 B = 70,272 B; the heads do not matter
    assert kv_B_per_token(model("deepseek-v3"), "bf16") == 70_272
    assert kv_B_per_token(model("kimi-k2"), "bf16") == 70_272
    assert kv_B_per_token(model("deepseek-v3"), "fp8") == 35_136


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("mixtral-8x7b", 2 * 32 * 8 * 128 * 2),
        ("qwen3-30b-a3b", 2 * 48 * 4 * 128 * 2),
        ("qwen3-235b-a22b", 2 * 94 * 4 * 128 * 2),
        ("gpt-oss-120b", 2 * 36 * 8 * 64 * 2),
        ("llama-4-scout", 2 * 48 * 8 * 128 * 2),
        ("llama-2-7b", 2 * 32 * 32 * 128 * 2),
        ("bloom-176b", 2 * 70 * 112 * 128 * 2),
    ],
)
def test_kv_of_grouped_heads(name, by_hand):
    # 2 (K, V) x layers x KV heads x head width x 2 B
    assert kv_B_per_token(model(name), "bf16") == by_hand


def test_mean_context():
    # at 8192 tokens: half for a decoder; 4096 - 4096^2 / 16384 = 3072 with a window; all for an encoder
    window = model("mistral-7b").attention
    assert dataclasses.replace(window, window=0).n_attended(0, 8192) == 4096
    assert window.n_attended(0, 8192) == 3072
    assert window.n_attended(0, 2048) == 1024
    assert model("bert-large").attention.n_attended(0, 512) == 512
    # chunks of 8192: half a chunk on average once there are several
    chunk = next(x for x, _ in model("llama-4-scout").mixers if x.chunked)
    assert (chunk.n_attended(0, 4096), chunk.n_attended(0, 65536)) == (2048, 4096)


def test_layer_of_llama_8b_by_hand():
    # Q and O 2 x 4096 x 4096, K and V 2 x 4096 x 1024, gate, up, down 3 x 4096 x 14336, two norms
    by_hand = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
    assert layer_parameters(model("llama-3.1-8b")) == by_hand == 218_112_000


def test_gpt_layer_is_twelve_h_squared():
    assert layer_parameters(model("gpt-3-175b")) == 12 * 12288**2 + 2 * 12288


def test_head_width_is_independent_of_hidden():
    # Qwen3-32B: 64 heads of 128 make 8192 on a width of 5120
    m = model("qwen3-32b")
    assert layer_parameters(m) == 5120 * 128 * (2 * 64 + 2 * 8) + 3 * 5120 * 25600 + 2 * 5120


def test_tying_saves_one_table():
    m = model("llama-3.1-8b")
    tied = dataclasses.replace(m, tied_embeddings=True)
    assert total_parameters(m) - total_parameters(tied) == 128256 * 4096


def test_kv_of_llama_70b():
    # 2 (K, V) x 80 layers x 8 heads x 128 x 2 B = 327,680 B
    assert kv_B_per_token(model("llama-3.1-70b"), "bf16") == 327_680
    assert kv_B_per_token(model("llama-3.1-70b"), "fp8") == 163_840


def test_unknown_precision():
    assert check_precision("fp4") == "fp4"
    with pytest.raises(SpecError, match=r"'fp16' is not one of fp32, bf16, fp8, int8, fp4"):
        check_precision("fp16")


def test_norms_of_results_are_weights_too():
    """Two more norms in each of 32 blocks of width 4,096: 262,144 weights more."""
    m = model("llama-3.1-8b")
    more = total_parameters(changed(m, n_norms=4)) - total_parameters(m)
    assert more == 2 * 4096 * 32


@pytest.mark.parametrize(
    ("phase", "sizes", "words"),
    [
        (Training, (0, 4096), "global_batch = 0; give 1 or more"),
        # a batch of -8 took 2.45 s a step, a sequence of -1 took 10.7 s, and a chunk of -1 took -13 ms
        (Training, (-8, 4096), "global_batch = -8"),
        (Training, (64, -1), "sequence = -1"),
        (Training, (64, 4096, "fp3"), "precision 'fp3' is not one of"),
        (Training, (64, 4096, "bf16", True, -1), "adapter_rank = -1; give 0 or more"),
        (Decode, (0, 10), "batch = 0"),
        (Decode, (1, 0), "context = 0"),
        (Prefill, (0, 10), "batch = 0"),
        (Prefill, (1, 0), "prompt = 0"),
        (Prefill, (1, 10, "bf16", "bf16", -1), "chunk = -1; give 0 or more"),
        (Prefill, (1, 10, "bf16", "bf16", 0, -1), "cached = -1"),
    ],
)
def test_no_workload_of_impossible_sizes_can_be_made(phase, sizes, words):
    with pytest.raises(SpecError, match=words):
        phase(model("llama-3.1-8b"), *sizes)
