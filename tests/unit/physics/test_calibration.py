"""Calibrations: named priors, no silent fallback, ranges that include the value."""

import math

import pytest

from dse.core.errors import UnknownNameError
from dse.hardware.presets import chip_names
from dse.physics.calibration import (
    BETTER_LOW,
    FACTS,
    STACKS,
    calibration,
    calibration_names,
    calibration_receipts,
    chip_and_stack,
    default_calibration,
    extreme,
    fit_name,
    measured_band,
    on_stack,
    reference_speeds,
    usual_stack,
)
from dse.physics.coordinates import LEAD, centre_and_deviation, to_free
from dse.physics.coordinates import NUMBERS as FREE
from dse.physics.pooled import FEW, Kin, effects, values

NUMBERS = FACTS


def test_every_chip_preset_has_a_named_calibration():
    for name in chip_names():
        assert default_calibration(name).name in calibration_names()


def test_a_stranger_inherits_nothing():
    with pytest.raises(UnknownNameError, match="gtx-9000") as error:
        default_calibration("gtx-9000")
    assert calibration_names()[0] in str(error.value)


def test_the_name_of_a_fit_is_read_as_it_was_made():
    """Chips and stacks with hyphens too: `megatron-deepspeed` is no `deepspeed` of a chip called `...-megatron`."""
    for one in chip_names():
        for stack in STACKS:
            assert chip_and_stack(fit_name(one, stack)) == (one, stack)
    assert chip_and_stack("fit-a100-80-megatron-deepspeed") == ("a100-80", "megatron-deepspeed")
    assert chip_and_stack("prior-cuda") == chip_and_stack("fit-a100-80-nobody") == ("", "")


def test_a_misspelt_name_offers_the_near_match():
    with pytest.raises(UnknownNameError, match="prior-cuda"):
        calibration("prior-cudda")


@pytest.mark.parametrize("name", calibration_names())
def test_numbers_are_physical_and_have_receipts(name):
    c = calibration(name)
    assert c.name == name
    for field in NUMBERS:
        value = float(getattr(c, field))
        assert value >= 0
        if field.endswith("_frac"):
            assert value <= 1
    assert c.overlap_p >= 1
    # nothing that is divided by may be zero
    assert all(float(getattr(c, f)) > 0 for f in NUMBERS if f.endswith("_frac") and "overlap" not in f)
    assert len(calibration_receipts(name)) >= len(NUMBERS)


@pytest.mark.parametrize("name", calibration_names())
def test_extremes_bracket_the_value_in_the_right_direction(name):
    """Good: fractions high, latencies low."""
    good, usual, bad = extreme(name, True), calibration(name), extreme(name, False)
    for field in NUMBERS:
        g, u, b = (float(getattr(c, field)) for c in (good, usual, bad))
        assert (g <= u <= b) if field in BETTER_LOW else (g >= u >= b), field


def test_guesses_come_first_on_the_receipts():
    kinds = [r.kind for r in calibration_receipts("prior-cuda")]
    assert "guess" not in kinds[kinds.count("guess") :]


def test_algorithms_are_chosen_at_achieved_speeds():
    """300 GB/s at 0.8 of peak: 240 GB/s; latencies as they are."""
    c = calibration("prior-cuda")
    ref = reference_speeds(c, 300e9, 25e9)
    assert ref.up_Bps == pytest.approx(300e9 * float(c.scaleup_frac))
    assert ref.out_Bps == pytest.approx(25e9 * float(c.scaleout_frac))
    assert (ref.up_hop_s, ref.out_hop_s) == (float(c.scaleup_hop_s), float(c.scaleout_hop_s))


def test_a_fit_is_used_with_the_algorithms_that_it_was_fitted_with():
    """Rows are lowered at the prior's speeds; at its own, the fit of Inferentia2 once chose others for `evaluate`."""
    fit, prior = calibration("fit-inferentia2-neuronx"), calibration("prior-neuron")
    assert float(fit.scaleup_frac) != float(prior.scaleup_frac)
    assert reference_speeds(fit, 300e9, 25e9) == on_stack(reference_speeds(prior, 300e9, 25e9), "neuronx")


def test_vllm_adds_its_own_time_to_a_first_token_of_the_programs_it_calls():
    """Published first tokens of 128 to 512 positions of 7 to 14 billion weights on one Trainium2: 100 ms behind vLLM,
    38 ms without [aws-nxdi-trn2-a]; one fit of both was 3 times too slow for the programs alone."""
    direct, served = (calibration(f"fit-trainium2-{stack}") for stack in ("neuronx", "vllm-neuron"))
    assert served.request_s > 3 * direct.request_s and 0.05 < served.request_s < 0.1
    assert [usual_stack(c, serves=True) for c in ("inferentia2", "trainium2")] == ["neuronx", "vllm-neuron"]


def test_a_pair_that_was_hardly_measured_keeps_the_band_of_an_unseen_generation():
    """Trainium3's serving rests on two rows of one model; Trainium2's on over a hundred of many."""
    units = effects()["steps"]["units"]
    assert units["pair:trainium3 neuronx"]["measurements"] < FEW < units["pair:trainium2 vllm-neuron"]["measurements"]
    third, second = (
        measured_band(calibration(fit_name(c, usual_stack(c, serves=True))), trains=False)
        for c in ("trainium3", "trainium2")
    )
    assert third is not None and second is not None
    assert (third[0], second[0]) == ("family", "pair") and math.log(third[1]) > 2 * math.log(second[1])


def test_what_slows_matrix_products_slows_attention_as_much():
    """A clock 5 % slower: all products at 95 % of their rate, though 0.82 and 0.6 are other logits."""
    prior = {r.name: r for r in calibration_receipts("prior-cuda")}
    kin, (_, s) = Kin("x", "x", "prior-cuda", "x"), centre_and_deviation(prior)
    shift = [0.0] * len(FREE)
    shift[LEAD] = (to_free("matmul_frac", 0.95 * 0.82) - to_free("matmul_frac", 0.82)) / s[LEAD]
    found = values({"units": {kin.units[2]: {"shift": shift}}}, kin, prior)
    assert found["matmul_frac"] == pytest.approx(0.95 * 0.82)
    for name in ("attention_frac", "narrow_frac"):
        assert found[name] == pytest.approx(0.95 * float(prior[name].value), rel=0.01)
