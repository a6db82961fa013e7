"""Rows of weights arrive in pieces: their lengths, and what starting them costs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.pieces import piece_B, starting_B
from dse.lowering.plan import Plan
from dse.physics.calibration import calibration, on_stack
from dse.workload.presets import model
from dse.workload.transformer import Decode

LLAMA = model("llama-2-7b")
PRIORS = {"neuronx": "prior-neuron", "vllm": "prior-cuda"}


@pytest.mark.parametrize(
    ("columns", "element_B", "want_B"),
    [
        (11008 / 2, 2, 256),  # 43 blocks of 128 columns, a prime: one by one
        (18944 / 2, 2, 512),  # 74 blocks: by two
        (14336 / 2, 2, 14 * 256),  # 56 blocks: by fourteen, since sixteen are 4 KiB
        (16384 / 2, 2, 4096),
        (13696 / 2, 2, 4096),  # 53.5 blocks: long pieces, and a shorter last one
        (768 / 8, 2, 192),  # whole rows of an expert on eight ranks
        (1792, 1, 1792),
        (11008 / 2, 1, 128),
        (5504 / 2, 1, 2752),  # shorter than 4 KiB in 8 bit: a row in one piece
    ],
)
def test_length_of_a_piece(columns, element_B, want_B):
    assert piece_B(columns, element_B) == want_B


@given(st.integers(1, 1 << 17), st.sampled_from([0.5, 1.0, 2.0]))
def test_a_piece_is_part_of_a_row_and_saturates_at_most(columns, element_B):
    piece = piece_B(columns, element_B)
    assert 0 < piece <= min(4096, columns * element_B)
    if columns % 128 == 0:
        assert (columns * element_B) % piece == 0


def test_pieces_of_2_KiB_reach_82_and_of_4_KiB_90_per_cent():
    """The guide's two points; a narrow row of an expert, 192 B, reaches 30 %, a third of what long pieces do."""
    slower = [1 + 450 / 4096 + starting_B(1.0, columns, 2) for columns in (1024, 2048, 96)]
    assert 1 / np.asarray(slower) == pytest.approx([0.82, 0.90, 0.30], abs=0.005)


def starts_B(name, work, plan, stack, cores=True):
    on = system(name, plan.tp)
    ref = on_stack(chip_reference(on.chip, calibration(PRIORS[stack])), stack)
    d = demand(work, plan, on, dataclasses.replace(ref, ranks_are_cores=cores))
    return float(np.sum(d.ops.runs * d.ops.starting_B))


def test_a_token_of_llama_2_on_two_ranks_by_hand():
    """Up: 2 x 4096 x 5504 weights in pieces of 256 B; q, k, v: 2048 columns and out, down: 4096, all in 4 KiB.

    The head has 16,000 columns, 125 blocks: by five, 1280 B.
    """
    up, head = 32 * 2 * 4096 * 5504, 4096 * 16000
    want = 2 * 450 * (up * (1 / 256 - 1 / 4096) + head * (1 / 1280 - 1 / 4096))
    work = Decode(LLAMA, 1, 1024)
    assert starts_B("trn2-ultraserver", work, Plan(tp=2), "neuronx") == pytest.approx(want)


def test_how_cores_of_a_chip_divide_a_row_is_not_known():
    work = Decode(LLAMA, 1, 1024)
    assert starts_B("trn2-ultraserver", work, Plan(tp=2), "neuronx", cores=False) == 0.0


def test_kernels_that_read_by_wide_loads_start_no_pieces():
    assert starts_B("dgx-h100", Decode(LLAMA, 1, 1024), Plan(tp=2), "vllm") == 0.0


def test_blocks_that_come_one_by_one_start_as_often_in_8_bit():
    """43 blocks a row, in either format: 450 B for each, less what as many bytes in long pieces would start."""
    n, a_long_piece = 5504.0, 450 / 4096
    starts = [starting_B(n * e, n, e) + n * e * a_long_piece for e in (2.0, 1.0)]
    assert starts == pytest.approx([43 * 450, 43 * 450])
