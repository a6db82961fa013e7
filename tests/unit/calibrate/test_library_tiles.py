"""Products in whole rounds of pieces, by hand."""

import pytest

from dse.calibrate.libraries import contractions, has_library, rounds
from dse.calibrate.operators import data_type, gemm
from dse.hardware.presets import chip
from dse.lowering.tiling import array_shape


def found(name, dtype, m, n, k, splits):
    one = chip(name)
    width = data_type(dtype)
    assert width is not None
    return rounds(gemm(m, n, k, width), array_shape(one.core.tensor), one, splits)


def test_a_square_product_leaves_cores_idle_in_its_last_round():
    """2048 x 2048 x 13312 on 132 cores of 2048 products a cycle: 128 pieces of 128 x 256, all in one round."""
    r = found("h100", "bf16", 2048, 2048, 13312, True)
    assert (r.n_rounds, r.n_cycles) == (1, 128 * 256 * 13312 / 2048)


def test_one_core_adds_up_a_long_contraction_of_block_scaled_products_and_waits_for_its_weights():
    """16 x 1024 x 8192 in 8 bit: 64 weights and 16 shared inputs by contraction at 64 B a cycle, 16 x 64 pieces."""
    r = found("h100", "fp8_block", 16, 1024, 8192, False)
    assert r.n_rounds == 1 and r.piece_cycles == pytest.approx((64 + 16 / 2) * 8192 / 64, rel=1e-3)


def test_a_split_contraction_is_faster_where_few_pieces_leave_cores_idle():
    assert (
        found("a100-80", "bf16", 16, 1024, 8192, True).n_cycles
        < found("a100-80", "bf16", 16, 1024, 8192, False).n_cycles
    )


def test_more_work_is_never_faster():
    cycles = [found("gb200", "bf16", m, 5120, 5120, True).n_cycles for m in (16, 64, 256, 1024, 4096)]
    assert cycles == sorted(cycles)


def test_contractions_are_halved_down_to_the_shortest():
    assert list(contractions(2048, True)) == [2048, 1024, 512] and list(contractions(2048, False)) == [2048]


def test_compilers_cut_by_themselves():
    assert has_library(chip("h100")) and not has_library(chip("trainium3")) and not has_library(chip("gaudi3"))
