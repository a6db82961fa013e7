"""Engines in steady state by hand, and the laws they obey."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dse
from dse.core.errors import SpecError
from dse.lowering.engines import SCHEDULERS, Policy
from dse.physics.evaluate import chip_technology
from dse.serving.curve import Promise, STEADY_s, serving_curve
from dse.serving.steady import Engine, Passes, service_quantile_s, steady_state
from dse.workload.requests import Length, Requests

TECH = chip_technology(dse.chip("h100"))
LOSS = 1.0 + float(TECH.package.voltage_loss_frac)


def engine(**changes) -> Engine:
    """50 sequences on one rank of 4 chips, one kind of prompt read in one pass, 201 tokens out.

    The prefill makes the first token, decode passes the other 200.
    """
    usual = {
        "n_sequences": 50.0, "n_ranks": 1.0, "n_chips": 4.0, "n_output": 201.0, "n_accepted": 1.0, "draft_frac": 0.0,
        "n_passes": np.ones(1), "share_frac": np.ones(1), "together_frac": 0.0, "apart_frac": 0.0,
        "n_prompt_ranks": 1.0, "n_prompt_chips": 4.0, "prompt_load_frac": 0.0, "transfer_s": 0.0, "request_s": 0.0,
    }  # fmt: skip
    return Engine(**{**usual, **changes})


def passes(seconds, joules=0.0) -> Passes:
    return Passes(jnp.asarray(seconds, dtype=float), jnp.asarray(joules, dtype=float))


def state(e: Engine, decode_s: float, prompt_s: list[float], decode_J=0.0, prompt_J=(0.0,), q=0.5):
    return steady_state(
        e, passes(decode_s, decode_J), passes(prompt_s, list(prompt_J)), jnp.asarray(0.0), TECH, jnp.asarray(q)
    )


def test_prompts_first_by_hand():
    """Decode 10 ms, prefill 100 ms: a sequence meets 50 prefills in 200 tokens, 10 + 100 x 50 / 200 = 35 ms a token.

    50 / (200 x 0.035) = 7.14 requests/s keep the engine busy 71 % of the time, and 201 tokens each are 359 a chip.
    M/D/1 waits 0.714 x 100 / (2 x 0.286) = 125 ms, then half a decode pass and the prefill.
    """
    p = state(engine(), 0.010, [0.100])
    assert float(p.tpot_mean_s) == pytest.approx(0.035)
    assert float(p.load_frac) == pytest.approx(50 / (200 * 0.035) * 0.1)
    assert float(p.chip_tokens_per_s) == pytest.approx(50 / (200 * 0.035) * 201 / 4)
    assert float(p.ttft_mean_s) == pytest.approx(0.125 + 0.005 + 0.100)
    assert float(p.tpot_s) == pytest.approx(0.035)  # the median of a count is its mean


def test_percentile_of_token_time_by_hand():
    """At 95 % a sequence meets 50 + 1.645 sqrt(50) = 61.6 prefills: 10 + 100 x 61.6 / 200 = 40.8 ms."""
    assert float(state(engine(), 0.010, [0.100], q=0.95).tpot_s) == pytest.approx(0.0408, abs=5e-5)


def test_chunks_by_hand():
    """4 passes of 30 ms that also write: each delays by 20 ms, so 10 + 80 x 50 / 200 = 30 ms; TTFT has 4 x 30 ms."""
    e = engine(together_frac=1.0, n_passes=np.full(1, 4.0))
    p = state(e, 0.010, [0.030])
    assert float(p.tpot_mean_s) == pytest.approx(0.030)
    assert float(p.load_frac) == pytest.approx(50 / (200 * 0.030) * 0.120)


def test_chunks_beside_drafts_by_hand():
    """Passes of 10 ms after 2 ms of drafting, 2 tokens each: 6 ms a token; a pass of 30 ms with a chunk drafts too.

    So 4 chunks delay by 4 x 20 ms, 6 + 80 x 50 / 200 = 26 ms a token, and a prompt is under way for 4 x 32 ms.
    """
    e = engine(together_frac=1.0, n_passes=np.full(1, 4.0), draft_frac=0.2, n_accepted=2.0)
    p = state(e, 0.010, [0.030])
    assert float(p.tpot_mean_s) == pytest.approx(0.026)
    assert float(p.load_frac) == pytest.approx(50 / (200 * 0.026) * 0.128)


def test_chunks_that_need_more_passes_than_there_are_never_settle():
    """At 50 sequences and 200 tokens one pass in 4 may carry a chunk of a prompt of 1 pass; 5 passes do not fit."""
    p = state(engine(together_frac=1.0, n_passes=np.full(1, 5.0)), 0.010, [0.0101])
    assert float(p.load_frac) > 1 and math.isinf(float(p.ttft_s))


def test_apart_by_hand():
    """Nothing delays decoding: 10 ms, 25 requests/s. An engine that reads at 100 ms is busy half the time with 5/s.

    So 5 such engines of 4 chips stand beside the 4 that decode: 25 x 201 tokens/s over 24 chips. Moving the cache
    takes 20 ms once in the 200 tokens after the first.
    """
    e = engine(apart_frac=1.0, prompt_load_frac=0.5, transfer_s=0.020)
    p = state(e, 0.010, [0.100])
    assert float(p.tpot_mean_s) == pytest.approx(0.010)
    assert float(p.tpot_s) == pytest.approx(0.010 + 0.020 / 200)
    assert float(p.chip_tokens_per_s) == pytest.approx(25 * 201 / 24)
    assert float(p.prompt_chips_frac) == pytest.approx(20 / 24)
    assert float(p.ttft_mean_s) == pytest.approx(0.050 + 0.100)  # 0.5 x 100 / (2 x 0.5) and the prefill


def test_energy_by_hand():
    """A decode pass of 2 J on 4 chips over 50 tokens, 200 times, and 6 J of prefill on 4 chips: 32 + 24 J for 201."""
    p = state(engine(), 0.010, [0.100], decode_J=2.0, prompt_J=(6.0,))
    assert float(p.tokens_per_J) == pytest.approx(201 / (56.0 * LOSS))
    assert float(p.power_W) == pytest.approx(56.0 * LOSS * 50 / (200 * 0.035) / 4)


def test_the_prefill_makes_the_first_token():
    """3 tokens out: 2 decode passes of 10 ms and a 1 ms prefill for each of 10 sequences.

    A sequence meets 10 prefills in 2 passes: 10 + 10 / 2 = 15 ms a token, 30 ms in all. So 10 / 0.030 = 333 requests/s
    and 1000 tokens/s; counting a third pass would say 40 ms and 750.
    """
    p = state(engine(n_sequences=10.0, n_output=3.0, n_chips=1.0), 0.010, [0.001])
    assert float(p.tpot_mean_s) == pytest.approx(0.015)
    assert float(p.chip_tokens_per_s) == pytest.approx(1000.0)
    assert float(p.load_frac) == pytest.approx(1000 / 3 * 0.001)


def test_answers_of_one_token_decode_nothing():
    with pytest.raises(SpecError, match="the prefill makes the first token, so nothing decodes"):
        serving_curve(dse.system("dgx-h100", 1), Requests(REQUESTS.model, (Length(1000, 1),)), Promise(), Policy())


def test_kinds_of_request_by_hand():
    """80 % of 50 ms and 20 % of 300 ms: S = 100 ms, S^2 = 20,000 ms2, c^2 = 1; 95 % reach the long one's 300 ms."""
    e = engine(n_passes=np.ones(2), share_frac=np.asarray([0.8, 0.2]))
    p = state(e, 0.010, [0.050, 0.300], prompt_J=(0.0, 0.0))
    load = 50 / (200 * 0.035) * 0.1
    assert float(p.ttft_mean_s) == pytest.approx(load * 0.1 / (1 - load) + 0.005 + 0.100)
    shares, times = jnp.asarray([0.8, 0.2]), jnp.asarray([0.050, 0.300])
    assert float(service_quantile_s(times, shares, jnp.asarray(0.95))) == pytest.approx(0.300)
    assert float(service_quantile_s(times, shares, jnp.asarray(0.75))) == pytest.approx(0.050)


def test_speculation_that_accepts_nothing_costs_its_drafts():
    plain, bare = state(engine(), 0.010, [0.100]), state(engine(draft_frac=0.0, n_accepted=1.0), 0.010, [0.100])
    assert float(plain.tpot_s) == float(bare.tpot_s)
    p = state(engine(draft_frac=0.2, n_accepted=2.0), 0.010, [0.100])
    assert float(p.tpot_mean_s) == pytest.approx(0.010 * 1.2 / 2.0 + 0.025)


def test_apart_with_free_moves_is_never_slower_than_interference():
    """With no transfer every user sees at most what they see beside prefills, at any number of sequences."""
    for n in (1.0, 8.0, 64.0, 512.0):
        beside = state(engine(n_sequences=n), 0.010, [0.100])
        apart = state(engine(n_sequences=n, apart_frac=1.0, prompt_load_frac=0.999), 0.010, [0.100])
        assert float(apart.tpot_s) <= float(beside.tpot_s)
        assert float(apart.tpot_s) == pytest.approx(0.010)
        # as many chip-seconds in all: decoding and reading share chips or do not
        assert float(apart.chip_tokens_per_s) == pytest.approx(float(beside.chip_tokens_per_s), rel=1e-2)


def test_gradient_is_the_finite_difference():
    e = engine(n_passes=np.ones(2), share_frac=np.asarray([0.7, 0.3]))

    def tokens(x):
        p = steady_state(e, Passes(x, x), Passes(x * jnp.asarray([3.0, 9.0]), x * jnp.ones(2)),
                         jnp.asarray(50.0), TECH, jnp.asarray(0.95))  # fmt: skip
        return p.chip_tokens_per_s + p.ttft_s + p.power_W

    x, h = 0.010, 1e-7
    slope = (float(tokens(jnp.asarray(x + h))) - float(tokens(jnp.asarray(x - h)))) / (2 * h)
    assert float(jax.grad(tokens)(jnp.asarray(x))) == pytest.approx(slope, rel=1e-5)


REQUESTS = Requests(dse.model("llama-3.1-8b"), (Length(1000, 200),))


@pytest.fixture(scope="module")
def curve():
    return serving_curve(dse.system("dgx-h100", 2), REQUESTS, Promise(), Policy())


@pytest.mark.slow
def test_curve_has_no_point_that_another_beats(curve):
    best = curve.best
    assert len(best) > 5
    for a, b in itertools.pairwise(best):
        assert a.tpot_s < b.tpot_s and a.chip_tokens_per_s < b.chip_tokens_per_s
    everything = np.stack([curve.points.tpot_s, curve.points.chip_tokens_per_s], axis=1)[curve.kept()]
    for s in best:
        assert not np.any((everything[:, 0] < s.tpot_s) & (everything[:, 1] >= s.chip_tokens_per_s))


@pytest.mark.slow
def test_a_saturated_queue_is_no_engine():
    """Two tokens out: prompts fill every engine, and rounding alone keeps a load below 1."""
    some = serving_curve(dse.system("dgx-h100", 2), Requests(REQUESTS.model, (Length(4000, 2),)), Promise(), Policy())
    full = np.asarray(some.points.load_frac) > 0.999
    assert full.any() and not (full & some.kept()).any()
    assert all(float(s.point.ttft_s) < STEADY_s for s in some.best)


@pytest.mark.slow
def test_throughput_grows_with_the_batch_until_memory_ends(curve):
    """For every plan and each scheduler that shares chips; the last batch is the largest that fits."""
    m, p = curve.menu, curve.points
    groups: dict[tuple, list[tuple[int, float]]] = {}
    for i in range(len(m.writer_index)):
        if SCHEDULERS[m.scheduler_index[i]] == "prefill first":
            w = m.writers[m.writer_index[i]]
            groups.setdefault((w.shape.system.n_chips, w.shape.plan.tp), []).append(
                (w.n_sequences, float(p.chip_tokens_per_s[i]))
            )
    assert len(groups) >= 2
    for rows in groups.values():
        sizes, rates = zip(*sorted(rows), strict=True)
        assert len(sizes) > 5 and all(b > a for a, b in itertools.pairwise(rates))
    from dse.lowering.engines import usable_B, writer_memory

    last = max(m.writers, key=lambda w: w.n_sequences)
    assert last.memory.total <= usable_B(last.shape.system.chip)
    more = writer_memory(REQUESTS, last.shape, last.n_sequences + 2, 0.95)
    assert more.total > usable_B(last.shape.system.chip) or last.n_sequences == 4096


@pytest.mark.slow
def test_floor_is_the_token_time_of_one_undisturbed_sequence(curve):
    index, floor = curve.fastest_writer()
    assert curve.menu.writers[index].n_sequences == 1
    assert float(np.min(curve.points.tpot_s)) >= floor
    tight = dataclasses.replace(curve, promise=Promise(tpot_s=0.99 * floor))
    assert tight.best == ()


@pytest.mark.slow
def test_verifying_one_token_is_plain_decoding(curve):
    """Nothing drafted, whatever the acceptance: the same curve. Drafts accepted for sure and for free: faster."""
    some = serving_curve(dse.system("dgx-h100", 2), REQUESTS, Promise(), Policy(acceptance_frac=0.7))
    assert np.array_equal(some.points.tpot_s, curve.points.tpot_s)
    sure = serving_curve(dse.system("dgx-h100", 2), REQUESTS, Promise(), Policy(acceptance_frac=1.0, n_drafted=3))
    assert sure.fastest_writer()[1] < curve.fastest_writer()[1] / 3
