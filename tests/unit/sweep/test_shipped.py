"""Committed results of the shipped sweeps: whole, to the question as it stands, and with the physics they must show."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import dse

ROOT = Path(__file__).parents[3]
SWEEPS = ("trainium4_budget", "trainium_generations", "sram_vs_hbm", "scaleup_domain")


def table(name: str):
    return dse.results.load(ROOT / "results" / name)


@pytest.mark.parametrize("name", SWEEPS)
def test_results_are_whole_and_answer_the_question_as_it_stands(name):
    folder = ROOT / "results" / name
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "results.parquet").read_bytes()
    assert manifest["results_sha256"] == hashlib.sha256(content).hexdigest() and len(content) < 200_000
    assert manifest["specification"] == (ROOT / "sweeps" / f"{name}.toml").read_text()
    rows = table(name)
    assert len(rows) == manifest["points"] and list(rows["point"]) == list(range(len(rows)))
    assert set(rows.columns) == set(manifest["columns"])


def test_more_budget_is_never_slower_and_a_newer_node_is_faster():
    rows = table("trainium4_budget")
    none = rows[~rows["ok"]]
    # What has no design has none within its watts: the least load of a useful chip is above the smallest budget.
    assert none["reason"].str.startswith("infeasible; the cheapest relaxation takes full_load_fp8_W").all()
    assert none["limit_full_load_fp8_W"].nunique() <= 1 and none["limit_full_load_fp8_W"].max() < 1500
    budgets = ["limit_silicon_mm2"], "limit_full_load_fp8_W"
    older, newer = (
        rows[rows["set_node"] == node]
        .fillna({"delivered_speedup": 0.0})
        .pivot_table("delivered_speedup", *budgets)
        .to_numpy()
        for node in ("N3P", "N2")
    )
    assert older.shape == newer.shape == (5, 5)
    for speed in (older, newer):
        assert (np.diff(speed, axis=0) >= -1e-3 * speed[1:]).all() and (
            np.diff(speed, axis=1) >= -1e-3 * speed[:, 1:]
        ).all()
    assert (newer >= older).all() and (newer > older)[older > 0].all()


def test_a_larger_domain_and_a_faster_link_are_never_slower():
    rows = table("scaleup_domain")
    for axis in ("domain", "scaleup_bandwidth_per_dir_Bps"):
        (other,) = {"domain", "scaleup_bandwidth_per_dir_Bps"} - {axis}
        speed = rows.pivot_table("tokens_per_s", ["model", other], axis).to_numpy()
        gains = np.diff(speed, axis=1)
        assert (gains >= 0).all() and np.mean(gains > 0) > 0.9  # the best plan may need no larger domain
    gain = rows.groupby("model")["tokens_per_s"].agg(lambda x: x.max() / x.min())
    assert gain["llama-3.1-70b"] < gain.drop("llama-3.1-70b").min()  # experts need the domain, a dense model does not


def test_every_generation_is_faster():
    rows = table("trainium_generations")
    speed = rows[rows["ok"]].pivot_table("tokens_per_s", ["phase", "model"], "chip")
    order = ["trainium1", "trainium2", "trainium3", "chips/trainium4_design.toml"]
    for older, newer in itertools.pairwise(order):
        both = speed[[older, newer]].dropna()
        assert len(both) >= 5 and (both[newer] > both[older]).all()
    assert set(rows[~rows["ok"]]["chip"]) <= {"trainium1", "trainium2"}  # what fails, fails for memory
