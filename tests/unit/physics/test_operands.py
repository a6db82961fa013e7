"""Ports that feed the matrix unit of a GPU's core, by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.hardware.chip import Core, TensorEngine
from dse.hardware.presets import chip, chip_names
from dse.physics.operands import register_load_frac, shared_load_frac

GPUS = [n for n in chip_names() if chip(n).lane_kind == "simt"]


def changed(c, lanes=None, **tensor):
    engine = dataclasses.replace(c.core.tensor, **{k: np.asarray(v) for k, v in tensor.items()})
    more = {} if lanes is None else {"vector_lanes": jnp.asarray(lanes)}
    return dataclasses.replace(c, core=dataclasses.replace(c.core, tensor=engine, **more))


@pytest.mark.parametrize(
    ("name", "read_B", "lanes"),
    [
        # 2 B an operand over rows and over columns, 4 B a sum over the depth; 12 B a lane and cycle
        ("p100", 128 * (2 + 2 + 2), 64),  # no matrix unit, FP16 sums
        ("v100", 512 * (2 / 8 + 2 / 8 + 4 / 4), 64),
        ("a100-40", 1024 * (2 / 16 + 2 / 8 + 4 / 16), 64),
        ("mi250x", 512 * (2 / 32 + 2 / 32 + 4 / 8), 64),
        ("mi355x", 2048 * (2 / 32 + 2 / 32 + 4 / 16), 128),
    ],
)
def test_reads_of_registers_by_hand(name, read_B, lanes):
    assert float(register_load_frac(chip(name))) == pytest.approx(read_B / (12 * lanes))


@pytest.mark.parametrize(
    ("name", "block", "tile", "port_B"),
    # 8, 32 and 128 threads hold 128 sums each, a wave of CDNA 256 a lane, two SMs of Blackwell 65,536 together
    [("v100", 32, 128, 128), ("a100-40", 64, 128, 128), ("h100", 128, 128, 128), ("b200", 256, 256, 128),
     ("mi300x", 128, 128, 128), ("mi355x", 128, 128, 256)],
)  # fmt: skip
def test_reads_and_writes_of_shared_memory_by_hand(name, block, tile, port_B):
    c = chip(name)
    macs = float(c.core.tensor.rows * c.core.tensor.cols)
    by_hand = macs * (2 * 2 / block + 2 * 2 / tile) / port_B
    assert float(shared_load_frac(c)) == pytest.approx(by_hand)


def test_a_core_of_h100_could_not_be_wider_and_one_of_v100_needs_its_lanes():
    h100, v100 = chip("h100"), chip("v100")
    assert float(shared_load_frac(h100)) == pytest.approx(1.0)
    assert float(shared_load_frac(changed(h100, cols=2 * h100.core.tensor.cols))) == pytest.approx(2.0)
    assert float(register_load_frac(v100)) == pytest.approx(1.0)
    assert float(register_load_frac(changed(v100, lanes=32.0))) == pytest.approx(2.0)
    # Ampere's instruction shares operands among four times the threads: twice the MACs from the same ports
    wider = changed(
        v100, cols=2 * v100.core.tensor.cols, instruction_rows=16.0, instruction_depth=16.0, instruction_results=4096.0
    )
    assert float(register_load_frac(wider)) < 1 and float(shared_load_frac(wider)) == pytest.approx(0.75)
    assert float(shared_load_frac(changed(v100, cols=2 * v100.core.tensor.cols))) == pytest.approx(1.25)


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_that_was_built_can_be_fed(name):
    assert float(register_load_frac(chip(name))) <= 1 + 1e-9
    assert float(shared_load_frac(chip(name))) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["trainium3", "tpu-v4", "mi455x"])
def test_nothing_is_said_of_arrays_and_of_unknown_instructions(name):
    for load in (register_load_frac, shared_load_frac):
        value, slope = jax.value_and_grad(lambda n, f=load: f(changed(chip(name), lanes=n)))(128.0)
        assert float(value) == 0 and float(slope) == 0


def test_lanes_relieve_registers_as_a_monomial():
    """Half the load with twice the lanes: the row of the convex core is a posynomial of them."""
    v100 = chip("v100")
    loads = [float(register_load_frac(changed(v100, lanes=n))) for n in (32.0, 64.0, 128.0)]
    assert np.diff(np.log2(loads)) == pytest.approx([-1, -1])


def test_what_a_chip_file_leaves_out_is_not_known():
    assert TensorEngine.__dataclass_fields__["instruction_results"].default == 0
    assert Core.__dataclass_fields__["shared_port_B"].default == 0
