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
from dse.hardware.chip import peak_FLOPps
from dse.hardware.system import Fabric
from dse.lowering.collective import Reference, across_all_reduce, across_gather, all_to_all
from dse.lowering.demand import demand
from dse.lowering.groups import spread
from dse.lowering.memory import chip_expert_parameters, chip_parameters, memory_B
from dse.lowering.plan import Plan
from dse.lowering.serving_ops import serving_ops
from dse.lowering.training_ops import predicted_frac
from dse.lowering.training_traffic import stage_message, tensor_traffic
from dse.physics.calibration import calibration
from dse.physics.evaluate import chip_technology, silicon
from dse.physics.heat import read_energy_J_per_B, sustained_J
from dse.physics.power import energy_J, step_energy
from dse.physics.step import step_time, stream_traffic_B
from dse.workload.mixers import Attention
from dse.workload.op import passes
from dse.workload.transformer import Decode, Prefill, Training, forward_FLOP_per_token, moe_share, total_parameters

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


WORKS = {
    "tensor": Plan(tp=4, dp=2), "context": Plan(tp=2, cp=2, dp=2), "experts": Plan(tp=2, dp=4, ep=4),
    "experts over context": Plan(cp=2, dp=4, ep=8), "pipeline": Plan(tp=2, pp=2, dp=2), "zero": Plan(dp=8, zero=3),
    "no sequence parallelism": Plan(tp=4, dp=2, sequence_parallel=False), "stream": Plan(tp=4, dp=2, order="stream"),
}  # fmt: skip
"""Plans of eight chips, one for each way to share out training."""


def trained(name, plan, rank=0, fused=True, batch=16, n_chips=8):
    """Workload and demand of a step of training, or None where the plan does not divide this model."""
    w = Training(dse.model(name), batch, 512, fused_attention=fused, adapter_rank=rank)
    return w, lowered(w, plan, n_chips)


@pytest.mark.parametrize("name", MODELS)
def test_no_training_plan_does_less_than_the_useful_work(name):
    """With everything trained or adapters alone, of decoders and of encoders, whose masked positions alone have logits.

    Before frozen weights were left out of what is useful, adapters reached 1.5 times the peak.
    """
    for (way, plan), recompute, rank in itertools.product(WORKS.items(), ("none", "full"), (0, 16)):
        _, d = trained(name, dataclasses.replace(plan, recompute=recompute), rank)
        if d is not None:
            done = 2.0 * float(np.sum(d.macs) * d.n_micro)
            assert done >= float(d.model_FLOP) * (1 - 1e-9), (way, recompute, rank)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("way", [w for w in WORKS if w not in ("experts", "experts over context", "pipeline")])
def test_all_chips_together_multiply_what_the_step_asks_for(way, recompute):
    """Llama 3.1 8B, 16 sequences of 512: 3 runs of every weight, 4 where layers are run again; scores 3.5 or 4.5 times.

    Compiled programs leave out the last product of a layer that is run again, which no gradient needs.

    A token sees 256 others on average: forward two products (scores, values), backward five (scores again, and the
    gradients of values, scores, queries and keys), each of 32 heads of 128.
    """
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    again = int(recompute == "full")
    attention = (2 * (1 + again) + 5) * 32 * 128 * 256
    tokens = 16 * 512
    hand = tokens * (32 * ((3 + again) * layer - again * 14336 * 4096 + attention) + 3 * 4096 * 128256)
    _, d = trained(DENSE, dataclasses.replace(WORKS[way], recompute=recompute))
    assert 8 * float(np.sum(d.macs) * d.n_micro) == pytest.approx(hand, rel=1e-12)


@pytest.mark.parametrize("rank", [1, 16, 64])
def test_adapters_on_frozen_weights_by_hand(rank):
    """Llama 3.1 8B: weights twice (forward, gradients of inputs), adapters three times, of 4096 + 6144 and 4096 + 4096.

    One matrix makes queries, keys and values, 4096 + 2 x 1024 wide; another, 4096 x 4096, the result.
    """
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    beside = rank * (4096 + 6144 + 4096 + 4096)
    useful = 32 * (2 * layer + 3 * beside + 3 * 2 * 32 * 128 * 256) + 2 * 4096 * 128256
    w, d = trained(DENSE, Plan(tp=4, dp=2), rank)
    assert float(d.model_FLOP) == pytest.approx(2 * useful * 16 * 512 / 8, rel=1e-12)
    assert w.adapter_rank == rank


def test_an_encoder_predicts_masked_positions_alone():
    """BERT: 15 % of the positions, and the head is 1024 x vocabulary."""
    w, d = trained("bert-large", Plan(dp=8))
    m, tokens = w.model, 16 * 512
    whole = 3 * forward_FLOP_per_token(m, 0.0, 512.0) * tokens / 8
    left_out = 3 * 2 * m.hidden * m.vocab * (1 - predicted_frac(m)) * tokens / 8
    assert float(d.model_FLOP) == pytest.approx(whole - left_out, rel=1e-12) and predicted_frac(m) < 0.2


@pytest.mark.parametrize("way", WORKS)
@pytest.mark.parametrize("name", [DENSE, "mixtral-8x7b", "deepseek-v2-lite", "jamba-v0.1", "bert-large"])
def test_twice_the_replicas_and_the_batch_are_the_same_step(name, way):
    """Only what replicas send each other for the whole step may differ, and what they share of states and memory."""
    plan = WORKS[way]
    wide = dataclasses.replace(plan, dp=2 * plan.dp)
    (_, a), (_, b) = trained(name, plan), trained(name, wide, batch=32, n_chips=16)
    if a is None or b is None:
        return
    assert float(b.tokens) == 2 * float(a.tokens)
    for field in ("ops", "tensor", "n_micro", "model_FLOP", "bubble_micro", "window_micro", "macs", "n_host", "stream"):
        for x, y in zip(jax.tree.leaves(getattr(a, field)), jax.tree.leaves(getattr(b, field)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, err_msg=field)
    assert float(b.optimizer_B) <= float(a.optimizer_B) and float(b.memory_B) <= float(a.memory_B)


@pytest.mark.parametrize("name", MODELS)
def test_replicas_hold_every_weight_as_often_as_they_say(name):
    """Routed experts once per dp cp / ep copies, all else at least once per replica: nothing is lost among ranks."""
    m = dse.model(name)
    for plan in WORKS.values():
        experts = m.experts.n_experts if m.experts else 1
        if experts % plan.ep or plan.pp > 1:
            continue
        chips = plan.tp * plan.cp * plan.dp
        routed = sum(r.n * r.block.expert_weights(m.hidden) for r in m.runs)
        held = chips * chip_expert_parameters(plan, m)
        assert held == pytest.approx(routed * plan.cp * plan.dp / plan.ep, rel=1e-12)
        rest = chips * (chip_parameters(plan, m) - chip_expert_parameters(plan, m))
        assert rest >= (total_parameters(m) - routed) * plan.cp * plan.dp * (1 - 1e-12)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kv", ["bf16", "fp8", "nvfp4"])
def test_attention_reads_the_cache_that_memory_holds(name, kv):
    """A decode over full contexts reads each cached byte once: what `memory_B` counts, less the half-empty last block.

    Windows, chunks and sparse attention read less than they hold, a recurrent state is read and written.
    """
    m = dse.model(name)
    plain = all(type(x) is Attention and x.causal and not (x.window or x.indexer) for x, _ in m.mixers)
    w = Decode(m, 8, 4096, kv_precision=kv)
    held = memory_B(Plan(micro_batch=8), w).kv_B
    # blocks of 16 tokens round 4,096 up to itself
    placed = [p for p in serving_ops(w, Plan(micro_batch=8)) if p.op.name == "attention"]
    read = sum(m.n_layers * p.share * p.op.hbm_B for p in placed)
    if plain:
        queries = 8 * sum(m.n_layers * share * 2 * x.n_heads * (x.head_dim + x.value_dim) for x, share in m.mixers)
        own = sum(x.own_kv * share for x, share in m.mixers)
        assert (read - queries) * own == pytest.approx(held, rel=1e-9)
    assert read < 1.2 * held + 1e9


@pytest.mark.parametrize("tokens", [1, 3, 17, 256, 4096])
@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v3", "gpt-oss-120b"])
def test_visits_of_experts_are_conserved(name, tokens):
    """Rows over all experts of a rank and all ranks: k visits a token, times the imbalance of the fullest rank."""
    m = dse.model(name)
    for ep in (1, 2, 4):
        plan = Plan(dp=4, ep=ep, micro_batch=tokens)
        ops = {p.op.name: p.op for p in serving_ops(Decode(m, 4 * tokens, 1024), plan)}
        (up,) = ops["expert up"].products
        visits = 4 * up.moving * up.count
        assert visits == pytest.approx(4 * tokens * m.experts.per_token * passes()["expert_imbalance"], rel=1e-9)


def fabrics():
    return [dse.system(n).fabric for n in ("dgx-h100", "trn2-ultraserver", "trn3-gen2-144", "tpu-v5e-256")]


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 64, 256])
@pytest.mark.parametrize("inner", [1, 2, 4, 16])
def test_every_rank_gets_what_it_lacks_and_no_more_arrives_than_was_sent(inner, size):
    """All-gather of V: (n - 1)/n V to each of n ranks; all-reduce twice that, or V once through switches that add.

    An even exchange: (n - 1)/n of each rank's V. Bytes on links are at least those, more where chips pass them on.
    """
    for fabric in fabrics():
        g, n_out = spread(fabric, inner, size)
        assert g.size * n_out == size
        lacks = (size - 1) / size
        for f in (across_gather, across_all_reduce):
            t = f(g, n_out, 1.0, REF)
            assert t.sent_B + t.out_B >= lacks * (1 - 1e-12)
        gathered, exchanged = across_gather(g, n_out, 1e12, REF), all_to_all(g, n_out, 1e12)
        for t in (gathered, exchanged):
            assert t.sent_B + t.out_B >= lacks * 1e12 * (1 - 1e-12)
            if g.switched or (t is gathered and g.n_links == 1.0):  # nobody stands between
                assert t.sent_B + t.out_B == pytest.approx(lacks * 1e12, rel=1e-12)
        # what a rank sends to others of its domain takes at least all links of a chip at once
        assert exchanged.up_B >= (g.size - 1) / size * 1e12 * (1 - 1e-12)
        assert gathered.up_B >= (g.size - 1) / g.size * 1e12 * (1 - 1e-12)


@pytest.mark.parametrize("phase", [Training, Prefill, Decode])
@pytest.mark.parametrize("way", [w for w in WORKS if w not in ("zero", "no sequence parallelism")])
def test_no_step_beats_its_bounds(phase, way):
    """Useful FLOP over the peak of all chips; in decode also the weights and cache of a chip over its bandwidth."""
    plan, name = WORKS[way], "mixtral-8x7b" if "experts" in way else DENSE
    w = phase(dse.model(name), 16, 4096)
    plan = plan if phase is Training else dataclasses.replace(plan, micro_batch=16 // plan.dp, sequence_parallel=True)
    d = lowered(w, plan)
    if d is None:
        return
    chip, c = on(8).chip, calibration("prior-neuron")
    step = step_time(d, chip, c)
    assert float(step.total_s) >= float(d.model_FLOP) / float(peak_FLOPps(chip, "bf16"))
    if phase is Decode and plan.order != "stream":
        memory = memory_B(plan, w)
        # of a token's mixture of experts some are not read, and the table of embeddings is looked up
        moved = memory.kv_B + 0.5 * (memory.weights_B - 2 * w.model.vocab * w.model.hidden / plan.tp)
        assert float(step.total_s) >= moved / float(chip.hbm_bandwidth_Bps)
    assert float(step.hbm_B) <= float(step.total_s) * float(chip.hbm_bandwidth_Bps)


@pytest.mark.parametrize("sequence_parallel", [True, False])
@pytest.mark.parametrize(("tp", "ep"), [(1, 4), (2, 1), (2, 4), (4, 2), (4, 4)])
@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v2-lite", "qwen3-30b-a3b"])
def test_experts_get_every_row_they_multiply(name, tp, ep, sequence_parallel):
    """Each tensor rank of an expert multiplies all of its rows with a part of its weights.

    T tokens of a group of tensor ranks make k T visits, over all experts as many rows at every rank. Of these it has
    made 1/(tp ep) itself with sequence parallelism, else 1/ep; the rest must arrive. What it has by gathering tokens
    for a router or a shared expert comes on top.
    """
    m, plan = dse.model(name), Plan(tp=tp, dp=16 // tp, ep=ep, sequence_parallel=sequence_parallel, recompute="none")
    fabric, rings = Fabric("switched", (64,), (1.0,)), dataclasses.replace(REF, has_direct=False)
    w = Training(m, 16, 512)
    t = tensor_traffic(w, plan, fabric, 1.0, rings, "fused")
    e, tokens = m.experts, 512.0
    rows_B = tokens * e.per_token * e.routed_width(m.hidden) * 2.0
    shared = bool(e.shared_ffn or e.parallel_ffn)
    tensor_rows_B = tokens * m.hidden * 2.0 * (tp - 1) / tp
    if ep == 1:  # the rows are there once tokens are gathered
        routed_B, gathers = 0.0, 2.0
    elif sequence_parallel:
        routed_B, gathers = rows_B * (1 - 1 / (tp * ep)), 1.0 + shared
    else:
        routed_B, gathers = rows_B * (1 - 1 / ep), 2.0
    # forward in and out, backward out and in; attention gathers and scatters in every block, other MLPs in the rest
    moe = moe_share(m)
    tensor_B = tensor_rows_B * (moe * gathers + (1 - moe) * 2.0)
    assert t.sent_B + t.out_B == pytest.approx(4.0 * (moe * routed_B + tensor_B), rel=1e-9)


def test_stages_send_each_token_once_to_each_rank():
    """A slice from every tensor rank, gathered there unless it stays split: 4 MB from four ranks to a next node."""
    fabric = dse.system("dgx-h100", 16).fabric
    t = stage_message(4e6, Plan(tp=4, pp=2, dp=2), fabric, REF, whole=True)
    assert (t.out_B, t.sent_B) == (1e6, pytest.approx(3e6))
    assert stage_message(4e6, Plan(tp=4, pp=2, dp=2), fabric, REF, whole=False).sent_B == 0.0


@pytest.mark.parametrize("phase", [Training, Prefill, Decode])
@pytest.mark.parametrize("way", ["tensor", "experts", "pipeline", "stream", "zero"])
def test_energy_of_a_step_is_that_of_its_operators_its_states_and_its_messages(phase, way):
    """Two rooms count it: by block of the chip over a step, and by operator, which is what a cooling limit sees."""
    plan, name = WORKS[way], "mixtral-8x7b" if way == "experts" else DENSE
    w = phase(dse.model(name), 16, 4096)
    if phase is not Training:
        plan = dataclasses.replace(plan, micro_batch=16 // plan.dp, zero=1)
    d = lowered(w, plan)
    chip, c = on(8).chip, calibration("prior-neuron")
    tech = chip_technology(chip)
    s, step = silicon(chip, tech), step_time(d, chip, c)
    at = s.supply_V, s.die_mm2
    one, _ = sustained_J(d, chip, tech, c, *at)
    read_J_per_B = float(read_energy_J_per_B(chip, tech, *at))
    read_B = float(stream_traffic_B(d.stream, chip, c)) * float(d.n_micro) + float(d.optimizer_B)
    sent_B = sum(float(n) * float(t.sent_B + t.out_B) for n, t in d.traffics.values())
    parts = float(d.n_micro) * float(np.sum(d.ops.runs * np.asarray(one)))
    parts += read_B * read_J_per_B + sent_B * float(tech.link.energy_J_per_B)
    assert float(energy_J(step_energy(d, step, chip, tech, *at))) == pytest.approx(parts, rel=1e-9)
