"""How a checkpoint says that it is stored: every method, every width, and what each leaves in 16 bit."""

import pytest

from dse.core.errors import SpecError
from dse.workload.huggingface import reading

DENSE = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96, "vocab_size": 100,
    "max_position_embeddings": 256, "tie_word_embeddings": False,
}  # fmt: skip
MIXED = DENSE | {"model_type": "mellum", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
WIDE = {"head=bf16", "embedding=bf16", "rest=bf16"}


def stored(config=DENSE, /, **quantised):
    """Format of most weights, and of the parts that differ."""
    narrow, *others = reading(config | {"quantization_config": quantised}, "x.json", "x").model.weight_format.split(",")
    return narrow, set(others)


@pytest.mark.parametrize(
    ("said", "format_"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp8"}, "mxfp8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "gptq"}, "int4"),
        ({"quant_method": "awq", "w_bit": 8}, "int8"),
        ({"quant_method": "auto-round", "bits": 4}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_algo": "nvfp4"}, "nvfp4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "int4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "int4g32z"),
        ({"quant_method": "gptq", "bits": 3}, "int3g128z"),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "int4g64z"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, "nf4-double"),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "group_size": 64}}}, "int3g64a"),
        ({"quant_method": "metal", "bits": 4, "group_size": 64}, "int4g64a"),
        ({"quant_method": "bitnet", "linear_class": "bitlinear"}, "ternary"),
        ({"quant_method": "nvfp4"}, "nvfp4"),
        ({"quant_method": "fp_quant", "forward_dtype": "mxfp4"}, "mxfp4"),
        # ISTA-DASLab's 2-bit files: one code book of 2^16 entries for 8 weights, so 16 / 8
        (
            {
                "quant_method": "aqlm",
                "num_codebooks": 1,
                "nbits_per_codebook": 16,
                "in_group_size": 8,
                "out_group_size": 1,
            },
            "w2",
        ),
    ],
)
def test_linear_layers_are_narrow_and_the_rest_is_not(said, format_):
    assert stored(**said) == (format_, WIDE)


def test_a_head_of_its_own_and_a_whole_file():
    """ExLlama says bits on average and those of the head; a GGUF file its type by its name, tables included."""
    assert stored(quant_method="exl2", bits=4.25, head_bits=6) == ("w4.25", {"head=w6", "embedding=bf16", "rest=bf16"})
    assert stored(quant_method="gguf", gguf_file="llama-3.1-8b-Q4_K_M.gguf") == ("q4_k_m", {"rest=bf16"})


def test_bitnet_narrowed_in_each_pass_is_kept_wide():
    assert stored(quant_method="bitnet", quantization_mode="online")[0] == "bf16"


def test_mxfp4_is_of_experts_alone():
    narrow, others = stored(MIXED, quant_method="mxfp4")
    assert narrow == "mxfp4" and {"attention=bf16", *WIDE} <= others


@pytest.mark.parametrize(
    ("weights", "format_"),
    [
        ({"num_bits": 8, "type": "float"}, "fp8"),
        ({"num_bits": 4, "type": "float"}, "nvfp4"),
        ({"num_bits": 4, "type": "float", "group_size": 32}, "mxfp4"),
        ({"num_bits": 4, "type": "int"}, "int4"),
        ({"num_bits": 8}, "int8"),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}, "int4"),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}, "int4g32"),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": False}, "int4g128z"),
        ({"num_bits": 8, "type": "int", "strategy": "channel", "group_size": None}, "int8"),
    ],
)
def test_groups_of_compressed_tensors(weights, format_):
    group = {"group_0": {"targets": ["Linear"], "weights": weights}}
    assert stored(quant_method="compressed-tensors", config_groups=group) == (format_, WIDE)


@pytest.mark.parametrize(("dtype", "format_"), [("fp4", "mxfp4"), ("fp8", "fp8")])
def test_experts_may_be_stored_otherwise(dtype, format_):
    narrow, others = stored(MIXED, quant_method="fp8", expert_dtype=dtype)
    assert narrow == "fp8" and (f"experts={format_}" in others) == (format_ != "fp8")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"quant_method": "magic"}, "quant_method = .*magic.* is not known; allowed: fp8"),
        ({"quant_method": "gptq", "bits": 7}, "bits = 7 is not known; allowed: 2, 3, 4, 5, 6, 8"),
        ({"quant_method": "awq", "w_bit": "4"}, "bits = .*4.* is not known; allowed: 2, 3, 4, 5, 6, 8"),
        ({"quant_method": "modelopt", "quant_algo": "W4A8"}, "quant_algo = .*W4A8.* is not known; allowed: FP8, NVFP4"),
        ({"quant_method": "compressed-tensors"}, "no config_groups with weights"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"targets": ["Linear"]}}}, "no config_groups"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 7}}}}, "bits = 7"),
        ({"quant_method": "gptq", "dynamic": {"+:(": {"bits": 8}}}, "no regular expression"),
        ({"quant_method": "gptq", "dynamic": {".*": {"bits": 7}}}, "bits = 7"),
        ({"quant_method": "auto-round", "extra_config": ["lm_head"]}, "extra_config = .*lm_head.*, expected an object"),
        ({"quant_method": "gptq", "bits": 4, "group_size": "x"}, "group_size = .*x.*, expected a whole number or -1"),
        ({"quant_method": "gguf", "gguf_file": "model.gguf"}, "gguf_file = .*model.gguf.* allowed: a name with a type"),
        ({"quant_method": "exl2", "bits": 12}, "bits = 12 is not known; allowed: 1 to 8 bits"),
        ({"quant_method": "bitnet", "quantization_mode": "x"}, "quantization_mode = .*x.* allowed: offline, online"),
        ({"quant_method": "fp8", "expert_dtype": "fp6"}, "expert_dtype = .*fp6.* is not known; allowed: fp4, fp8"),
    ],
)
def test_what_is_not_known_is_named_with_what_is(said, words):
    with pytest.raises(SpecError, match=words) as error:
        stored(**said)
    assert str(error.value).startswith("x.json: ") and "\n" not in str(error.value)


BITS = [
    # what is left out by expression stays wide; a group size of its own is as narrow as the rest
    ({"quant_method": "gptq", "bits": 4, "dynamic": {r"-:.*self_attn.*": {}, r".*mlp.*": {"group_size": 32}}},
     "int4", {"attention=bf16"}),
    ({"quant_method": "gptq", "bits": 4, "dynamic": {r"+:.*\.(up|gate|down)_proj": {"bits": 8}}}, "int4", {"mlp=int8"}),
    ({"quant_method": "auto-round", "bits": 4, "extra_config": {"lm_head": {"bits": 8}, ".*self_attn.*": {"bits": 16}}},
     "int4", {"attention=bf16", "head=int8"}),
    # one layer of four is too few to decide for the part
    ({"quant_method": "auto-round", "bits": 4, "extra_config": {"model.layers.0.mlp.up_proj": {"bits": 16}}},
     "int4", set()),
]  # fmt: skip


@pytest.mark.parametrize(("said", "narrow", "others"), BITS)
def test_modules_with_bits_of_their_own(said, narrow, others):
    """Before: `dynamic` and `extra_config` were passed over, so that what they keep wide was read at 4 bits."""
    got, parts = stored(**said)
    kept = {x for x in WIDE if x.partition("=")[0] not in {y.partition("=")[0] for y in others}}
    assert (got, parts) == (narrow, kept | others)


def test_weights_that_are_left_out_are_refused():
    """Before: 4 bits of every weight, where two of four are not stored."""
    group = {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 128}}
    said = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}
    for more in (
        {"format": "marlin-24"},
        {"sparsity_config": {"format": "sparse-24-bitmask", "sparsity_structure": "2:4"}},
    ):
        with pytest.raises(SpecError, match="sparse weights are not modelled"):
            stored(**said, **more)
    assert stored(**said, format="pack-quantized", sparsity_config={"format": "dense"})[0] == "int4"


def test_without_the_object_all_is_16_bit():
    assert reading(DENSE, "x.json", "x").model.weight_format == "bf16"
