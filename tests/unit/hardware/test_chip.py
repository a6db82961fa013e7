"""The chip record: peaks are products, pools are sums."""

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.core.errors import SpecError, UnknownNameError
from dse.hardware import presets
from dse.hardware.chip import native_precisions, peak_FLOPps, pool_B, runs_in
from dse.technology.node import PRECISIONS

SCALE = st.floats(0.01, 100.0)
NAMES = st.sampled_from(presets.chip_names())


def scaled(chip, where, factor):
    return eqx.tree_at(where, chip, np.asarray(where(chip) * factor))


@given(NAMES, SCALE, st.sampled_from(PRECISIONS))
def test_peak_is_homogeneous_in_clock_and_cores(name, factor, precision):
    chip = presets.chip(name)
    before = float(peak_FLOPps(chip, precision))
    for where in (lambda c: c.clock_Hz, lambda c: c.n_cores, lambda c: c.core.tensor.rows):
        assert float(peak_FLOPps(scaled(chip, where, factor), precision)) == pytest.approx(factor * before)


@given(NAMES, SCALE)
def test_peak_ignores_memory(name, factor):
    chip = presets.chip(name)
    changed = scaled(chip, lambda c: c.hbm_bandwidth_Bps, factor)
    assert float(peak_FLOPps(changed, "bf16")) == float(peak_FLOPps(chip, "bf16"))


def test_peak_has_the_gradient_of_a_product():
    chip = jax.tree.map(lambda x: jax.numpy.asarray(x), presets.chip("trainium3"))
    grad = jax.grad(lambda c: peak_FLOPps(c, "fp8"))(chip)
    # dP/df = P / f = 8 x 128 x 128 x 4 x 2 = 1048576 FLOP per cycle
    assert float(grad.clock_Hz) == pytest.approx(1048576)
    assert float(grad.hbm_bandwidth_Bps) == 0


@pytest.mark.parametrize(
    ("name", "mebibytes"),
    [
        ("trainium1", 24),  # SBUF, private
        ("trainium2", 28),
        ("trainium3", 32),
        ("a100-80", 40),  # L2 of the chip
        ("h100", 50),
        ("b200", 126e6 / 2**20),
        ("tpu-v4", 128),  # CMEM of both TensorCores
        ("tpu-v5p", 64),  # VMEM, private
    ],
)
def test_pool_is_what_shares_one_copy(name, mebibytes):
    assert float(pool_B(presets.chip(name))) / 2**20 == pytest.approx(mebibytes, rel=1e-6)


def test_native_precisions():
    assert native_precisions(presets.chip("trainium3")) == ("fp32", "bf16", "fp8", "fp4")
    assert native_precisions(presets.chip("trainium2")) == ("fp32", "bf16", "fp8")
    assert native_precisions(presets.chip("h100")) == ("bf16", "fp8", "int8")
    assert native_precisions(presets.chip("a100-80")) == ("bf16", "int8")


INTEGERS_ONLY = (
    "a100-80",
    "a100-40",
    "a40",
    "a800",
    "mi210",
    "mi250x",
    "tpu-v4",
    "tpu-v4i",
    "tpu-v5e",
    "tpu-v5p",
    "tpu-v6e",
)


@pytest.mark.parametrize("name", INTEGERS_ONLY)
def test_a_chip_with_integers_alone_never_multiplies_in_fp8(name):
    """Ampere, CDNA2 and TPUs up to v6e have INT8 and no FP8 [TransformerEngine issue 1159: FP8 needs sm_89]."""
    native = native_precisions(presets.chip(name))
    assert "fp8" not in native and "int8" in native
    assert [runs_in(native, p) for p in ("fp8", "fp4", "int8", "bf16")] == ["bf16", "bf16", "int8", "bf16"]


def test_neither_kind_of_8_bit_stands_in_for_the_other():
    assert runs_in(native_precisions(presets.chip("trainium2")), "int8") == "bf16"
    assert runs_in(native_precisions(presets.chip("trainium2")), "fp4") == "fp8"
    assert runs_in(native_precisions(presets.chip("tpu-v3")), "fp8") == "bf16"


def test_products_wider_than_a_matrix_unit_are_refused():
    """Before: IndexError, from `dse evaluate h100 --weights fp32` too; lanes multiply FP32 there."""
    with pytest.raises(SpecError, match="fp32: the matrix unit multiplies in bf16, fp8, int8 and in nothing wider"):
        runs_in(native_precisions(presets.chip("h100")), "fp32")


def test_unknown_precision_offers_near_matches():
    with pytest.raises(UnknownNameError, match="bf16"):
        peak_FLOPps(presets.chip("h100"), "bf17")
