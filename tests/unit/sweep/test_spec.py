"""Specifications: what they mean in canonical units, and one clear line for every kind of mistake."""

from pathlib import Path

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.sweep.points import ListAxis, SampleAxis
from dse.sweep.spec import load_sweep

AXIS = '[[axes]]\nkey = "hbm_bandwidth"\nlog_range = ["1 TBps", "4 TBps"]\npoints = 3\n'


def test_values_are_canonical(write):
    sweep = load_sweep(write())
    plan, bandwidth, sample = sweep.axes
    assert isinstance(bandwidth, ListAxis) and isinstance(sample, SampleAxis)
    # 1 to 4 TB/s in three logarithmic steps: the middle is sqrt(1 x 4) = 2 TB/s
    np.testing.assert_allclose([row[0] for row in bandwidth.rows], [1e12, 2e12, 4e12], rtol=1e-12)
    assert plan.keys == ("plan",) and bandwidth.keys == ("hbm_bandwidth_Bps",)
    assert sample.keys == ("n_cores", "clock_Hz") and sample.lower == (50.0, 1e9)
    assert sweep.size == 2 * 3 * 4 and sweep.n_shards == 3 and sweep.shard(2) == range(16, 24)


def test_choices_vary_slowest_whatever_their_place(write):
    """Points of one combination are neighbours, so a shard lowers few of them."""
    moved = "\n[[axes]]\nkey = 'batch'\nvalues = [8, 16]\n"
    assert [a.keys[0] for a in load_sweep(write(text=write().read_text() + moved)).axes][:2] == ["plan", "batch"]


def test_the_shipped_ones_are_right():
    shipped = [p for p in Path(__file__).parents[3].glob("sweeps/*.toml") if "[sweep]" in p.read_text()]
    assert len(shipped) >= 4
    for path in shipped:
        sweep = load_sweep(path)
        assert sweep.name == path.stem
        assert path.read_text().startswith("# ") and "expected_minutes" in sweep.text


BAD = {
    "not TOML": ('name = "small"', 'name = "small', r"not valid TOML: .*line 3"),
    "a name that leaves the folder": ('"small"', '"../up"', r"small.toml:3: sweep.name: '../up' cannot name a folder"),
    "an unknown key": (
        "shard_points",
        "shard_point",
        r":4: sweep.shard_point: unknown key; did you mean 'shard_points'",
    ),
    "a key of another table": ("shard_points", "log_range", r":4: sweep.log_range: unknown key, it belongs to another"),
    "a wrong type": (
        "= 8\n\n",
        "= 'many'\n\n",
        r":4: sweep.shard_points: 'many' is not allowed: input should be a valid i",
    ),
    "no name": ('name = "small"\n', "", r":2: sweep.name: missing"),
    "no chip": ('chip = "a100-80"\n', "", r":6: base: no 'chip'; give it here or as an axis"),
    "an unknown axis": (
        '"hbm_bandwidth"',
        '"hbm_bandwith"',
        r":20: axes\[2\].key: unknown key 'hbm_bandwith'; did you mean",
    ),
    "an unknown chip": (
        '"a100-80"',
        '"a100-800"',
        r":7: base.chip: chip = 'a100-800': unknown chip .* did you mean a100-80",
    ),
    "an unknown model": ("llama-3.1-8b", "llama-3.1-9b", r":9: base.model: .*did you mean llama-3.1-8b"),
    "a config.json that is not there": ("llama-3.1-8b", "my/config.json", r":9: base.model: .*cannot be read"),
    "a chip file that is not there": ('"a100-80"', '"mine.toml"', r":7: base.chip: .*mine.toml: cannot be read"),
    "a wrong unit": (
        "4 TBps",
        "4 GHz",
        r":21: axes\[2\].log_range: .*GHz measures Hz, expected one that converts to Bps",
    ),
    "a negative number": (
        "1 TBps",
        "-1 TBps",
        r":21: axes\[2\].log_range: hbm_bandwidth_Bps = '-1 TBps': must be positive",
    ),
    "a fraction of a chip": ("chips = 8", "chips = 8.5", r":10: base.chips: chips = 8.5: expected a whole number"),
    "a plan nobody can read": ("tp=8,pp=1,dp=1", "tp=8,xp=1", r":17: axes\[1\].values: .*unknown key 'xp'"),
    "a range backwards": (
        '["1 TBps", "4 TBps"]',
        '["4 TBps", "1 TBps"]',
        r":21: .*begins at 4e\+12 and ends at 1e\+12",
    ),
    "a range without points": ("\npoints = 3", "", r":21: axes\[2\].log_range: needs 'points'"),
    "a range of names": (
        '"hbm_bandwidth"\nlog_range = ["1 TBps", "4 TBps"]',
        '"node"\nrange = ["N3P", "N2"]',
        r":21: axes\[2\].range: 'node' is a choice, not a number; list its values",
    ),
    "two kinds of values": (
        "points = 3",
        "values = [1e12]",
        r":19: axes\[2\]: has values and log_range; give exactly one of",
    ),
    "no values": (AXIS, '[[axes]]\nkey = "batch"\nvalues = []\n', r":21: axes\[2\].values: is empty"),
    "a value twice": (AXIS, '[[axes]]\nkey = "batch"\nvalues = [8, 8]\n', r":19: axes\[2\]: has 8 twice"),
    "an axis set twice": (
        AXIS,
        '[[axes]]\nkey = "clock"\nvalues = ["1 GHz"]\n',
        r":23: axes\[3\]: 'clock_Hz' is set by axis 2 too",
    ),
    "zipped lists of unequal length": (
        AXIS,
        "[[axes]]\nzip = { batch = [8, 16], chips = [8] }\n",
        r":20: axes\[2\].zip: batch has 2, chips has 1; zipped lists need the same number",
    ),
    "an unknown sampler": ('"sobol"', '"sobel"', r":25: axes\[3\].sample: unknown sampler 'sobel'; did you mean sobol"),
    "a sampled name": ('clock = ["1 GHz", "2 GHz"]', "batch = [8, 16]", r":27: .*'batch' is a choice; only numbers"),
    "a sample without a box": (
        'log = { clock = ["1 GHz", "2 GHz"] }\nlinear = { n_cores = ["50", "150"] }',
        "",
        r":24: axes\[3\]: a sample needs a box",
    ),
    "too many points": ("points = 4", "points = 500000000", r"axes: 3,000,000,000 points; at most 1,000,000,000"),
    "a sample beyond any": ("points = 4", "points = 10000000000", "10,000,000,000 points; a sobol may have at most"),
    "a list beyond memory": ("points = 3", "points = 500000000", "a log_range may have at most 1,000,000"),
    "an unknown column": (
        "shard_points = 8",
        'record = ["step_time"]',
        r":4: sweep.record\[1\]: unknown column 'step_time'",
    ),
    "a rule that does nothing": (
        "[base]",
        "[[rules]]\nif = { batch = 32 }\n[base]",
        r":6: rules\[1\]: give either 'set' or",
    ),
    "a rule on what is set nowhere": (
        "[base]",
        "[[rules]]\nif = { node = 'N2' }\nskip = true\n[base]",
        r":7: rules\[1\].if: 'node' is set nowhere",
    ),
    "a size of another phase": (
        "sequence =",
        "context =",
        r":6: base: 'context' belongs to decode, and every point is tr",
    ),
    "a limit without a study": (
        '"hbm_bandwidth"',
        '"limits.power"',
        r":20: axes\[2\].key: 'limits.power' does not belong to",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_clear_line_for_every_mistake(write, kind):
    old, new, told = BAD[kind]
    with pytest.raises(SpecError, match=told) as caught:
        load_sweep(write((old, new)))
    assert "\n" not in str(caught.value) and "small.toml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SpecError, match=r"none.toml: cannot be read \(No such file"):
        load_sweep(tmp_path / "none.toml")


TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
STUDY = f"""
[sweep]
name = "s"
[base]
study = "{TINY}"
[[axes]]
key = "limits.power"
values = ["700 W"]
"""
BAD_STUDIES = {
    "no such study": (str(TINY), "none.toml", r":5: base.study: .*none.toml: cannot be read"),
    "a limit the study does not have": (
        'power"\nvalues = ["700 W"]',
        'die"\nvalues = ["700 mm2"]',
        r":7: axes\[1\].key: study tiny limits power_W, .*'die_mm2' is not among",
    ),
    "a number the study does not free": (
        'limits.power"\nvalues = ["700 W"]',
        'free.clock"\nvalues = ["1 GHz"]',
        r":7: axes\[1\].key: study tiny leaves free n_cores, .*'clock_Hz' is not",
    ),
    "a chip": ("limits.power", "chip", r":7: axes\[1\].key: 'chip' does not belong to a sweep of studies"),
    "a column": ('name = "s"', 'name = "s"\nrecord = ["step_s"]', r":4: sweep.record: a sweep of studies records the"),
    "an unknown metric": (
        "limits.power",
        "limits.powr",
        r":7: axes\[1\].key: unknown key under limits 'powr'; did you mean",
    ),
}


@pytest.mark.parametrize("kind", BAD_STUDIES)
def test_one_clear_line_for_every_mistake_with_a_study(write, kind):
    old, new, told = BAD_STUDIES[kind]
    with pytest.raises(SpecError, match=told):
        load_sweep(write((old, new), text=STUDY))


def test_the_example_of_the_readme_is_a_specification(write):
    text = (Path(__file__).parents[3] / "sweeps" / "README.md").read_text()
    block = text[text.index("    [sweep]") : text.index("Axes multiply")]
    sweep = load_sweep(write(text="\n".join(line[4:] for line in block.splitlines())))
    assert sweep.size == 2 * 5 * 2 * 1024 and sweep.seed == 0 and sweep.shard_points == 100_000
    assert dict(sweep.base)["hbm_bandwidth_Bps"] == 9e12
