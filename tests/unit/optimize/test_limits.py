"""Limits are records: what caps power, whose rows are whose, what binds; and a design without a power cap."""

import dataclasses

import numpy as np
import pytest

from dse.evaluation.assembly import evaluate
from dse.explore.built import as_built
from dse.optimize.descent import run_search
from dse.optimize.prices import LimitReport
from dse.optimize.pricing import priced_s
from dse.optimize.search import leaders, search_of, with_design
from dse.optimize.solution import Status
from dse.optimize.solve import solve
from dse.optimize.space import batch_of, data_of, every_plan, own_plans, space_of
from dse.study.convex import allowed_frac, power_cap_W, ratio_rows, rows_of_limit
from dse.study.design import TOUCH
from dse.study.limits import least_cap_W
from dse.study.metrics import Limit
from dse.study.rows import Kind
from dse.study.study import names_of_fits, study_from
from dse.technology.presets import node

CAP, FLOOR = Limit("power_W", "at_most", 700.0), Limit("power_W", "at_least", 100.0)
SILICON, HBM = Limit("silicon_mm2", "at_most", 900.0), Limit("hbm_capacity_B", "at_least", 144 * 2.0**30)


def under(study, *limits):
    return dataclasses.replace(study, limits=limits)


def cap_W(study):
    search = search_of(space_of(study))
    return float(power_cap_W(study.core(), data_of(search.space, 0, own_plans(search.space))))


@pytest.mark.parametrize(
    ("limits", "cap"),
    [((CAP,), 700.0), ((FLOOR,), np.inf), ((FLOOR, CAP), 700.0), ((CAP, Limit("power_W", "at_most", 500.0)), 500.0)],
)
def test_only_an_upper_limit_of_power_is_a_cap(tiny, limits, cap):
    """A floor of 100 W was taken for a cap of 100 W, since the limit was found by its name."""
    study = under(tiny, *limits, SILICON)
    assert least_cap_W(study.limits) == cap
    assert cap_W(study) == cap


def test_a_floor_of_power_does_not_slow_plans(tiny, solved):
    """The same chip and plans cost the same time under a floor as under nothing."""
    z = leaders(solved)[0].optimum.z[None]
    times = []
    for study in (under(tiny, SILICON), under(tiny, FLOOR, SILICON)):
        space = space_of(study)
        data = batch_of(space, [0], [own_plans(space)])
        times.append(np.asarray(priced_s(study.core(), z, data, every_plan(space, [0]))[0]))
    np.testing.assert_array_equal(*times)


def test_rows_belong_to_a_limit_by_its_place(tiny):
    """Two limits on one metric have a row each; they shared both when rows were matched by name."""
    core = under(tiny, SILICON, CAP, Limit("silicon_mm2", "at_least", 100.0)).core()
    # 7 of the technology, 2 of the workload, then one per limit
    assert [rows_of_limit(core, i) for i in range(3)] == [[9], [10], [11]]
    assert [r.label for r in ratio_rows(core)][9:] == ["silicon_mm2", "power_W:decode", "silicon_mm2"]
    assert [r.kind for r in ratio_rows(core)][9:] == [Kind.USER] * 3


@pytest.mark.parametrize(
    ("sense", "value", "binds"),
    [("at_most", 999.95, True), ("at_most", 999.5, False), ("at_least", 1000.05, True), ("at_least", 1000.5, False)],
)
def test_one_threshold_says_what_binds(sense, value, binds):
    # a room of 5e-5 binds, one of 5e-4 does not: the page said 1e-3, the terminal 1e-4
    assert LimitReport("power_W", sense, value, 1000.0, -0.1, -0.1).binds is binds


@pytest.mark.slow
def test_a_design_without_a_power_limit_is_reported_as_solved(tiny):
    """It was throttled at the baseline's power: another speed-up than that of its goal."""
    free = under(tiny, Limit("silicon_mm2", "at_most", 2500.0), HBM)
    s = solve(free)
    assert s.chip is not None
    assert s.delivered == pytest.approx(1.0 / s.goal, rel=1e-6)
    (w,) = s.workloads
    assert float(w.evaluation.step_s) == pytest.approx(float(w.evaluation.step.total_s), rel=1e-6)
    assert float(s.chip.power_limit_W) == pytest.approx(float(w.evaluation.power_W), rel=1e-5)


def test_a_chip_as_built_throttles_to_the_cap_only(tiny, solved):
    """Step times of a chip as built, under a floor, are those without any limit of power."""
    best = leaders(solved)[0]
    free = dict(zip(solved.core.free, np.exp(best.optimum.z[:4]), strict=True))
    built = []
    for study in (under(tiny, SILICON), under(tiny, FLOOR, SILICON)):
        space = space_of(study)
        data = data_of(space, best.choice_index, best.plan_index)
        built.append(float(as_built(study.core(), free, data)["step_s:decode"]))
    assert built[0] == built[1]


TWO_PHASES = {
    "study": {"name": "phases", "baseline": "trainium1", "system": "trn1-16", "scaleout_per_dir": "200 Gbps"},
    "workloads": {
        "train": {
            "phase": "training", "model": "llama-3.1-8b", "chips": 16, "global_batch": 64, "sequence": 2048,
        },
        "decode": {"phase": "decode", "model": "llama-3.1-8b", "chips": 16, "batch": 64, "context": 4096},
    },
    "choices": {
        "node": ["N5"], "hbm": ["HBM3"], "link": ["PCIe5"], "n_dies": [1], "pe_array": ["128x128"],
        "native_fp4": [False],
    },
    "free": {"n_cores": ["2", "64"]},
}  # fmt: skip


def test_each_workload_of_a_study_has_the_calibration_of_its_phase():
    """A study read the training stack for all: its baseline's decode step was not that of `evaluate`."""
    space = space_of(study_from(TWO_PHASES))
    assert len(set(names_of_fits(space.study))) == 2
    for name, (_, seconds), system in zip(
        space.study.workloads, space.ground.baselines, space.ground.systems[""], strict=True
    ):
        e = evaluate(system, space.study.workloads[name][0]).result
        assert seconds == pytest.approx(float(e.step_s), rel=1e-12)


def test_a_named_calibration_rules_for_all_workloads():
    raw = {**TWO_PHASES, "study": {**TWO_PHASES["study"], "calibration": "prior-neuron"}}
    assert [c.name for c in study_from(raw).calibrations.values()] == ["prior-neuron"] * 2


@pytest.mark.slow
def test_whole_steps_meet_a_limit_exactly(tiny):
    """Eight stacks are at least eight: exp(log 8) is 2 ulp below 8, which broke the limit, and no design was found.

    The box ends at eight too, so that the answer is that of eight stacks and no others.
    """
    asked, only = solve(tiny.changed(limits=["n_stacks >= 8"])), solve(tiny.changed(free={"n_stacks": 8}))
    assert asked.status is only.status is Status.OPTIMAL
    assert float(asked.chip.n_stacks) == 8.0
    assert asked.goal == pytest.approx(only.goal, rel=1e-6)


@pytest.mark.parametrize(
    ("metric", "sense", "value"),
    [("n_cores", "at_most", 24.0), ("n_stacks", "at_least", 8.0), ("hbm_capacity_B", "at_most", 288 * 2.0**30)],
)
def test_counts_have_room_at_their_limit(metric, sense, value):
    """24 cores at most 24, 8 stacks at least 8, 8 stacks of 36 GiB (held as 1 + 1e-6 of that) at most 288 GiB."""
    held = value * TOUCH if metric == "hbm_capacity_B" else np.exp(np.log(value))
    ratio = (held / value if sense == "at_most" else value / held) / allowed_frac(metric, sense)
    assert -1.1e-6 < np.log(ratio) < -0.9e-6


def test_a_node_keeps_its_own_supply(tiny, tmp_path):
    """A core runs at its nominal clock from the nominal .75 V on; a node that stops at .72 V has no such design.

    It took up to 1.05 V where a node beside it allows that, since the box of the supply is one for all choices.
    """
    low, high = str(tmp_path / "low.toml"), "N3P"
    ends = 'maximum_V = { value = 0.72, range = [0.72, 0.72], kind = "guess", source = "dse2026" }'
    (tmp_path / "low.toml").write_text(f'[low]\nbase = "N3P"\n{ends}\n')
    search = search_of(space_of(tiny.changed(choices={"node": [high, low]})))
    assert float(node(high).nominal_V) == 0.75
    able = with_design(run_search(search))
    assert {search.space.study.choices[c.choice_index].node for c in able} == {high}
