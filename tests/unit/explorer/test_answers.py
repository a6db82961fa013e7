"""One question, one answer: what the page shows is what the other commands say."""

import dataclasses
import json

import numpy as np
import pytest

from dse.core.provenance import KINDS
from dse.core.words import LABELS
from dse.evaluation.assembly import evaluate
from dse.explorer.ask import ask_of
from dse.explorer.receipts import topic_of_metric
from dse.explorer.subject import chip_at_hand, first_chip, learn_plans, read_fastest, subject_of_chip
from dse.hardware.presets import chip_receipts, chip_system
from dse.optimize.solution_json import solution_json
from dse.optimize.solve import solve
from dse.optimize.space import own_plans
from dse.study.design import FREE
from dse.study.metrics import METRICS, OWNED
from dse.workload.presets import model
from dse.workload.requests import workload_of

CLOSE = 1e-12


@pytest.fixture(scope="module")
def solution(answers):
    return solve(answers.subject.study, space=answers.subject.space, gap_frac=0.05, limit_s=300.0)


@pytest.fixture(scope="module")
def at_optimum(answers, solution):
    x = {f.name: float(FREE[f.name](solution.chip)) for f in answers.subject.study.free}
    plans = learn_plans(answers.subject, tuple(w.plan for w in solution.workloads))
    choice = answers.subject.study.choices.index(solution.choice)
    return {"x": x, "choice": choice, "plans": list(plans)}


@pytest.mark.slow
def test_the_optimum_reads_as_optimize_says(answers, solution, at_optimum):
    said = answers.evaluate(ask_of(answers.subject, at_optimum))
    told = solution_json(solution)
    read, metrics = said["reading"], told["metrics"]
    assert said["speedup"] == pytest.approx(metrics["delivered_speedup"], rel=CLOSE)
    for name in ("die_mm2", "full_load_bf16_W", "full_load_fp8_W", "full_load_fp4_W", "sram_B", "hottest_operator_W"):
        assert read["metrics"][name] == pytest.approx(metrics[name], rel=CLOSE), name
    assert read["static_W"] == pytest.approx(metrics["static_W"], rel=CLOSE)
    for work, name in zip(read["works"], answers.subject.study.workloads, strict=True):
        theirs = metrics["workloads"][name]
        for key in ("step_s", "unthrottled_s", "power_W", "tokens_per_s", "mfu_frac", "memory_B"):
            assert work[key] == pytest.approx(theirs[key], rel=CLOSE), key
        assert work["speedup_frac"] == pytest.approx(theirs["speedup"], rel=CLOSE)
    for mine, theirs in zip(read["limits"], told["limits"], strict=False):
        assert mine == pytest.approx(theirs["value"], rel=CLOSE), theirs["name"]


@pytest.mark.slow
def test_the_fastest_plans_are_those_of_the_optimum(answers, at_optimum):
    free = answers.evaluate(ask_of(answers.subject, {**at_optimum, "plans": None}))
    held = answers.evaluate(ask_of(answers.subject, at_optimum))
    assert free["fits"] == [True]
    assert free["reading"]["works"][0]["step_s"] <= held["reading"]["works"][0]["step_s"] * (1 + CLOSE)


def test_parts_add_up(answers, start):
    read = answers.evaluate(ask_of(answers.subject, start))["reading"]
    work = read["works"][0]
    assert sum(work["parts_s"]) == pytest.approx(work["step_s"], rel=1e-9)
    assert sum(read["load_W"]) == pytest.approx(read["metrics"]["full_load_fp8_W"], rel=1e-12)
    assert sum(read["area_mm2"]) == pytest.approx(read["metrics"]["silicon_mm2"], rel=1e-9)
    assert sum(read["cost_USD"]) == pytest.approx(read["metrics"]["package_cost_USD"], rel=1e-12)
    assert sum(work["op_step_s"]) == pytest.approx(work["parts_s"][0], rel=1e-9)


def test_a_chip_that_is_built_reads_as_evaluate_says():
    """Trainium2 has two dies and more links between them than its memory asks for: they must stay."""
    system = chip_system("trainium2", 16)
    workload = workload_of("decode", model("llama-3.1-8b"), 16, {})
    subject = subject_of_chip(system, workload, "decode")
    first = first_chip(subject)
    read, plans, fits = read_fastest(subject, first, own_plans(subject.space))
    found = evaluate(system, workload)
    plan, e = found.plan, found.result
    assert fits == [True] and subject.space.plans[0][plans[0]] == plan
    for name in ("step_s", "power_W", "tokens_per_s", "mfu_frac", "memory_B"):
        assert read["works"][0][name] == pytest.approx(float(getattr(e, name)), rel=CLOSE), name
    assert read["metrics"]["delivered_time"] == pytest.approx(1.0, rel=CLOSE)
    made = chip_at_hand(subject, first, [])
    assert float(made.die_to_die_bandwidth_Bps) == float(system.chip.die_to_die_bandwidth_Bps)


def test_the_baseline_as_a_column_is_once_as_fast_as_itself(answers):
    column = answers.chip("trainium3")
    assert column["works"][0]["speedup_frac"] == pytest.approx(1.0, rel=CLOSE)
    assert column["metrics"]["delivered_time"] == pytest.approx(1.0, rel=CLOSE)


def test_state_has_words_and_units_for_everything(ask, answers):
    state = json.loads(ask("state")[2])
    assert [f["name"] for f in state["free"]] == [f.name for f in answers.subject.study.free]
    # metrics of an owner are there where a study has one
    assert state["metrics"].keys() >= {"die_mm2", "package_cost_USD", *(LABELS.keys() & METRICS.keys())} - set(OWNED)
    read = json.loads(ask("evaluate", {**state["start"]})[2])["reading"]
    for stack, values in (("area", read["area_mm2"]), ("load", read["load_W"]), ("cost", read["cost_USD"]),
                          ("energy", read["works"][0]["energy_W"]), ("step", read["works"][0]["parts_s"])):  # fmt: skip
        assert len(state["stacks"][stack]) == len(values), stack
        assert {block for _, block in state["stacks"][stack]} <= state["colours"].keys(), stack
    assert len(state["technology"]) == len(read["ratios"]) and len(state["limits"]) == len(read["limits"])


def test_every_fact_behind_the_study_has_a_place(ask, answers):
    found = json.loads(ask("receipts?choice=0")[2])
    rows = [r for topic in found["topics"].values() for r in topic]
    assert all(found["topics"].values()), "no topic is empty"
    assert {r["kind"] for r in rows} <= set(found["kinds"]) and {r["source"] for r in rows} <= found["works"].keys()
    assert [r["kind"] for r in found["topics"]["area"]] == sorted(
        (r["kind"] for r in found["topics"]["area"]), key=found["kinds"].index
    )


@pytest.mark.parametrize(("name", "topic"), [
    ("delivered_time", "time"), ("peak_fp8_FLOPps", "time"), ("hbm_capacity_B", "time"), ("power_W", "power"),
    ("chip_energy_per_token_J", "power"), ("heat_W_per_mm2", "power"), ("supply_V", "power"), ("silicon_mm2", "area"),
    ("mean_carbon_per_token_kg", "power"), ("sram_B", "area"), ("cost_per_token_USD", "money"),
])  # fmt: skip
def test_a_metric_rests_on_the_facts_of_its_topic(name, topic):
    assert name in METRICS and topic_of_metric(name) == topic


def test_a_chip_beside_the_design_brings_its_facts(ask):
    found = json.loads(ask("chip?name=trainium3")[2])["receipts"]
    assert len(found["rows"]) == len(chip_receipts("trainium3"))
    assert {r["source"] for r in found["rows"]} <= found["works"].keys()
    kinds = [list(KINDS).index(r["kind"]) for r in found["rows"]]
    assert kinds == sorted(kinds), "least reliable first"


@pytest.mark.parametrize("change", [
    {"x": {}}, {"x": None}, {"choice": 2}, {"choice": -1}, {"choice": True}, {"choice": "0"}, {"plans": [999]},
    {"plans": "0"}, {"limits": [1.0]}, {"limits": [float("1e400"), 1, 1]}, {"limits": ["a", 1, 1]},
])  # fmt: skip
def test_bad_questions_are_one_line(ask, start, change):
    status, _, text = ask("evaluate", json.dumps({**start, **change}).encode())
    assert status == 400 and len(json.loads(text)["error"]) < 300


@pytest.mark.parametrize("value", [0, -1, 1e300, "8", None, True, [8]])
def test_bad_numbers_are_named(ask, start, value):
    status, _, text = ask("evaluate", {**start, "x": {**start["x"], "n_cores": value}})
    assert status == 400 and "n_cores" in json.loads(text)["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 10_000, b'"' + b"a" * 70_000 + b'"', b"\xff"])
def test_bodies_that_are_no_question_are_refused(ask, body):
    assert ask("evaluate", body)[0] == 400


def test_a_page_names_no_file_of_the_machine(ask):
    for name in ("/etc/passwd", "../own.toml", "own.toml", "<script>"):
        status, _, text = ask(f"chip?name={name}")
        assert status == 404 and json.loads(text)["error"].startswith("unknown chip")


def test_a_choice_out_of_reach_is_refused(ask):
    for choice in ("2", "-1", "", "1e9", "٣", "9" * 5000):
        assert ask(f"receipts?choice={choice}".encode().decode("latin-1"))[0] == 400


def test_limits_move_the_answer(answers, start):
    """A power limit below what the chip draws slows it down: limits are part of the question."""
    free = answers.evaluate(ask_of(answers.subject, start))
    limits = [x.value for x in answers.subject.study.limits]
    tight = answers.evaluate(ask_of(answers.subject, {**start, "limits": [95.0, *limits[1:]]}))
    assert free["reading"]["works"][0]["power_W"] > 95.0
    assert tight["reading"]["works"][0]["power_W"] == pytest.approx(95.0, rel=1e-9)
    assert tight["speedup"] < free["speedup"]
    assert np.isfinite(dataclasses.astuple(answers.subject.study.limits[0])[2])
