"""Phases and sizes as people write them: usual sizes, and refusals that name what is allowed."""

import pytest

from dse.core.errors import SpecError, UnknownNameError
from dse.workload.presets import model
from dse.workload.requests import phases_with, workload_of
from dse.workload.transformer import Decode, Prefill, Training

LLAMA = model("llama-3.1-8b")


def test_usual_sizes():
    """Four sequences per chip in training, sixteen in decode, one in all in prefill; 8,192 tokens."""
    assert workload_of("training", LLAMA, 8, {}) == Training(LLAMA, 32, 8192, "bf16")
    assert workload_of("decode", LLAMA, 8, {}) == Decode(LLAMA, 128, 8192)
    assert workload_of("prefill", LLAMA, 8, {}) == Prefill(LLAMA, 1, 8192)


def test_every_size_is_taken():
    sizes = {"batch": 2, "prompt": 100, "chunk": 50, "cached": 7, "weights": "mxfp4", "kv": "fp8"}
    assert workload_of("prefill", LLAMA, 1, sizes) == Prefill(LLAMA, 2, 100, "mxfp4", "fp8", chunk=50, cached=7)
    assert workload_of("training", LLAMA, 1, {"batch": 2, "sequence": 64, "precision": "fp8"}) == Training(
        LLAMA, 2, 64, "fp8"
    )


@pytest.mark.parametrize(
    "phase, sizes, words",
    (
        ("decode", {"prompt": 8}, "--prompt belongs to prefill; decode takes --batch, --context, --weights, --kv"),
        ("training", {"kv": "fp8"}, "--kv belongs to decode and prefill"),
        ("training", {"batch": 0}, "--batch 0: give a whole number, at least 1"),
        ("decode", {"batch": "64"}, "--batch 64: give a whole number, at least 1"),
        ("training", {"sequence": 10**7}, "--sequence 10,000,000: more than 16 times the 131,072 tokens that"),
        ("decode", {"context": 10**7}, "--context 10,000,000: more than the 131,072 tokens that"),
        ("decode", {"weights": "fp5"}, "storage 'fp5' is not one of"),
        ("training", {"precision": "fp5"}, "precision 'fp5' is not one of"),
    ),
)
def test_refusals_say_what_is_allowed(phase, sizes, words):
    with pytest.raises(SpecError, match=words):
        workload_of(phase, LLAMA, 8, sizes, mark="--")


def test_an_unknown_phase_is_refused():
    with pytest.raises(UnknownNameError, match="phase"):
        workload_of("serving", LLAMA, 8, {})


def test_phases_of_a_size():
    assert phases_with("weights") == ("decode", "prefill") and phases_with("sequence") == ("training",)
    assert phases_with("node") == ("training", "prefill", "decode")


def test_a_prompt_left_out_ends_where_the_model_does():
    """131,072 tokens in all: behind 130,000 in the cache 1,072 are left of the usual 8,192, behind all of them none."""
    assert workload_of("prefill", LLAMA, 1, {"cached": 130_000}).prompt == 1_072
    assert workload_of("prefill", LLAMA, 1, {"cached": 1_000}).prompt == 8_192
    with pytest.raises(SpecError, match=r"cached 131,072.*131,072 tokens"):
        workload_of("prefill", LLAMA, 1, {"cached": 131_072})
