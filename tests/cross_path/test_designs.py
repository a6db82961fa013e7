"""A design that a study found, as the chip file that it wrote, is the same chip in every other command."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import dse
from dse.cli import main
from dse.hardware.own_chip import chip_toml
from dse.hardware.presets import chip_system, seat
from dse.study.design import FREE

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[1] / "data" / "tiny.toml"
SIZES = ("--chips", "4", "--batch", "64", "--context", "4096", "--weights", "fp8", "--kv", "fp8")


def asked(capsys, *argv):
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("system", ["trn3-gen2-144", "rack.toml"])
def test_the_chip_file_of_a_design_is_the_design(capsys, tmp_path, monkeypatch, system):
    """Step time, power and memory to the last bit; before, no command could read the file: it had no base."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rack.toml").write_text('[rack]\nbase = "trn3-gen2-144"\nupper_share = 0.5\n')
    (tmp_path / "tiny.toml").write_text(TINY.read_text().replace('"trn3-gen2-144"', f'"{system}"'))
    solution = asked(capsys, "optimize", "tiny.toml", "--gap", "0.05", "--no-figures")
    design = "results/tiny/chip.toml"
    found = asked(capsys, "evaluate", design, "llama-3.1-8b", "--phase", "decode", *SIZES)
    told = solution["metrics"]["workloads"]["decode"]
    assert {k: found[k] for k in ("step_s", "power_W", "memory_B")} == {
        k: told[k] for k in ("step_s", "power_W", "memory_B")
    }
    assert chip_system(design).name == (system if not system.endswith(".toml") else str(tmp_path / system))


def test_a_design_without_a_fact_of_its_base_stays_without(tmp_path):
    """A pipeline depth of 1 and no instructions are what a file means that says neither; its base may say more."""
    made = dse.chip("h100")
    assert float(made.core.tensor.instruction_depth) > 0
    tensor = dataclasses.replace(made.core.tensor, instruction_depth=np.float64(0.0))
    made = dataclasses.replace(made, core=dataclasses.replace(made.core, tensor=tensor), name="bare")
    path = tmp_path / "bare.toml"
    path.write_text(chip_toml(made, "a test", seat("h100", "dgx-h100")))
    assert float(dse.chip(path).core.tensor.instruction_depth) == 0.0


def test_links_that_a_chip_file_states_are_those_of_an_axis(tmp_path):
    """640 GB/s are 640 by an axis of a sweep or study; a file's were cut to the 0.8 that Trainium2's server uses."""
    path = tmp_path / "mine.toml"
    path.write_text('[mine]\nbase = "trainium2"\nsystem = "trn2-16"\nscaleup_bandwidth_per_dir = "640 GBps"\n')
    name = "scaleup_bandwidth_per_dir_Bps"
    assert float(FREE[name](chip_system(str(path)).chip)) == 640e9
    path.write_text('[mine]\nbase = "trainium2"\nsystem = "trn2-16"\n')
    assert float(FREE[name](chip_system(str(path)).chip)) == float(FREE[name](dse.system("trn2-16").chip)) == 512e9
