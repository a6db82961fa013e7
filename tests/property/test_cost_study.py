"""Dollars, joules and carbon per token as goals and limits of a study: proved, certified, priced, refused."""

import dataclasses
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.hardware.presets import chip
from dse.optimize.curvature import curvature_batch
from dse.optimize.solution import Status
from dse.optimize.solve import solve
from dse.optimize.space import batch_of, space_of
from dse.study.convex import coordinates, ratio_rows, separate
from dse.study.design import as_built
from dse.study.metrics import ECONOMIC
from dse.study.study import load_study, study_from

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHIPPED, TINY = ROOT / "sweeps" / "trainium4_cost.toml", ROOT / "tests" / "data" / "tiny.toml"


def tiny(goal, **limits):
    raw = tomllib.loads(TINY.read_text())
    raw["study"]["minimise"] = goal
    raw["limits"] += [{"metric": m, **v} for m, v in limits.items()]
    return raw


def test_every_term_of_the_shipped_study_is_proved():
    """Over all its choices at once, with every economic metric as a limit too."""
    study = load_study(SHIPPED)
    raw = tomllib.loads(SHIPPED.read_text())
    raw["limits"] += [{"metric": m, "at_most": 1.0} for m in ECONOMIC]
    study = study_from(raw)
    space = space_of(study)
    core, n = study.core(), len(study.choices)
    some = batch_of(space, range(n), [(i % len(space.plans[0]), i % len(space.plans[1])) for i in range(n)])
    verdicts = curvature_batch(partial(separate, core), {name: np.asarray(1.0) for name in coordinates(core)}, some)
    assert len(verdicts) == 1 + len(ratio_rows(core))
    assert [str(v) for v in verdicts if not v.is_convex] == []
    assert sum(r.what == "cost_per_token_USD" for r in ratio_rows(core)) == 2


def test_a_cheap_token_and_a_fast_chip_are_different_chips():
    """Certified both; each is better at its own goal; the limit on dollars has a price when it binds."""
    cheap = solve(study_from(tiny("cost_per_token_USD", chip_hour_USD={"at_most": 10.0})))
    assert cheap.status is Status.OPTIMAL and cheap.chip is not None
    # one workload: USD per token = USD/h / 3600 x chips x step x (failures and spares, some per cent) / tokens
    hour = next(x for x in cheap.limits if x.name == "chip_hour_USD")
    plain = hour.value / 3600 * 4 * float(cheap.workloads[0].evaluation.step_s) / 64
    assert plain < cheap.goal < 1.6 * plain
    limited = solve(study_from(tiny("delivered_time", cost_per_token_USD={"at_most": 1.15 * cheap.goal})))
    assert limited.status is Status.OPTIMAL and limited.chip is not None
    assert limited.delivered > cheap.delivered
    row = next(x for x in limited.limits if x.name == "cost_per_token_USD")
    assert row.value <= 1.15 * cheap.goal * (1 + 1e-6) and row.value > cheap.goal
    assert row.price < 0  # more dollars, less time


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "graviton"}, ["unknown host", "graviton4-4"]),
        ({"margin": -1.0}, ["study.margin", "positive"]),
    ],
)
def test_wrong_owners_are_refused(change, words):
    raw = tiny("cost_per_token_USD")
    raw["study"] |= change
    with pytest.raises(Exception, match=".*".join(words)):
        study_from(raw)


def test_owner_without_a_question_is_refused():
    raw = tiny("delivered_time")
    raw["study"]["host"] = "x86-8"
    with pytest.raises(SpecError, match="no goal or limit"):
        study_from(raw)


def test_a_metric_per_token_needs_a_workload():
    raw = tiny("cost_per_token_USD")
    raw["workloads"], raw["limits"] = {}, []
    with pytest.raises(SpecError, match="at least one workload"):
        study_from(raw)
    raw["study"]["minimise"], raw["limits"] = "die_mm2", [{"metric": "cost_per_token", "at_most": 1.0}]
    with pytest.raises(SpecError, match="needs at least one workload"):
        study_from(raw)


def test_a_bought_baseline_needs_a_margin():
    raw = tiny("cost_per_token_USD")
    raw["study"] |= {"baseline": "h100", "system": "dgx-h100"}
    raw["choices"]["pe_array"] = [as_built(chip("h100")).pe_array]  # shared memory feeds no larger one
    with pytest.raises(SpecError, match=r"study.margin: missing"):
        study_from(raw)
    raw["study"]["margin"] = 1.5
    assert dataclasses.astuple(study_from(raw).owner) == ("x86-8", 1.5)


def test_studies_that_do_not_ask_carry_no_owner():
    assert load_study(ROOT / "sweeps" / "trainium4.toml").owner is None
