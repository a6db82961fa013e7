"""Tiling by hand on a 128 x 128 array that contracts 512 deep at MX precisions (NeuronCore-v4)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.hardware.presets import chip
from dse.lowering.tiling import array_shape, op_demand, padded, product_cycles, rank_ops
from dse.technology.node import PRECISIONS
from dse.workload.op import Product, elementwise, fused_attention, linear, passes

BF16, FP8, FP4 = (PRECISIONS.index(p) for p in ("bf16", "fp8", "fp4"))
lengths = st.integers(1, 20_000).map(float)


@pytest.fixture(scope="module")
def mx():
    return array_shape(chip("trainium3").core.tensor)


@pytest.fixture(scope="module")
def v3():
    return array_shape(chip("trainium2").core.tensor)


def test_the_array_is_what_the_hand_calculations_assume(mx):
    assert (mx.rows, mx.cols, mx.granule_stationary, mx.granule_moving) == (128, 128, 128, 64)
    assert mx.rates[BF16] == 1 and mx.rates[FP8] == mx.rates[FP4] == 4
    assert mx.granules_contract[BF16] == 128 and mx.granules_contract[FP8] == 512


@pytest.mark.parametrize(
    ("length", "granule", "whole"), [(1, 128, 128), (128, 128, 128), (129, 128, 256), (0.5, 64, 64)]
)
def test_padding_rounds_up_to_whole_granules(length, granule, whole):
    assert padded(length, granule) == whole


def test_rounding_errors_do_not_buy_a_granule():
    """4608 / 8 / 3 x 3 x 8 / 128 must count as 36, whatever the last bit says."""
    assert padded(4608 / 7 * 7 * (1 + 1e-15), 128) == 4608


def test_mx_product_runs_four_macs_per_pe(mx):
    """[1024 x 4096] @ [4096 x 256] at MXFP8: 8 deep tiles x 2 stationary tiles x 1,024 columns = 16,384 cycles."""
    product = Product(moving=1024, stationary=256, contract=4096)
    assert product_cycles(product, mx, FP8)[0] == 16_384
    assert product_cycles(product, mx, BF16)[0] == 4 * 16_384


def test_mx_contraction_is_padded_to_512(mx):
    """K = 128 fills a quarter of the 512-deep MX tile: no faster than bf16; K = 513 pays for 1,024."""
    shallow, over = Product(1024, 256, 128), Product(1024, 256, 513)
    assert product_cycles(shallow, mx, FP8)[0] == product_cycles(shallow, mx, BF16)[0] == 2 * 1024
    assert product_cycles(over, mx, FP8)[0] == 2 * 2 * 1024


def test_matrix_vector_product_streams_the_vector(mx):
    """One token, K = 4,096, N = 4,096, bf16: 32 x 32 weight tiles, each streamed past by one row padded to 64 cycles.

    65,536 cycles. Held the other way (the token as the stationary side) it would take 32 x 4096 = 131,072.
    """
    gemv = Product(moving=1, stationary=4096, contract=4096)
    assert product_cycles(gemv, mx, BF16)[0] == 32 * 32 * 64
    assert product_cycles(Product(4096, 1, 4096), mx, BF16)[0] == 32 * 32 * 64


def test_the_swap_pays_from_129_to_192_rows(mx):
    """M = 192 = 3 x 64 against N = 128 x 31 + 64: streaming M pads N, streaming N pads M to 256."""
    product = Product(moving=192, stationary=128 * 31 + 64, contract=128)
    stream_m, stream_n = 192 * 32 * 128 / 128, 4032 * 256 / 128
    assert product_cycles(product, mx, BF16)[0] == min(stream_m, stream_n) == 6144


def test_tile_is_one_instruction_of_512_columns(v3):
    """K 4,096, 128 stationary and at most 512 moving columns is what one core cannot share: 32 x 512 cycles."""
    assert product_cycles(Product(8192, 8192, 4096), v3, BF16)[1] == 32 * 512
    total, tile = product_cycles(Product(64, 128, 128), v3, BF16)
    assert total == tile == 64


@given(lengths, lengths, lengths, st.sampled_from([BF16, FP8, FP4]))
def test_padding_never_saves_and_the_sides_are_equal(m, n, k, precision):
    array = array_shape(chip("trainium3").core.tensor)
    total, tile = product_cycles(Product(m, n, k), array, precision)
    assert total >= m * n * k / (array.rows * array.cols * array.rates[precision]) * (1 - 1e-12)
    assert 0 < tile <= total * (1 + 1e-12)
    assert total == product_cycles(Product(n, m, k), array, precision)[0]
    assert product_cycles(Product(m, n, k, count=3), array, precision)[0] == pytest.approx(3 * total)


def test_a_missing_precision_runs_at_the_next_wider(v3, mx):
    """NeuronCore-v3 has no FP4: it runs as FP8."""
    assert v3.rates[FP4] == 0 and v3.executed("fp4") == FP8
    assert mx.executed("fp4") == FP4
    assert v3.executed("bf16") == BF16


def test_operators_become_columns_in_order(v3):
    ops = [
        linear("x", 1024, 512, 256, "bf16"),
        elementwise("y", 1e6, 3, 2),
        fused_attention(8.0, 8.0, 128.0, 512.0, 512.0, 1.0, n_products=2, softmax_passes=4),
    ]
    rank = rank_ops(ops, v3)
    d = op_demand(rank, np.asarray([2.0, 1.0, 5.0]))
    assert rank.names == ("x", "y", "attention")
    np.testing.assert_array_equal(d.hbm_B, [op.hbm_B for op in ops])
    np.testing.assert_array_equal(d.vector_elements, [op.vector_elements for op in ops])
    np.testing.assert_array_equal(d.runs, [2, 1, 5])
    # traffic that falls as S^-1/2 is for linear layers, as S^-1 for fused attention
    assert (d.reuse_half > 0).tolist() == [True, False, False]
    assert (d.reuse_one > 0).tolist() == [False, False, True]
    assert rank.macs[:, BF16].tolist() == [sum(p.macs for p in op.products) for op in ops]
    assert rank.macs.sum() == rank.macs[:, BF16].sum()


def test_macs_are_counted_at_the_precision_they_run_at(v3):
    assert rank_ops([linear("x", 128, 128, 128, "fp4")], v3).macs[0].tolist() == [0, 0, 128**3, 0]


@pytest.mark.parametrize(("name", "share"), [("a100-80", 0.5), ("h100", 0.5), ("b200", 1.0)])
def test_the_softmax_of_attention_keeps_up_with_the_array_until_blackwell(name, share):
    """FlashAttention-4: on B200 exponentials take as many cycles as products, on Hopper half as many.

    By hand, per score of a head of 128: 256 MAC on 4,096 PEs (B200) are 1/16 cycle, and 8 passes on 128 lanes too.
    """
    core = chip(name).core
    op = fused_attention(8, 8, 128, 4096, 4096, 1, 2, passes()["softmax_forward"])
    array_cycles = op.macs / float(core.tensor.rows * core.tensor.cols * core.tensor.macs_per_cycle.bf16)
    lane_cycles = op.vector_elements / float(core.vector_lanes * core.vector_clock_frac)
    assert lane_cycles / array_cycles == pytest.approx(share, rel=0.02)


EXPONENTIALS = {
    "v100": 16,
    "a100-80": 16,
    "h100": 16,
    "b200": 16,
    "mi300x": 16,
    "trainium1": 64,
    "trainium2": 64,
    "trainium3": 128,
}
"""Exponentials per core and cycle of the array: special function units of an SM or CU, ScalarE at half the clock."""


def test_an_exponential_costs_the_lane_cycles_that_published_units_take():
    """The count of a softmax is three plain passes and one exponential: 5, between what chips of today take."""
    cores = {name: chip(name).core for name in EXPONENTIALS}
    cycles = {n: float(c.vector_lanes * c.vector_clock_frac) / EXPONENTIALS[n] for n, c in cores.items()}
    counted = passes()["softmax_forward"] - 3
    assert 1.5 < min(cycles.values()) < counted < max(cycles.values()) <= 8
    assert np.median(list(cycles.values())) == pytest.approx(counted, rel=0.25)


@pytest.mark.parametrize("name", ["h100", "mi300x", "trainium3"])
def test_more_exponentials_never_shorten_attention_and_the_array_does_not_notice(name):
    array = array_shape(chip(name).core.tensor)
    few, many = (fused_attention(8, 2, 128, 2048, 2048, 1, 2, n) for n in (4.0, 8.0))
    tiled = [rank_ops([op], array) for op in (few, many)]
    assert np.array_equal(tiled[0].columns[:3], tiled[1].columns[:3])
    assert many.vector_elements == 2 * few.vector_elements
    assert many.macs == few.macs and many.hbm_B == few.hbm_B
