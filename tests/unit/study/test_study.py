"""Studies from TOML: shipped file loads, canonical units, and one clear line for every kind of bad input."""

import copy
import dataclasses
import tomllib
from pathlib import Path

import pytest

from dse.cli import main
from dse.core.errors import DseError, SpecError, UnknownNameError
from dse.core.files import read_toml
from dse.explore.ray import Rays
from dse.hardware.presets import chip
from dse.optimize.solve import solve_continuous
from dse.study.convex import coordinates, ratio_rows
from dse.study.limits import least_cap_W, rated_W
from dse.study.metrics import HEAT, HOTTEST, METRICS, Limit, chip_state
from dse.study.study import Study, load_study, study_from

SHIPPED = Path(__file__).parents[3] / "sweeps" / "trainium4.toml"


@pytest.fixture
def raw():
    return copy.deepcopy(tomllib.loads(SHIPPED.read_text()))


def test_shipped_study_is_in_canonical_units():
    study = load_study(SHIPPED)
    free = {f.name: (f.lower, f.upper) for f in study.free}
    assert free["clock_Hz"] == (0.8e9, 3.2e9)
    assert free["scratchpad_B"] == (2 * 2**20, 256 * 2**20)
    limits = {x.metric: x for x in study.limits}
    assert limits["full_load_fp8_W"].value == 1800.0 and limits["full_load_fp8_W"].sense == "at_most"
    assert least_cap_W(study.limits, HOTTEST) == 1800.0 and least_cap_W(study.limits) == float("inf")
    # 2 x 8 x 128 x 128 x 4 x 2.4e9 = 2.5166e15 FLOP/s; six times that
    assert limits["peak_fp4_FLOPps"].value == pytest.approx(6 * 2 * 8 * 128 * 128 * 4 * 2.4e9, rel=1e-12)
    assert limits["hbm_capacity_B"].value == pytest.approx(2 * 144 * 2**30)
    # 400 Gbit/s = 50 GB/s
    assert study.scaleout_Bps == pytest.approx(50e9)
    assert len(study.choices) == 2 * 4 * 2 * 2 * 3 * 2 * 2
    assert {c.stack_capacity_B for c in study.choices} == {36 * 2.0**30}


def test_core_rows_and_variables_line_up():
    core = load_study(SHIPPED).core()
    assert coordinates(core)[-3:] == ("work_W", "step_s:training", "step_s:decode")
    # 7 of physics, 3 per workload (step, memory, what is read ahead), 11 user limits
    assert len(ratio_rows(core)) == 7 + 6 + 11


def _set(raw, path, value):
    *head, last = path
    for key in head:
        raw = raw[key]
    raw[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("study", "minimize"), "delivered_time", ["study.minimize", "unknown key", "'minimise'"]),
        (("study", "minimise"), "speed", ["speed", "unknown goal"]),
        (("study", "minimise"), "power", ["power_W", "one value per workload"]),
        (("study", "baseline"), "h100", ["baseline", "trn3-gen2-144"]),
        (("study", "system"), "trn3-gen2-14", ["trn3-gen2-14", "did you mean"]),
        (("study", "package"), "CoWoS-X", ["CoWoS-X", "did you mean"]),
        (("study", "scaleout_per_dir"), "400 W", ["scaleout_per_dir", "measures W"]),
        (("limits", 0, "at_most"), "1200 mm2", ["limits.0", "measures mm2", "W"]),
        (("limits", 5, "at_most"), "-5 mm2", ["limits.5", "must be positive"]),
        (("limits", 1, "metric"), "silicone", ["silicone", "did you mean silicon"]),
        (("limits", 0, "at_least"), "1 W", ["limits.0", "either at_most or at_least"]),
        (("free", "clock"), ["3 GHz", "1 GHz"], ["clock_Hz", "in order"]),
        (("workloads", "training", "weight"), float("inf"), ["weight = inf", "finite"]),
        (("free", "clock"), ["0 GHz", "1 GHz"], ["free.clock", "positive"]),
        (("free", "clocks"), ["1 GHz", "2 GHz"], ["clocks", "did you mean clock_Hz"]),
        (("free", "clock"), ["1 GHz"], ["free.clock"]),
        # each place once and as the file has it: these were "free.clock.0.str = nan: Input should be a valid string;
        # free.clock.0.float = nan: ..." for both ends, and "workloads.decode.decode.chips"
        (("free", "clock"), [float("nan"), 1.0], ["free.clock.0 = nan: input should be a valid string, or "]),
        (("workloads", "decode", "chips"), 0, ["workloads.decode.chips = 0: input should be greater than 0"]),
        (
            ("free", "clock"),
            ["1 GHz", "2 GHz", "3 GHz"],
            ["free.clock = [", "tuple should have at most 2 items, not 3"],
        ),
        # 5 was 5 Hz, and no design was found: "the laws of the chip and its technology conflict"
        (("free", "clock"), 5, ["free.clock = 5 Hz", "700 MHz to 3 GHz", "check number and unit"]),
        (("free", "hbm_bandwidth"), [2, 20], ["free.hbm_bandwidth = 2 B/s", "check number and unit"]),
        (("choices", "node"), ["N3Q"], ["N3Q", "did you mean"]),
        (("choices", "hbm"), [], ["at least one"]),
        (("choices", "pe_array"), ["128"], ["pe_array", "128x128"]),
        (("choices", "matrix_instruction"), ["16x8"], ["matrix_instruction", "edges", "GPUs"]),
        (("workloads", "training", "chips"), 0, ["workloads.training", "chips"]),
        (("workloads", "training", "precision"), "fp6", ["fp6", "bf16"]),
        (("workloads", "decode", "phase"), "prefil", ["workloads.decode", "phase"]),
        (("workloads", "decode", "model"), "llama-3.1-71b", ["llama-3.1-71b", "did you mean"]),
    ],
)
def test_bad_input_is_one_clear_line(raw, path, value, words):
    _set(raw, path, value)
    with pytest.raises(DseError) as caught:
        study_from(raw)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_study_of_software_before_flash_attention_says_so(raw):
    assert study_from(raw).workloads["training"][0].fused_attention
    raw["workloads"]["training"]["stored_scores"] = True
    workload, n_chips = study_from(raw).workloads["training"]
    assert not workload.fused_attention and n_chips == raw["workloads"]["training"]["chips"]
    raw["workloads"]["decode"]["stored_scores"] = True  # a token has no square of scores
    with pytest.raises(SpecError, match="stored_scores"):
        study_from(raw)


@pytest.mark.parametrize("written", ["16", "16x0", "16x8x16"])
def test_an_instruction_of_another_form_is_refused(written):
    raw = tomllib.loads((SHIPPED.parent / "backtest_v100.toml").read_text())
    raw["choices"]["matrix_instruction"] = [written]
    with pytest.raises(SpecError, match=r"matrix_instruction.*not of the form"):
        study_from(raw)


def offered(step, **choices):
    raw = tomllib.loads((SHIPPED.parent / f"backtest_{step}.toml").read_text())
    raw["choices"] = {k: v for k, v in (raw["choices"] | choices).items() if v}
    return {(c.pe_array, c.matrix_instruction) for c in study_from(raw).choices}


def test_arrays_that_shared_memory_cannot_feed_are_not_offered():
    """Volta's instruction leaves room for 819 MACs a cycle, Ampere's for 1,365, Hopper's for 2,048, 128 bytes a cycle
    over 2 B (2/s + 2/128) a MAC with s of 32, 64, 128."""
    wide = [f"32x{n}" for n in (16, 24, 32, 48, 64, 80)]  # 512, 768, 1024, 1536, 2048, 2560
    found = offered("h100", pe_array=wide, matrix_instruction=["8x8", "16x8", "64x256"])
    most = {i: max(int(a.split("x")[1]) * 32 for a, j in found if j == i) for i in ("8x8", "16x8", "64x256")}
    assert most == {"8x8": 768, "16x8": 1024, "64x256": 2048}
    with pytest.raises(SpecError, match=r"pe_array.*128 bytes a cycle.*smaller array"):
        offered("h100", pe_array=["64x64"])
    # the baseline's own array and instruction were built, whatever a file says of them
    assert offered("h100", pe_array=["32x32", "64x64"], matrix_instruction=[]) == {("32x32", "")}


def test_registers_feed_units_through_the_ports_of_lanes():
    """V100's 512 MACs read 768 bytes a cycle: 64 lanes at 12. With 32 the row of the convex core is broken twofold."""
    study = load_study(SHIPPED.parent / "backtest_v100.toml")
    core = study.core()
    assert core.fed and "register ports" in [r.what for r in ratio_rows(core)]
    assert "register ports" not in [r.what for r in ratio_rows(load_study(SHIPPED).core())]


def test_missing_table_and_missing_file(tmp_path, raw):
    del raw["free"]
    with pytest.raises(SpecError, match="free: missing"):
        study_from(raw)
    with pytest.raises(SpecError, match=r"nowhere\.toml: cannot be read"):
        load_study(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[study\n")
    with pytest.raises(SpecError, match="not valid TOML"):
        load_study(broken)


def test_all_errors_are_told_at_once(raw):
    raw["study"]["minimize"] = "x"
    raw["limits"][0]["atmost"] = "1 W"
    with pytest.raises(SpecError) as caught:
        study_from(raw)
    assert "study.minimize" in str(caught.value) and "limits.0.atmost" in str(caught.value)


def test_a_study_is_copied_as_any_record_is():
    """Notebooks narrow a study so: with a constructor of its own it took the records for words and refused them."""
    study = load_study("trainium4")
    few = dataclasses.replace(study, name="few", choices=study.choices[:1])
    assert (few.name, few.choices, few.limits) == ("few", study.choices[:1], study.limits)
    assert dataclasses.replace(few, name=study.name, choices=study.choices) == study
    with pytest.raises(TypeError, match="limit"):
        dataclasses.replace(study, limit=())


def owned(**head):
    """The tiny study, whose goal and limits ask for no owner, with what an owner says."""
    raw = tomllib.loads((SHIPPED.parents[1] / "tests" / "data" / "tiny.toml").read_text())
    return {**raw, "study": {**raw["study"], **head}}


def test_a_front_over_what_owning_costs_takes_server_and_margin_of_the_study():
    """They were refused where neither goal nor limit asks, though the front does."""
    axes = ("delivered_time", "cost_per_token")
    study = study_from(owned(host="x86-8", margin=1.5), asks=axes)
    owner = Rays(study, ("delivered_time", "mean_cost_per_token_USD")).space.study.owner
    assert owner is not None and (owner.host, owner.margin) == ("x86-8", 1.5)
    assert study.changed(name="other").owner == owner
    assert study_from(owned(), asks=axes).owner != owner and study_from(owned()).owner is None
    with pytest.raises(SpecError, match=r"study\.margin: 0.* must be positive"):
        study_from(owned(margin=0.0), asks=axes)


def test_a_server_that_no_axis_reads_is_refused_as_before():
    for asks in ((), ("delivered_time", "package_cost")):
        with pytest.raises(SpecError, match="no goal or limit names one, nor an axis"):
            study_from(owned(host="x86-8"), asks=asks)
    with pytest.raises(DseError, match="unknown metric 'cost_per_tokn'"):
        study_from(owned(host="x86-8"), asks=("cost_per_tokn",))


def test_the_command_says_what_its_axes_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(
        (SHIPPED.parents[1] / "tests" / "data" / "tiny.toml").read_text().replace("[study]", "[study]\nmargin = 1.5", 1)
    )
    seen = []
    monkeypatch.setattr(
        "dse.cli.front.FrontCommand._solved", lambda _, study, names, *more: seen.append(study) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        main(["front", "tiny.toml", "--metrics", "delivered_time,cost_per_token"])
    assert seen[0].owner.margin == 1.5
    assert main(["front", "tiny.toml"]) == 2
    assert "no goal or limit names one, nor an axis" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "words"),
    [(("silicon_mm2", "below", 1.0), "'below' is not one of at_most"), (("silicon_mm2", "at_most", -1.0), "positive"),
     (("silicon_mm2", "at_least", float("nan")), "nan must be positive")],
)  # fmt: skip
def test_a_limit_that_can_bind_nothing_cannot_be_made(limit, words):
    """Before: solved as if it were not there."""
    with pytest.raises(SpecError, match=words):
        Limit(*limit)


def test_an_unknown_metric_of_a_limit_has_near_matches(raw):
    study = study_from(raw)
    wrong = dataclasses.replace(study, limits=(Limit("silicone_mm2", "at_most", 1.0),), written=None)
    with pytest.raises(UnknownNameError, match="did you mean silicon_mm2"):
        solve_continuous(wrong)


def test_a_limit_stated_twice_is_refused_in_any_unit():
    """Its price was halved: -0.76 of each of two limits of 120 W, where one alone has -1.52."""
    raw = owned()
    again = {"metric": "power", "at_most": "0.7 kW"}
    with pytest.raises(SpecError, match=r"limits\.3 \(power\): says again what limits\.0 says; keep one"):
        study_from({**raw, "limits": [*raw["limits"], again]})
    for other in ({**again, "at_most": "0.6 kW"}, {"metric": "full_load_fp8", "at_most": "700 W"}):
        assert len(study_from({**raw, "limits": [*raw["limits"], other]}).limits) == 4


def test_a_multiple_of_nothing_is_no_limit():
    """An A100 has no FP4: "1x" of that was a limit of 0 FLOP/s, whose logarithm no solver can use."""
    a100 = {"baseline": "a100-80", "system": "dgx-a100", "free": {"n_cores": (50, 150)}}
    with pytest.raises(SpecError, match=r"limits.0 \(peak_fp4\): the baseline has none of it"):
        Study(limits=["peak_fp4 >= 1x"], minimise="package_cost", **a100)


def test_a_workload_does_not_hide_behind_a_model_in_service():
    """Of two of one name the one that was written out was left out without a word."""
    sweeps = Path(__file__).parents[3] / "sweeps"
    raw = read_toml(sweeps / "trainium4_serving.toml")
    name = next(iter(study_from(raw, sweeps).services))
    raw["workloads"] = {name: {"phase": "decode", "model": "llama-3.1-8b", "chips": 4, "batch": 8, "context": 4096}}
    with pytest.raises(SpecError, match=f"workloads.{name}: a model of the portfolio"):
        study_from(raw, sweeps)


@pytest.mark.parametrize(("name", "hottest"), [("gaudi3", "bf16"), ("trainium1", "bf16"), ("trainium3", "fp8")])
def test_heat_is_that_of_the_precision_with_the_highest_power(name, hottest):
    """Gaudi 3 burns 883 W in BF16 and 671 W in FP8, whose flux was all that a cold plate was asked to take."""
    s = chip_state(chip(name))
    loads = {p: float(METRICS[f"full_load_{p}_W"](s)) for p in ("bf16", "fp8", "fp4")}
    assert max(loads, key=lambda p: loads[p]) == hottest
    assert float(METRICS[HEAT](s)) == pytest.approx(loads[hottest] / float(METRICS["silicon_mm2"](s)), rel=1e-12)


def test_a_design_is_rated_for_its_cap_or_for_the_most_that_it_draws():
    """Before: 0 W where nothing is drawn and nothing caps it."""
    mean, hottest = Limit("power_W", "at_most", 700.0), Limit("hottest_operator_W", "at_most", 900.0)
    assert rated_W((mean, hottest), [650.0, 1000.0], 500.0) == 700.0
    assert rated_W((hottest,), [650.0, 800.0], 500.0) == 900.0 and rated_W((hottest,), [950.0], 500.0) == 950.0
    assert rated_W((), [650.0, 600.0], 500.0) == 650.0 and rated_W((), [], 500.0) == 500.0
