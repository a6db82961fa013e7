"""MLX files that store some modules otherwise: read part by part, or refused, never passed over."""

import pytest

from dse.workload.huggingface import reading

from .test_published_files import llama, refusal

N = 32
"""Layers of the file."""


def mlx(**modules):
    return {"group_size": 64, "bits": 4, **modules}


def each(name, said, layers=range(N)):
    return {f"model.layers.{i}.{name}": said for i in layers}


def stored(raw, key="quantization", **more):
    return reading(llama(num_hidden_layers=N, **{key: raw}, **more), "x.json", "x")


EIGHT = {"group_size": 64, "bits": 8}


@pytest.mark.parametrize("key", ["quantization", "quantization_config"])
def test_head_and_table_of_eight_bits(key):
    """Before: int4 throughout, half of the bytes of both."""
    raw = mlx(**{"lm_head": EIGHT, "model.embed_tokens": EIGHT})
    assert (
        stored(raw, key, tie_word_embeddings=False).model.weight_format
        == "int4g64a,head=int8g64a,embedding=int8g64a,rest=bf16"
    )


def test_a_tied_table_is_the_head_too():
    raw = mlx(**{"model.embed_tokens": EIGHT})
    for tied, said in (
        (True, "int4g64a,head=int8g64a,embedding=int8g64a,rest=bf16"),
        (False, "int4g64a,embedding=int8g64a,rest=bf16"),
    ):
        assert sorted(stored(raw, tie_word_embeddings=tied).model.weight_format.split(",")) == sorted(said.split(","))


def test_attention_of_eight_bits_and_an_mlp_that_was_left():
    raw = mlx(**{k: v for n in "qkvo" for k, v in each(f"self_attn.{n}_proj", EIGHT).items()})
    assert stored(raw).model.weight_format == "int4g64a,rest=bf16,attention=int8g64a"
    raw = mlx(**{k: v for n in ("gate", "up", "down") for k, v in each(f"mlp.{n}_proj", False).items()})
    assert stored(raw).model.weight_format == "int4g64a,rest=bf16,mlp=bf16"
    assert stored(mlx(**each("mlp.up_proj", True))).model.weight_format == "int4g64a,rest=bf16"


def test_experts_under_the_name_that_mlx_gives_them():
    moe = {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512,
           "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True}  # fmt: skip
    names = {k: v for n in ("gate", "up", "down") for k, v in each(f"mlp.switch_mlp.{n}_proj", EIGHT).items()}
    found = stored(mlx(**names, **each("mlp.gate", EIGHT)), **moe)
    assert found.model.weight_format == "int4g64a,rest=bf16,experts=int8g64a"
    assert dict(found.ignored)["quantization.model.layers.0.mlp.gate"].startswith(
        "int8g64a and 31 modules more: too few"
    )


def test_a_few_layers_are_told_and_not_counted():
    found = stored(mlx(**each("mlp.down_proj", EIGHT, range(4))))
    assert found.model.weight_format == "int4g64a,rest=bf16"
    assert "int8g64a and 3 modules more" in dict(found.ignored)["quantization.model.layers.0.mlp.down_proj"]


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (
            each("mlp.w9", EIGHT),
            ["layers.0.mlp.w9 is not int4g64a", "its part (mlp)", "name all of the part"],
        ),
        ({"lm_head": {"bits": 7}}, ["module lm_head", "bits = 7", "allowed: 2, 3, 4, 5, 6, 8"]),
        ({"lm_head": {"group_size": 64}}, ["module lm_head", "bits = null"]),
        ({"lm_head": "wide"}, ['quantization.lm_head = "wide" is not known', "false where it is 16 bit"]),
    ],
)
def test_what_no_part_can_say_is_refused(modules, told):
    said = refusal(llama(num_hidden_layers=N, quantization=mlx(**modules)))
    assert all(word in said for word in told), said


def test_parts_of_published_recipes_are_told_or_counted_by_their_mean():
    """As MLX's mixed recipes write: more bits for v and down projections of some layers."""
    raw = mlx(**each("self_attn.v_proj", EIGHT, range(0, N, 3)), **each("mlp.down_proj", EIGHT, range(0, N, 3)))
    assert "and 21 modules more" in dict(stored(raw).ignored)["quantization.model.layers.0.self_attn.v_proj"]
    # of 4,096 + 1,024 + 1,024 + 4,096 outputs and inputs a tenth is in 8.5 bits: 4.5 + 4 / 10
    assert stored(mlx(**each("self_attn.v_proj", EIGHT))).model.weight_format == "int4g64a,rest=bf16,attention=w4.9"
    # one of three equal matrices in all layers, and in half of them (4 more bits): 4.5 + 4 / 3, 4.5 + 4 / 6
    for layers, mean in ((range(N), 5.8333), (range(0, N, 2), 5.1667)):
        found = stored(mlx(**each("mlp.down_proj", EIGHT, layers)))
        assert found.model.weight_format == f"int4g64a,rest=bf16,mlp=w{mean}"
        assert not [k for k in dict(found.ignored) if k.startswith("quantization.")]
