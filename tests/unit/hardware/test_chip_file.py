"""A chip written as a file is read back as the same chip."""

import dataclasses

import jax
import numpy as np
import pytest

from dse.hardware.own_chip import chip_facts, chip_toml
from dse.hardware.presets import chip, chip_names


@pytest.mark.parametrize("name", chip_names())
def test_every_preset_survives_the_round_trip(name, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(chip_toml(chip(name), 'a preset, "quoted"'))
    assert chip_facts(chip(path)) == chip_facts(chip(name))
    blank = [dataclasses.replace(c, name="") for c in (chip(path), chip(name))]
    assert jax.tree.structure(blank[0]) == jax.tree.structure(blank[1])


def test_a_design_keeps_its_pipeline(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(chip_toml(dataclasses.replace(chip("h100"), pipeline_depth=np.float64(1.3)), "a test"))
    assert float(chip(path).pipeline_depth) == 1.3 and "pipeline_depth" not in chip_facts(chip("h100"))


def test_a_name_that_is_no_plain_key_is_made_one(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(chip_toml(dataclasses.replace(chip("h100"), name="my chip]\n[x"), "a test"))
    assert chip(path).name == "my-chip---x"
