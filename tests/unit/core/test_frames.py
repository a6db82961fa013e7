"""Records as tables: canonical numbers for pandas, words and units for a notebook, guesses marked."""

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


def test_an_evaluation_is_a_row():
    _, e = dse.evaluate(dse.system("trn3-gen2-144", 4), dse.Decode(dse.model("llama-3.1-8b"), 8, 1024))
    assert e.frame().loc[0, "step_s"] == float(e.step_s)
    assert "tokens/s" in e._repr_html_() and "ms" in e._repr_html_()
