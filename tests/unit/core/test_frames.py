"""Records as tables: canonical numbers for pandas, words and units for a notebook, guesses marked."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dse
from dse.core.frames import SHOWN, page, worded


def test_numbers_get_their_units_and_all_else_stays():
    table = pd.DataFrame({"clock_Hz": [2.4e9], "node": ["N2"], "mfu_frac": [0.125]})
    assert worded(table).to_dict(orient="list") == {"clock": ["2.4 GHz"], "node": ["N2"], "share of peak": ["12 %"]}


def test_a_long_table_says_what_it_leaves_out_and_titles_are_text():
    shown = page("a < b", pd.DataFrame({"x": range(SHOWN + 3)}))
    assert "a &lt; b" in shown and "3 more in frame()" in shown
    assert page("", pd.DataFrame({"x": []})) == ""


def test_a_chip_and_its_facts_show_themselves():
    chip, facts = dse.chip("trainium3"), dse.chip_receipts("trainium3")
    assert chip.frame().loc["hbm_bandwidth_Bps", "value"] == pytest.approx(4.9e12)
    assert chip.frame().loc["scratchpad_B", "unit"] == "B"
    assert "4.9 TB/s" in chip._repr_html_() and "N3P" in chip._repr_html_()
    table = facts.frame()
    assert table.loc["hbm_bandwidth_Bps", "source"] and (table.kind == "guess").sum() == sum(
        f.kind == "guess" for f in facts
    )
    assert "<td>guess</td>" in facts._repr_html_()


def test_guesses_of_a_chip_are_marked_and_what_was_changed():
    chip = dse.chip("trainium3")
    kinds = chip.frame()["kind"]
    told = {f.name: f.kind for f in dse.chip_receipts("trainium3")}
    assert kinds["hbm_bandwidth_Bps"] == told["hbm_bandwidth_Bps"] and "guess" in set(kinds)
    assert "<td>guess</td>" in chip._repr_html_()
    faster = dataclasses.replace(chip, hbm_bandwidth_Bps=np.asarray(6e12))
    assert faster.frame().loc["hbm_bandwidth_Bps", "kind"] == "changed"
    design = dataclasses.replace(chip, name="of-no-file")
    assert not design.frame()["kind"].any() and "kind" not in design._repr_html_()


SYSTEM = dse.system("trn3-gen2-144", 4)
TECH = dse.chip_technology(SYSTEM.chip)


@pytest.mark.parametrize(
    ("record", "number", "shown"),
    [
        (SYSTEM, "n_chips", "144"), (TECH, "reticle_mm2", "mm2"), (dse.calibration("prior-neuron"), "hbm_frac", "%"),
        (dse.silicon(SYSTEM.chip, TECH), "die_mm2", "mm2"), (dse.silicon(SYSTEM.chip, TECH).money, "hbm_USD", "USD"),
        (dse.purchase(dse.deal(SYSTEM)), "capital_USD", "USD"), (dse.deal(SYSTEM), "price_USD", "USD"),
        (dse.Plan(tp=4, dp=2), "tp", "4"),
        (dse.memory_B(dse.parse_plan("tp=4"), dse.Decode(dse.model("llama-3.1-8b"), 8, 1024)), "weights_B", "GiB"),
    ],
    ids=lambda x: type(x).__name__ if hasattr(x, "frame") else None,
)  # fmt: skip
def test_every_record_of_numbers_shows_itself(record, number, shown):
    table = record.frame()
    assert list(table.columns) == ["value", "unit", "kind"] and table.index.is_unique
    assert number in table.index and shown in record._repr_html_()


def test_a_model_shows_its_blocks():
    """DeepSeek-V3: 3 dense layers and 58 with 256 experts, 671 B parameters (its paper's table 1)."""
    model = dse.model("deepseek-v3")
    table = model.frame()
    assert table["blocks"].tolist() == [3, 58] and "256 experts" in table.loc[1, "what"]
    assert (table["blocks"] * table["parameters"]).sum() == pytest.approx(671e9, rel=0.01)
    assert "671 B parameters" in model._repr_html_() and "latent attention" in model._repr_html_()


def test_a_study_shows_what_it_asks():
    study = dse.load_study(Path(__file__).parents[2] / "data" / "tiny.toml")
    assert study.frame().set_index("metric").loc["power_W", "value"] == 700.0
    assert study.frame("free").set_index("number").loc["n_cores", "upper"] == 64.0
    assert len(study.frame("choices")) == len(study.choices)
    assert study.frame("workloads").loc[0, "n_chips"] == 4
    html = study._repr_html_()
    assert "700 W" in html and "20 TB/s" in html and "llama-3.1-8b" in html
    with pytest.raises(dse.UnknownNameError, match="limits"):
        study.frame("limit")


def test_an_evaluation_is_a_row_that_says_its_plan():
    """Before: a bare tuple, which a notebook shows as a page of Python."""
    found = dse.evaluate(dse.system("trn3-gen2-144", 4), dse.Decode(dse.model("llama-3.1-8b"), 8, 1024))
    (row,) = found.frame().to_dict(orient="records")
    assert row["step_s"] == float(found.result.step_s) and dse.parse_plan(row["plan"]) == found.plan
    shown = found._repr_html_()
    assert row["plan"] in shown and "tokens/s" in shown and "ms" in shown and "array" not in shown
    assert "ms" in found.result._repr_html_()
