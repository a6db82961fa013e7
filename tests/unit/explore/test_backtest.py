"""Back-tests: studies hold what was built, verdicts, naive forecast and regret by hand, and any two chips will do."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import numpy as np
import pytest

from dse.core.errors import DseError, SpecError
from dse.core.text import digits
from dse.explore import designed
from dse.explore.against_built import Backtest, Row, n_right
from dse.explore.backtest import (
    QUANTITIES,
    backtest,
    built_speedups,
    check_study,
    given_by,
    held,
    naive_chip,
    quantities,
)  # fmt: skip
from dse.explore.tally import Backtests, by_kind, tally
from dse.hardware.presets import chip, system
from dse.optimize.solve import solve_continuous
from dse.optimize.space import space_of
from dse.physics.evaluate import chip_technology
from dse.physics.pipeline import OVERHEAD_FRAC
from dse.report.backtest import backtests_json, backtests_view, headline, steps_figure, tally_text
from dse.report.sections import backtest as page_section
from dse.study.metrics import FULL_LOAD, METRICS, Load, chip_state
from dse.study.study import load_study
from dse.workload.transformer import Training

SWEEPS = Path(__file__).parents[3] / "sweeps"
STUDIES = sorted(SWEEPS.glob("backtest_*.toml"))


def depth_between(old, new):
    """Depth over the old chip's at which its pipeline has the nominal clock of the new one."""
    return (1 - OVERHEAD_FRAC) / (float(old.nominal_clock_Hz / new.nominal_clock_Hz) - OVERHEAD_FRAC)


def row(proposed, built, naive=1.0, **more):
    return Row("n_cores", proposed, built, naive, **more)


def test_verdicts_by_hand():
    # 10 of 8 is 1.25x, just a hit; 4 of 8 is half, just near; 17 of 8 is 2.1x.
    assert row(10.0, 8.0).verdict == "hit"
    assert row(8.0, 10.0).verdict == "hit"
    assert row(4.0, 8.0).verdict == "near" and row(4.0, 8.0).factor == 2.0
    assert row(17.0, 8.0).verdict == "miss"
    assert row(17.0, 8.0, given=True).verdict == "given"
    assert row(4.0, 8.0, naive=2.0).factors == (2.0, 4.0)
    assert row(4.0, 8.0, near=(3.0, 8.0)).inside and not row(4.0, 8.0, near=(3.0, 7.0)).inside
    assert row(4.0, 8.0).inside is None and row(4.0, 8.0).near_ratio is None
    assert row(4.0, 8.0, naive=2.0).naive_ratio == 0.25
    assert row(4.0, 8.0, near=(3.0, 8.0)).near_ratio == (0.375, 1.0)


def test_quantities_of_trainium2():
    # Eight cores of 128 x 128 at 2.4 GHz, 28 MiB each; BF16 2 x 8 x 16384 x 2.4e9 = 629 TFLOP/s, FP8 twice that.
    q = quantities(chip("trainium2"), "CoWoS-S")
    assert tuple(q) == QUANTITIES
    assert q["tensor_pes"] == 8 * 128 * 128 and q["pes_per_core"] == 128 * 128
    assert q["peak_bf16_FLOPps"] == pytest.approx(629.1456e12)
    assert q["peak_fp8_FLOPps"] == pytest.approx(2 * 629.1456e12)
    assert q["sram_B"] == 8 * 28 * 2**20
    assert "peak_fp8_FLOPps" not in quantities(chip("v100"), "CoWoS-S")  # no 8-bit rate, so no 8-bit load either


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_what_was_built_is_one_of_the_answers(path):
    study = load_study(path)
    built = chip(study.built)
    assert study.name == path.stem and built.name != study.baseline.chip.name
    assert built.node in {c.node for c in study.choices} and built.hbm in {c.hbm for c in study.choices}
    assert built.link in {c.link for c in study.choices} and float(built.n_dies) in {c.n_dies for c in study.choices}
    array = f"{int(built.core.tensor.rows)}x{int(built.core.tensor.cols)}"
    assert array in {c.pe_array for c in study.choices}
    q = quantities(built, study.package)
    q["pipeline_depth"] = depth_between(study.baseline.chip, built)
    for free in study.free:
        assert free.lower <= q[free.name] <= free.upper, free.name
    # Budgets are the built chip's, by this package's models, and its die fits the reticle.
    limits = {x.metric: x.value for x in study.limits}
    assert {"silicon_mm2", "package_cost_USD"} < set(limits)
    state = chip_state(built, chip_technology(built, study.package))
    assert all(v == pytest.approx(float(METRICS[n](state))) for n, v in limits.items())
    assert all(c.reticle_mm2 == pytest.approx(q["silicon_mm2"] / q["n_dies"]) for c in study.choices)


def test_ten_steps_ship():
    assert len(STUDIES) == 10


def test_every_step_that_ships_is_proved_convex():
    """A rate of 0 that divides, masked or not, cost six of ten steps their certificate once."""
    shipped = json.loads((Path(__file__).parents[3] / "results" / "backtest" / "backtest.json").read_text())
    assert {s["study"]: s["certified"] for s in shipped["steps"]} == dict.fromkeys((p.stem for p in STUDIES), True)


def test_the_page_says_what_ships():
    """The tally and a row per kind of number, as `dse backtest` prints them."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "backtest.md").read_text()
    shipped = json.loads((root / "results" / "backtest" / "backtest.json").read_text())
    t = shipped["tally"]
    said = (
        f"{t['n_numbers']} numbers of ten steps: median factor {digits(t['median_factor'])}x "
        f"(naive {digits(t['naive_factor'])}x), {digits(100 * t['within_frac']['1.5'], 2)} % within 1.5x, SRAM per "
        f"chip within 2x in {digits(100 * t['sram_frac'], 2)} % of steps, regret of the built chip "
        f"{digits(100 * t['regret_frac'])} % in median, better than the naive forecast on {t['n_better']} of 10 steps. "
        f"{digits(100 * t['inside_frac'], 2)} % of the built numbers"
    )
    assert said in " ".join(page.split())
    for k in shipped["kinds"]:
        found = [digits(k[n], 2) + "x" for n in ("ratio", "spread", "factor", "naive_factor")]
        assert f"| {k['n_steps']} | {' | '.join(found)} | {digits(100 * k['share_frac'], 2)} % |" in page, k["name"]


def test_the_page_says_what_each_correction_is_worth():
    root = Path(__file__).parents[3]
    page = (root / "docs" / "backtest.md").read_text()
    studies = json.loads((root / "results" / "ablation" / "ablation.json").read_text())["studies"]
    for i, first in enumerate(studies["trainium4"]):
        old = [studies[s][i] for s in ("backtest_trainium2", "backtest_trainium3")]
        said = [f"{digits(x['speedup'])}x, {x['sram_ratio']:.2f}, {100 * x['regret_frac']:.0f} %" for x in old]
        row = next(x for x in page.splitlines() if x.startswith(f"| {first['label']} | {digits(first['speedup'])}x"))
        assert row.endswith(f"| {first['quantities']['full_load_fp8_W']:,.0f} W | {' | '.join(said)} |"), row


ON_SALE = {"HBM2": 2016, "HBM2E": 2020, "HBM3": 2022, "HBM3E": 2024}
DESIGNED = {
    "v100": 2015, "tpu_v3": 2016, "a100": 2018, "tpu_v4": 2019, "mi250x": 2020,
    "h100": 2021, "gaudi3": 2022, "mi300x": 2022, "trainium2": 2023, "trainium3": 2024,
}  # fmt: skip
"""Last year in which the memory of the successor could still be chosen."""


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_memory_on_offer_was_on_sale_when_the_chip_was_designed(path):
    """HBM2E, in volume in the middle of 2020, gave designs of 2018 and 2019 half the stacks of A100 and TPU v4.

    What the built chip has was on its makers' plan, and is on offer.
    """
    study = load_study(path)
    on_sale = {m for m, year in ON_SALE.items() if year <= DESIGNED[path.stem.removeprefix("backtest_")]}
    assert {c.hbm for c in study.choices} <= on_sale | {chip(study.built).hbm}


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_software_of_a_step_is_that_of_its_time(path):
    """Attention stored its scores before FlashAttention (May 2022). A kernel that a host starts cannot read ahead for
    the next; programs that are compiled whole can, and kernels of Hopper start before the last one ends."""
    study, name = load_study(path), path.stem.removeprefix("backtest_")
    trained = [w for w, _ in study.workloads.values() if isinstance(w, Training)]
    assert trained and {w.fused_attention for w in trained} == {DESIGNED[name] >= 2022}
    assert study.streams == (study.baseline.chip.lane_kind != "simt" or name == "h100")


def test_the_naive_forecast_by_hand():
    # Trainium1 to the budgets of Trainium2: silicon 512 over 178 mm2, N7 to N5 1.8 times as dense (.46 / .2556), two
    # cores; HBM2E to HBM3 819 / 460 in rate and 24 / 16 in capacity; the same link.
    study = load_study(SWEEPS / "backtest_trainium2.toml")
    old, new = study.baseline.chip, naive_chip(study)
    grown = next(x.value for x in study.limits if x.metric == "silicon_mm2") / quantities(old, "CoWoS-S")["silicon_mm2"]
    assert float(new.n_cores) == round(2 * grown * 0.46 / 0.2556) == 10
    assert float(new.hbm_bandwidth_Bps) == pytest.approx(820e9 * 819 / 460)
    assert float(new.hbm_capacity_B) == pytest.approx(32 * 2**30 * 24 / 16)
    assert float(new.clock_Hz) == float(old.clock_Hz) and float(new.core.scratchpad_B) == float(old.core.scratchpad_B)
    assert (new.node, new.hbm, new.link) == ("N5", "HBM3", "PCIe5")


@pytest.mark.parametrize(("name", "precision"), [("trainium2", "fp8"), ("gaudi3", "bf16"), ("v100", "bf16")])
def test_a_tdp_holds_in_the_precision_that_burns_most(name, precision):
    """Trainium2 has twice the MACs in FP8, Gaudi 3 as many as in BF16, V100 none. A limit on FP8 alone let a successor
    of Trainium1, whose FP8 is no faster, burn 640 W in BF16 where Trainium2 burns 498."""
    state = chip_state(chip(name))
    each = {p: float(METRICS[f"full_load_{p}_W"](state)) for p in ("bf16", "fp8", "fp4")}
    assert max(each, key=lambda p: each[p]) == precision
    assert float(METRICS[FULL_LOAD](state)) == each[precision]


def test_budgets_of_every_step_hold_the_tdp_in_all_precisions():
    assert all(FULL_LOAD in {x.metric for x in load_study(path).limits} for path in STUDIES)


def test_what_budgets_and_baseline_set_is_given():
    given = given_by(load_study(SWEEPS / "backtest_v100.toml"))
    assert {"silicon_mm2", "package_cost_USD", "full_load_bf16_W", "full_load_fp8_W", "n_dies"} <= given
    assert "dma_bandwidth_Bps" in given  # not free there, so the baseline's
    assert "peak_fp8_FLOPps" in given_by(load_study(SWEEPS / "backtest_h100.toml"))  # its rate is not offered
    assert not {"n_cores", "clock_Hz", "sram_B", "hbm_capacity_B", "pes_per_core"} & given
    # free, but nobody has said how much of it a core of TPU v4 has; of Trainium3's AWS has
    assert "dma_bandwidth_Bps" in given_by(load_study(SWEEPS / "backtest_tpu_v4.toml"))
    assert "dma_bandwidth_Bps" not in given_by(load_study(SWEEPS / "backtest_trainium3.toml"))


def test_the_built_chip_runs_in_the_fabric_and_the_budget_of_the_study(tiny):
    # The baseline itself is no faster than itself. With twice the bandwidth, of memory and of DMA, a decode step is
    # at most twice as fast; the power limit is the study's in both.
    space = space_of(tiny)
    same = tiny.baseline.chip
    both = lambda c: (c.hbm_bandwidth_Bps, c.core.dma_bandwidth_Bps)  # noqa: E731
    twice = eqx.tree_at(both, same, tuple(2 * x for x in both(same)))
    alone, faster = built_speedups(space, same)["decode"], built_speedups(space, twice)["decode"]
    assert alone == pytest.approx(1.0, rel=1e-6)
    assert 1.01 < faster <= 2.0


def test_the_built_chip_keeps_the_promised_latency(tiny):
    """A chip against itself is at exactly 1; where the batch is chosen it was not, since only one side kept 10 ms."""
    base = tiny.baseline.chip
    free = {**tiny.written.tables["workloads"]["decode"], "batch": "free", "tpot": "10 ms"}
    limits = [f"power <= {float(base.power_limit_W):g} W"]
    study = tiny.changed(workloads={"decode": free}, limits=limits)
    (speedup,) = built_speedups(space_of(study), base).values()
    assert speedup == pytest.approx(1.0, rel=1e-9)


def test_the_mean_of_what_was_built_has_the_weights_of_the_goal():
    """Twice and eight times as fast, three parts and one: 2^(3/4) 8^(1/4) = 2^1.5; unweighted it was 4."""
    study = SimpleNamespace(goal="delivered_time", shares=(0.75, 0.25))
    found = SimpleNamespace(study=study, built_speedup={"a": 2.0, "b": 8.0})
    assert Backtest.built_delivered.fget(found) == pytest.approx(2.0**1.5)


def test_a_chip_has_no_number_of_what_it_lacks():
    """Without stacks there are none to compare: proposed over built would divide by 0."""
    none = eqx.tree_at(lambda c: (c.n_stacks, c.hbm_bandwidth_Bps), chip("trainium2"), (np.float64(0), np.float64(0)))
    assert not {"n_stacks", "hbm_bandwidth_Bps"} & set(quantities(none, "CoWoS-L"))


def test_a_named_chip_is_weighted_as_the_front_it_stands_on(tiny, monkeypatch):
    """Half and twice the baseline's time, three parts and one: 0.5^0.75 2^0.25 = 2^-0.5; unweighted it stood at 1."""
    decode = tiny.written.tables["workloads"]["decode"]
    study = tiny.changed(workloads={"decode": {**decode, "weight": 3}, "long": {**decode, "context": 8192}})
    times = iter((0.5, 2.0))

    def load(*_):
        step_s, rest = np.float64(next(times)), np.float64(1.0)
        return Load(step_s, rest, rest, rest, np.float64(0.5), rest)

    monkeypatch.setattr(designed, "named_load", load)
    (found,) = designed.named_chips(study, ("delivered_time", "package_cost_USD"), [1.0, 1.0], ("trainium3",))
    assert found.values[0] == pytest.approx(2.0**-0.5)


def test_a_study_that_is_no_backtest_is_refused(tiny):
    with pytest.raises(SpecError, match=r"add a table \[built\]"):
        check_study(tiny)
    with pytest.raises(SpecError, match="minimises package_cost_USD"):
        check_study(dataclasses.replace(tiny, built="b200", goal="package_cost_USD"))


@pytest.mark.slow
def test_what_a_backtest_reports(tiny):
    """Two makers' chips, baseline and built, that no shipped study pairs: regret and tally by hand."""
    study = dataclasses.replace(tiny, built="b200")
    answer = backtest(study, answer=solve_continuous)
    assert isinstance(answer, Backtest)
    assert {r.name for r in answer.rows if r.given} >= {"silicon_mm2"}
    # the goal is time over the baseline's: 1 / speed-up, so that regret is what the optimum gains over the built chip
    assert answer.built_goal == pytest.approx(1 / answer.built_speedup["decode"])
    gained = float(answer.solution.delivered) / answer.built_speedup["decode"] - 1
    assert answer.regret_frac == pytest.approx(gained, rel=1e-3, abs=1e-3)
    ranged = [r for r in answer.rows if r.near]
    assert {"n_cores", "n_stacks", "hbm_bandwidth_Bps"} <= {r.name for r in ranged}
    assert all(r.near[0] / 1.001 <= r.proposed <= r.near[1] * 1.001 for r in ranged)
    t = tally([answer, answer])
    factors = [r.factor for r in answer.rows if not r.given]
    assert (t.n_steps, t.n_numbers) == (2, 2 * len(factors)) and t.median_factor == pytest.approx(np.median(factors))
    assert t.n_better == 2 * (answer.factors[0] < answer.factors[1])
    assert t.within_frac["1.5"] == pytest.approx(np.mean(np.asarray(factors) <= 1.5))
    told = backtests_json(Backtests((answer,)))
    step = told["steps"][0]
    assert step["regret"] == answer.regret_frac and (step["factor"], step["baseline_factor"]) == answer.factors
    assert all({"ratio", "given", "near"} <= set(r) for r in step["rows"])
    assert "B200" in headline(answer) and "1 steps" in tally_text(tally([answer]))
    assert "trainium3 to b200" in page_section(told)
    assert backtests_view(Backtests((answer,))) is not None and len(steps_figure([answer]).axes) == 8
    by_hand = dataclasses.replace(
        answer,
        rows=(
            row(10.0, 8.0, near=(9.0, 11.0)), row(12.0, 8.0, near=(7.0, 13.0)), row(17.0, 8.0), row(3.0, 8.0),
            Row("sram_B", 6.0, 8.0, 1.0), row(8.0, 8.0, given=True),
        ),
        named=(("node", "N3", "N3"), ("HBM", "HBM3", "HBM3E")),
    )  # fmt: skip
    assert by_hand.counts == {"hit": 1, "near": 2, "miss": 2} and n_right(by_hand) == 1
    assert (by_hand.n_close, by_hand.n_inside, by_hand.n_ranged, by_hand.sram_ratio) == (3, 1, 2, 0.75)


def test_numbers_are_held_at_what_was_built():
    study = held(load_study(SWEEPS / "backtest_a100.toml"), ["clock", "n_cores"])
    bounds = {f.name: (f.lower, f.upper) for f in study.free}
    assert bounds["clock_Hz"] == pytest.approx((1.41e9, 1.41e9)) and bounds["n_cores"] == (108.0, 108.0)
    assert bounds["n_stacks"] == (3.0, 6.0) and {"clock_Hz", "n_cores"} <= given_by(study)
    with pytest.raises(DseError, match="clok"):
        held(study, ["clok"])
    with pytest.raises(SpecError, match="hold clock instead"):
        held(study, ["pipeline_depth"])


def test_kinds_of_numbers_by_hand():
    """2x and 1/2x: no bias, a spread of 2, all of the misses; the number that is given counts nowhere."""
    over, under = row(8.0, 4.0, near=(4.0, 9.0)), row(2.0, 4.0)
    cores, clock = by_kind([(r, Row("clock_Hz", 1e9, 1e9, 1e9)) for r in (over, under)])
    assert (cores.name, cores.n_steps, cores.n_inside, cores.n_ranged) == ("n_cores", 2, 1, 1)
    assert (cores.ratio, cores.spread, cores.factor, cores.share_frac) == pytest.approx((1.0, 2.0, 2.0, 1.0))
    assert (clock.factor, clock.share_frac) == (1.0, 0.0) and cores.naive_factor == pytest.approx(4.0)


def test_systems_of_the_backtests_exist():
    assert {system(load_study(p).baseline.name).chip.name for p in STUDIES} >= {"p100", "tpu-v2", "mi100"}
