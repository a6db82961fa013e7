"""Operators of inference: what prefill adds, chunks, experts nobody chose, windows; hand calculations."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.lowering.linears import hit_frac
from dse.lowering.plan import Plan
from dse.lowering.serving_ops import n_groups, rank_pass, serving_ops
from dse.workload.presets import model
from dse.workload.transformer import Decode, Prefill

LLAMA = model("llama-3.1-70b")
OSS = model("gpt-oss-120b")
WINDOW = next(m for m, _ in OSS.mixers if m.window)
DEEPSEEK = model("deepseek-v3")


def macs(workload, plan, name=None):
    layers = workload.model.n_layers / plan.pp
    placed = serving_ops(workload, plan)
    return sum(
        (1 if p.phase == "head" else layers) * p.share * sum(x.macs for x in p.op.products)
        for p in placed
        if name is None or p.op.name == name
    )


def read_B(workload, plan, name):
    return sum(p.share * p.op.hbm_B for p in serving_ops(workload, plan) if p.op.name == name)


def test_a_prompt_multiplies_every_weight_once_a_token():
    """Llama 3.1 70B: 69.5e9 - 1.05e9 (head) weights x 1000 tokens, head for one token."""
    head = LLAMA.vocab * LLAMA.hidden
    weights = 70.55e9 - 2 * head
    attention = 2 * 80 * 64 * 128 * 1000 * 500
    assert macs(Prefill(LLAMA, 1, 1000), Plan()) == pytest.approx(1000 * weights + head + attention, rel=2e-3)


def test_tensor_ranks_and_replicas_split_the_work():
    whole = macs(Prefill(LLAMA, 16, 4096), Plan())
    assert macs(Prefill(LLAMA, 16, 4096), Plan(tp=8, dp=2)) == pytest.approx(whole / 16)
    assert macs(Prefill(LLAMA, 16, 4096), Plan(cp=4), "qkv") == pytest.approx(
        macs(Prefill(LLAMA, 16, 4096), Plan(), "qkv") / 4
    )


def test_chunks_do_the_same_work_and_read_the_weights_each_time():
    one, four = Prefill(LLAMA, 2, 8192), Prefill(LLAMA, 2, 8192, chunk=2048)
    assert four.n_chunks == 4
    # the mean chunk attends to 3072 + 1024 = 4096 positions, as the mean token of the whole prompt does
    assert 4 * macs(four, Plan()) == pytest.approx(macs(one, Plan()))
    weights = LLAMA.hidden * 2 * 28672 * 2.0
    moved = 2 * 2 * 8192 * (LLAMA.hidden + 2 * 28672)
    assert read_B(one, Plan(), "up") == pytest.approx(weights + moved)
    assert read_B(four, Plan(), "up") == pytest.approx(weights + moved / 4)


def test_cached_tokens_are_attended_to_and_not_computed():
    cold, warm = Prefill(LLAMA, 1, 1024), Prefill(LLAMA, 1, 1024, cached=7168)
    assert macs(warm, Plan(), "qkv") == macs(cold, Plan(), "qkv")
    # 512 positions on average, or 7168 + 512
    assert macs(warm, Plan(), "attention") == pytest.approx(15 * macs(cold, Plan(), "attention"))


@given(st.integers(1, 4096), st.integers(0, 4096))
def test_attended_positions_of_chunks_add_up_to_those_of_the_prompt(first, rest):
    """gpt-oss has a window of 128: pieces of a sequence see together what the sequence sees."""
    whole = (first + rest) * WINDOW.n_attended(0, first + rest)
    parts = first * WINDOW.n_attended(0, first) + rest * WINDOW.n_attended(first, max(rest, 1e-9))
    assert parts == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    ("tokens", "share"),
    # 4 of 128: one token 1/32; two 1 - (31/32)^2; many all
    [(1, 1 / 32), (2, 1 - (31 / 32) ** 2), (10_000, 1.0)],
)
def test_share_of_experts_hit(tokens, share):
    assert hit_frac(OSS.experts, tokens) == pytest.approx(share)
    assert hit_frac(LLAMA.experts, tokens) == 1.0


def test_one_token_reads_four_experts_of_gpt_oss():
    """One token, 4 of 128 experts: 4 x 2880 x 5760 weights x 2 B and its few activations."""
    (up,) = (p for p in serving_ops(Decode(OSS, 1, 1024), Plan()) if p.op.name == "expert up")
    assert up.op.hbm_B == pytest.approx(4 * 2880 * 5760 * 2, rel=1e-3)
    all_of_them = read_B(Decode(OSS, 4096, 1024), Plan(), "expert up")
    assert all_of_them > 128 * 2880 * 5760 * 2


def test_expert_ranks_see_the_tokens_of_all():
    alone, spread = (serving_ops(Decode(OSS, 256, 1024), Plan(dp=8, ep=ep)) for ep in (1, 8))
    a, b = (next(p.op for p in ops if p.op.name == "expert up") for ops in (alone, spread))
    assert sum(x.macs for x in a.products) == pytest.approx(sum(x.macs for x in b.products))
    # 8 ranks x 32 tokens hit all, 32 tokens hit 1 - (31/32)^32 = 64 %; each rank holds an eighth
    assert b.products[0].count == pytest.approx(16 * hit_frac(OSS.experts, 256))
    assert a.products[0].count == pytest.approx(128 * hit_frac(OSS.experts, 32))


def test_windows_bound_what_decode_reads():
    """gpt-oss: half of 36 blocks read 128 positions, half all 100,000; 2 x 8 heads x 64 wide x 2 B."""
    read = 36 * read_B(Decode(OSS, 1, 100_000), Plan(), "attention")
    assert read == pytest.approx(18 * (128 + 100_000) * 2 * 8 * 64 * 2, rel=0.01)


def test_latent_prefill_expands_the_whole_context():
    (expand,) = (p.op for p in serving_ops(Prefill(DEEPSEEK, 1, 1024, cached=3072), Plan()) if p.op.name == "expand")
    assert expand.products[0].moving == 4096
    (absorbed,) = (p.op for p in serving_ops(Decode(DEEPSEEK, 1, 4096), Plan()) if p.op.name == "expand")
    assert absorbed.products[0].moving == 1


def test_every_context_rank_expands_all_latents():
    """Latents go around, so each of 4 ranks expands 1,000 cached and 3,000 new ones; else it has a quarter."""
    prompt = Prefill(model("deepseek-v3"), 1, 3000, cached=1000)
    whole, part = (
        {p.op.name: p.op.products[0].moving for p in serving_ops(prompt, Plan(cp=cp)) if p.op.products} for cp in (1, 4)
    )
    assert whole["expand"] == part["expand"] == 4000
    assert whole["out"] == 4 * part["out"] == 3000


def test_context_ranks_share_the_cache():
    one, four = (read_B(Decode(LLAMA, 8, 65536), Plan(cp=cp), "attention") for cp in (1, 4))
    assert one == pytest.approx(4 * four, rel=1e-2)


def test_stages_take_turns_with_groups_of_sequences():
    assert n_groups(Decode(LLAMA, 8, 1024), Plan(pp=4)) == 4
    assert rank_pass(Decode(LLAMA, 8, 1024), Plan(pp=4)).sequences == 2
    assert n_groups(Decode(LLAMA, 1, 1024), Plan(pp=4)) == 1


def test_kv_in_fp8_halves_what_attention_reads():
    wide, narrow = (read_B(Decode(LLAMA, 64, 8192, "bf16", kv), Plan(), "attention") for kv in ("bf16", "fp8"))
    assert narrow == pytest.approx(wide * 8 / 16, rel=1e-3)


def test_prefill_is_hashable_and_frozen():
    w = Prefill(LLAMA, 1, 10)
    assert hash(w) == hash(dataclasses.replace(w))


def test_scales_of_4_bit_products_are_kernels_where_a_host_starts_them_and_none_in_a_compiled_program():
    def starts(precision, fixed):
        d = Decode(model("llama-3.1-8b"), 8, 1024, product_precision=precision)
        small = [p.op.n_launches for p in serving_ops(d, Plan(dp=1), fixed=fixed) if p.op.name == "elementwise"]
        return sum(small)

    # four products with weights per block: attention in and out, MLP up and down
    assert starts("fp4", fixed=False) - starts("bf16", fixed=False) == 4
    assert starts("fp4", fixed=True) == starts("bf16", fixed=True) == starts("bf16", fixed=False)
