"""Every byte that leaves a chip costs energy, whatever kind of traffic it is."""

import dataclasses

import numpy as np
import pytest

import dse
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.lowering.step_demand import TrafficDemand
from dse.physics.calibration import calibration_for
from dse.physics.evaluate import chip_technology, full_speed, silicon
from dse.physics.power import crossing_B


@pytest.mark.parametrize(
    "plan, sequence",
    ((dse.Plan(tp=1, pp=1, dp=16, zero=3), 2048), (dse.Plan(tp=2, pp=1, dp=2, cp=4, zero=1), 32768)),
    ids=("weights sharded", "context ranks"),
)
def test_sharded_traffic_costs_energy(plan, sequence):
    """Link energy by hand: bytes of all kinds of traffic times the link's energy per byte, plus die crossings."""
    s = dse.system("trn2-16")
    w = dse.Training(dse.model("llama-3.1-8b"), 32, sequence)
    c, tech = calibration_for("trainium2", w), chip_technology(s.chip)
    d, made = demand(w, plan, s, chip_reference(s.chip, c)), silicon(s.chip, tech)
    step, energy = full_speed(d, s.chip, tech, c, made.supply_V, made.die_mm2)
    kinds = {"tensor": d.n_micro, "pipeline": d.n_micro, "shard": d.n_micro, "data": 1.0}
    sent_B = {k: float(n * (getattr(d, k).sent_B + getattr(d, k).out_B)) for k, n in kinds.items()}
    assert sent_B["shard"] > 0
    crossed = float(crossing_B(step.hbm_B, s.chip) * tech.die_to_die.energy_J_per_B)
    by_hand = sum(sent_B.values()) * float(tech.link.energy_J_per_B) + crossed
    assert float(energy.link_J) == pytest.approx(by_hand, rel=1e-12)


def test_no_kind_of_traffic_is_left_out():
    s, w = dse.system("trn2-16"), dse.Training(dse.model("llama-3.1-8b"), 32, 2048)
    d = demand(w, dse.Plan(tp=4, pp=2, dp=2, zero=1), s, chip_reference(s.chip, calibration_for("trainium2", w)))
    records = {f.name for f in dataclasses.fields(d) if isinstance(getattr(d, f.name), TrafficDemand)}
    assert set(d.traffics) == records == {"tensor", "pipeline", "shard", "data"}
    assert {k: float(n) for k, (n, _) in d.traffics.items()} == {
        **dict.fromkeys(records, float(np.asarray(d.n_micro))), "data": 1.0,
    }  # fmt: skip
