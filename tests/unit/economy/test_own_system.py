"""What a user's system file says of its server, cables and switches is paid by every command, and said only once."""

import dataclasses
import json

import pytest

import dse
from dse.cli import main
from dse.core.errors import SpecError
from dse.economy.fleet_run import fleet_run
from dse.economy.knobs import knobs, turn
from dse.economy.owning import capital_parts, deal, hour_USD, purchase
from dse.economy.presets import economy, in_rack, server_name
from dse.hardware.presets import chip_system
from dse.study.study import study_from

UP_GBps, LIMIT_W = 1152.0, 700.0
RACK = (
    '[rack]\nbase = "trn3-gen2-144"\nhost = "x86-8"\noverhead_power_frac = 0.3\nscaleup_cable_USD_per_GBps = 1.0\n'
    "scaleup_switch_USD_per_GBps = { value = 2.0, range = [1, 4], kind = 'guess', source = 'dse2026', where = '' }\n"
    "scaleup_switch_W_per_GBps = 0.1\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rack.toml").write_text(RACK)
    (tmp_path / "mine.toml").write_text('[mine]\nbase = "trainium3"\nsystem = "rack.toml"\n')
    return tmp_path


def test_server_cables_and_switches_of_a_system_file_by_hand(folder):
    """(17391 + 2048) / 8 of host, 1152 GB/s x (1 + 2) USD of links, 0.75 x 700 W x 1.3 + 115.2 W of switches."""
    p = purchase(deal(chip_system("mine.toml")))
    parts, own = capital_parts(p), deal(chip_system("mine.toml")).economy.ownership
    assert parts["host"] == pytest.approx((17391 + 2048) / 8)
    assert parts["scale-up links"] == pytest.approx(UP_GBps * 3.0)
    mean_W = 0.75 * LIMIT_W * 1.3 + UP_GBps * 0.1
    assert float(own.average_power_frac) == 0.75
    assert float(p.rate.energy_USD_per_s) * 3600 == pytest.approx(mean_W / 1e3 * 1.14 * 0.0826)


def test_cost_and_fleet_say_so(folder, capsys):
    assert main(["cost", "mine.toml", "--no-figures", "--json"]) == 0
    hour = json.loads(capsys.readouterr().out)["chip_hour_USD"]
    assert sum(hour.values()) == pytest.approx(hour_USD(deal(chip_system("mine.toml"))), rel=1e-15)
    (folder / "plain.toml").write_text('[plain]\nbase = "trainium3"\nsystem = "trn3-gen2-144"\n')
    workload = dse.Training(dse.model("llama-3.1-8b"), 144, 2048)
    ours, theirs = (
        fleet_run(chip_system(name, 144), workload, 3600.0, dse.Plan(dp=144)) for name in ("mine.toml", "plain.toml")
    )
    chip_W = float(ours.evaluation.power_W)
    held = float(ours.upkeep.held) / float(theirs.upkeep.held)  # spares of 8 chips a server, not 4
    ratio = held * (1.3 * chip_W + UP_GBps * 0.1) / (1.5 * chip_W + UP_GBps * 0.07)
    assert ours.energy_J / theirs.energy_J == pytest.approx(ratio, rel=1e-9) and abs(ratio - 1.0) > 3e-4


def test_a_range_of_the_system_file_is_turned(folder):
    """Switches at 4 instead of 2 USD per GB/s: 5 in all."""
    d = deal(chip_system("mine.toml"))
    (k,) = [k for k in knobs(d) if k.kind == "system"]
    assert k.fact.name == "scaleup_switch_USD_per_Bps" and not [k for k in knobs(d) if "overhead" in k.fact.name]
    dear = capital_parts(purchase(turn(d, k, k.fact.high)))["scale-up links"]
    assert dear == pytest.approx(UP_GBps * 5.0)


def test_the_chip_file_chooses_a_server_where_the_system_file_is_silent(folder):
    """Facts of the base belong to the server of the base; those of the file itself hold around any."""
    (folder / "rack.toml").write_text('[rack]\nbase = "trn3-gen2-144"\nscaleup_switch_W_per_GBps = 0.1\n')
    (folder / "mine.toml").write_text('[mine]\nbase = "trainium3"\nsystem = "rack.toml"\nhost = "x86-8"\n')
    e = deal(chip_system("mine.toml")).economy
    assert e.host.name == "x86-8" and float(e.host.overhead_power_frac) == 0.82
    assert float(e.rack.switch_W_per_Bps) == pytest.approx(1e-10)


def test_a_base_without_facts_in_a_fleet_needs_a_price_alone(folder):
    (folder / "mine.toml").write_text('[mine]\nbase = "tpu-v4"\nsystem = "rack.toml"\nprice = "9 kUSD"\n')
    e = deal(chip_system("mine.toml"))
    assert e.economy.host.name == "x86-8" and float(e.price_USD) == 9000.0


def test_two_servers_are_one_too_many(folder):
    (folder / "mine.toml").write_text('[mine]\nbase = "trainium3"\nsystem = "rack.toml"\nhost = "x86-16"\n')
    with pytest.raises(SpecError, match=r"rack\.toml: host = 'x86-8', but the chip stands in 'x86-16'; keep one"):
        deal(chip_system("mine.toml"))
    (folder / "mine.toml").write_text('[mine]\nbase = "trainium3"\nsystem = "rack.toml"\nhost = "x86-8"\n')
    assert deal(chip_system("mine.toml")).economy.host.name == "x86-8"


def test_the_server_of_a_chip_is_that_of_its_system_wherever_it_is_asked(folder):
    """Cost, a study that keeps the system and one that chooses among it alone pay the same."""
    s = chip_system("trainium3")
    bought, chosen = deal(s).economy, in_rack(economy(s, "N3P", 1.15), s, server_name(s))
    same = [float(getattr(e.host, f.name)) for e in (bought, chosen) for f in dataclasses.fields(e.host)[1:]]
    assert same[: len(same) // 2] == same[len(same) // 2 :]
    assert float(bought.rack.switch_W_per_Bps) == float(chosen.rack.switch_W_per_Bps) > 0


def study(**head):
    return study_from(
        {
            "study": {"name": "s", "baseline": "trainium3", "minimise": "mean_cost_per_token", **head},
            "workloads": {"w": {"phase": "decode", "model": "llama-3.1-8b", "chips": 1, "batch": 8, "context": 1024}},
            "choices": {}, "free": {},
        }
    )  # fmt: skip


def test_a_study_takes_the_server_of_its_system(folder):
    assert study().owner.host == "graviton4-4"
    (folder / "mine.toml").write_text('[mine]\nbase = "trainium3"\nsystem = "rack.toml"\n')
    assert study(baseline="mine.toml").owner.host == "x86-8"
    assert study(host="x86-16").owner.host == "x86-16"
