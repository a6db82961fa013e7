"""A serving engine in steady state: TTFT, TPOT, throughput and power from the times of its passes and its load.

Schedulers differ in how a prefill delays decoding: by its whole time ("prefill first"), by the longer pass that holds
a chunk of it ("chunked"), or not at all, on chips of its own (disaggregated, "apart").
"""

from __future__ import annotations

from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from ..core.counts import n_peak
from ..core.types import FloatLike, as_float
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration
from ..physics.evaluate import evaluate_demand
from ..physics.power import energy_J, power_W
from ..technology.presets import Technology


class Passes(eqx.Module):
    """Time and energy of one pass of an engine under the chip's power limit."""

    pass_s: FloatLike
    energy_J: FloatLike


Each: TypeAlias = Float[Array | np.ndarray, "*batch"]
EachKind: TypeAlias = Float[Array | np.ndarray, "*batch k"]


class Engine(eqx.Module):
    """Load and sizes of an engine, and how its prefills meet its decode passes. Numbers only, so batches stack."""

    n_sequences: Each = eqx.field(converter=as_float)
    """Mean number of sequences that write, per data-parallel rank."""
    n_ranks: Each = eqx.field(converter=as_float)
    """Data-parallel ranks, each with a queue of its own."""
    n_chips: Each = eqx.field(converter=as_float)
    n_output: Each = eqx.field(converter=as_float)
    """Mean tokens out of a request, above 1; the first is made by its prefill."""
    n_accepted: Each = eqx.field(converter=as_float)
    """Tokens per decode pass and sequence: 1 without speculative decoding."""
    draft_frac: Each = eqx.field(converter=as_float)
    """Time of drafting over that of the pass that verifies."""
    n_passes: EachKind = eqx.field(converter=as_float)
    share_frac: EachKind = eqx.field(converter=as_float)
    together_frac: Each = eqx.field(converter=as_float)
    """1 where a pass over a prompt also writes a token for every sequence, else 0."""
    apart_frac: Each = eqx.field(converter=as_float)
    """1 where prompts are read on chips of their own, else 0."""
    n_prompt_ranks: Each = eqx.field(converter=as_float)
    """Ranks of an engine that only reads prompts; any number where prompts are not read apart."""
    n_prompt_chips: Each = eqx.field(converter=as_float)
    prompt_load_frac: Each = eqx.field(converter=as_float)
    """Share of time such an engine is busy."""
    transfer_s: Each = eqx.field(converter=as_float)
    """Time to move the cache of one prompt between engines."""
    request_s: Each = eqx.field(converter=as_float)
    """Time to take a request in, beside the engine's work."""


class ServingPoint(eqx.Module):
    """Latency, throughput and energy of an engine in steady state."""

    tpot_s: FloatLike
    """Time per output token that the asked share of requests stays below."""
    tpot_mean_s: FloatLike
    ttft_s: FloatLike
    """Time to first token that the asked share of requests stays below."""
    ttft_mean_s: FloatLike
    load_frac: FloatLike
    """Share of time a prefill is under way; from 1 on the queue grows without end."""
    settling_s: FloatLike
    """Relaxation time of the prefill queue."""
    chip_tokens_per_s: FloatLike
    """Tokens out per second and chip, chips that only read prompts included."""
    power_W: FloatLike
    tokens_per_J: FloatLike
    """Tokens out per joule of the chips: tokens per second and watt."""
    prompt_chips_frac: FloatLike
    """Share of the chips that only read prompts."""


def pass_costs(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> Passes:
    """Time under the power limit and energy of the pass `d` on `chip`."""
    e = evaluate_demand(d, chip, tech, c)
    return Passes(e.step_s, energy_J(e.energy))


def service_quantile_s(service_s: Array, share_frac: Array, quantile_frac: FloatLike) -> FloatLike:
    """Largest service time that more than `1 - quantile_frac` of requests reach [s]; arrays over kinds of request."""
    reached = jnp.sum(jnp.where(service_s[None, :] >= service_s[:, None], share_frac[None, :], 0.0), axis=1)
    return jnp.max(jnp.where(reached > 1.0 - quantile_frac, service_s, 0.0))


def steady_state(
    e: Engine, decode: Passes, prompt: Passes, static_W: FloatLike, tech: Technology, quantile_frac: FloatLike
) -> ServingPoint:
    """The engine in steady state; times are infinite from a load of 1 on.

        t_0  = t_decode (1 + draft) / accepted                  token time that nothing disturbs
        x    = n_pass t_prompt - [together] n_pass t_decode      what a prefill delays the sequences that write
        TPOT = t_0 + x n / (out - 1)                             a sequence meets n prefills while it writes
        rho  = S n / ((out - 1) TPOT),  S = n_pass t_prompt      share of time a prefill is under way
        TTFT = wait(S, rho) + rest of the pass under way + S
    The prefill makes the first token, so a sequence writes out - 1. By Little's law the engine takes
    n / ((out - 1) TPOT) requests per second, so n prefills start while one sequence writes; at the percentile it meets
    n + z sqrt(n). Passes that hold a chunk draft and verify as others do: their t_prompt includes both. Engines apart
    run at a load of their own, and are as many as the decode engine's requests keep busy; moving the cache delays the
    second token only.
    Source: [yu2022orca] for batching per pass; [agrawal2024sarathi] for chunks that ride on decode passes;
    [zhong2024distserve] and [patel2024splitwise] for engines apart; [kleinrock1975] for Little's law and M/G/1.
    Assumes: Poisson arrivals, first come first served, a prefill at a time per rank, many engines if apart.
    """
    beat = decode.pass_s * (1.0 + e.draft_frac)
    drafting = e.together_frac * e.draft_frac * decode.pass_s
    service = jnp.asarray(e.n_passes * (prompt.pass_s + drafting))
    mean_service = jnp.sum(e.share_frac * service)
    # E[S^2] / E[S]^2 - 1: prompts of one kind take one time, so that only the mix of kinds spreads
    cv2 = jnp.sum(e.share_frac * jnp.square(service)) / jnp.square(mean_service) - 1.0
    tpot, worst = token_times_s(e, beat, service, quantile_frac)
    # per rank: sequences that write, over how long each of them does
    requests = e.n_sequences / ((e.n_output - 1.0) * tpot)
    # shared chips are as loaded as their own requests make them; chips apart are bought for a load that is chosen
    load = jnp.where(e.apart_frac > 0, e.prompt_load_frac, requests * mean_service)
    # a prompt that arrives meets half of a decode pass on average, all of it at worst
    under_way = (1.0 - e.apart_frac) * beat
    last = service_quantile_s(service, jnp.asarray(e.share_frac), quantile_frac)
    # Little's law once more: prompts under way, over what one prompt engine is to hold at its load
    engines = requests * e.n_ranks * mean_service / (load * e.n_prompt_ranks)
    apart_chips = e.apart_frac * engines * e.n_prompt_chips
    rate = e.n_ranks * requests * e.n_output / (e.n_chips + apart_chips)
    watts = power_W(token_energy_J(e, decode, prompt), 1.0 / rate, static_W, tech)
    return ServingPoint(
        tpot_s=worst,
        tpot_mean_s=tpot,
        ttft_s=wait_quantile_s(mean_service, cv2, load, quantile_frac) + under_way + last + e.request_s,
        ttft_mean_s=mean_wait_s(mean_service, cv2, load) + under_way / 2.0 + mean_service + e.request_s,
        load_frac=load,
        settling_s=settling_s(mean_service, load),
        chip_tokens_per_s=rate,
        power_W=watts,
        tokens_per_J=rate / watts,
        prompt_chips_frac=apart_chips / (e.n_chips + apart_chips),
    )


def token_times_s(e: Engine, beat_s: FloatLike, service_s: Array, quantile_frac: FloatLike) -> tuple[Array, Array]:
    """Mean time per output token after the first, and its quantile over requests [s]."""
    alone = beat_s / e.n_accepted
    # a mixed pass writes a token too: only what it takes beyond a plain pass delays
    delays = jnp.maximum(service_s - e.together_frac * e.n_passes * beat_s, 0.0)
    delay = (1.0 - e.apart_frac) * jnp.sum(e.share_frac * delays)
    # once per request, before its second token: spread over all tokens after the first
    moved = e.apart_frac * e.transfer_s
    n_met, written = n_peak(e.n_sequences, ndtri(jnp.asarray(quantile_frac, dtype=float))), e.n_output - 1.0
    worst = alone + (delay * n_met + moved) / written
    return jnp.asarray(alone + delay * e.n_sequences / written), jnp.asarray(worst)


def token_energy_J(e: Engine, decode: Passes, prompt: Passes) -> FloatLike:
    """Dynamic energy of all chips per token out: the decode passes and the prefill of a request over its tokens [J]."""
    # energies are of one chip: a pass takes all chips, and writes for every sequence of every rank
    writing = decode.energy_J * (1.0 + e.draft_frac) * e.n_chips / (e.n_accepted * e.n_sequences * e.n_ranks)
    chips, ranks = (
        jnp.where(e.apart_frac > 0, apart, own)
        for apart, own in ((e.n_prompt_chips, e.n_chips), (e.n_prompt_ranks, e.n_ranks))
    )
    # every rank reads a prompt of its own; of a mixed pass what plain decoding burns is counted above
    reading = e.n_passes * jnp.maximum(prompt.energy_J - e.together_frac * decode.energy_J, 0.0) * chips / ranks
    return (writing * (e.n_output - 1.0) + jnp.sum(e.share_frac * reading)) / e.n_output


FULL_LOAD_FRAC = 1.0 - 2.0**-26
"""Utilisation above which a queue counts as saturated, to be safe from rounding."""


def mean_wait_s(service_s: FloatLike, service_cv2: FloatLike, load_frac: FloatLike) -> FloatLike:
    """Mean wait before service in M/G/1, with S `service_s`, c^2 `service_cv2` and rho `load_frac`.

        W = rho S (1 + c^2) / (2 (1 - rho))
    Source: [kleinrock1975] section 5.7 (Pollaczek-Khinchine mean value formula); c = 0 is M/D/1, c = 1 is M/M/1.
    Valid for: rho < 1; infinite from `FULL_LOAD_FRAC` on.
    """
    steady = load_frac < FULL_LOAD_FRAC
    wait = load_frac * service_s * (1.0 + service_cv2) / (2.0 * jnp.where(steady, 1.0 - load_frac, 1.0))
    return jnp.where(steady, wait, jnp.inf)


def wait_quantile_s(
    service_s: FloatLike, service_cv2: FloatLike, load_frac: FloatLike, quantile_frac: FloatLike
) -> FloatLike:
    """Wait that a share `quantile_frac` of requests does not exceed in M/G/1.

        P(wait > w) = rho exp(-rho w / W)   =>   w_q = W / rho ln(rho / (1 - q)), at least 0
    with W the mean wait, rho `load_frac`, q `quantile_frac`. Exact for M/M/1; for M/D/1 a little high at light load.
    Source: [kingman1961] for the exponential tail; [kleinrock1975] section 5.7 for its mean.
    """
    # W / rho is the mean wait of those who wait at all; the smallest float keeps its slope finite at no load
    waiting = mean_wait_s(service_s, service_cv2, load_frac) / jnp.maximum(load_frac, jnp.finfo(float).tiny)
    excess = jnp.maximum(load_frac / (1.0 - quantile_frac), 1.0)
    return jnp.where(load_frac < FULL_LOAD_FRAC, waiting * jnp.log(excess), jnp.inf)


def settling_s(service_s: FloatLike, load_frac: FloatLike) -> FloatLike:
    """Time in which a queue forgets how it began: before several of these pass it is in no steady state.

        T = S / (1 - sqrt(rho))^2,  S `service_s`, rho `load_frac`
    Source: [kleinrock1975] section 2.14: M/M/1 from any start decays as exp(-(sqrt(mu) - sqrt(lambda))^2 t).
    Assumes: service times as in M/M/1. Valid for: rho < 1; infinite from 1 on.
    """
    idle = 1.0 - jnp.sqrt(load_frac)
    return jnp.where(idle > 0, service_s / jnp.square(jnp.where(idle > 0, idle, 1.0)), jnp.inf)


def n_accepted_tokens(acceptance_frac: FloatLike, n_drafted: int) -> FloatLike:
    """Tokens that one verification pass yields with speculative decoding.

        1 + a + a^2 + ... + a^g = (1 - a^(g+1)) / (1 - a)
    with a the chance that each of g drafted tokens is accepted. Source: [leviathan2023] eq. 1.
    Assumes: tokens are accepted independently.
    """
    # Horner's form, since the closed one is 0/0 where every draft is accepted
    total = jnp.ones_like(jnp.asarray(acceptance_frac, dtype=float))
    for _ in range(n_drafted):
        total = 1.0 + acceptance_frac * total
    return total
