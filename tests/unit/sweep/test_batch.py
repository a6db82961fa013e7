"""Evaluated points are what `dse.evaluate` says of the same chip, and failures keep their reasons."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

import dse
from dse.physics.power import foreign_frac
from dse.study.metrics import METRICS, chip_state
from dse.sweep.batch import NO_NUMBER, TOO_BIG, TOO_FAST, TOO_HOT, combinations, evaluate_points
from dse.sweep.keys import COUNTS
from dse.sweep.points import ListAxis, Sweep, points
from dse.sweep.spec import load_sweep

pytestmark = pytest.mark.slow


def answers(sweep, wanted=None):
    return evaluate_points(sweep, points(sweep, range(sweep.size) if wanted is None else wanted))


def changed(chip, made, i):
    """The chip of a point; all cores of an A100 share its L2, so that other numbers of them do."""
    values = [np.asarray(made.numbers[k][i]) for k in ("hbm_bandwidth_Bps", "clock_Hz", "n_cores", "n_cores")]
    return eqx.tree_at(lambda c: [c.hbm_bandwidth_Bps, c.clock_Hz, c.n_cores, c.cores_per_pool], chip, values)


def test_combinations_beyond_63_bits_stay_apart(tmp_path):
    # seven lists of 1,023 values are 1,024^7 = 2^70 codes: what comes before them was lost, and 8 chips ran as 4
    rows = tuple((i,) * 7 for i in range(1, 1024))
    axes = (ListAxis(("chips",), ((4,), (8,))), ListAxis(COUNTS[1:], rows))
    sweep = Sweep("many", "", tmp_path, False, (), axes, (), (), 0, 2046, ())
    distinct, member = combinations(sweep, points(sweep, range(2046)))
    assert len(distinct) == len(np.unique(member)) == 2046
    assert all(dict(distinct[m])["chips"] == (4 if i < 1023 else 8) for i, m in enumerate(member))


def test_a_point_is_what_evaluate_says(write):
    sweep = load_sweep(write())
    made, found = points(sweep, range(sweep.size)), answers(sweep)
    assert found["ok"].all()
    base = dse.system("dgx-a100", 8)
    workload = dse.Training(dse.model("llama-3.1-8b"), 32, 2048)
    for i in (0, 7, 13, 23):
        system = dataclasses.replace(base, chip=changed(base.chip, made, i))
        plan = dse.parse_plan(found["plan"][i])
        e = dse.evaluate(system, workload, plan).result
        for column, value in {"step_s": e.step_s, "power_W": e.power_W, "mfu_frac": e.mfu_frac}.items():
            np.testing.assert_allclose(found[column][i], float(value), rtol=1e-9)


def test_more_bandwidth_is_never_slower(write):
    found = answers(load_sweep(write()))["step_s"].reshape(2, 3, 4)
    assert (np.diff(found, axis=1) <= 0).all() and (np.diff(found, axis=1) < 0).any()


def test_auto_takes_the_fastest_plan_that_fits(write):
    text = write(('values = ["tp=2,pp=1,dp=4", "tp=8,pp=1,dp=1"]', 'values = ["auto"]')).read_text()
    sweep = load_sweep(write(("batch = 32", "batch = 64"), text=text))
    made, found = points(sweep, range(3)), answers(sweep, range(3))
    system = dse.system("dgx-a100", 8)
    for i in range(3):
        chip = changed(system.chip, made, i)
        best = dse.evaluate(dataclasses.replace(system, chip=chip), dse.Training(dse.model("llama-3.1-8b"), 64, 2048))
        assert dse.parse_plan(found["plan"][i]) == best.plan
        np.testing.assert_allclose(found["step_s"][i], float(best.result.step_s), rtol=1e-9)


def test_answers_do_not_depend_on_the_slice(write):
    sweep = load_sweep(write())
    whole, part = answers(sweep), answers(sweep, range(9, 17))
    for column, values in part.items():
        np.testing.assert_array_equal(values, whole[column][9:17])


def test_failures_are_rows_with_reasons(write):
    rules = """
[[rules]]
if = { plan = "tp=8,pp=1,dp=1", hbm_bandwidth = "1 TBps" }
set = { model = "gpt-3-175b" }

[[rules]]
if = { plan = "tp=8,pp=1,dp=1", hbm_bandwidth = { at_least = "3 TBps" } }
set = { power_limit = "10 W" }

[[rules]]
if = { plan = "tp=2,pp=1,dp=4", hbm_bandwidth = "1 TBps" }
set = { chips = 12 }
"""
    found = answers(load_sweep(write(text=write().read_text() + rules)))
    # 175B parameters on eight chips of 80 GB: more than 16 x 175 / 8 = 350 GB each for weights and optimizer
    assert list(found["reason"][12:16]) == [TOO_BIG] * 4 and (found["memory_B"][12:16] > 350e9).all()
    assert list(found["reason"][20:24]) == [TOO_HOT] * 4
    assert set(found["reason"][:4]) == {"chips = 12: expected a multiple of the domain of 8, or any number up to it"}
    failed = found["reason"] != ""
    assert np.isnan(found["step_s"][failed]).all() and np.isfinite(found["step_s"][~failed]).all()
    assert (found["ok"] == ~failed).all() and failed.sum() == 12 and NO_NUMBER not in found["reason"]


def test_a_preset_without_changes_keeps_its_links_between_dies(write):
    """B200 has two dies; its links are the vendor's, not what its memory needs to cross, until the memory changes."""
    text = '[sweep]\nname = "b"\nrecord = ["step_s", "power_W"]\n[base]\nchip = "b200"\nmodel = "llama-3.1-8b"\n'
    text += 'plan = "tp=8,pp=1,dp=1"\n'
    found = answers(load_sweep(write(text=text)))
    e = dse.evaluate(
        dse.system("hgx-b200", 8), dse.Training(dse.model("llama-3.1-8b"), 32, 8192), dse.Plan(tp=8)
    ).result
    np.testing.assert_allclose(found["power_W"], [float(e.power_W)], rtol=1e-9)
    b200 = dse.chip("b200")
    crossing = float(b200.hbm_bandwidth_Bps * foreign_frac(b200.n_dies))
    assert crossing != float(b200.die_to_die_bandwidth_Bps)


@pytest.mark.parametrize("name", ["l40s", "trainium2", "h100"])
def test_a_chip_costs_what_it_costs_elsewhere(write, name):
    """An L40S (memory on the board) was packaged as if it had stacks, 1,607 dollars instead of 520; a Trainium2, whose
    dies have no spare cores, was sold as if it had, 3,290 instead of 3,337."""
    text = f'[sweep]\nname = "b"\nrecord = ["package_cost"]\n[base]\nchip = "{name}"\nmodel = "llama-3.1-8b"\n'
    found = answers(load_sweep(write(text=text + 'phase = "decode"\n')))
    costs = float(METRICS["package_cost_USD"](chip_state(dse.chip(name))))
    np.testing.assert_allclose(found["package_cost_USD"], [costs], rtol=1e-9)


def test_spares_that_an_axis_adds_are_harvested(write):
    """A die with a bad core can be sold from the first spare on, so that a little silicon more costs less in all."""
    text = '[sweep]\nname = "b"\nrecord = ["package_cost"]\n[base]\nchip = "trainium2"\nmodel = "llama-3.1-8b"\n'
    text += 'phase = "decode"\n[[axes]]\nkey = "spare_frac"\nvalues = [0.0, 0.001]\n'
    none, some = answers(load_sweep(write(text=text)))["package_cost_USD"]
    assert some < none


def test_too_hot_is_not_too_big(write):
    """Static power alone is over 1 W, whatever the plan; the first plan, which does not fit, was told as the reason."""
    text = '[sweep]\nname = "b"\n[base]\nchip = "trainium2"\nmodel = "llama-3.1-405b"\nphase = "decode"\n'
    text += "batch = 8\n"
    assert list(answers(load_sweep(write(text=text + 'power_limit = "1 W"\n')))["reason"]) == [TOO_HOT]


def test_nothing_in_the_cache_can_be_asked_for(write):
    text = '[sweep]\nname = "b"\n[base]\nchip = "trainium2"\nmodel = "llama-3.1-8b"\nphase = "prefill"\n'
    text += "prompt = 2048\nbatch = 1\n"
    zero = answers(load_sweep(write(text=text + "cached = 0\nchunk = 0\n")))
    np.testing.assert_array_equal(zero["step_s"], answers(load_sweep(write(text=text)))["step_s"])


CHIP = """
[mine]
{facts}
"""


def own_chip(tmp_path, **changes: float):
    """The A100 as a user's own chip file."""
    import dataclasses as d

    facts = []
    for fact in dse.chip_receipts("a100-80"):
        values = {**d.asdict(fact), **({"value": changes[fact.name]} if fact.name in changes else {})}
        value = f'"{values["value"]}"' if isinstance(values["value"], str) else repr(values["value"])
        facts.append(f'{fact.name} = {{ value = {value}, kind = "guess", source = "me" }}')
    (tmp_path / "mine.toml").write_text(CHIP.format(facts="\n".join(facts)))


def test_own_chip_and_own_model(write, tmp_path):
    """Files beside the specification; the chip takes a fabric and a calibration by name."""
    from pathlib import Path

    import dse.workload.presets as presets

    own_chip(tmp_path)
    config = Path(presets.__file__).parent / "data" / "llama-3.1-8b.json"
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "config.json").write_text(config.read_text())
    text = write(("llama-3.1-8b", "my/config.json"), ('"a100-80"', '"mine.toml"')).read_text()
    mine = load_sweep(write(text=text.replace("[base]", '[base]\ncalibration = "fit-a100-80-megatron"')))
    assert [name for name, _ in mine.files] == ["mine.toml", "my/config.json"]
    np.testing.assert_array_equal(answers(mine)["step_s"], answers(load_sweep(write()))["step_s"])
    refused = answers(load_sweep(write(text=text)))["reason"]
    assert "mine.toml: no base and no system" in refused[0]


def test_an_edited_chip_file_is_read_again(write, tmp_path):
    own_chip(tmp_path)
    text = write(('"a100-80"', '"mine.toml"')).read_text()
    text = text.replace("[base]", '[base]\ncalibration = "fit-a100-80-megatron"')
    before = answers(load_sweep(write(text=text)))["power_W"]
    own_chip(tmp_path, power_limit_W=200.0)
    after = answers(load_sweep(write(text=text)))["power_W"]
    np.testing.assert_allclose(after, np.minimum(before, 200), rtol=1e-9)


def one_chip(write, chip, lines, record='["tokens_per_s"]'):
    text = f'[sweep]\nname = "b"\nrecord = {record}\n[base]\nchip = "{chip}"\nmodel = "llama-3.1-8b"\n'
    text += (
        f'phase = "decode"\nchips = 1\nbatch = 16\ncontext = 2048\nplan = "tp=1"\ncalibration = "prior-cuda"\n{lines}\n'
    )
    return answers(load_sweep(write(text=text)))


def test_a_chip_at_rest_over_its_limit_has_no_answer_whatever_is_recorded(write):
    """Trainium3 draws 77 W at rest: it never ends a step, and no tokens per second are no answer."""
    found = one_chip(write, "trainium3", 'power_limit = "60 W"')
    assert list(found["reason"]) == [TOO_HOT] and np.isnan(found["tokens_per_s"]).all() and not found["ok"].any()


def test_a_clock_beyond_the_node_has_no_answer(write):
    """N3P takes Trainium3's 2.4 GHz at 0.75 V to 3.95 GHz at its most, 1.05 V (see `test_own_chip`)."""
    axis = '[[axes]]\nkey = "clock"\nvalues = ["2.4 GHz", "3.9 GHz", "4 GHz"]'
    assert list(one_chip(write, "trainium3", axis)["reason"]) == ["", "", TOO_FAST]


def test_half_the_cores_share_half_the_cache(write, tmp_path):
    """A point, a chip file and a study's design of 66 of H100's 132 SMs are one chip."""
    (tmp_path / "half.toml").write_text('[half]\nbase = "h100"\nn_cores = 66\n')
    point, own = (one_chip(write, c, x) for c, x in (("h100", "n_cores = 66"), ("half.toml", "")))
    np.testing.assert_allclose(point["tokens_per_s"], own["tokens_per_s"], rtol=1e-12)
    assert point["tokens_per_s"] < one_chip(write, "h100", "n_cores = 67")["tokens_per_s"]


def test_an_own_chip_sits_in_a_rack_that_has_none(write, tmp_path):
    """As `dse evaluate --system` takes it."""
    (tmp_path / "mine.toml").write_text('[mine]\nbase = "trainium3"\n')
    found = one_chip(write, "mine.toml", 'system = "ualink-72"')
    assert found["ok"].all(), found["reason"]


STACKS = """
[sweep]
name = "stacks"
record = ["hbm_capacity", "step_s"]

[base]
chip = "a100-80"
model = "llama-3.1-8b"
chips = 8
batch = 32
sequence = 2048
plan = "tp=2,pp=1,dp=4"

[[axes]]
key = "n_stacks"
values = [5, 10]
"""


def test_stacks_bring_their_capacity(write):
    """An A100 has 80 GiB in 5 stacks, so that 10 hold 160: before, they held 80. A capacity that is set holds."""
    np.testing.assert_allclose(answers(load_sweep(write(text=STACKS)))["hbm_capacity_B"], [80 * 2**30, 160 * 2**30])
    asked = STACKS.replace("[base]", '[base]\nhbm_capacity = "80 GiB"').replace('"hbm_capacity", ', '"silicon", ')
    few = load_sweep(write(('plan = "tp=2,pp=1,dp=4"', 'plan = "tp=1,pp=1,dp=8,zero=0"'), text=asked))
    assert answers(few)["reason"].tolist() == [TOO_BIG, TOO_BIG]  # 10 stacks hold the 80 GiB that were asked for
    more = load_sweep(write(('plan = "tp=2,pp=1,dp=4"', 'plan = "tp=1,pp=1,dp=8,zero=0"'), text=STACKS))
    assert answers(more)["reason"].tolist() == [TOO_BIG, ""]
