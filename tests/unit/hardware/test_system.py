"""Slices of a torus."""

import pytest

from dse.core.errors import SpecError
from dse.hardware.presets import system
from dse.hardware.system import most_cubic, torus_slice


@pytest.mark.parametrize(
    ("n", "axes", "dims"),
    [
        (512, 3, (8, 8, 8)),
        (1024, 3, (8, 8, 16)),
        (64, 3, (4, 4, 4)),
        (128, 2, (8, 16)),
        (7, 3, (1, 1, 7)),
        (10, 3, (1, 2, 5)),
        (30, 3, (2, 3, 5)),  # before: (3, 2, 5)
        (5, 1, (5,)),
    ],
)
def test_most_cubic_factors(n, axes, dims):
    assert most_cubic(n, axes) == dims


def test_a_slice_is_a_whole_torus_and_keeps_its_links():
    pod = system("tpu-v5p-8960")
    cut = torus_slice(pod, 512)
    assert (cut.n_chips, cut.fabric.dims, cut.fabric.axis_share) == (512, (8, 8, 8), pod.fabric.axis_share)


def test_what_is_no_torus_or_larger_than_one_keeps_its_shape():
    node, pod = system("dgx-a100"), system("tpu-v5p-8960")
    assert torus_slice(node, 4).fabric == node.fabric
    assert torus_slice(pod, 17920).fabric == pod.fabric and torus_slice(pod, 17920).n_chips == 17920


def test_a_part_of_a_switched_domain_is_a_smaller_switch():
    """64 of the 72 chips of a rack, as schedulers place 64 expert ranks; 128 are parts of two racks."""
    assert system("gb200-nvl72", 64).fabric.dims == (64,)
    assert system("gb200-nvl72", 36).fabric.dims == system("gb200-nvl72", 144).fabric.dims == (72,)
    with pytest.raises(SpecError, match=r"n_chips = 128.* 72"):
        system("gb200-nvl72", 128)


def test_a_part_of_a_torus_divides_it():
    with pytest.raises(SpecError, match=r"n_chips = 12: .*divisor"):
        system("trn2-ultraserver", 12)
