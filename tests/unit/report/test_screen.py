"""Prices, relaxations and names in words."""

import dataclasses
from pathlib import Path

import pytest

from dse.hardware.presets import chip
from dse.optimize.prices import LimitReport
from dse.optimize.solution import Alternative, Relaxation, Solution, Status
from dse.report import sections
from dse.report.screen import (
    differing_text,
    goal_text,
    infeasible_view,
    limits_table,
    price_text,
    product,
    stand_ins,
)
from dse.study.rows import Kind
from dse.study.study import load_study

STUDY = load_study(Path(__file__).parents[2] / "data" / "tiny.toml")


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        # elasticity 0.312 at 1,200 W: 10 W are 1/120 of the limit, 0.312 / 120 = 0.26 %
        (LimitReport("power_W", "at_most", 1200.0, 1200.0, -0.312, -1.0), "+10 W -> +0.26 %"),
        # 0.2 at 288 GiB: 2 GiB are 1/144 of it, 0.139 %
        (LimitReport("hbm_capacity_B", "at_least", 2.9e11, 288 * 2.0**30, 0.2, 1.0), "-2 GiB -> +0.14 %"),
        (LimitReport("stack bandwidth", "at_most", 1.0, 1.0, -0.15, -1.0, Kind.TECHNOLOGY), "+1 % -> +0.15 %"),
        (LimitReport("clock_Hz", "at_most", 3.2e9, 3.2e9, -0.1, -1.0, Kind.BOUND), "+10 MHz -> +0.031 %"),
        (LimitReport("silicon_mm2", "at_most", 800.0, 1600.0, -1e-9, -1.0), "-"),
    ],
)
def test_prices_in_words(limit, text):
    assert price_text(limit, STUDY) == text


def test_prices_of_another_goal_lower_it():
    study = dataclasses.replace(STUDY, goal="package_cost_USD")
    limit = LimitReport("peak_fp4_FLOPps", "at_least", 1.5e16, 1.5e16, 0.5, 1.0)
    assert price_text(limit, study) == "-1 % -> -0.5 %"
    assert goal_text(study, 12000.0) == "package cost 12,000 USD"
    assert goal_text(STUDY, 0.25) == "4x delivered"


@pytest.mark.parametrize(
    ("limit", "needed", "text"),
    [(20.0, 63.3801, "63.4 W"), (20.0, 63.4, "63.4 W"), (80.0, 63.3801, "63.3 W"), (1000.0, 1200.3, "1,210 W")],
)
def test_relaxations_round_to_the_side_that_suffices(limit, needed, text):
    assert Relaxation("power_W", limit, needed).needed_text == text


@pytest.mark.parametrize(
    ("relaxations", "goal", "words"),
    [
        ((Relaxation("power_W", 20.0, 63.0), Relaxation("silicon_mm2", 500.0, 600.0)), float("inf"), "together"),
        ((), float("inf"), "No loosening was found that helps"),
        ((), 0.5, "technology conflict"),
    ],
)
def test_infeasible_studies_say_what_to_do(relaxations, goal, words):
    solution = Solution(
        study=STUDY, status=Status.INFEASIBLE, goal=float("inf"), choice=None, chip=None, continuous={}, silicon=None,
        workloads=(), limits=(), certificate=None, alternatives=(Alternative(STUDY.choices[0], goal),),
        relaxations=relaxations,
    )  # fmt: skip
    head, *_, last = infeasible_view(solution)
    assert "No design meets all limits of tiny" in str(head)
    assert words in str(last)


def test_a_users_chip_is_named_as_its_file():
    """Before: "4.4x C/l4.toml's HBM bandwidth"."""
    assert product("c/l4.toml") == "l4"


def test_names():
    assert [product(n) for n in ("trainium3", "h100", "a100-80", "tpu-v5p", "gb200", "mi300x", "rubin")] == [
        "Trainium3",
        "H100",
        "A100-80",
        "TPU v5p",
        "GB200",  # was "Gb200"
        "MI300X",
        "Rubin",
    ]
    assert [differing_text(c, STUDY) for c in STUDY.choices] == ["1 x N3P", "2 x N3P"]


@pytest.mark.parametrize(("short", "words"), [(5e-5, "binds"), (5e-4, "0.05 %"), (0.2, "20 %")])
def test_page_and_terminal_agree_on_what_binds(short, words):
    """A design 0.05 % below a limit has room on both; the page said "binds" up to 0.1 %."""
    limit = LimitReport("power_W", "at_most", 1000.0 * (1 - short), 1000.0, -0.3, -1.0)
    solution = Solution(
        study=STUDY, status=Status.LOCAL, goal=0.5, choice=None, chip=None, continuous={}, silicon=None,
        workloads=(), limits=(limit,), certificate=None, alternatives=(),
    )  # fmt: skip
    page = sections._limit_rows([{**dataclasses.asdict(limit), "margin": limit.margin}])
    assert page[0][3] == words and [str(row[2]) for row in limits_table(solution).rows] == [words]


def test_page_and_terminal_agree_on_shares_of_technology():
    """36 % of the shoreline is used: the page said 0.356 of 1."""
    limit = LimitReport("shoreline", "at_most", 0.356, 1.0, 0.0, 0.0, Kind.TECHNOLOGY)
    (row,) = sections._limit_rows([{**dataclasses.asdict(limit), "margin": limit.margin}])
    assert row == ("shoreline", "35.6 %", "at most 100 %", "64 %", "-")


def test_a_study_says_what_its_chips_run_wider_than_asked():
    """Trainium3 multiplies 8-bit floats, A100 does not: the study's FP8 decode runs in BF16 there."""
    own = Solution(
        study=STUDY, status=Status.OPTIMAL, goal=1.0, choice=None, chip=chip("a100-80"), continuous={}, silicon=None,
        workloads=(), limits=(), certificate=None, alternatives=(),
    )  # fmt: skip
    assert [str(x) for x in stand_ins(own)] == ["a100-80 has no FP8 products and runs them in BF16."]
    assert stand_ins(dataclasses.replace(own, chip=chip("trainium2"))) == []
