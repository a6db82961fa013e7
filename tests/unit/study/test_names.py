"""What is offered for a name that no metric has: what people mean by it, then names alike."""

import pytest

import dse
from dse.core.errors import UnknownNameError
from dse.core.schemas import both_names
from dse.core.words import MEANT
from dse.hardware.own_chip import allowed_facts
from dse.study.design import FREE
from dse.study.metrics import METRICS
from dse.sweep.keys import EVALUATED
from dse.technology.presets import node_names


@pytest.mark.parametrize(("known", "asked", "offered"), [
    (METRICS, "speed", "delivered_time"),
    (METRICS, "Speed-up", "delivered_time"),
    (METRICS, "price", "package_cost_USD, cost_per_token_USD"),
    (METRICS, "TDP", "full_load_W, hottest_operator_W, power_W"),
    (METRICS, "package_price", "package_cost_USD"),
    (EVALUATED, "throughput", "tokens_per_s, step_s"),
    (FREE, "sram", "scratchpad_B"),
])  # fmt: skip
def test_what_is_meant_is_offered(known, asked, offered):
    with pytest.raises(UnknownNameError, match=f"unknown metric '{asked}'; did you mean {offered}[?]"):
        raise UnknownNameError("metric", asked, known)


def test_only_names_that_exist_are_meant():
    facts = both_names(allowed_facts())  # keys of a chip file, with their unit or without
    known = {*METRICS, *EVALUATED, *FREE, *dse.chip_names(), *dse.system_names(), *facts, *node_names()}
    assert {n for names in MEANT.values() for n in names} <= known


@pytest.mark.parametrize(("known", "offered"), [(dse.chip_names(), "trainium2"), (dse.system_names(), "trn2-16")])
def test_a_server_rented_under_another_name_is_offered_as_what_was_asked_for(known, offered):
    with pytest.raises(UnknownNameError, match=f"did you mean {offered}[?]"):
        raise UnknownNameError("thing", "trn2.48xlarge", known)
