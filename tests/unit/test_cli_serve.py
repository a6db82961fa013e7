"""`dse serve` and `dse portfolio`, in process: answers, files, and one line for every kind of bad input."""

import io
import json

import pytest
from rich.console import Console

from dse.cli import main
from dse.report.layout import table_of
from dse.report.serving import heads

pytestmark = pytest.mark.usefixtures("cache_elsewhere")
slow = pytest.mark.slow


def refused(capsys, *argv: str) -> str:
    """The last line of stderr of bad input; nothing on stdout, exit code 2."""
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert out == "" and last.startswith("dse: "), err
    return last


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--batch", "0"), ["--batch 0", "at least 1"]),
        (("--chips", "0"), ["--chips 0"]),
        (("--tpot", "20 GB"), ["--tpot", "GB"]),
        (("--tpot", "20"), ["--tpot: 20 has no unit", "ms"]),
        (("--chips", "1000000000"), ["1,000,000,000", "4,194,304"]),
        (("--tpot", "0ms"), ["--tpot", "positive"]),
        (("--ttft", "soon"), ["--ttft", "soon"]),
        (("--in", "0"), ["0 tokens in"]),
        (("--in", "200000"), ["131,072"]),
        (("--percentile", "100"), ["--percentile 100"]),
        (("--scheduler", "fifo"), ["--scheduler fifo", "chunked"]),
        (("--accept", "1.5"), ["acceptance 1.5"]),
        (("--mix", "2000/300"), ["--mix", "IN/OUT/SHARE"]),
        (("--mix", "2000/300/0.5"), ["add up to 1"]),
        # what was written here and had no effect
        (("--mix", "2000/300/1", "--in", "500"), ["--mix", "leave --in and --out out"]),
        (("--accept", "0.5"), ["--accept 0.5", "--draft"]),
        (("--draft", "4"), ["--draft 4", "--accept"]),
        (("--rent", "h100=2,h100=3"), ["h100 has 2 prices"]),
    ],
)
def test_bad_flags(capsys, flags, words):
    line = refused(capsys, "serve", "h100", "llama-3.1-8b", *flags)
    assert all(w in line for w in words), line


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        # one phase ranked an unknown chip as one that cannot run it, with exit code 0
        (("h100,h10", "--phase", "decode"), "unknown chip 'h10'"),
        (("h100,", "--phase", "decode"), "unknown chip ''"),
        (("h100", "--phase", "decode", "--out", "5"), "--out belongs to --phase serving"),
        (("h100", "--phase", "training", "--percentile", "90"), "--percentile belongs to --phase serving"),
    ],
)
def test_a_comparison_of_one_phase_refuses_what_has_no_effect(capsys, argv, told):
    assert told in refused(capsys, "compare", argv[0], "llama-3.1-8b", *argv[1:])


def test_unknown_names(capsys):
    assert "did you mean" in refused(capsys, "serve", "h10", "llama-3.1-8b")
    assert "did you mean" in refused(capsys, "serve", "h100", "llama-3.1-8c")
    assert "cannot be read" in refused(capsys, "portfolio", "nowhere.toml", "h100")


def test_context_that_does_not_fit_says_by_how_much(capsys):
    line = refused(capsys, "serve", "h100", "llama-3.3-70b", "--chips", "1", "--in", "100000")
    assert "does not fit" in line and "shortfall of" in line and "GiB" in line


@slow
def test_promises_below_the_floor_name_it_and_what_sets_it(capsys):
    common = ("serve", "h100", "llama-3.1-8b", "--chips", "1")
    line = refused(capsys, *common, "--tpot", "0.1ms")
    assert "--tpot 100 us is below the floor" in line and "reading weights and cache" in line
    line = refused(capsys, *common, "--ttft", "1ms")
    assert "--ttft 1 ms is below the floor" in line and "arithmetic" in line
    first = (*common, "--scheduler", "first", "--ttft", "1s")
    assert main([*first, "--no-figures", "--json"]) == 0
    curve = json.loads(capsys.readouterr().out)["chips"]["h100"]["curve"]
    least_ms = 1e3 * min(p["tpot_s"] for p in curve)  # prompts of others in it: above the floor
    both = refused(capsys, *first, "--tpot", f"{0.99 * least_ms:.3f}ms")
    assert "keeps the promise" in both and "TPOT is at least" in both


@slow
def test_curve_as_json_table_and_files(capsys, tmp_path):
    common = ("serve", "h100,a100-80", "llama-3.1-8b", "--chips", "1", "--tpot", "20ms", "--results", str(tmp_path))
    assert main([*common, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["chips"]) == {"h100", "a100-80"}
    for chip in found["chips"].values():
        curve = chip["curve"]
        assert curve and all(p["tpot_s"] <= 0.020 for p in curve)
        rates = [p["chip_tokens_per_s"] for p in curve]
        assert rates == sorted(rates)
    assert found["chips"]["a100-80"]["chip_hour_USD"] is None  # no other chip's price stands in
    names = {p.name for p in (tmp_path / "serve").iterdir()}
    stem = "llama-3.1-8b_h100_a100-80"
    assert names == {f"{stem}.png", f"{stem}.svg", f"{stem}.json"}
    assert main([*common, "--no-figures"]) == 0
    shown = capsys.readouterr().out
    assert "a100-80 over h100" in shown and "M/G/1" in shown


def test_a_curve_is_a_table_in_80_columns():
    """The longest plans of mixtures of experts fit beside the numbers: rows, no line for every number."""
    row = "13.5 ms", "1.45 s", "2,140", "0.127", "0.747", "4,096", "64", "36.6 MiB", "tp=4,dp=16,ep=16", "apart (55 %)"
    page = Console(width=80, file=io.StringIO())
    page.print(table_of(heads(0.95), [row]))
    lines = [line.split() for line in page.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert any({"2,140", "tp=4,dp=16,ep=16"} <= set(words) for words in lines)


@slow
def test_portfolio_on_a_chip(capsys, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        '[portfolio]\nname = "p"\nrequests_per_s = 30.0\n[models.small]\nmodel = "llama-3.1-8b"\ntraffic = 1.0\n'
        'requests = [{ in = 1000, out = 200 }]\ntpot = "20 ms"\nttft = "1 s"\n'
    )
    assert main(["portfolio", str(path), "h100", "--chips", "1", "--json"]) == 0
    (fleet,) = json.loads(capsys.readouterr().out)["rows"]
    m = fleet["models"]["small"]
    assert m["tokens_per_s"] == pytest.approx(30 * 200)
    assert fleet["n_chips"] == m["n_chips"] >= m["busy_chips"] > 0
    cost = fleet["n_chips"] * fleet["chip_hour_USD"] / (fleet["tokens_per_s"] * 3600) * 1e6
    assert fleet["million_tokens_USD"] == pytest.approx(cost)
    assert main(["portfolio", str(path), "h100", "--chips", "1"]) == 0
    assert "small" in capsys.readouterr().out
    path.write_text(path.read_text().replace('"20 ms"', '"0.1 ms"'))
    assert "models.small" in refused(capsys, "portfolio", str(path), "h100", "--chips", "1")
