"""Workloads of a session asked anew: as if the session had begun with them."""

import dataclasses
import json

import pytest

from dse.core.errors import DseError
from dse.explorer.app import Pages
from dse.explorer.ask import ask_of
from dse.explorer.session import asked_of, reasked, sizes_of_phases
from dse.study.study import load_study

from .conftest import TINY


def test_other_sizes_are_a_session_of_another_study(answers, start):
    (now,) = asked_of(answers.subject.study)
    half = {**now, "sizes": {**now["sizes"], "batch": now["sizes"]["batch"] // 2}}
    made = reasked(answers, {"workloads": [half]})
    assert asked_of(made.subject.study) == [half] and asked_of(answers.subject.study) == [now]
    theirs, mine = (a.evaluate(ask_of(a.subject, start))["reading"]["works"][0] for a in (answers, made))
    assert mine["step_s"] < theirs["step_s"], "half the sequences take less time"
    assert dataclasses.replace(made.subject.study, workloads={}) == dataclasses.replace(load_study(TINY), workloads={})


@pytest.mark.parametrize(("change", "said"), [
    ({"sizes": {"batch": 0, "context": 1}}, "whole numbers from 1"), ({"sizes": {"batch": 1}}, "its sizes are"),
    ({"sizes": 3}, "whole numbers from 1"), ({"chips": "x"}, "whole numbers"), ({"chips": True}, "whole numbers"),
])  # fmt: skip
def test_workloads_that_cannot_be(answers, change, said):
    (now,) = asked_of(answers.subject.study)
    with pytest.raises(DseError, match=said):
        reasked(answers, {"workloads": [{**now, **change}]})


def test_one_size_of_every_phase_carries_over():
    """The length of a sequence stays when the phase changes, whatever a phase calls it; the batch starts anew."""
    carried = {p: [s["name"] for s in sizes if s["carries_over"]] for p, sizes in sizes_of_phases().items()}
    assert carried == {"training": ["sequence"], "decode": ["context"], "prefill": ["prompt"]}
    assert {s["name"]: s["start"] for s in sizes_of_phases()["decode"]} == {"batch": 1, "context": 1}


def test_what_the_page_is_told(answers, ask):
    status, _, text = ask("workloads")
    assert status == 200 and json.loads(text) == {
        "workloads": asked_of(answers.subject.study),
        "first": asked_of(answers.subject.study),
        "sizes": sizes_of_phases(),
    }
    assert ask("workloads", {"workloads": []})[0] == 400
    assert Pages(answers).first is answers
