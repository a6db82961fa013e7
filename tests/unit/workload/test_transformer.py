"""Parameter and cache counts against the figures that the models' papers print."""

import dataclasses

import pytest

from dse.core.errors import SpecError
from dse.workload.presets import model
from dse.workload.transformer import check_precision, kv_B_per_token, layer_parameters, total_parameters


@pytest.mark.parametrize(
    ("name", "printed", "rel"),
    [
        # 174.6e9 with Megatron's 51,200 words; learned positions (2048 x 12288 = 25e6) and biases (15e6) not counted
        ("gpt-3-175b", 174.6e9, 0.01),
        ("llama-3.1-8b", 8.03e9, 0.005),
        ("llama-3.1-70b", 70.55e9, 0.005),
        ("llama-3.1-405b", 405.85e9, 0.005),
        ("qwen3-32b", 32.76e9, 0.005),
    ],
)
def test_total_parameters(name, printed, rel):
    assert total_parameters(model(name)) == pytest.approx(printed, rel=rel)


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
    with pytest.raises(SpecError, match=r"'fp16' is not one of fp32, bf16, fp8, fp4"):
        check_precision("fp16")
