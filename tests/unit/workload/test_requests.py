"""Requests to a model: lengths, shares, and the context that those who write have on average."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dse
from dse.core.errors import SpecError
from dse.workload.requests import FreeBatch, Length, Requests, given_batch, workload_of
from dse.workload.transformer import Decode

MODEL = dse.model("llama-3.1-8b")


def requests(*lengths, **more):
    return Requests(MODEL, tuple(Length(*x) for x in lengths), **more)


def test_means_of_two_kinds_by_hand():
    """Three in four ask 1000 for 200, one in four 4000 for 1000.

    Out 0.75 x 200 + 0.25 x 1000 = 400; in 0.75 x 1000 + 0.25 x 4000 = 1750. The prefill makes
    the first, so 399 are decoded: 149.25 at 1000 + 100 on average and 249.75 at 4000 + 500, 1,288,050 / 399 = 3228.2.
    """
    r = requests((1000, 200, 0.75), (4000, 1000, 0.25))
    assert (r.n_output, r.n_prompt, r.longest, r.mean_context) == (400.0, 1750.0, 5000, 3229)


def test_a_context_is_rounded_up():
    """A prompt of 10 and one token out: 10.5."""
    assert requests((10, 1)).mean_context == 11


def test_an_answer_of_one_token_decodes_nothing():
    """Half ask one token of a long prompt: every decode pass is over the short ones."""
    r = requests((9000, 1, 0.5), (100, 100, 0.5))
    assert (r.n_output, r.n_decoded, r.mean_context) == (50.5, 49.5, 150)
    assert r.decodes and not requests((9000, 1)).decodes


whole = st.integers(1, 4000)


@given(whole, whole, whole, whole, st.floats(0.05, 0.95))
def test_the_mean_context_lies_between_those_of_its_kinds(prompt, output, other, more, share):
    mixed = requests((prompt, output, share), (other, more, 1.0 - share))
    alone = sorted(requests(x).mean_context for x in ((prompt, output), (other, more)))
    assert alone[0] <= mixed.mean_context <= alone[1]
    assert requests((other, more, 1.0 - share), (prompt, output, share)).mean_context == mixed.mean_context


@given(whole, whole, st.floats(0.1, 0.9))
def test_one_kind_said_in_two_parts_is_one_kind(prompt, output, share):
    one, two = requests((prompt, output)), requests((prompt, output, share), (prompt, output, 1.0 - share))
    assert two.n_output == pytest.approx(one.n_output) and two.longest == one.longest
    assert abs(two.mean_context - one.mean_context) <= 1  # rounded up, so a last bit may be a token


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ((), "shares of requests to llama-3.1-8b must add up to 1"),
        (((10, 10, 0.5),), "must add up to 1"),
        (((10, 10, 0.5), (10, 10, 0.6)), "must add up to 1"),
        (((0, 10),), "0 tokens in and 10 out: give at least 1 of each"),
        (((10, 0),), "10 tokens in and 0 out: give at least 1 of each"),
        (((10, 10, 1.5), (10, 10, -0.5)), "a share of 1.5 of the requests: give more than 0, at most 1"),
        (((131072, 1),), "exceed the context of 131,072 tokens"),
    ],
)
def test_streams_that_cannot_be(lengths, said):
    with pytest.raises(SpecError, match=said):
        requests(*lengths)


def test_the_longest_that_a_model_was_made_for_is_served():
    assert requests((131071, 1)).longest == MODEL.max_context


@pytest.mark.parametrize("field", ["weight_precision", "kv_precision"])
def test_unknown_storage_is_refused(field):
    with pytest.raises(SpecError, match="fp9"):
        requests((10, 10), **{field: "fp9"})


def test_a_free_batch_stands_for_no_number():
    phase = Decode(MODEL, 7, 1024)
    free = FreeBatch(phase)
    assert free.model is MODEL and given_batch(free) is phase and given_batch(phase) is phase
    assert free.at(64) == dataclasses.replace(phase, batch=64)


def test_an_encoder_and_a_model_without_a_head_have_no_decode_phase():
    """Before: 4,240 tokens a second of BERT, which writes none. A prompt it can read."""
    bert = dse.model("bert-large")
    with pytest.raises(SpecError, match="bert-large has no decode phase: each position sees"):
        workload_of("decode", bert, 8, {})
    with pytest.raises(SpecError, match="no decode phase"):
        Requests(bert, (Length(128, 128),))
    assert workload_of("prefill", bert, 8, {"prompt": 512}).prompt == 512
    scores = dataclasses.replace(MODEL, headless=True)
    with pytest.raises(SpecError, match="no head for words"):
        workload_of("decode", scores, 8, {})
    assert workload_of("decode", MODEL, 8, {}).batch > 0
