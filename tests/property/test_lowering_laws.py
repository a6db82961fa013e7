"""Laws of lowering for every shipped model: what a plan may never change, and what grows with what.

On the host alone, so the whole list of models is affordable: a new family is asked all of this on the day it arrives.
"""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

import dse
from dse.core.errors import PlanError
from dse.lowering.collective import Reference
from dse.lowering.demand import demand
from dse.lowering.memory import chip_parameters, memory_B
from dse.lowering.plan import Plan
from dse.workload.transformer import Decode, Prefill, Training, forward_FLOP_per_token, total_parameters

MODELS = dse.model_names()
REF = Reference(1e11, 1e10, 1e-6, 1e-5)
PLANS = [
    Plan(tp=t, pp=p, dp=8 // (t * p), micro_batch=16 * t * p // 8) for t in (1, 2, 4, 8) for p in (1, 2) if t * p <= 8
]
"""Plans of eight chips that split in every way; of a decode, `micro_batch` is the sequences of a replica's group."""
DENSE = "llama-3.1-8b"


def on(n_chips):
    return dse.system("trn2-16", n_chips)


def lowered(workload, plan, n_chips=8):
    """The demand, or None where the plan does not divide this model."""
    try:
        return demand(workload, plan, on(n_chips), REF)
    except PlanError:
        return None


def decodes(name, batch=16, context=1024):
    """Demands of a decode on eight chips under every plan that divides it, with their plans."""
    workload = Decode(dse.model(name), batch, context)
    every = [(p, lowered(workload, p)) for p in PLANS]
    return [(p, d) for p, d in every if d is not None]


@pytest.mark.parametrize("name", MODELS)
def test_one_chip_holds_every_parameter(name):
    m = dse.model(name)
    assert chip_parameters(Plan(), m) == pytest.approx(total_parameters(m), rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_no_plan_loses_a_weight(name):
    """Ranks of a copy together hold all weights at least; what exceeds them is replicated, never more than all."""
    m = dse.model(name)
    for tp in (1, 2, 4):
        held = tp * chip_parameters(Plan(tp=tp), m)
        assert total_parameters(m) * (1 - 1e-9) <= held <= tp * total_parameters(m) * (1 + 1e-9), tp


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_ranks_of_llama_repeat_its_norms_and_nothing_else(tp):
    """Two norms in each of 32 layers and one at the end, 4096 wide: 266,240 weights that every rank keeps."""
    m = dse.model(DENSE)
    assert tp * chip_parameters(Plan(tp=tp), m) == total_parameters(m) + (tp - 1) * (2 * 32 + 1) * 4096


@pytest.mark.parametrize("name", MODELS)
def test_useful_work_and_tokens_do_not_depend_on_the_plan(name):
    found = decodes(name)
    assert found, "no plan of eight chips divides it"
    for plan, d in found:
        assert float(d.tokens) == 16.0, plan
        np.testing.assert_allclose(d.model_FLOP, found[0][1].model_FLOP, rtol=1e-9, err_msg=str(plan))
    # 16 tokens on eight chips; the newest of 1024 attends to 1023 before it and to itself
    each = 16 * forward_FLOP_per_token(dse.model(name), 1023, 1) / 8
    assert float(found[0][1].model_FLOP) == pytest.approx(each, rel=1e-12)


def test_useful_work_of_a_token_of_llama_by_hand():
    """32 layers of 4096 wide: Q and O 4096 x 4096, K and V 4096 x 1024, three of 4096 x 14336; a head of 128,256.

    Weights of products: 32 (2 x 16,777,216 + 2 x 4,194,304 + 3 x 58,720,256) + 525,336,576 = 7,504,658,432. Attention:
    32 heads of 128, scores and values over 1024 positions: 32 layers x 2 x 32 x 128 x 1024 = 268,435,456 MACs.
    """
    weights = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 4096 * 128256
    attention = 32 * 2 * 32 * 128 * 1024
    assert (weights, attention) == (7_504_658_432, 268_435_456)
    d = demand(Decode(dse.model(DENSE), 16, 1024), Plan(tp=8, micro_batch=16), on(8), REF)
    assert float(d.model_FLOP) == 2.0 * (weights + attention) * 16 / 8


@pytest.mark.parametrize("name", MODELS)
def test_no_plan_does_less_than_the_useful_work(name):
    """Multiply-adds of all chips of all micro batches, two FLOP each, against the useful FLOP."""
    for plan, d in decodes(name):
        done = 2.0 * float(np.sum(d.macs) * d.n_micro)
        assert done >= float(d.model_FLOP) * (1 - 1e-9), plan


@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_a_demand_is_finite_and_not_negative(name):
    for plan, d in decodes(name):
        for path, leaf in jax.tree_util.tree_flatten_with_path(d)[0]:
            assert np.all(np.isfinite(leaf)) and np.all(np.asarray(leaf) >= 0), (plan, jax.tree_util.keystr(path))


@pytest.mark.parametrize("name", MODELS)
def test_twice_the_batch_is_twice_the_tokens_work_and_cache(name):
    m, plan = dse.model(name), Plan(micro_batch=8)
    one, two = (memory_B(dataclasses.replace(plan, micro_batch=n), Decode(m, n, 1024)) for n in (8, 16))
    assert two.kv_B == pytest.approx(2 * one.kv_B, rel=1e-12) and two.weights_B == one.weights_B
    a, b = (demand(Decode(m, n, 1024), Plan(micro_batch=n), on(1), REF) for n in (8, 16))
    assert float(b.tokens) == 2 * float(a.tokens)
    assert float(b.model_FLOP) == pytest.approx(2 * float(a.model_FLOP), rel=1e-12)
    # weights are read once for both: less than twice the bytes, and never fewer than before
    moved = [float(np.sum(d.ops.hbm_B * d.ops.runs)) for d in (a, b)]
    assert moved[0] < moved[1] < 2 * moved[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_longer_context_never_needs_less(name):
    m, plan = dse.model(name), Plan(micro_batch=4)
    lengths = (256, 1024, 4096, 16384)
    found = [demand(Decode(m, 4, n), plan, on(1), REF) for n in lengths]
    for field in ("memory_B", "model_FLOP", "macs"):
        values = [float(np.sum(getattr(d, field))) for d in found]
        assert values == sorted(values), field
    moved = [float(np.sum(d.ops.hbm_B * d.ops.runs)) for d in found]
    assert all(b >= a * (1 - 1e-12) for a, b in itertools.pairwise(moved))


@pytest.mark.parametrize("name", [DENSE, "mixtral-8x7b", "gemma-2-9b", "deepseek-v2-lite", "jamba-v0.1"])
@pytest.mark.parametrize("phase", [Training, Prefill])
def test_useful_work_of_long_passes_is_per_sequence(name, phase):
    """Eight sequences are eight times one, in training and in prefill, on one chip."""
    m = dse.model(name)
    a, b = (demand(phase(m, n, 512), Plan(), on(1), REF) for n in (1, 8))
    assert float(b.model_FLOP) == pytest.approx(8 * float(a.model_FLOP), rel=1e-12)
    # a step of training yields its tokens, a prefill the first token of every sequence or its prompt: 8 times either
    assert float(b.tokens) == 8 * float(a.tokens)


@pytest.mark.parametrize("name", [DENSE, "mixtral-8x7b", "gemma-2-9b"])
def test_training_is_three_forward_passes(name):
    """A backward pass is two forward ones: 3x the useful FLOP of a prefill of the same tokens, but for the head.

    A prefill makes logits of its last position alone, training of all: the difference is 2 V h per further token.
    """
    m, n = dse.model(name), 512
    train, fill = (demand(p(m, 1, n), Plan(), on(1), REF) for p in (Training, Prefill))
    logits = 2.0 * m.vocab * m.hidden * (n - 1)
    assert float(train.model_FLOP) == pytest.approx(3 * (float(fill.model_FLOP) + logits), rel=1e-9)


@pytest.mark.parametrize("name", [DENSE, "gpt-3-175b"])
@pytest.mark.parametrize("pp", [2, 4, 8])
def test_a_pipeline_moves_work_and_adds_none(name, pp):
    """Multiply-adds of a stage times stages: what one chip does alone, and the last stage's head on top at most."""
    w = Training(dse.model(name), 64, 512)
    alone, staged = demand(w, Plan(), on(1), REF), demand(w, Plan(pp=pp), on(pp), REF)
    work = [float(np.sum(d.macs) * d.n_micro) for d in (alone, staged)]
    head = 3.0 * w.model.vocab * w.model.hidden * 64 * 512
    assert work[0] * (1 - 1e-9) <= pp * work[1] <= work[0] + (pp - 1) * head * (1 + 1e-9)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_replicas_of_a_decode_share_nothing(n):
    """n chips with n times the sequences, each a replica: the demand of one, with n times the tokens."""
    m = dse.model(DENSE)
    one = demand(Decode(m, 8, 2048), Plan(micro_batch=8), on(1), REF)
    many = demand(Decode(m, 8 * n, 2048), Plan(dp=n, micro_batch=8), on(n), REF)
    assert float(many.tokens) == n * float(one.tokens)
    same = dataclasses.replace(many, tokens=one.tokens)
    for (path, a), b in zip(jax.tree_util.tree_flatten_with_path(one)[0], jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
