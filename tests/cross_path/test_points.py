"""A point of a sweep, a page of `dse evaluate` and `dse.evaluate` are one evaluation, in every phase."""

import json

import jax
import numpy as np
import pytest

import dse
from dse.cli import main
from dse.evaluation.breakdown import find
from dse.lowering.plan import plan_text
from dse.physics.calibration import calibration_for
from dse.sweep.batch import evaluate_points
from dse.sweep.points import points
from dse.sweep.spec import load_sweep

from .conftest import SIZES, questions

pytestmark = pytest.mark.slow

RECORD = ("step_s", "power_W", "memory_B", "tokens_per_s", "mfu_frac", "hbm_B")
ULPS = 1e-13
"""Batched programs sum in another order; nothing but rounding may differ."""


def one_point(q, folder):
    """The answer of a sweep of one point."""
    sizes = "\n".join(f"{k} = {v}" for k, v in SIZES[q.phase].items())
    path = folder / "one.toml"
    path.write_text(
        f'[sweep]\nname = "one"\nrecord = {json.dumps(RECORD)}\n[base]\nchip = "{q.chip}"\nmodel = "{q.model}"\n'
        f'phase = "{q.phase}"\nchips = {q.system.n_chips}\n{sizes}\n[[axes]]\nkey = "plan"\nvalues = ["auto"]\n'
    )
    sweep = load_sweep(path)
    (row,) = [dict(zip(found, x, strict=True)) for found in [evaluate_points(sweep, points(sweep, range(1)))]
              for x in zip(*found.values(), strict=True)]  # fmt: skip
    assert row["ok"], row["reason"]
    return row


MORE = [
    *questions(chips=("trainium3",), phases=("prefill",), models=("moe",)),
    *questions(chips=("mi300x",), phases=("decode",), models=("dense",)),
]
"""One question each of a generation and of a maker that the grid lacks."""


@pytest.mark.parametrize("q", [*questions(), *MORE])
def test_a_sweep_of_one_point_is_the_evaluation(q, tmp_path):
    best = dse.evaluate(q.system, q.workload)
    plan, e = best.plan, best.result
    row = one_point(q, tmp_path)
    assert row["plan"] == plan_text(plan)
    told = {**{c: getattr(e, c) for c in RECORD[:-1]}, "hbm_B": e.step.hbm_B}
    for column, value in told.items():
        np.testing.assert_allclose(row[column], float(value), rtol=ULPS, err_msg=column)


@pytest.mark.parametrize("q", questions(chips=("trainium2", "h100"), models=("dense",)))
def test_the_command_shows_the_evaluation(q, capsys):
    sizes = [x for k, v in SIZES[q.phase].items() for x in (f"--{k}", str(v))]
    capsys.readouterr()
    arguments = ["evaluate", q.chip, q.model, "--phase", q.phase, "--chips", str(q.system.n_chips), *sizes, "--json"]
    assert main(arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    best = dse.evaluate(q.system, q.workload)
    plan, e = best.plan, best.result
    assert shown["plan"] == plan_text(plan)
    for name in ("step_s", "power_W", "memory_B", "tokens_per_s", "mfu_frac"):
        assert shown[name] == float(getattr(e, name)), name
    assert shown["calibration"] == calibration_for(q.chip, q.workload).name


@pytest.mark.parametrize("q", questions(chips=("trainium2",)))
def test_a_page_is_the_evaluation(q):
    found = find(q.system, q.workload, None)
    best = dse.evaluate(q.system, q.workload)
    plan, e = best.plan, best.result
    assert found.plan == plan and found.calibration == calibration_for(q.chip, q.workload).name
    assert float(found.evaluation.step_s) == float(e.step_s) and float(found.evaluation.power_W) == float(e.power_W)
    assert found.fastest_s <= float(e.step_s) <= found.slowest_s


@pytest.mark.parametrize("q", [*questions(chips=("trainium2",), models=("dense",)), *MORE])
def test_a_metric_of_the_chip_is_the_evaluation(q):
    """The function that people differentiate says, at the chip itself, what `dse evaluate` says."""
    best = dse.evaluate(q.system, q.workload)
    for name in ("step_s", "tokens_per_s", "power_W"):
        value = jax.jit(dse.metric(name, q.system, q.workload, best.plan))(q.system.chip)
        np.testing.assert_allclose(float(value), float(getattr(best.result, name)), rtol=ULPS, err_msg=name)


def test_what_was_asked_before_is_answered_from_memory_and_never_stale():
    """The second answer comes from kept plans; a chip with other links, or another batch, is lowered anew."""
    import dataclasses

    from dse.evaluation.assembly import _lowered

    (q,) = [p.values[0] for p in questions(chips=("trainium2",), phases=("decode",), models=("dense",))]
    _lowered.cache_clear()
    first = dse.evaluate(q.system, q.workload)
    again = dse.evaluate(q.system, q.workload)
    assert _lowered.cache_info().hits == 1 and _lowered.cache_info().misses == 1
    assert again.plan == first.plan and float(again.result.step_s) == float(first.result.step_s)
    chip = dataclasses.replace(
        q.system.chip, scaleup_bandwidth_per_dir_Bps=q.system.chip.scaleup_bandwidth_per_dir_Bps / 64
    )
    slow = dataclasses.replace(q.system, chip=chip)
    kept = dse.evaluate(slow, q.workload)
    _lowered.cache_clear()
    fresh = dse.evaluate(slow, q.workload)
    assert kept.plan == fresh.plan and float(kept.result.step_s) == float(fresh.result.step_s)
    larger = dse.evaluate(q.system, dataclasses.replace(q.workload, batch=64))
    assert float(larger.result.step_s) > float(first.result.step_s)
