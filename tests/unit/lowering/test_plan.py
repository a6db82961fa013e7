"""Plans: text in and out, every rule with its message, and an enumeration that obeys the rules."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.core.errors import PlanError
from dse.hardware.presets import chip
from dse.hardware.system import Fabric, System
from dse.lowering.plan import (
    Plan,
    check_plan,
    layers_per_stage,
    n_micro_batches,
    parse_plan,
    plan_text,
    plans,
)
from dse.lowering.plan_keys import ORDERS, RECOMPUTE, SCHEDULES, ZERO
from dse.workload.blocks import Block, Mlp
from dse.workload.mixers import Attention
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training, uniform

GPT3 = Training(model("gpt-3-175b"), global_batch=1536, sequence=2048)
LLAMA_405B = Training(model("llama-3.1-405b"), global_batch=2048, sequence=8192)
DECODE_70B = Decode(model("llama-3.1-70b"), batch=64, context=8192)
MIXTRAL = Training(model("mixtral-8x7b"), global_batch=256, sequence=4096)
DEEPSEEK = Training(model("deepseek-v3"), global_batch=1024, sequence=4096)
LONG_8B = Training(model("llama-3.1-8b"), global_batch=8, sequence=131072)
LONG_MIXTRAL = Training(model("mixtral-8x7b"), global_batch=8, sequence=32768)


def system(n_chips, domain=8, name="cluster"):
    return System(name, chip("h100"), Fabric("switched", (domain,), (1.0,)), n_chips)


def test_text_in():
    text = "tp=8,pp=4,dp=2,micro=1,interleave=2,zero=1,recompute=full"
    assert parse_plan(text) == Plan(tp=8, pp=4, dp=2, micro_batch=1, interleave=2, zero=1, recompute="full")
    assert parse_plan(" tp = 8 , dp=2") == Plan(tp=8, dp=2)


def test_text_out_shows_sizes_and_what_is_unusual():
    assert plan_text(Plan(tp=8)) == "tp=8,pp=1,dp=1,micro=1"
    assert plan_text(Plan(zero=0, recompute="none")) == "tp=1,pp=1,dp=1,micro=1,zero=0,recompute=none"


size = st.integers(1, 4096)


@given(
    st.builds(
        Plan, size, size, size, size, size, st.sampled_from(ZERO), st.sampled_from(RECOMPUTE), size, size,
        st.booleans(), st.sampled_from(SCHEDULES), st.sampled_from(ORDERS), st.booleans(),
        st.floats(0.0, 1.0).map(lambda x: round(x, 4)), size,
    )
)  # fmt: skip
def test_text_round_trip(plan):
    """Of every field: a text that left out copies, or the share that is computed again, was that of two plans."""
    assert parse_plan(plan_text(plan)) == plan


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "tpp=8",
            "unknown key 'tpp'; allowed: tp, pp, dp, micro, interleave, zero, recompute, cp, ep, schedule, order, "
            "recompute_frac, n_copies, sequence_parallel, offload; did you mean tp?",
        ),
        ("micro_batch=8", "unknown key 'micro_batch'; allowed: tp, pp, dp, micro"),
        ("tp=2.5", "tp=2.5 is not allowed; give a whole number, at least 1"),
        ("tp=eight", "tp=eight is not allowed"),
        ("pp=-2", "pp=-2 is not allowed; give a whole number, at least 1"),
        ("dp=0", "dp=0 is not allowed"),
        ("dp=99999999999", "below 1e9"),
        ("zero=4", "zero=4 is not one of 0, 1, 2, 3"),
        ("zero=yes", "zero=yes is not allowed; give 0 to 3"),
        ("recompute=ful", "recompute=ful is not one of none, selective, full; did you mean full?"),
        ("recompute_frac=2", "recompute_frac=2.0 is not allowed; give a share, 0 to 1"),
        ("recompute_frac=half", "recompute_frac=half is not allowed; give a share, 0 to 1"),
        ("offload=1", "offload=1 is not one of yes, no"),
        ("tp=8,tp=4", "key 'tp' appears twice (8 and 4)"),
        ("tp", "'tp' is not key=value"),
        ("", "'' is not key=value"),
        ("tp=8,", "'' is not key=value"),
    ],
)
def test_bad_text(text, words):
    with pytest.raises(PlanError) as e:
        parse_plan(text)
    assert words in str(e.value)
    assert "\n" not in str(e.value)


@given(st.text(alphabet="tpdmicrozeo=,-0123456789. ", max_size=20))
def test_any_text_gives_a_plan_or_a_line(text):
    try:
        parse_plan(text)
    except PlanError as e:
        assert "\n" not in str(e)


@pytest.mark.parametrize(
    ("workload", "text", "chips", "words"),
    [
        (GPT3, "tp=8,pp=8,dp=8", 1024, "tp*pp*dp = 8*8*8 = 512, but cluster has 1024 chips"),
        (GPT3, "tp=5,dp=8", 40, "tp=5 does not divide the 96 heads of gpt-3-175b"),
        (GPT3, "tp=16,dp=2", 32, "tp=16 does not fit the scale-up domain of 8 chips"),
        (GPT3, "tp=3,dp=8", 24, "tp=3 does not fit the scale-up domain of 8 chips of cluster; use a divisor of 8"),
        (GPT3, "pp=97", 97, "pp=97 exceeds the 96 layers"),
        (GPT3, "dp=1024", 1024, "global batch 1536 is not a multiple of dp*micro = 1024*1 = 1024"),
        (GPT3, "dp=8,micro=256", 8, "global batch 1536 is not a multiple of dp*micro = 8*256 = 2048"),
        (GPT3, "tp=8,interleave=2", 8, "interleave=2 needs pp > 1; use interleave=1"),
        (GPT3, "pp=8,interleave=5", 8, "interleave=5 does not divide the 12 layers of a stage (pp=8)"),
        # 1536 / (1 x 512) = 3 micro batches for 8 stages
        (GPT3, "pp=8,micro=512,interleave=2", 8, "interleave=2 needs micro batches in multiples of pp=8, got 3"),
        (DECODE_70B, "pp=81", 81, "pp=81 exceeds the 80 layers"),
        (DECODE_70B, "dp=8,ep=2", 8, "ep=2 does not divide the 1 experts"),
        (DECODE_70B, "tp=8,interleave=2", 8, "interleave=2: inference has no virtual stages"),
        (DECODE_70B, "tp=2,dp=3", 6, "batch 64 is not a multiple of dp=3"),
        (DECODE_70B, "tp=8,dp=2,micro=7", 16, "micro=7, but batch 64 over dp=2 gives 32; omit micro"),
    ],
)
def test_plans_that_do_not_fit(workload, text, chips, words):
    with pytest.raises(PlanError) as e:
        check_plan(parse_plan(text), workload, system(chips))
    assert words in str(e.value)
    assert "\n" not in str(e.value)


def with_block(m, mixer, feed):
    return dataclasses.replace(m, runs=uniform(Block((mixer,), feed), m.n_layers))


def test_kv_heads_split_or_replicated():
    wide = system(64, domain=64)
    check_plan(parse_plan("tp=64"), DECODE_70B, wide)  # 8 KV heads, each on 8 ranks
    odd = with_block(DECODE_70B.model, Attention(72, 8, 128), Mlp(28800))
    with pytest.raises(PlanError, match="tp=12 neither divides the 8 KV heads"):
        check_plan(parse_plan("tp=12,dp=4"), dataclasses.replace(DECODE_70B, model=odd), system(48, domain=48))
    thin = with_block(DECODE_70B.model, DECODE_70B.model.attention, Mlp(28673))
    with pytest.raises(PlanError, match="tp=8 does not divide the MLP width 28673"):
        check_plan(parse_plan("tp=8"), dataclasses.replace(DECODE_70B, model=thin), system(8))


def test_tensor_ranks_must_divide_the_width_of_experts():
    """Qwen3 30B-A3B: 32 heads, 4 KV heads and no dense MLP; experts 768 wide, which 512 ranks would not divide."""
    qwen = model("qwen3-30b-a3b")
    odd = with_block(qwen, qwen.attention, dataclasses.replace(qwen.experts, ffn=764))
    training = Training(odd, 8, 4096)
    check_plan(parse_plan("tp=4"), training, system(4, domain=8))
    with pytest.raises(PlanError, match="tp=8 does not divide the expert width 764"):
        check_plan(parse_plan("tp=8"), training, system(8, domain=8))
    shared = with_block(qwen, qwen.attention, dataclasses.replace(qwen.experts, shared_ffn=100))
    with pytest.raises(PlanError, match="tp=8 does not divide the shared experts' width 100"):
        check_plan(parse_plan("tp=8"), Training(shared, 8, 4096), system(8, domain=8))


@pytest.mark.parametrize("plan", [Plan(tp=0), Plan(dp=-1), Plan(zero=4), Plan(recompute="often"), Plan(pp=True)])
def test_fields_are_checked_however_the_plan_was_made(plan):
    with pytest.raises(PlanError, match=r"not allowed|not one of"):
        check_plan(plan, GPT3, system(1))


def test_uneven_pipeline_rounds_the_heaviest_stage_up():
    # 126 / 16 = 7.875
    plan = parse_plan("tp=8,pp=16,dp=16,interleave=8")
    check_plan(plan, LLAMA_405B, system(2048))
    assert layers_per_stage(plan, LLAMA_405B.model) == 8


def test_micro_batches():
    assert n_micro_batches(Plan(tp=8, pp=8, dp=16), GPT3) == 96
    assert n_micro_batches(Plan(dp=16, micro_batch=4), GPT3) == 24


def test_megatron_plan_is_enumerated():
    found = plans(GPT3, system(1024))
    assert Plan(tp=8, pp=8, dp=16, micro_batch=1, interleave=1, zero=1, recompute="selective") in found
    assert Plan(tp=8, pp=8, dp=16, micro_batch=1, interleave=6, zero=1, recompute="full") in found


ANY = [
    (GPT3, system(1024)),
    (GPT3, system(1)),
    (LLAMA_405B, system(2048, domain=64)),
    (LLAMA_405B, system(2304, domain=144)),
    (DECODE_70B, system(64, domain=64)),
    (DECODE_70B, system(8, domain=64)),
    (MIXTRAL, system(64)),
    (DEEPSEEK, system(1024)),
    (LONG_8B, system(64)),
    (LONG_MIXTRAL, system(64)),
]


@pytest.mark.parametrize(("workload", "where"), ANY)
def test_every_enumerated_plan_passes(workload, where):
    found = plans(workload, where)
    assert found
    assert len(set(found)) == len(found)
    for plan in found:
        check_plan(plan, workload, where)


def test_enumeration_misses_nothing_in_a_small_space():
    # Brute force over every field against the rules.
    where = system(24)
    found = set(plans(GPT3, where, max_micro_batch=2))
    for tp in range(1, 25):
        for pp in range(1, 25):
            for v in range(1, 9):
                for micro in (1, 2):
                    dp = max(24 // (tp * pp), 1)
                    plan = Plan(tp, pp, dp, micro, v, int(dp > 1), "none")
                    try:
                        check_plan(plan, GPT3, where)
                    except PlanError:
                        assert plan not in found
                    else:
                        assert plan in found


def test_limits_of_the_enumeration():
    found = plans(LLAMA_405B, system(2048, domain=64), max_micro_batch=2)
    assert max(p.micro_batch for p in found) == 2
    assert max(p.interleave for p in found) <= 8
    assert {p.zero for p in found if p.dp > 1} == {1}
    assert {p.recompute for p in found} == set(RECOMPUTE)


def test_nothing_valid_is_an_empty_list():
    assert plans(dataclasses.replace(GPT3, global_batch=1), system(4096)) == []
    assert plans(dataclasses.replace(DECODE_70B, batch=1), system(4096)) == []


def test_decode_plans_state_sequences_per_replica():
    found = plans(DECODE_70B, system(64, domain=64))
    assert Plan(tp=8, dp=8, micro_batch=8) in found
    assert [p.tp for p in found] == [1, 2, 4, 8, 16, 32, 64]


def test_enumeration_stays_small_on_a_large_system():
    assert 100 < len(plans(LLAMA_405B, system(4096, domain=64))) < 10_000


def test_experts_are_spread_over_replicas():
    found = plans(MIXTRAL, system(64))
    # 8 experts: 1, 2, 4 or 8 ranks, never more than the replicas have
    assert {p.ep for p in found} == {1, 2, 4, 8}
    assert all(p.dp % p.ep == 0 for p in found)
    assert Plan(tp=8, dp=8, ep=8) in found
    assert Plan(tp=8, dp=8, ep=8, zero=3) in found
    # 256 experts and up to 1024 replicas, but no more than 64 ranks
    assert max(p.ep for p in plans(DEEPSEEK, system(1024))) == 64


def test_weights_are_sharded_only_for_experts_without_a_pipeline():
    assert {p.zero for p in plans(MIXTRAL, system(64)) if p.pp > 1 and p.dp > 1} == {1}
    assert {p.zero for p in plans(MIXTRAL, system(64)) if p.pp == 1 and p.dp > 1} == {1, 3}
    assert {p.zero for p in plans(MIXTRAL, system(64)) if p.dp == 1} == {0}
    assert {p.zero for p in plans(LLAMA_405B, system(64))} == {0, 1}


def test_long_sequences_are_split():
    found = plans(LONG_8B, system(64))
    assert {p.cp for p in found} == {1, 2, 4, 8, 16, 32, 64}
    # context ranks are replicas of the weights, so optimizer states are sharded over them too
    assert Plan(tp=8, cp=8, zero=1) in found
    assert Plan(tp=8, cp=8, zero=0) not in found
    assert {p.ep for p in found} == {1}
    assert max(p.cp * p.ep for p in plans(LONG_MIXTRAL, system(64))) > 8
    just_short = dataclasses.replace(LONG_8B, sequence=32767)
    assert {p.cp for p in plans(just_short, system(64))} == {1}


@pytest.mark.parametrize("workload", [GPT3, LLAMA_405B])
def test_dense_short_plans_use_neither_context_nor_expert_ranks(workload):
    found = plans(workload, system(1024))
    assert {(p.cp, p.ep) for p in found} == {(1, 1)}
    assert len(found) == len({(p.tp, p.pp, p.dp, p.micro_batch, p.interleave, p.recompute) for p in found})


def test_enumeration_of_experts_stays_bounded():
    assert 1000 < len(plans(DEEPSEEK, system(1024))) < 20_000
