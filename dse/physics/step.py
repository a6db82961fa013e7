"""Step time of a demand on a chip (roofline, communication, pipeline): a posynomial, with parts that sum to it."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from ..core.frames import AbstractShown
from ..core.smooth import overlapped, p_norm_max
from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip, pool_B
from ..lowering.step_demand import StepDemand, StreamDemand, TrafficDemand
from ..lowering.tiling import OpDemand
from .calibration import Calibration


class OpTimes(eqx.Module):
    """Time of each operator by roofline limit, each limit taken alone, shape (n_ops,) [s]."""

    compute_s: FloatLike
    tile_s: FloatLike
    hbm_s: FloatLike
    """HBM traffic: compulsory bytes and those of limited reuse."""
    vector_s: FloatLike
    """Element-wise passes and eviction of results."""
    dma_s: FloatLike
    """HBM traffic and traffic between cores through the DMA engines."""
    total_s: FloatLike
    """p-norm of the five limits (and the cooling limit, if any), plus launch latency."""


class Cooled(eqx.Module):
    """Shortest times under a cooling limit: energy over the dynamic power that it allows."""

    ops_s: FloatLike
    """One run of each operator, shape (n_ops,)."""
    stream_s: FloatLike
    """One micro batch of streamed blocks; 0 without streaming."""


class Step(AbstractShown, eqx.Module):
    """Step time by parts that add up to `total_s`, with HBM traffic and operator times for the energy model."""

    total_s: FloatLike
    compute_s: FloatLike
    """Operators of all micro batches, including memory stalls of streamed blocks."""
    host_exposed_s: FloatLike
    """Device idle while the host launches kernels, and overhead of the serving loop."""
    tensor_exposed_s: FloatLike
    pipeline_exposed_s: FloatLike
    bubble_s: FloatLike
    data_exposed_s: FloatLike
    optimizer_s: FloatLike
    hbm_B: FloatLike
    """HBM traffic of one chip per step."""
    ops: OpTimes


LAST_TILE_FRAC = 0.5
"""Mean of ceil(x) - x: the last round of tiles leaves half of the cores idle on average."""


def op_traffic_B(ops: OpDemand, tile_B: FloatLike) -> FloatLike:
    """HBM traffic of each operator [B]: compulsory bytes plus terms that fall with tile memory S `tile_B`.

        Q = q + c_1/2 S^-1/2 + c_1 S^-1
    Source: [hong1981] and [kwasniewski2019] for S^-1/2; [dao2022] for S^-1.
    """
    # negative powers alone: posynomial terms, so that more SRAM never costs time and the limit of all of it is q
    return ops.hbm_B + ops.reuse_half / tile_B**0.5 + ops.reuse_one / tile_B


def op_times(ops: OpDemand, chip: Chip, c: Calibration, cooled_s: FloatLike | None = None) -> OpTimes:
    """Time of every operator on `chip` [s], shape (n_ops,).

        t = (t_compute^p + t_tile^p + t_hbm^p + t_vector^p + t_dma^p + t_cooled^p)^(1/p) + n_launch t_launch
    The last round of tiles costs half a tile on average (mean of ceil(x) - x); one tile on one core is a lower bound.
    t_cooled, `cooled_s`, is the energy of a run over the dynamic power that cooling allows; None for no limit.
    Source: [williams2009] for the bounds; [aws2026nki] for eviction and DMA as separate engines.
    Assumes: all limits except launches overlap by the exponent `overlap_p`.
    """
    core = chip.core  # work over monomials of what is free: sums of such are posynomials, and so is their norm
    # cycles of one array; what a kernel reaches of its peak differs by kind of product
    work = (
        ops.linear_cycles / c.matmul_frac + ops.narrow_cycles / c.narrow_frac + ops.attention_cycles / c.attention_frac
    ) / chip.clock_Hz
    tile = ops.tile_cycles / (chip.clock_Hz * c.matmul_frac)  # one rate: of which kind it is, the demand leaves out
    n_pools = chip.n_cores / chip.cores_per_pool
    # lanes may have a clock of their own, a fixed share of the array's: the rate stays a monomial of what is free
    vector_rate = chip.n_cores * core.vector_lanes * core.vector_clock_frac * chip.clock_Hz * c.vector_frac
    hbm, dma = memory_times_s(op_traffic_B(ops, pool_B(chip) * c.tile_memory_frac), chip, c)
    parts = (
        work / chip.n_cores + LAST_TILE_FRAC * tile,
        tile,  # a product of one tile takes as long on a thousand cores as on one
        hbm,
        ops.vector_elements / vector_rate,
        dma + (ops.spread_B * jnp.sqrt(n_pools) + ops.starting_B) / (chip.n_cores * core.dma_bandwidth_Bps),
    )
    bounds = parts if cooled_s is None else (*parts, cooled_s)  # one more lower bound, and a posynomial as well
    # launches come on top: until the last kernel has drained, the next reads and multiplies nothing
    total = p_norm_max(jnp.stack(bounds, axis=-1), c.exponent) + ops.n_launches * c.launch_s
    return OpTimes(*parts, total)


def slow_start(chip: Chip) -> FloatLike:
    """Slow-down of HBM traffic by short DMA transfers, at least 1.

        1 + b_0 / S
    with S the scratchpad of a core, to which the transfer length is proportional, and b_0 `transfer_start_B`.
    Source: [aws2026dma]: 2 KiB per partition reach some 80 % and 4 KiB 90 % of a DMA engine.
    """
    # start and bytes take turns on an engine; written as 1 + b/S a cache, with b = 0, is the plain bandwidth
    return 1.0 + chip.core.transfer_start_B / chip.core.scratchpad_B


def memory_times_s(traffic_B: FloatLike, chip: Chip, c: Calibration) -> tuple[FloatLike, FloatLike]:
    """Times of memory traffic at the achievable bandwidth and through the DMA engines [s], with `slow_start`."""
    moved = slow_start(chip) * traffic_B
    return moved / (chip.hbm_bandwidth_Bps * c.hbm_frac), moved / (chip.n_cores * chip.core.dma_bandwidth_Bps)


def stream_traffic_B(s: StreamDemand, chip: Chip, c: Calibration) -> FloatLike:
    """HBM traffic of a micro batch of streamed blocks [B]; 0 without streaming."""
    # every pool streams the same weights past its own tile: more pools, more reads
    tile_B = pool_B(chip) * c.tile_memory_frac
    n_pools = chip.n_cores / chip.cores_per_pool
    return s.hbm_B + s.reuse_half / jnp.sqrt(tile_B) + s.reuse_one / tile_B + s.core_B * n_pools


def traffic_time_s(t: TrafficDemand, chip: Chip, c: Calibration) -> FloatLike:
    """Alpha-beta time of communication [s]: bytes over achievable bandwidth, plus start, hop and switch latencies."""
    # a message's first byte waits for its start and hops: latencies and bytes add up, and no norm hides one
    up = t.up_B / (chip.scaleup_bandwidth_per_dir_Bps * c.scaleup_frac) + t.up_hops * c.scaleup_hop_s
    up = up + t.n_starts * c.collective_s + t.n_exchanges * c.exchange_s + t.upper_s
    return up + t.out_B / (chip.scaleout_bandwidth_per_dir_Bps * c.scaleout_frac) + t.out_hops * c.scaleout_hop_s


class _Stage(NamedTuple):
    """Times of a micro batch on a stage [s], each with one kind of work more than the one before."""

    device: FloatLike
    work: FloatLike
    with_tensor: FloatLike
    streamed: FloatLike
    with_shard: FloatLike


def _stage(
    d: StepDemand, device_s: FloatLike, work: FloatLike, part: FloatLike, chip: Chip, c: Calibration,
    cooled: Cooled | None,
) -> _Stage:  # fmt: skip
    """A micro batch on a stage whose operators take `device_s`, and `work` with what starts them: see `step_time`.

    `part` of the slowest stage's layers is here, and of what they send and stream.
    """
    # software waits for a share w of what overlap (eta) leaves open: hidden is the rest, 1 - (1 - eta) w
    hidden = 1.0 - (1.0 - c.tp_overlap_frac) * d.tensor_waits_frac
    with_tensor = overlapped(work, part * traffic_time_s(d.tensor, chip, c), hidden, c.exponent)
    # one pass of the weights is another lower bound on the block; it is 0 in the norm where nothing streams
    streams = (with_tensor, *memory_times_s(part * stream_traffic_B(d.stream, chip, c), chip, c))
    streamed = p_norm_max(jnp.stack(streams if cooled is None else (*streams, part * cooled.stream_s)), c.exponent)
    # weights of the next block arrive while this one works, and may hide behind all of it
    with_shard = overlapped(streamed, part * traffic_time_s(d.shard, chip, c), c.dp_overlap_frac, c.exponent)
    return _Stage(device_s, work, with_tensor, streamed, with_shard)


def step_time(d: StepDemand, chip: Chip, c: Calibration, cooled: Cooled | None = None) -> Step:
    """Step time of `d` on `chip` by parts that add up to `total_s` [s], before throttling to the power limit.

        work  = p_norm(sum_i runs_i t_i, n_host t_host + t_wait)
        block = p_norm(overlap(work, t_tensor; 1 - (1 - eta_tp) waits), t_stream)
        micro = overlap(overlap(block, t_shard; eta_dp), t_pipeline; 1 - waits)
        step  = (M - w) micro + bubble micro' + t_exposed + t_optimizer + t_loop
        t_exposed = (1 - eta_dp) t_data + p_norm(w micro, eta_dp t_data)
    with t_stream the HBM time of streamed blocks, which overlaps with everything (0 without streaming), M micro
    batches, bubble (pp - 1)/v, micro' a micro batch at the mean of the other stages with all its messages and no host
    to wait for, w the part of the last that can hide data-parallel traffic and t_loop the overhead of a serving loop
    per pass and request.
    All terms are posynomials of the chip's rates.
    Source: [narayanan2021megatron] section 2.2 for the pipeline; [megatron2026overlap] for messages of virtual stages;
    [williams2009] for the operators.
    Assumes: the slowest stage paces the pipeline; all micro batches are equal.
    """
    times = op_times(d.ops, chip, c, None if cooled is None else cooled.ops_s)
    device, idle = (jnp.sum(n * times.total_s) for n in (d.ops.runs, d.ops.idle_runs))
    # launches are queued, so that the slower of host and device sets the pace and the other is hidden
    work = p_norm_max(jnp.stack([device, d.n_host * c.host_s + d.wait_s]), c.exponent)
    # two kinds of stages: the one that sets the pace, and the others, which have no head and may have fewer layers;
    # while a pipeline fills or drains their hosts run ahead: what they start is queued when a micro batch comes
    stages = (device, work, jnp.ones(())), (idle, idle, d.idle_frac)
    pace, other = (_stage(d, *stage, chip, c, cooled) for stage in stages)
    t_pipeline = traffic_time_s(d.pipeline, chip, c)
    # a stage cannot begin with what has not arrived; one of several virtual stages can work meanwhile
    micro = overlapped(pace.with_shard, t_pipeline, 1.0 - d.pipeline_waits_frac, c.exponent)
    bubble = d.bubble_micro * (other.with_shard + t_pipeline)  # an idle stage waits for messages of others as well
    t_data = traffic_time_s(d.data, chip, c)
    window = d.window_micro * micro
    # gradients are whole in the last micro batch alone, so that only its backward pass hides their reduction
    hidden = p_norm_max(jnp.stack([window, c.dp_overlap_frac * t_data]), c.exponent)
    tail = (1.0 - c.dp_overlap_frac) * t_data + hidden
    # states pass once with a few operations a number: memory alone binds
    optimizer = p_norm_max(jnp.stack(memory_times_s(d.optimizer_B, chip, c)), c.exponent)
    loop = d.n_calls * c.call_s + d.n_requests * c.request_s
    n_whole = d.n_micro - d.window_micro  # the window is in `tail`; it is below 1: no term is negative
    traffic = jnp.sum(d.ops.runs * op_traffic_B(d.ops, pool_B(chip) * c.tile_memory_frac))
    traffic = traffic + stream_traffic_B(d.stream, chip, c)
    return Step(
        total_s=n_whole * micro + bubble + tail + optimizer + loop,
        compute_s=d.n_micro * (pace.device + pace.streamed - pace.with_tensor),
        host_exposed_s=d.n_micro * (pace.work - pace.device) + loop,
        tensor_exposed_s=d.n_micro * (pace.with_tensor - pace.work),
        pipeline_exposed_s=d.n_micro * (micro - pace.with_shard),
        bubble_s=bubble,
        data_exposed_s=d.n_micro * (pace.with_shard - pace.streamed) + tail - window,
        optimizer_s=optimizer,
        hbm_B=d.n_micro * traffic + d.optimizer_B,
        ops=times,
    )


class Request(eqx.Module):
    """Numbers of prefills and decode steps in a measured time: of a first token, a next token or a whole answer."""

    prefill: StepDemand
    """Demand of the prefill of the batch."""
    decode: StepDemand
    """Demand of one decode step at the mean context."""
    n_prefill: Scalar = eqx.field(converter=as_float)
    """Number of prefills."""
    n_decode: Scalar = eqx.field(converter=as_float)
    """Number of decode steps."""


def request_s(r: Request, chip: Chip, c: Calibration) -> FloatLike:
    """Time of a request [s].

        t = n_prefill t_prefill + n_decode t_decode
    Source: [agrawal2023sarathi] section 2 for the two phases.
    Assumes: time per token is linear in the context, so the mean context represents all steps.
    """
    # each phase by itself: messages of one can hide behind its own work alone
    first, each = (step_time(d, chip, c).total_s for d in (r.prefill, r.decode))
    return r.n_prefill * first + r.n_decode * each
