"""Questions in words and tables, from the JSON of an answer."""

from rich.console import Console

from dse.report.questions import goal_words, question_view, questions_page

DESIGN = {"n_cores": 8.0, "n_stacks": 4.0, "silicon_mm2": 500.0}
SIDE = {
    "name": "torus-64", "status": "unfinished", "lower_bound": 0.0, "goal": 0.5, "gap": None, "choice": "2 x N2",
    "design": DESIGN, "prices": {}, "workloads": {"decode": {"waits": {"compute": 0.6}}},
}  # fmt: skip
ANSWER = {
    "name": "q", "asks": "Which?", "by": "system", "note": "", "goal": "delivered_time", "best": "torus-64",
    "sides": [SIDE, {"name": "ring", "status": "infeasible", "lower_bound": None, "goal": None, "relaxations": []}],
}  # fmt: skip


def test_a_side_of_which_nothing_is_proved_is_shown():
    """JSON has no number for such a gap: the table and the page of all questions were an error of Python's."""
    console = Console(width=120)
    with console.capture() as said:
        console.print(question_view(ANSWER))
    assert "2x delivered" in said.get() and "ring: no design meets the limits" in said.get()
    assert "Gaps: torus-64 -." in questions_page([ANSWER])


def test_a_fleet_is_served():
    assert (goal_words("served_time", 0.25), goal_words("delivered_time", 0.5)) == ("4x served", "2x delivered")
    assert goal_words("package_cost_USD", 12_000.0) == "12,000 USD"
