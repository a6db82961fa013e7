"""Studies made in Python are those of the TOML file; any phase may be a workload, with the time it may take."""

import tomllib
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest

from dse.core.errors import DseError
from dse.core.free import Free
from dse.core.schemas import both_names
from dse.core.text import stem_of
from dse.evaluation.assembly import chip_reference
from dse.lowering.served import asked_demand, asked_plans
from dse.lowering.tiling import array_shape
from dse.optimize.solve import solve, solve_continuous
from dse.study.design import as_built
from dse.study.limits import full_name
from dse.study.metrics import METRICS, Limit, geometric_mean, mean_speedup
from dse.study.study import Study, load_study, study_from

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
DECODE = {
    "phase": "decode", "model": "llama-3.1-8b", "chips": 4, "batch": 64, "context": 4096, "weights": "fp8", "kv": "fp8",
}  # fmt: skip
PREFILL = {"phase": "prefill", "model": "llama-3.1-8b", "chips": 4, "prompt": 4096, "weights": "fp8", "kv": "fp8"}
TRAINING = {"phase": "training", "model": "llama-3.1-8b", "chips": 4, "global_batch": 16, "sequence": 4096}


def tiny(**changed):
    values = {
        "baseline": "trainium3",
        "system": "trn3-gen2-144",
        "scaleout_per_dir": "400 Gbps",
        "workloads": {"decode": DECODE},
        "choices": {
            "node": "N3P", "hbm": "HBM4", "link": ["SerDes224G"], "n_dies": [1, 2], "pe_array": "128x128",
            "native_fp4": True,
        },
        "free": {
            "n_cores": (2, 64), "n_stacks": (2, 8), "hbm_bandwidth": ("2 TBps", 20e12),
            "hbm_capacity": ("64 GiB", "512 GiB"),
        },
        "limits": ["power <= 700 W", {"metric": "silicon", "at_most": "900 mm2"}, "hbm_capacity >= 1x"],
    }  # fmt: skip
    return Study("tiny", **{**values, **changed})


def test_a_study_is_what_the_chip_asked_about_is_where_nothing_else_is_written():
    """The call of five words: system, network, node, memory, links, dies and arrays are the baseline's."""
    study = Study(
        baseline="trainium3",
        workloads=[DECODE],
        free={"n_cores": (2, 64), "hbm_bandwidth": ("2 TBps", "20 TBps")},
        limits=["power <= 700 W", "hbm_capacity >= 1x"],
        minimise="cost_per_token",
    )
    chip = study.baseline.chip
    assert study.choices == (as_built(chip),) and study.baseline.name == "trn3-gen2-144"
    assert study.scaleout_Bps == float(chip.scaleout_bandwidth_per_dir_Bps) and study.goal == "cost_per_token_USD"
    assert study.changed() == study and study.changed(choices={"n_dies": [1, 2]}).choices[0].n_dies == 1


def test_a_record_where_a_name_belongs_is_told_without_a_spelling_of_pythons(tmp_path):
    for wrong in (tiny().baseline, object(), None, 7, tmp_path):
        with pytest.raises(DseError) as error:
            study_from({"study": {"name": "x", "baseline": wrong}, "free": {}})
        assert "study.baseline" in str(error.value) and "<" not in str(error.value) and "(" not in str(error.value)


def test_python_and_toml_ask_the_same_to_the_last_bit():
    mine, file = tiny(), load_study(TINY)
    assert eqx.tree_equal(mine.baseline, file.baseline)
    for name in ("name", "workloads", "free", "choices", "limits", "goal", "package", "scaleout_Bps", "streams"):
        assert getattr(mine, name) == getattr(file, name)
    assert mine.deadlines_s == file.deadlines_s == [float("inf")]


@pytest.mark.slow
def test_python_and_toml_answer_the_same_to_the_last_bit():
    """Design, goal, bound and prices of both, solved from the same start."""
    mine, file = solve_continuous(tiny()), solve_continuous(load_study(TINY))
    assert mine.status is file.status
    assert eqx.tree_equal(mine.chip, file.chip) and mine.goal == file.goal
    assert mine.certificate == file.certificate
    assert [(x.name, x.price) for x in mine.limits] == [(x.name, x.price) for x in file.limits]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_goes_by_its_name_with_or_without_its_unit_wherever_it_is_written(name):
    """Before: the schema offered "cost" and "heat", which no study took; dropping "cost_per_token" left the limit."""
    assert full_name(stem_of(name), tuple(METRICS), "metric") == name
    assert both_names(METRICS)[stem_of(name)] == name


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"limits": ["power < 700 W"]}, "limit 'power < 700 W': write it as 'metric <= value'"),
        ({"limits": ["power <= 700 mm2"]}, "measures mm2"),
        ({"limits": ["pwoer <= 700 W"]}, "pwoer"),
        ({"free": {"n_coers": (2, 64)}}, "n_coers"),
        ({"streems": True}, "study.streems: unknown key; did you mean 'streams'?"),
        ({"workloads": {"p": {**PREFILL, "ttft": 300}}}, "ttft"),
        ({"workloads": {"p": {**PREFILL, "tpot": "20 ms"}}}, "tpot: unknown key, it belongs to another table"),
        ({"workloads": {"p": {"model": "llama-3.1-8b"}}}, "workloads.p.phase: missing"),
        ({"workloads": {"p": {**PREFILL, "phase": "prefil"}}}, "workloads.p.phase: 'prefil' is not one of"),
        ({"workloads": {"p": {**PREFILL, "batch": 0}}}, "batch: 0: expected a whole number of at least 1, or 'free'"),
        ({"free": {"n_cores": Free("n_stacks", 2.0, 4.0)}}, "free.n_cores: bounds of n_stacks"),
        ({"minimise": "cost"}, "unknown goal 'cost'; did you mean package_cost_USD, cost_per_token_USD"),
        ({"baseline": "trainium9"}, "unknown chip 'trainium9'; did you mean trainium"),
        ({"workloads": {"p": {**PREFILL, "prompt": 10**6}}}, "more than the 131,072 tokens"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(changed, said):
    with pytest.raises(DseError) as error:
        tiny(**changed)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"workloads": {"q": None}}, "unknown entry of workloads to drop 'q'"),
        ({"free": {"n_coers": None}}, "unknown entry of free to drop 'n_coers'"),
        ({"without": ["silicn"]}, "unknown limit to drop 'silicn'"),
    ],
)
def test_what_is_dropped_must_be_there(changed, said):
    """Before: a misspelt limit stayed in force without a word."""
    with pytest.raises(DseError) as error:
        tiny().changed(**changed)
    assert said in str(error.value)


def test_records_and_single_values_are_taken_as_written():
    """Before: 32 MiB was read letter by letter, and records ended in a traceback of Python's."""
    study = tiny(
        free={"n_cores": Free("n_cores", 2.0, 64.0), "scratchpad": "32 MiB", "n_stacks": 4},
        limits=Limit("power_W", "at_most", 700.0),
        workloads=[PREFILL, {**PREFILL, "prompt": 2048}, TRAINING],
    )
    assert study.free == (Free("n_cores", 2, 64), Free("scratchpad_B", 2.0**25, 2.0**25), Free("n_stacks", 4, 4))
    assert study.limits == (Limit("power_W", "at_most", 700.0),)
    assert list(study.workloads) == ["prefill_1", "prefill_2", "training"]
    assert tiny(limits="power <= 600 W").limits == (Limit("power_W", "at_most", 600.0),)
    assert [x.metric for x in tiny().changed(without="power").limits] == ["silicon_mm2", "hbm_capacity_B"]


def test_a_weight_is_the_exponent_of_its_workload_in_means():
    two = {"decode": DECODE, "prefill": {**PREFILL, "weight": 3}}
    study = tiny(workloads=two)
    assert study.shares == study.core().shares == (0.25, 0.75)
    assert tiny(workloads={**two, "prefill": PREFILL}).shares == ()
    # (2^1 x 16^3)^(1/4) = 9.5137
    assert geometric_mean([np.asarray(2.0), np.asarray(16.0)], study.shares) == pytest.approx(8192**0.25)
    assert mean_speedup(study.goal, [2.0, 16.0], [], study.shares) == pytest.approx(8192**0.25)


def test_a_free_batch_is_tried_in_powers_of_two_under_every_plan():
    study = tiny(workloads={"decode": {**DECODE, "batch": "free"}})
    ((workload, n_chips),) = study.workloads.values()
    system, (c,) = study.at_size(n_chips), study.calibrations.values()
    found, ref = asked_plans(workload, system), chip_reference(system.chip, c)
    assert {p.micro_batch for p in found if p.tp == 4} == {2**i for i in range(11)}
    d = asked_demand(workload, found[3], system, ref, array_shape(system.chip.core.tensor))
    assert float(d.tokens) == found[3].micro_batch * found[3].dp


@pytest.mark.slow
def test_a_free_batch_is_at_least_as_good_as_any_that_is_given():
    """Tokens of four chips within 10 ms: the batch that is chosen beats 16 and 64."""

    def rate(batch):
        (w,) = solve(tiny(workloads={"decode": {**DECODE, "batch": batch, "tpot": "10 ms"}})).workloads
        assert float(w.evaluation.step_s) <= 0.010 * (1 + 1e-9)
        return float(w.evaluation.tokens_per_s)

    chosen = rate("free")
    assert all(chosen >= rate(n) * (1 - 1e-2) for n in (16, 64))


def test_weights_are_stored_as_the_model_says_unless_the_study_does():
    raw = tomllib.loads(TINY.read_text())
    raw["workloads"]["decode"] |= {"model": str(TINY.parent / "models" / "fp8_checkpoint.json"), "chips": 16}
    del raw["workloads"]["decode"]["weights"]
    ((workload, _),) = study_from(raw).workloads.values()
    assert workload.weight_precision == workload.model.weight_format != "bf16"


@pytest.mark.slow
def test_a_first_token_that_must_come_in_time_has_its_price():
    """The cheapest chip that reads a prompt in time is just fast enough, and a tighter time costs more."""
    choices = {
        "node": "N3P",
        "hbm": "HBM4",
        "link": "SerDes224G",
        "n_dies": 1,
        "pe_array": "128x128",
        "native_fp4": True,
    }
    one = {"choices": choices, "minimise": "package_cost", "limits": ["power <= 700 W", "silicon <= 900 mm2"]}
    found = {t: solve(tiny(workloads={"prefill": {**PREFILL, "ttft": t}}, **one)) for t in ("120 ms", "80 ms")}
    for text, solution in found.items():
        (w,) = solution.workloads
        assert float(w.evaluation.step_s) <= float(text.split()[0]) / 1e3 * (1 + 1e-9)
    assert found["80 ms"].goal > found["120 ms"].goal
    (price,) = [x.price for x in found["80 ms"].limits if x.name == "step_s:prefill" and x.sense == "at_most"]
    assert price < 0


def test_a_number_alone_is_fixed_as_in_the_file():
    """A text is one value, not the letters of two ends."""
    study = tiny(free={"n_cores": (2, 64), "scratchpad": "32 MiB", "n_stacks": 4, "hbm_bandwidth": (2e12, "20 TBps")})
    ends = {f.name: (f.lower, f.upper) for f in study.free}
    assert ends["scratchpad_B"] == (32 * 2.0**20, 32 * 2.0**20) and ends["n_stacks"] == (4.0, 4.0)
