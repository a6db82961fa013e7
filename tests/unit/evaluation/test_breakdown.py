"""A step taken apart: parts add up, every operator has a name and a limit, the band holds the answer."""

import dataclasses

import numpy as np
import pytest

from dse.evaluation import breakdown
from dse.evaluation.assembly import chip_reference
from dse.evaluation.breakdown import binding, find, kept_on_die_B, spent, step_parts
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import parse_plan
from dse.physics.calibration import BETTER_LOW, Calibration, calibration, calibration_names, extreme
from dse.report.evaluated import finding_json, notes_text
from dse.workload.presets import model
from dse.workload.transformer import Decode, Prefill, Training

TRAINING = Training(model("llama-3.1-8b"), 16, 2048, "fp8")
DECODE = Decode(model("llama-3.1-8b"), 64, 4096, "fp8", "fp8")


@pytest.fixture(scope="module", params=["training", "decode"])
def finding(request):
    if request.param == "training":
        return find(system("trn3-gen2-144", 4), TRAINING, parse_plan("tp=2,dp=2"))
    return find(system("trn3-gen2-144", 4), DECODE, parse_plan("tp=4"))


def test_nothing_waits_for_what_rounding_leaves(finding, monkeypatch):
    """Before: "data-parallel traffic 2e-14 %" of a decode step on one chip."""
    left = [*step_parts(finding.evaluation), ("data-parallel traffic", 2e-16 * float(finding.evaluation.step_s))]
    monkeypatch.setattr(breakdown, "step_parts", lambda _: left)
    assert min(share for _, share in binding(finding.evaluation, finding.operators)) > 1e-12


def test_parts_and_shares_add_up_to_the_step(finding):
    step = float(finding.evaluation.step_s)
    assert sum(seconds for _, seconds in step_parts(finding.evaluation)) == pytest.approx(step, rel=1e-9)
    assert sum(share for _, share in binding(finding.evaluation, finding.operators)) == pytest.approx(1.0, rel=1e-9)


def test_a_streamed_block_waits_for_memory():
    """Before: shares added up to 84 % without HBM, since operators of a stream read nothing themselves."""
    on, decode = system("trn2-16", 2), Decode(model("llama-3.1-8b"), 16, 1024, "fp8", "fp8")
    f = find(on, decode, parse_plan("tp=2,order=stream"))
    shares = dict(binding(f.evaluation, f.operators))
    assert sum(shares.values()) == pytest.approx(1.0, rel=1e-9) and shares["hbm"] > 0
    c = calibration(f.calibration)
    told = spent(demand(decode, f.plan, on, chip_reference(on.chip, c)), on.chip, c)
    assert sum(told.values()) == pytest.approx(1.0, rel=1e-9)
    assert told["reading weights and cache"] == pytest.approx(shares["hbm"], rel=1e-9)


def test_programs_of_fixed_shape_multiply_every_token_with_every_expert():
    """512 tokens a rank pass all 128 experts of gpt-oss, whose 2880 x 2 x 2880 weights are over 8 tensor ranks.

    Before: the 4 experts of each token alone, 30 times less than the operator's time stands for.
    """
    f = find(system("trn2-16", 16), Decode(model("gpt-oss-120b"), 1024, 4096), parse_plan("tp=8,dp=2"))
    up = next(o for o in f.operators if o.name == "expert up")
    assert up.run_FLOP == pytest.approx(2 * 512 * 128 * 2880 * 2 * 2880 / 8)


@pytest.mark.parametrize("workload", [Prefill(DECODE.model, 2, 4096), Decode(DECODE.model, 2, 4096)])
def test_what_a_pass_waits_for_adds_up_in_a_pipeline(workload):
    on, c = system("dgx-h100", 8), calibration("prior-cuda")
    shares = spent(demand(workload, parse_plan("tp=2,pp=4"), on, chip_reference(on.chip, c)), on.chip, c)
    assert sum(shares.values()) == pytest.approx(1.0, rel=1e-9)
    # of 2 + 3 turns of a prefill, and of 4 of a decode step of two groups, a stage idles for 3 and for 2, and has no
    # head meanwhile: of a stage's 8 x 218.1e6 + 525.3e6 weights 0.77 are in its layers, which bounds an idle turn
    n_idle = 2.0 if isinstance(workload, Decode) else 3.0
    waits = shares["other stages"] / (1.0 - shares["the serving loop"])
    assert 0.77 * n_idle / (2.0 + 0.77 * n_idle) < waits < n_idle / (2.0 + n_idle)


def test_operators_are_named_sorted_and_add_up(finding):
    seconds = [o.seconds for o in finding.operators]
    assert seconds == sorted(seconds, reverse=True)
    assert sum(seconds) == pytest.approx(dict(step_parts(finding.evaluation))["operators"], rel=1e-9)
    names = [o.name for o in finding.operators]
    assert len(set(names)) == len(names)
    assert {"up", "attention"} <= set(names)
    up = next(o for o in finding.operators if o.name == "up")
    assert up.precision == "fp8"
    # 2 x tokens x width x two gated MLP matrices over the tensor ranks
    tokens = 2048 if isinstance(finding.workload, Training) else 64
    assert up.run_FLOP == pytest.approx(2 * tokens * 4096 * 2 * 14336 / finding.plan.tp)


def test_no_operator_beats_the_roofline(finding):
    chip = finding.system.chip
    for o in finding.operators:
        assert o.achieved_FLOPps <= o.intensity * float(chip.hbm_bandwidth_Bps)


def test_the_band_holds_the_answer(finding):
    assert finding.fastest_s < float(finding.evaluation.step_s) < finding.slowest_s


@pytest.mark.parametrize("name", calibration_names())
def test_extremes_lie_on_the_good_and_bad_side(name):
    best, nominal, worst = extreme(name, True), calibration(name), extreme(name, False)
    for field in dataclasses.fields(Calibration):
        if field.name in ("name", "drawn_p"):
            continue
        good, usual, bad = (float(getattr(c, field.name)) for c in (best, nominal, worst))
        assert (good <= usual <= bad) if field.name in BETTER_LOW else (good >= usual >= bad), field.name


def test_json_holds_plain_numbers(finding):
    out = finding_json(finding)
    assert np.isfinite(out["step_s"]) and out["band_s"][0] < out["step_s"] < out["band_s"][1]
    assert sum(out["parts_s"].values()) == pytest.approx(out["step_s"])


def test_a_share_that_fits_tile_memory_is_told_since_it_is_read_from_hbm_all_the_same():
    """Before: nothing; an IPU keeps a small model in its SRAM, a thousand times faster than its DRAM."""
    few = find(system("trn2-16", 1), Decode(model("llama-3.2-1b"), 1, 1024), parse_plan("tp=1"))
    assert kept_on_die_B(few) == 0.0 and "tile memory" not in notes_text(few)
    # 1.24 GB of weights in int8 over 16 chips: 77 MB each of 8 x 28 MiB
    many = find(system("trn2-16", 16), Decode(model("llama-3.2-1b"), 1, 1024, "int8"), parse_plan("tp=8,pp=2"))
    assert kept_on_die_B(many) == 8 * 28 * 2**20 and "fits its 224 MiB of tile memory" in notes_text(many)
    assert "tile memory" in finding_json(many)["note"]


def test_a_page_says_what_ranks_that_are_cores_would_cost():
    """16 Trainium2 hold 8 KV heads of Llama 3.1 70B once or twice, their 64 logical cores two to eight times."""
    whole, step = system("trn2-16"), Decode(model("llama-3.1-70b"), 64, 8192)
    found = find(whole, step, None)
    assert found.by_cores is not None and found.by_cores.plan.tp * found.by_cores.plan.dp == 64
    longer = float(found.by_cores.result.step_s) / float(found.evaluation.step_s) - 1
    assert longer > 0.2 and f"logical cores it takes {longer:.0%}".replace("%", " %") in notes_text(found)
    # what is asked for by cores is answered, and nothing beside it
    again = find(whole, step, found.by_cores.plan)
    assert float(again.evaluation.step_s) == float(found.by_cores.result.step_s)
    assert again.by_cores is None and "cores" not in notes_text(again)
    assert find(system("dgx-h100", 8), Decode(model("llama-3.1-8b"), 64, 8192), None).by_cores is None
