"""Which chip is cheapest: one price basis, a reason for every gap, and the engines of `dse serve`."""

import json
import math

import pytest

import dse
from dse.cli import main
from dse.cli.flags import rents_of
from dse.core.errors import SpecError
from dse.economy.owning import chip_hour, deal
from dse.hardware.presets import chip_system
from dse.serving.curve import Promise
from dse.serving.phases import phase_ranking, timed
from dse.serving.ranking import ranking
from dse.serving.served import Asked, served
from dse.workload.requests import Length, Requests
from dse.workload.transformer import Training

ASKED = Requests(dse.model("llama-3.1-8b"), (Length(1000, 200),))


def test_an_hour_is_paid_on_one_basis():
    assert chip_hour("h100", "on_demand", {}).chip_hour_USD == pytest.approx(6.88)
    assert chip_hour("h100", "on_demand", {"h100": 2.0}).chip_hour_USD == 2.0
    assert chip_hour("trainium3", "spot", {}).is_guess  # nobody lists it
    none = chip_hour("trainium2", "on_demand", {})
    assert none.chip_hour_USD is None and "known: capacity block, spot; give --rent trainium2=USD" in none.gap
    assert (chip_hour("h100", "owned", {}).chip_hour_USD or math.nan) < 6.88
    unowned = chip_hour("gaudi3", "owned", {})
    assert unowned.chip_hour_USD is None and "no price of this chip" in unowned.gap
    assert "--rent gaudi3=USD" in unowned.gap and "unknown" not in unowned.gap


def test_rents_are_one_for_all_or_by_chip():
    assert rents_of("3", ["a", "b"]) == {"a": 3.0, "b": 3.0}
    assert rents_of("b=2.5", ["a", "b"]) == {"b": 2.5}
    with pytest.raises(SpecError, match="'c' is not among a, b"):
        rents_of("c=2.5", ["a", "b"])


@pytest.mark.slow
def test_cheapest_first_and_gaps_last():
    systems = [dse.system("trn2-16", 2), dse.system("dgx-h100", 2), dse.system("dgx-h100", 1)]
    how = {"basis": "on_demand", "rents_USD": {"h100": 2.0}}
    rows = ranking(systems, ASKED, Promise(tpot_s=0.05, ttft_s=2.0), **how)
    costs = [r.million_tokens_USD for r in rows]
    assert costs[2] is None and rows[2].system.chip.name == "trainium2" and "no on demand price" in rows[2].gap
    assert costs[0] is not None and costs[1] is not None and costs[0] <= costs[1]
    assert all(0 <= m < 1 for r in rows for m in r.margins.values())
    # 2 USD an hour over the tokens of an hour
    assert costs[0] == pytest.approx(2.0 * 1e6 / (3600 * (rows[0].tokens_per_s or math.nan)))
    busy = ranking(systems[1:2], ASKED, Promise(tpot_s=0.05), requests_per_s=100.0, **how)[0]
    assert busy.n_chips is not None and busy.tokens_per_s == pytest.approx(100 * 200 / busy.n_chips)


@pytest.mark.slow
@pytest.mark.parametrize("rent", ["h100=2.3,a100-80=1.9", None])
def test_compare_serve_and_cost_say_the_same_to_the_last_bit(rent, capsys, tmp_path, monkeypatch):
    """One question three ways: dollars of both chips are equal, from rents that are given and from listed ones."""
    monkeypatch.chdir(tmp_path)
    asked = ["llama-3.1-8b", "--chips", "1", "--tpot", "50ms", *([] if rent is None else ["--rent", rent]), "--json"]
    assert main(["compare", "h100,a100-40", *asked] if rent is None else ["compare", "h100,a100-80", *asked]) == 0
    ranked = json.loads(capsys.readouterr().out)["rows"]
    mine = {r["chip"]: r["million_tokens_USD"] for r in ranked}
    first, second = (f"a100-{40 if rent is None else 80}", "h100")
    assert main(["serve", f"{second},{first}", *asked, "--no-figures"]) == 0
    theirs = json.loads(capsys.readouterr().out)["chips"]
    assert mine == {c: min(p["million_tokens_USD"] for p in x["curve"]) for c, x in theirs.items()}
    assert {r["basis"] for r in ranked} == {x["contract"] for x in theirs.values()}
    assert list(mine) == sorted(mine, key=lambda c: mine[c])
    if rent is None:
        return  # nobody says what an owner pays for an A100 of 40 GB
    stored = ["--model", asked[0], "--weights", "bf16", "--kv", "bf16", "--no-figures"]
    assert main(["cost", first, "--against", second, *asked[1:], *stored]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    (paid,) = (a for a in answers if (a["workload"], a["paying"]) == ("serving", "rented"))
    assert {first: paid["first_USD_per_Mtoken"], second: paid["second_USD_per_Mtoken"]} == mine


def test_a_promise_that_nothing_keeps_is_told(capsys):
    assert main(["compare", "h100", "llama-3.1-8b", "--chips", "1", "--tpot", "10us"]) == 1
    assert "below the floor" in capsys.readouterr().out


def test_a_chip_that_does_not_serve_is_a_gap_of_the_comparison():
    gap = served("h100", "a100-80", Asked(ASKED, Promise(tpot_s=1e-5), n_chips=1), {})
    assert isinstance(gap, str) and gap.count("below the floor") == 2


def test_one_phase_is_ranked_without_a_queue(capsys):
    """Tokens of one step over rent, by hand; who breaks the promise comes last, and why."""
    asked = ("h100,trainium2", "llama-3.1-8b", "--phase", "decode", "--in", "2048", "--chips", "1", "--batch", "8")
    how = ("--rent", "h100=2,trainium2=1", "--json")
    assert main(["compare", *asked, *how]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [r["million_tokens_USD"] for r in rows] == sorted(r["million_tokens_USD"] for r in rows)
    for r in rows:
        assert r["chip_tokens_per_s"] == pytest.approx(8 / r["step_s"])
        assert r["million_tokens_USD"] == pytest.approx(r["chip_hour_USD"] * 1e6 / 3600 / r["chip_tokens_per_s"])
    middle = f"{1e3 * sum(r['step_s'] for r in rows) / 2}ms"
    assert main(["compare", *asked, *how, "--tpot", middle]) == 0
    first, last = json.loads(capsys.readouterr().out)["rows"]
    assert first["margin_frac"] > 0 > last["margin_frac"] and "promised" in last["gap"]
    assert main(["compare", *asked, "--ttft", "1s"]) == 2 and "knows no --ttft" in capsys.readouterr().err


def test_a_training_step_is_priced_as_dse_cost_prices_it():
    """Failures and, for an owner, spares count on both sides; a chip without facts of a fleet says what is guessed."""
    step = Training(dse.model("llama-3.1-8b"), 64, 2048, "bf16")
    ask = {"workload_at": lambda _: step, "n_chips": 64, "rents_USD": {"trainium2": 1.5, "h200": 3.0}}
    rented = {r.chip: r for r in phase_ranking(["trainium2", "h200"], basis=None, **ask)}
    (owned,) = phase_ranking(["trainium2"], basis="owned", **{**ask, "rents_USD": {}})
    home = chip_system("trainium2", 64)
    by_cost = timed(home, step)
    assert rented["trainium2"].million_tokens_USD == pytest.approx(by_cost.rented_USD(deal(home), 1.5), rel=1e-12)
    assert owned.million_tokens_USD == pytest.approx(by_cost.owned_USD(deal(home)), rel=1e-12)
    for r in rented.values():
        bare = r.hour.chip_hour_USD * 1e6 / 3600 / r.chip_tokens_per_s
        assert r.million_tokens_USD / bare == pytest.approx(r.wall_step_s / float(r.finding.evaluation.step_s))
        assert r.million_tokens_USD > bare
    assert "a guess" in rented["h200"].gap and not rented["trainium2"].gap
