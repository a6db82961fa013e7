"""Counts of public models: parameters counted on the reference implementation, caches by hand.

Parameters are those that transformers 5.24 makes of each configuration (biases and norms of heads included, which this
package leaves out), or what the model's own publication prints where the library has no such type.
"""

import dataclasses
import json
from pathlib import Path

import pytest

from dse.lowering.memory import memory_B
from dse.lowering.plan import Plan
from dse.workload.huggingface import read_config, reading
from dse.workload.presets import model, model_reading
from dse.workload.requests import workload_of
from dse.workload.storage import n_element_bits
from dse.workload.transformer import (
    active_parameters,
    kv_B_per_token,
    state_B_per_sequence,
    total_parameters,
)

FILES = Path(__file__).parents[2] / "data" / "models"
PRESETS = {
    "baichuan2-7b": 7_505_973_248, "bloom-176b": 176_247_271_424, "bloom-7b1": 7_069_016_064, "codellama-34b":
    33_743_970_304, "codestral-22b": 22_247_282_688, "command-r-35b": 34_980_831_232, "command-r-plus-104b":
    103_810_674_688, "dbrx": 131_596_523_520, "deepseek-coder-33b": 33_342_991_360, "deepseek-llm-67b":
    67_424_727_040, "deepseek-moe-16b": 16_375_728_128, "deepseek-v2": 235_741_434_880, "deepseek-v3":
    671_026_404_352, "falcon-40b": 41_303_293_952, "falcon-7b": 6_921_720_704, "gemma-2-2b": 2_614_341_888,
    "gemma-2b": 2_506_172_416, "gemma-3-1b": 999_885_952, "gemma-7b": 8_537_680_896, "glm-4-9b": 9_399_951_360,
    "glm-4.7-flash": 29_943_390_976, "gpt-3-175b": 174_615_846_912, "gpt-j-6b": 6_050_882_784, "gpt-neox-20b":
    20_554_567_680, "gpt-oss-120b": 116_829_156_672, "gpt-oss-20b": 20_914_757_184, "gpt2": 124_439_808,
    "gpt2-large": 774_030_080, "gpt2-medium": 354_823_168, "gpt2-xl": 1_557_611_200, "gpt3-22b": 22_074_273_792,
    "gpt3-530b": 529_600_819_200, "gpt3-6.7b": 6_662_266_880, "internlm2-7b": 7_737_708_544, "kimi-k2":
    1_026_408_209_408, "llama-1-30b": 32_528_943_616, "llama-1-65b": 65_285_660_672, "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192, "llama-2-7b": 6_738_415_616, "llama-3.1-405b": 405_853_388_800, "llama-3.1-70b":
    70_553_706_496, "llama-3.1-8b": 8_030_261_248, "llama-3.3-70b": 70_553_706_496, "llama-4-maverick":
    400_711_848_960, "llama-4-scout": 107_769_861_120, "minicpm-2b": 2_724_880_896, "ministral-8b": 8_019_808_256,
    "mistral-7b": 7_241_732_096, "mistral-large-123b": 122_610_069_504, "mixtral-8x22b": 140_620_634_112,
    "mixtral-8x7b": 46_702_792_704, "mpt-30b": 29_958_033_408, "mpt-7b": 6_649_286_656, "olmo-2-13b":
    13_716_198_400, "olmo-2-7b": 7_298_617_344, "olmoe-1b-7b": 6_919_161_856, "opt-1.3b": 1_315_758_080, "opt-13b":
    12_853_473_280, "opt-30b": 29_974_540_288, "opt-6.7b": 6_658_473_984, "opt-66b": 65_718_190_080, "phi-2":
    2_779_683_840, "phi-3-medium": 13_960_238_080, "phi-3-mini": 3_821_079_552, "phi-3.5-moe": 41_873_153_344,
    "pythia-6.9b": 6_857_302_016, "qwen-7b": 7_721_324_544, "qwen1.5-moe-a2.7b": 14_315_784_192, "qwen2.5-0.5b":
    494_032_768, "qwen2.5-1.5b": 1_543_714_304, "qwen2.5-14b": 14_770_033_664, "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-3b": 3_085_938_688, "qwen3-0.6b": 596_049_920, "qwen3-1.7b": 1_720_574_976, "qwen3-14b":
    14_768_307_200, "qwen3-235b-a22b": 235_093_634_560, "qwen3-30b-a3b": 30_532_122_624, "qwen3-4b": 4_022_468_096,
    "smollm2-1.7b": 1_711_376_384, "solar-10.7b": 10_731_524_096, "starcoder2-15b": 15_957_889_024,
    "step-3.7-flash": 195_844_496_640, "tinyllama-1.1b": 1_100_048_384, "yi-34b": 34_388_917_248, "yi-6b":
    6_061_035_520,
}  # fmt: skip


PUBLIC = {x["name"]: x for x in map(json.loads, (FILES / "public.jsonl").read_text().splitlines())}
"""Configurations as published on the models' pages, with the parameters that the pages count in the checkpoints."""


@pytest.mark.parametrize("name", PUBLIC)
def test_published_configurations_count_as_their_checkpoints(name):
    m = reading(PUBLIC[name]["config"], name, name).model
    assert total_parameters(m) == pytest.approx(PUBLIC[name]["parameters"], rel=1e-3)


# bytes per token in bf16 by hand: 2 x layers that keep them x KV heads x head size x 2, or one latent vector per layer
CACHES = {
    "llama-3.2-1b": 2 * 16 * 8 * 64 * 2, "qwen2.5-7b": 2 * 28 * 4 * 128 * 2, "gemma-2b": 2 * 18 * 1 * 256 * 2,
    "falcon-7b": 2 * 32 * 1 * 64 * 2, "falcon-40b": 2 * 60 * 8 * 64 * 2, "starcoder": 2 * 40 * 1 * 128 * 2,
    "gpt2-xl": 2 * 48 * 25 * 64 * 2, "mpt-7b": 2 * 32 * 32 * 128 * 2, "qwen-7b": 2 * 32 * 32 * 128 * 2,
    "deepseek-v2-lite": 27 * (512 + 64) * 2, "deepseek-moe-16b": 2 * 28 * 16 * 128 * 2, "mamba-2.8b": 0,
    "jamba-v0.1": 2 * 4 * 8 * 128 * 2, "dbrx": 2 * 40 * 8 * 128 * 2, "glm-4-9b": 2 * 40 * 2 * 128 * 2,
    # 8, 15, 7, 24, 6 and 8 layers attend; others keep states
    "minicpm-sala": 2 * 8 * 2 * 128 * 2,
    "qwen3.5-397b": 2 * 15 * 2 * 256 * 2, "ling-3.0-flash": 7 * 576 * 2, "kimi-k3": 24 * 576 * 2,
    "nemotron3-nano": 2 * 6 * 2 * 128 * 2, "nemotron3-super": 2 * 8 * 2 * 128 * 2,
    # one index key of 128 where blocks of positions are chosen, or where the choice is not an earlier layer's
    "minimax-m3": (2 * 60 * 4 * 128 + 57 * 128) * 2, "glm-5.2": (78 * 576 + 21 * 128) * 2,
    # an entry of 512 for 4 positions with an index key of 128, or for 128 positions; windows of whole ones beside
    "deepseek-v4-pro": (30 * (512 + 128) // 4 + 31 * 512 // 128) * 2,
    # wide keys that are values too where everything is seen: 25 of 8 heads of 256 twice, 5 of 2 heads of 512 twice
    "gemma-4-26b-a4b": (25 * 2 * 8 * 256 + 5 * 2 * 2 * 512) * 2,
    # the last 18 of 42 layers use earlier keys: 20 windows and 4 wide ones are left
    "gemma-4-e4b": (20 * 2 * 2 * 256 + 4 * 2 * 2 * 512) * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CACHES)
def test_caches_by_hand(name):
    assert kv_B_per_token(reading(PUBLIC[name]["config"], name, name).model, "bf16") == CACHES[name]


def kv_cache_B(model, context, precision):
    """Bytes of KV cache of one sequence over all layers: sliding-window blocks keep their last tokens only."""
    kept = sum(r.n * m.n_kv * m.n_kept(context) for r in model.runs for m in r.block.mixers)
    return kept * n_element_bits(precision) / 8


def test_pooled_caches_by_hand():
    """DeepSeek-V4-Pro at 8,192 and 1,048,576 tokens: 61 windows of 128 x 512 beside what grows; MACs of one token."""
    m = reading(PUBLIC["deepseek-v4-pro"]["config"], "x", "x").model
    for context in (8192, 1048576):
        grown = context * (30 * (512 + 128) // 4 + 31 * 512 // 128)
        assert kv_cache_B(m, context, "bf16") == (grown + 61 * 128 * 512) * 2
    near, far = (next(r.block.mixers[0] for r in m.runs if r.block.mixers[0].pool.rate == x) for x in (4, 128))
    assert near.n_read(65536) == 128 + 1024 and far.n_read(65536) == 128 + 512
    assert near.n_product_macs(65535, 1) == 128 * 1024 * (128 + 1024) + 64 * 128 * 65536 / 4


def test_a_list_of_modules_keeps_the_parts_whose_matrices_it_names():
    """Norms and routers of every layer keep nothing; a part of attention keeps the whole only with its queries."""
    config = PUBLIC["glm-5.2"]["config"]
    plain = [f"model.layers.{i}.{x}" for i in range(79) for x in ("mlp.gate", "self_attn.kv_a_layernorm")]
    quantised = {"quant_method": "fp8", "weight_block_size": [128, 128]}

    def stored(*entries):
        listed = quantised | {"modules_to_not_convert": [*plain, "lm_head", *entries]}
        return reading(config | {"quantization_config": listed}, "x", "x").model.weight_format

    narrow = "fp8,head=bf16,embedding=bf16,rest=bf16"
    assert stored() == stored(*(f"model.layers.{i}.self_attn.o_proj" for i in range(78))) == narrow
    assert stored("self_attn") == stored("re:.*self_attn.*") == stored("model.layers.*.self_attn*")
    assert stored("self_attn") == f"{narrow},attention=bf16"
    assert stored("model.layers.0.mlp", "model.layers.1.mlp") == f"{narrow},mlp=bf16"
    assert stored("re:.*mlp\\.(gate|up|down)_proj.*", "re:.*shared_experts.*") == f"{narrow},mlp=bf16,shared=bf16"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("kimi-k3", "mxfp4,head=bf16,embedding=bf16,rest=bf16,attention=bf16,mlp=bf16,shared=bf16"),
        ("kimi-k2.6", "int4g32,head=bf16,embedding=bf16,rest=bf16,attention=bf16,mlp=bf16,shared=bf16"),
        ("deepseek-v4-flash", "fp8,head=bf16,embedding=bf16,rest=bf16,experts=mxfp4"),
        ("gpt-oss-120b", "mxfp4,head=bf16,embedding=bf16,rest=bf16,attention=bf16"),
        ("minimax-m2", "fp8,head=bf16,embedding=bf16,rest=bf16"),
        ("deepseek-v3", "fp8,head=bf16,embedding=bf16,rest=bf16"),
    ],
)
def test_presets_are_stored_as_their_files_say(name, stored):
    assert model(name).weight_format == stored


# total of the model card in billions, and those that a token meets, tables included
CARDS = {
    "qwen3-coder-480b-a35b": (480.15, 35.5), "qwen3-next-80b-a3b": (79.7, 3.9), "glm-4.5-air": (106.9, 13.4),
    "glm-4.6": (352.8, 33.6), "minimax-m2": (228.7, 11.0), "kimi-linear-48b-a3b": (49.1, 3.5), "phi-4": (14.66, 14.66),
    "qwen3.5-397b-a17b": (396.3, 17.3), "nemotron-3-nano-30b-a3b": (31.6, 3.6), "gemma-4-26b-a4b": (25.2, 3.8),
    "nemotron-3-super-120b-a12b": (120.6, 12.7), "deepseek-v4-flash": (284.3, 13.8), "mistral-large-3": (673.4, 39.9),
    "granite-4.0-h-small": (32.2, 8.8), "qwen3.6-35b-a3b": (34.66, 3.45), "mimo-v2.5-pro": (1021, 41.9),
    "deepseek-v3.2": (671.9, 38.4), "gemma-3-27b": (27.0, 27.0), "jamba-v0.1": (51.57, 12.1),
}  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_newer_presets_count_as_their_cards(name):
    total, active = CARDS[name]
    assert total_parameters(model(name)) == pytest.approx(total * 1e9, rel=2e-3)
    assert active_parameters(model(name)) == pytest.approx(active * 1e9, rel=1e-2)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_count_as_the_reference_does(name):
    assert total_parameters(model(name)) == pytest.approx(PRESETS[name], rel=1e-3)


@pytest.mark.parametrize(
    ("file", "parameters", "kv_B"),
    [
        ("moe_other_keys", 21_825_437_888, 28 * 2 * 4 * 128 * 2),
        ("linear_interval", 79_674_391_296, 12 * 2 * 2 * 256 * 2),
        ("linear_type_list", 456.09e9, 10 * 2 * 8 * 128 * 2),  # README: 456B; 10 of 80 layers attend
        ("ssm_beside_attention", 521_411_104, 36 * 2 * 2 * 64 * 2),
        (
            "cross_attention",
            87.67e9,
            80 * 2 * 8 * 128 * 2,
        ),  # 80 of 100 layers attend to text
        ("shared_other_key", 16.80e9, 28 * 2 * 4 * 128 * 2),
        ("parallel_dense_mlp", 478.6e9, 35 * 2 * 8 * 128 * 2),
        ("tied_by_default", 3_075_098_624, 36 * 2 * 4 * 128 * 2),
        ("dense_refused", 3_402_836_480, 40 * 2 * 8 * 64 * 2),
        ("fp8_checkpoint", 671_026_404_352, 61 * (512 + 64) * 2),
        ("linear_mla", 49_122_675_072, 7 * (512 + 64) * 2),
        ("gated_gelu", 27_009_346_304, 62 * 2 * 16 * 128 * 2),
        ("window_pattern_key", 9_429_069_824, 32 * 2 * 32 * 128 * 2),
    ],
)
def test_files_of_every_kind(file, parameters, kv_B):
    m = read_config(FILES / f"{file}.json").model
    assert total_parameters(m) == pytest.approx(parameters, rel=1e-3)
    assert kv_B_per_token(m, "bf16") == kv_B


@pytest.mark.parametrize(
    ("name", "published"),
    [("qwen3-30b-a3b", 3.3e9), ("qwen3-235b-a22b", 22e9), ("mixtral-8x7b", 12.9e9), ("deepseek-v3", 37e9)],
)
def test_active_parameters_as_published(name, published):
    assert active_parameters(model(name)) == pytest.approx(published, rel=0.02)


def test_active_parameters_of_qwen3_next():
    """80B-A3B: 48 blocks with 10 of 512 experts of 3 x 2048 x 512 and a shared one; 3.875e9 with both tables."""
    m = read_config(FILES / "linear_interval.json").model
    idle = 48 * (512 - 10) * 3 * 2048 * 512
    assert active_parameters(m) == total_parameters(m) - idle == pytest.approx(3.9e9, rel=0.02)


def test_a_state_does_not_grow_and_windows_stop_growing():
    """Qwen3-Next: 36 states of 32 x 128 x 128 and 3 inputs of a convolution over 8,192 channels, 2 B each."""
    m = read_config(FILES / "linear_interval.json").model
    assert state_B_per_sequence(m) == 36 * (32 * 128 * 128 + 3 * 8192) * 2
    exaone = read_config(FILES / "window_pattern_key.json").model
    # 8 layers keep 32,768 positions and 24 the last 4,096: 2 x 32 x 128 x 2 B each
    assert kv_cache_B(exaone, 32768, "bf16") == (8 * 32768 + 24 * 4096) * 16384 == 5632 * 2**20
    assert kv_cache_B(exaone, 2048, "bf16") == 32 * 2048 * 16384


def test_active_parameters_hold_every_table():
    """ERNIE 4.5 21B-A3B says 3 B active, without its one table (tied) of 103,424 x 2,560, which is counted here."""
    m = read_config(FILES / "moe_other_keys.json").model
    assert active_parameters(m) - m.vocab * m.hidden == pytest.approx(3.0e9, rel=0.03)


def test_what_is_left_out_is_said():
    """Qwen2-VL 2B: 1.54e9 of language and 0.665e9 of vision (2.21e9 in the checkpoint)."""
    m = read_config(FILES / "vision_tower.json").model
    (tower,) = m.left_out
    assert tower.name == "vision tower" and "not modelled" in tower.why
    assert total_parameters(m) + tower.n_parameters == pytest.approx(2.21e9, rel=2e-3)


def test_blocks_with_sizes_of_their_own():
    """One block with 8 KV heads (group of 8) and an MLP of 2/3 x 2.625 x 8192 = 14,336, one of half that alone."""
    m = read_config(FILES / "per_block_sizes.json").model
    (a, b) = (r.block for r in m.runs)
    assert (a.mixers[0].n_kv_heads, a.feed.ffn, b.mixers, b.feed.ffn) == (8, 14336, (), 7168)
    assert kv_B_per_token(m, "bf16") == 2 * 8 * 128 * 2


def test_a_quantised_checkpoint_says_how_it_stores():
    r = read_config(FILES / "fp8_checkpoint.json")
    assert (r.method, r.model.weight_format) == ("fp8", "fp8,head=bf16,embedding=bf16,rest=bf16")
    decode = workload_of("decode", r.model, 8, {})
    assert decode.weight_precision == r.model.weight_format
    wide = dataclasses.replace(decode, weight_precision="bf16")
    # 669e9 weights at 8 bits and 1.9e9 in tables, router and norms at 16, over 8 chips: 81 GiB, not 156; those
    # of 61 layers that squeeze 7168 to latents of 1536 and 512 + 64 are whole on each chip
    squeezed_B = 61 * 7168 * (1536 + 512 + 64) * 1.0
    narrow, whole = (memory_B(Plan(tp=8, micro_batch=decode.batch), w).weights_B for w in (decode, wide))
    assert narrow == pytest.approx((669.0e9 * 1.0 + 2.0e9 * 2 + squeezed_B * 7) / 8, rel=5e-3)
    assert whole > 1.9 * narrow
    assert model_reading("llama-3.1-8b").model.weight_format == "bf16"
