"""Portfolios: the file, the fleet, and a model in service as one workload of a study."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

import dse
from dse.core.errors import SpecError
from dse.core.types import stack_records
from dse.evaluation.assembly import chip_reference
from dse.evaluation.host import plan_steps_s
from dse.lowering.demand import demand
from dse.lowering.engines import Policy
from dse.lowering.served import asked_demand, asked_plans
from dse.physics.calibration import calibration_for, default_calibration
from dse.physics.evaluate import chip_technology
from dse.physics.step import step_time
from dse.report.screen import first_tokens_text
from dse.serving.curve import Promise, serving_curve
from dse.serving.portfolio import Service, load_portfolio, sized
from dse.study.metrics import mean_speedup
from dse.study.study import load_study, study_from
from dse.workload.requests import Length, Requests

pytestmark = pytest.mark.slow

SWEEPS = Path(__file__).parents[3] / "sweeps"
SHIPPED = SWEEPS / "portfolio.toml"
ONE = """
[portfolio]
name = "one"
requests_per_s = 20.0
[models.small]
model = "llama-3.1-8b"
traffic = 1.0
requests = [{ in = 1000, out = 200 }]
tpot = "20 ms"
"""


def test_shipped_portfolio():
    p = load_portfolio(SHIPPED)
    assert [s.requests.model.name for s in p.services] == [
        "gpt-oss-120b", "llama-3.3-70b", "qwen3-235b-a22b", "deepseek-v3",
    ]  # fmt: skip
    assert sum(s.traffic_frac for s in p.services) == pytest.approx(1)
    assert p.services[0].promise == Promise(0.020, 2.0, 0.95)
    assert p.services[0].requests.n_output == pytest.approx(0.8 * 300 + 0.2 * 800)


def test_weights_left_out_are_stored_as_the_model_file_says(tmp_path):
    """As `dse serve` takes them: gpt-oss is released in mxfp4, of which an H100 holds what it does not of bf16."""
    path = tmp_path / "p.toml"
    path.write_text(ONE.replace("llama-3.1-8b", "gpt-oss-120b"))
    (service,) = load_portfolio(path).services
    assert service.requests.weight_precision == dse.model("gpt-oss-120b").weight_format != "bf16"


def test_mean_context_weighs_long_answers_by_their_stay():
    """299 decoded after 2,000 and 799 after 8,000, four to one: (239.2 x 2150 + 159.8 x 8400) / 399 = 4653.1."""
    assert load_portfolio(SHIPPED).services[0].requests.mean_context == 4654


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("traffic = 1.0", "traffic = 0.9", ["traffic", "0.9"]),
        ("traffic = 1.0", "trafic = 1.0", ["models.small.trafic"]),
        ('"llama-3.1-8b"', '"llama-3.1-8c"', ["llama-3.1-8c", "did you mean"]),
        ('"20 ms"', '"20 GB"', ["models.small.tpot", "GB"]),
        ('"20 ms"', '"-20 ms"', ["models.small.tpot", "positive"]),
        ("out = 200", "out = 200, share = 0.5", ["add up to 1"]),
        ("in = 1000", "in = 200000", ["131,072"]),
        ("in = 1000", "in = 0", ["models.small.requests.0.in"]),
        ("20.0", "0.0", ["portfolio.requests_per_s"]),
        ("20.0", "inf", ["portfolio.requests_per_s", "finite"]),
        ("traffic = 1.0", "traffic = nan", ["models.small.traffic", "finite"]),
        ("out = 200", "out = 200, share = 1.5", ["add up to 1"]),
        ("[portfolio]", "[portfolio", ["not valid TOML"]),
    ],
)
def test_bad_portfolios_are_named(tmp_path, old, new, words):
    path = tmp_path / "p.toml"
    assert old in ONE
    path.write_text(ONE.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_portfolio(path)
    assert all(w in str(caught.value) for w in words), caught.value


def test_missing_file():
    with pytest.raises(SpecError, match="cannot be read"):
        load_portfolio("nowhere.toml")


def test_fleet_has_the_fewest_chips():
    """Against every engine priced, one by one: chips in whole engines, decode and prompt engines apart."""
    requests = Requests(dse.model("llama-3.1-8b"), (Length(1000, 200),))
    promise = Promise(0.020, 1.0)
    curve = serving_curve(dse.system("dgx-h100", 2), requests, promise, Policy())
    for rate in (1e-12, 3.0, 200.0):  # next to nothing still takes an engine
        found = sized(Service("small", requests, 1.0, promise), curve, rate)
        assert found is not None
        least = np.inf
        for i in np.flatnonzero(curve.kept()):
            s = curve.at(int(i))
            busy, apart = rate * 200 / s.chip_tokens_per_s, float(s.point.prompt_chips_frac)
            sizes = s.writer.shape.system.n_chips, s.reader.shape.system.n_chips
            whole = [-(-share * busy // n) * n for share, n in zip((1 - apart, apart), sizes, strict=True)]
            least = min(least, sum(whole))
        assert found.n_chips == least
        assert 0 < found.utilisation_frac <= 1
        assert found.engine.tpot_s <= 0.020 and float(found.engine.point.ttft_s) <= 1.0


def test_a_model_in_service_takes_a_decode_pass_and_its_share_of_prefills():
    """One chip, no communication: 64 sequences of 200 tokens out.

    The prefill makes the first, so 64/199 prefills fall due per pass, and each brings a token of its own.
    """
    system = dse.system("dgx-h100", 1)
    requests = Requests(dse.model("llama-3.1-8b"), (Length(1000, 200),))
    c, chip = default_calibration("h100"), system.chip
    ref, plan = chip_reference(chip, c), dse.Plan(micro_batch=64)
    from dse.lowering.tiling import array_shape

    served = asked_demand(requests, plan, system, ref, array_shape(chip.core.tensor))
    model = requests.model
    decode = demand(dse.Decode(model, 64, requests.mean_context), plan, system, ref)
    prefill = demand(dse.Prefill(model, 1, 1000), dse.Plan(), system, ref)
    each, both = (float(step_time(d, chip, c).total_s) for d in (decode, served))
    once = float(step_time(prefill, chip, c).total_s) - float(c.request_s)
    assert both == pytest.approx(each + 64 / 199 * once, rel=1e-9)
    assert float(served.tokens) == pytest.approx(64 * 200 / 199)
    assert np.asarray(served.macs) == pytest.approx(np.asarray(decode.macs) + 64 / 199 * np.asarray(prefill.macs))


def test_engines_that_fill_a_system_share_its_tokens():
    """Four chips as four engines of one: four times the tokens in the same time, the same time per chip and token."""
    requests = Requests(dse.model("llama-3.1-8b"), (Length(1000, 200),))
    c = default_calibration("h100")
    one, four = dse.system("dgx-h100", 1), dse.system("dgx-h100", 4)
    from dse.lowering.tiling import array_shape

    ref, array = chip_reference(one.chip, c), array_shape(one.chip.core.tensor)
    plan = dse.Plan(micro_batch=8)
    a, b = (asked_demand(requests, plan, s, ref, array) for s in (one, four))
    assert float(b.tokens) == 4 * float(a.tokens)
    stacked = stack_records([a, b])
    seconds = np.asarray(plan_steps_s(stacked, one.chip, chip_technology(one.chip), c))
    assert seconds[0] == pytest.approx(seconds[1])


def test_every_size_and_batch_is_a_plan():
    requests = Requests(dse.model("llama-3.1-8b"), (Length(1000, 200),))
    found = asked_plans(requests, dse.system("dgx-h100", 4))
    assert len(found) == len(set(found))
    assert {p.tp for p in found} == {1, 2, 4} and {p.micro_batch for p in found} == {2**i for i in range(11)}
    assert all(p.tp * p.dp <= 4 for p in found)


def test_mean_speedup():
    """Fleet: half the chips 2x and half 4x faster leave 1/4 + 1/8 of them, so 8/3; geometric: sqrt 8."""
    assert mean_speedup("served_time", [2.0, 4.0], [0.5, 0.5]) == pytest.approx(8 / 3)
    assert mean_speedup("delivered_time", [2.0, 4.0], []) == pytest.approx(8**0.5)


def raw() -> dict:
    return tomllib.loads((SWEEPS / "trainium4_serving.toml").read_text())


def test_shipped_serving_study():
    s = load_study(SWEEPS / "trainium4_serving.toml")
    assert s.goal == "served_time" and list(s.workloads) == list(s.services)
    assert s.deadlines_s == [0.020, 0.040, 0.040, 0.050]
    assert all(isinstance(w, Requests) and n == 16 for w, n in s.workloads.values())


def test_served_time_needs_a_portfolio_alone():
    alone = {k: v for k, v in raw().items() if k != "portfolio"} | {"workloads": {}}
    with pytest.raises(SpecError, match="served_time needs a"):
        study_from(alone, SWEEPS)
    decode = {"phase": "decode", "model": "llama-3.1-8b", "chips": 16, "batch": 16, "context": 1024}
    with pytest.raises(SpecError, match="no other workloads"):
        study_from(raw() | {"workloads": {"x": decode}}, SWEEPS)
    with pytest.raises(SpecError, match="cannot be read"):
        study_from(raw() | {"portfolio": {"file": "nowhere.toml", "chips": 16}}, SWEEPS)


def test_tokens_of_a_model_in_service_have_a_cost(tmp_path):
    """Before: "a model in service has no cost per token yet". The cheapest chip keeps its promise; a limit of what it
    costs holds on another goal; below that nothing is left, and what is told to be needed is that cost."""
    (tmp_path / "one.toml").write_text(ONE)

    def served(goal, *limits):
        return dse.solve(
            dse.Study(
                "served", baseline="trainium3", portfolio={"file": "one.toml", "chips": 4}, folder=tmp_path,
                choices={"node": "N3P", "hbm": "HBM4", "link": "SerDes224G", "n_dies": 1, "native_fp4": True,
                         "system": "trn3-gen2-144"},
                free={"n_cores": (2, 64), "n_stacks": (2, 8), "hbm_bandwidth": ("2 TBps", "20 TBps"),
                      "hbm_capacity": ("64 GiB", "512 GiB")},
                limits=["power <= 700 W", "silicon <= 900 mm2", *limits], minimise=goal,
            )
        )  # fmt: skip

    cheapest = served("cost_per_token", "chip_hour <= 1000 USD", "wall_step <= 10 s")
    assert cheapest.status.name == "OPTIMAL" and cheapest.certificate is not None and cheapest.certificate.proved
    (w,) = cheapest.workloads
    assert float(w.evaluation.step_s) <= 0.020 * (1 + 1e-6)
    # by hand: dollars of four chips and their spares for a second, over the tokens of that second that count
    at = {x.name.partition(" ")[0].partition(":")[0]: x.value for x in cheapest.limits}
    assert cheapest.rack is not None
    second_USD = 4 * cheapest.rack.held * at["chip_hour_USD"] / 3600
    slower = at["wall_step_s"] / float(w.evaluation.step_s)
    assert cheapest.goal == pytest.approx(second_USD * slower / float(w.evaluation.tokens_per_s), rel=1e-4)
    fast = served("served_time", f"cost_per_token <= {cheapest.goal * 1.02} USD")
    assert fast.status.name == "OPTIMAL" and fast.goal <= served("served_time").goal * (1 + 0.05)
    none = served("served_time", f"cost_per_token <= {cheapest.goal * 0.95} USD")
    assert none.status.name == "INFEASIBLE"
    (way,) = none.relaxations
    assert way.name == "cost_per_token_USD" and way.needed == pytest.approx(cheapest.goal, rel=2e-3)


def test_what_a_study_does_not_keep_of_a_promise_is_said():
    said = first_tokens_text(load_study(SWEEPS / "trainium4_serving.toml"))
    assert "gpt-oss-120b 2 s" in said and "dse portfolio" in said
    assert first_tokens_text(load_study(SWEEPS / "trainium4.toml")) == ""


def test_best_chip_for_a_model_in_service(tmp_path):
    """Certified, keeps the deadline, and nobody's plan at the found chip yields more tokens in time."""
    (tmp_path / "one.toml").write_text(ONE)
    spec = raw() | {"portfolio": {"file": "one.toml", "chips": 2}}
    spec["choices"] = spec["choices"] | {
        "node": ["N2"], "hbm": ["HBM4E"], "n_dies": [2], "pe_array": ["128x128"], "native_fp4": [True]
    }  # fmt: skip
    study = study_from(spec, tmp_path)
    s = dse.solve(study)
    assert s.status.name == "OPTIMAL" and s.certificate is not None and s.certificate.proved
    assert s.certificate.n_plans == (len(asked_plans(study.workloads["small"][0], dse.system("trn3-gen2-144", 2))),)
    (w,) = s.workloads
    assert float(w.evaluation.step_s) <= 0.020 * (1 + 1e-6)
    assert s.delivered == pytest.approx(w.speedup, rel=1e-3)
    assert s.chip is not None
    system = dataclasses.replace(dse.system("trn3-gen2-144", 2), chip=s.chip)
    c = calibration_for("trainium3", study.workloads["small"][0])
    from dse.lowering.tiling import array_shape

    base = chip_reference(study.baseline.chip, c)
    every = [
        asked_demand(study.workloads["small"][0], p, system, base, array_shape(s.chip.core.tensor))
        for p in asked_plans(study.workloads["small"][0], system)
    ]
    stacked = stack_records(every)
    seconds = np.asarray(plan_steps_s(stacked, s.chip, chip_technology(s.chip, study.package), c))
    best = np.min(np.where(seconds <= 0.020 * 1.001, seconds, np.inf) / np.asarray(stacked.tokens))
    assert float(w.evaluation.step_s) / float(w.evaluation.tokens_per_s * w.evaluation.step_s) <= best * (1 + 1e-3)
