"""How many chips a model takes where nobody says."""

import pytest

import dse
from dse.core.errors import RoomError
from dse.evaluation.breakdown import find_room
from dse.lowering.plan import parse_plan
from dse.workload.transformer import Decode

BIG = dse.model("llama-3.1-405b")


def decode(n_chips):
    return Decode(BIG, 8, 1024)


def at(n_chips):
    return dse.system("dgx-h100", n_chips)


def test_a_model_takes_as_many_domains_as_hold_it():
    found, told = find_room(at, 8, decode, None)
    # 810 GB of BF16 weights over 80 GB chips: more than 8, and 16 hold them
    assert found.system.n_chips == 16
    assert told == "8 x h100 do not hold llama-3.1-405b: it takes 16, shown here"


def test_a_domain_that_holds_it_is_not_mentioned():
    found, told = find_room(at, 8, lambda n: Decode(dse.model("llama-3.1-8b"), 8, 1024), None)
    assert found.system.n_chips == 8 and told == ""


def test_a_plan_of_the_user_is_not_stretched():
    with pytest.raises(RoomError, match=r"tp=8,pp=1,dp=1,micro=8 needs .* GiB per chip"):
        find_room(at, 8, decode, parse_plan("tp=8,micro=8"))
