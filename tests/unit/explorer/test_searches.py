"""Searches: words as they come, optima that the sliders follow, the newest one wins."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.explorer.app import Replaced
from dse.explorer.ask import ask_of
from dse.explorer.searches import risks_in
from dse.optimize.solution import Relaxation
from dse.optimize.space import at_limits, data_of, own_plans, space_of

from .conftest import RISK


def words(text: str) -> list[dict]:
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]


@pytest.fixture(scope="module")
def quick(ask):
    status, headers, text = ask("search/quick")
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    return words(text)


def test_a_search_tells_how_it_goes_and_what_it_found(quick, answers):
    assert [w for w in quick if "progress" in w]
    first, last = [w for w in quick if "x" in w]
    assert not first["whole"] and last["whole"] and last["done"]
    assert first["goal"] <= last["goal"], "whole counts cost something"
    counts = last["x"]["n_cores"], last["x"]["n_stacks"]
    assert counts == tuple(round(c) for c in counts)


def test_the_found_design_meets_all_limits(quick, answers):
    last = quick[-1]
    raw = {k: last[k] for k in ("x", "choice", "plans")}
    said = answers.evaluate(ask_of(answers.subject, raw))
    assert 1.0 / said["speedup"] == pytest.approx(last["goal"], rel=1e-6)
    for value, limit in zip(said["reading"]["limits"], answers.subject.study.limits, strict=True):
        slack = value / limit.value if limit.sense == "at_most" else limit.value / value
        assert slack <= 1 + 1e-6, limit.name
    assert max(said["reading"]["ratios"]) <= 1 + 1e-5


def test_prices_have_the_sign_of_what_they_buy(quick, answers):
    """Loosening an upper limit makes the time smaller: its price is negative or nothing."""
    for price, limit in zip(quick[-1]["prices"], answers.subject.study.limits, strict=True):
        assert price <= 1e-6 if limit.sense == "at_most" else price >= -1e-6


def test_a_second_search_starts_from_what_is_known(quick, ask, answers):
    limits = [x.value for x in answers.subject.study.limits]
    looser = words(ask(f"search/quick?limits={json.dumps([limits[0], 1.1 * limits[1], limits[2]])}")[2])[-1]
    assert looser["goal"] < quick[-1]["goal"] * (1 + 1e-9)
    again = words(ask("search/quick")[2])[-1]
    assert again["goal"] == pytest.approx(quick[-1]["goal"], rel=1e-6)


def test_risk_asks_for_what_the_page_says(ask, answers, monkeypatch):
    """The draws themselves take minutes and are tested with `dse risk`."""
    asked = []
    monkeypatch.setattr(
        "dse.explorer.searches.risk", lambda study, n, target, known, progress, deadline: asked.append((n, target))
    )
    monkeypatch.setattr("dse.explorer.searches.risk_json", lambda found, robust: RISK)
    last = words(ask("search/risk?n=10&target=1.2")[2])[-1]
    assert last["done"] and last["risk"]["merit"] == RISK["merit_distribution"] and last["risk"]["target"] == 1.5
    ask("search/risk?target=")
    assert asked == [(10, 1.2), (60, None)]
    assert risks_in(answers.subject, answers.results)["risks"][0]["drivers"] == last["risk"]["drivers"]


def test_limits_that_nothing_meets_have_a_way_out(ask, monkeypatch):
    """The relaxation itself is tested where it is made: `tests/unit/optimize`."""
    way = Relaxation("silicon_mm2", 1.0, 400.0)
    monkeypatch.setattr("dse.explorer.reoptimise.relaxations", lambda search, candidates: (way,))
    last = words(ask("search/quick?limits=[700.0, 1.0, 154618822656.0]")[2])[-1]
    assert last["done"] and last["infeasible"] == ["silicon: 1 mm2 asked, 400 mm2 needed"]


@pytest.mark.parametrize(("query", "said"), [
    ("search/other", "search: one of"), ("search/quick?limits=[1]", "give 3 values"),
    ("search/quick?limits={", "no JSON"), ("search/quick?limits=1,%20%22x%22:2", "give 3 values"),
])  # fmt: skip
def test_bad_searches_are_refused_at_once(ask, query, said):
    status, _, text = ask(query)
    assert status == 400 and said in json.loads(text)["error"]


@pytest.mark.parametrize(("query", "said"), [
    ("search/front?metrics=nonsense,die_mm2", "unknown metric"), ("search/front?n=100000", "from 1 to 200"),
    ("search/serving?chips=/etc/passwd&model=gpt-oss-120b", "unknown chip"),
    ("search/serving?chips=h100&model=../config.json", "unknown model"),
    ("search/serving?chips=h100&model=gpt-oss-120b&in=0", "from 1 to"), ("search/truth?kind=x", "unknown kind"),
    ("search/risk?target=1e9", "target: give a speed-up"), ("search/risk?n=0", "from 1 to 4000"),
])  # fmt: skip
def test_bad_searches_end_with_a_word(ask, query, said):
    last = words(ask(query)[2])[-1]
    assert last["done"] and said in last["error"]


def test_a_newer_search_stops_an_older_one(answers):
    """`tell` raises once a newer one has begun, and the work ends there."""
    told = []

    def tell(word):
        told.append(word)
        if len(told) == 2:
            raise Replaced

    with pytest.raises(Replaced):
        answers.search("quick", {})(tell)
    assert len(told) == 2 and not answers.working.locked()


def test_a_chip_has_no_optimum(answers, monkeypatch):
    monkeypatch.setattr(answers.subject, "is_chip", True)
    with pytest.raises(SpecError, match="search: one of"):
        answers.search("quick", {})


@pytest.mark.slow
def test_a_proof_says_what_optimize_says(ask, quick):
    last = words(ask("search/prove")[2])[-1]
    assert last["whole"] and last["said"].startswith("optimal")
    assert last["goal"] <= quick[-1]["goal"] * (1 + 1e-6)
    assert np.isfinite(last["prices"]).all()


def test_other_limits_are_another_study(answers):
    """The shortcut that lowers nothing again gives what a study with those limits gives."""
    study, values = answers.subject.study, np.asarray([650.0, 800.0, 1.6e11])
    near = at_limits(answers.subject.space, values)
    limits = tuple(dataclasses.replace(x, value=v) for x, v in zip(study.limits, values.tolist(), strict=True))
    fresh = space_of(dataclasses.replace(study, limits=limits))
    assert near.study == fresh.study
    plans = own_plans(fresh)
    for a, b in zip(jax.tree.leaves(data_of(near, 1, plans)), jax.tree.leaves(data_of(fresh, 1, plans)), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.slow
def test_a_front_is_computed_and_its_points_are_designs(ask, answers):
    found = words(ask("search/front?n=4")[2])[-1]["front"]
    values = np.asarray([p["values"] for p in found["points"]])
    assert len(values) >= 3 and found["worst_gap"] < 1e-5
    assert not any((b <= a).all() and (b < a).any() for a in values for b in values), "none is beaten in both"
    point = found["points"][0]
    read = answers.evaluate(ask_of(answers.subject, {"x": point["x"], "choice": point["choice"]}))["reading"]
    assert read["metrics"]["package_cost_USD"] == pytest.approx(point["values"][1], rel=1e-6)
    assert read["metrics"]["delivered_time"] <= point["values"][0] * (1 + 1e-6)


@pytest.mark.slow
def test_serving_curves_are_computed(ask):
    asked = "search/serving?chips=trainium2&model=llama-3.1-8b&in=500&out=100"
    curve = words(ask(asked)[2])[-1]["serving"]["chips"]["trainium2"]["curve"]
    speeds = [1 / p["tpot_s"] for p in curve]
    assert len(curve) > 5 and speeds == sorted(speeds, reverse=True), "fastest first"


def test_predictions_are_made_and_thinned(ask, scored, monkeypatch):
    monkeypatch.setattr("dse.explorer.searches.validate", lambda kind: scored)
    monkeypatch.setattr("dse.explorer.searches.MOST_POINTS", 2)
    truth = words(ask("search/truth?kind=training")[2])[-1]["truth"]
    assert truth["total"]["modelled"] == 4 and len(truth["points"]) == 2
    assert truth["points"][0]["point_id"] == "a#1" and truth["points"][0]["predicted_s"] == 1.1
