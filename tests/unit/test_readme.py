"""Every figure of the README is one that a command prints: here those of the committed answers, and one run anew."""

import dataclasses
import json
import math
import re
import shlex
import subprocess
import typing
from pathlib import Path

import pytest

from dse.cli import Command, main
from dse.core.text import digits, in_unit
from dse.physics.pooled import effects

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GIVEN = (
    "3.11", "1,800 W", "1,800 to 2,300", "2,500", "1,700", "MTIA 500", "6x", "40 %", "419", "54 days", "16,384", "80 %",
    "over 90 %", "within 2x", "within 2 %", "within 1.5x", "within 25 %", "up to 3x", "512 GPUs",
)  # fmt: skip
"""Numbers that no answer of ours holds: what is published or asked for, and bounds that tests of their own keep."""


def answer(path: str):
    return json.loads((ROOT / "results" / path).read_text())


def percent(share: float) -> str:
    return f"{digits(100 * share, 2)} %"


def row(rows: list[dict], **wanted) -> dict:
    (found,) = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
    return found


def headline() -> list[str]:
    tdp = {p["reading"]: p for p in answer("trainium4/tdp.json")["rows"] if p["tdp_W"] == 1800.0}
    mean, hottest, full = (tdp[r] for r in ("power_W", "hottest_operator_W", "full_load_fp8_W"))
    s = answer("trainium4/solution.json")
    design, works, proof = s["design"], s["metrics"]["workloads"], s["certificate"]["overall"]
    return [
        *(f"**{digits(p['speedup'], 2)}x**" for p in (mean, hottest, full)),
        f"burns {digits(mean['quantities']['full_load_fp8_W'] / 1e3, 2)} kW",
        f"at {in_unit(design['clock_Hz'], 'Hz', 2)}",
        f"{in_unit(design['n_cores'] * design['scratchpad_B_per_core'], 'B')} of SRAM",
        f"**{digits(s['metrics']['delivered_speedup'], 2)}x** in what can be built",
        f"{digits(works['training']['speedup'], 2)}x training, {digits(works['decode']['speedup'], 2)}x decoding",
        f"of {proof['n_designs']:.1e} combinations".replace("e+", "e"),
        f"more than {percent(proof['gap'])} better",
    ]


def belief() -> list[str]:
    train, ask, kernels, messages = (
        answer(f"validation/{k}-without-source/scores.json")
        for k in ("training", "inference", "kernels", "collectives")
    )
    sources = [len([s for s in a["sources"] if s["modelled"]]) for a in (train, ask)]
    of = {s: percent(row(train["sources"], source=s)["median_abs_err"]) for s in ("simumax-b200", NANOTRON)}
    later, chips = (answer(f"validation/{k}-without-generation/scores.json") for k in ("training", "inference"))
    b200, trn2 = (row(chips["chips"], chip=c) for c in ("b200", "trainium2"))
    return [
        f"Training steps ({train['total']['modelled']} rows, {sources[0]} sources)",
        f"median error over sources {percent(train['total']['median_abs_err'])} "
        f"({of['simumax-b200']} on B200 runs of one publisher, {of[NANOTRON]} on nanotron's sweep)",
        f"requests ({ask['total']['modelled']:,} rows, {sources[1]} sources): "
        f"{percent(ask['total']['median_abs_err'])}",
        f"kernels {percent(kernels['total']['median_abs_err'])}",
        f"collectives {percent(messages['total']['median_abs_err'])}",
        f"left out: training {percent(later['total']['median_abs_err'])}",
        f"requests on Blackwell {percent(b200['median_abs_err'])} (two constants fitted to the other chips: "
        f"{percent(b200['baseline_median_abs_err'])})",
        f"on Trainium2 {percent(trn2['median_abs_err'])} with p90 {percent(trn2['p90_abs_err'])}",
    ]


NANOTRON = "hf-ultrascale-nanotron-bench"


def bands() -> list[str]:
    training, serving = (effects()["steps"]["bands"][k] for k in ("training", "inference"))
    known, new = ([f"{math.exp(b[n]):.1f}" for b in (training, serving)] for n in ("pair", "vendor"))
    return [
        f"x/÷ {known[0]} for training and {known[1]} for serving on a chip measured with its software",
        f"{new[0]} for training on an unseen generation, {new[1]} for serving on one",
    ]


def replayed() -> list[str]:
    t = answer("backtest/backtest.json")["tally"]
    return [
        f"off by {digits(t['median_factor'])}x in median over {t['n_numbers']} numbers",
        f"{percent(t['within_frac']['1.5'])} within 1.5x",
        f"in {percent(t['sram_frac'])} of steps",
        f"{percent(t['inside_frac'])} of the built numbers",
        f"{digits(100 * t['regret_frac'])} % worse",
        f"({digits(t['naive_factor'])}x) on {t['n_better']} of {t['n_steps']} steps",
    ]


def money() -> list[str]:
    answers = answer("cost/trainium2/against-h100-fp8.json")["answers"]
    rented, market, bare = (
        row(answers, workload="training", paying=p) for p in ("rented", "rented, market", "at cost")
    )
    low, high = rented["ratio_range"]
    served = re.search(r"([\d.]+)x per chip", answer("serve/gpt-oss-120b_trainium2_trainium3.json")["comparison"][0])
    return [
        f"costs {digits(rented['ratio'], 2)}x of H100's at AWS's rents ({digits(low, 2)} to {digits(high, 2)})",
        f"{digits(market['ratio'], 2)}x at other lessors'",
        f"{digits(bare['ratio'], 2)}x with every margin removed",
        f"at {served[1]} times Trainium2's tokens per chip",
    ]


def fleet(capsys) -> list[str]:
    where = ["h100", "llama-3.1-405b", "--chips", "16384", "--weeks", "7.7"]
    assert main(["fleet", *where, "--json", "--no-figures"]) == 0
    found = json.loads(capsys.readouterr().out)
    return [f"{digits(found['interruptions'])} interruptions predicted", f"goodput {percent(found['goodput_frac'])}"]


def prose() -> str:
    """The README without its code, tables of commands and addresses, in one line."""
    text = re.sub(r"^```.*?^```|^    .*?$", "", README, flags=re.DOTALL | re.MULTILINE)
    return " ".join(re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "", text)).split())


NUMBER = re.compile(r"(?<![\w-])\d[\d,.]*\d(?:e\d+)?(?:x|\b)| [2-9] ?%|(?<![\w.-])\d(?:\.\d+)?x\b")
"""What is a figure: two digits or more, a share, a factor; not a name with digits in it."""


def test_every_figure_is_one_that_a_command_prints(capsys):
    text = prose()
    claims = [*headline(), *belief(), *bands(), *replayed(), *money(), *fleet(capsys)]
    stale = [c for c in claims if c not in text]
    assert stale == [], "today's commands say this, the README something else"
    for known in sorted((*claims, *GIVEN), key=len, reverse=True):
        text = text.replace(known, " ")
    assert NUMBER.findall(text) == [], "figures that no answer here holds: add them to what is compared"


@pytest.mark.slow
def test_the_lines_of_python_run(capsys):
    """As they stand, but for the study: a small one takes seconds."""
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert "sweeps/trainium4.toml" in block
    exec(compile(block.replace("sweeps/trainium4.toml", str(ROOT / "tests/data/tiny.toml")), "README.md", "exec"), {})
    first, second = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("OPTIMAL") or first.startswith("UNFINISHED")
    assert second.startswith("tp=") and 0 < float(second.split()[-1]) < 1


WRITES = ("dse cost ", "dse fleet ", "dse report ")
"""Commands of the README that take seconds, among them those that write where answers ship."""


def test_a_run_leaves_the_checkout_clean(tmp_path, monkeypatch):
    """Answers go beside those that ship, never over them."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    here = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(here)], check=True)
    monkeypatch.chdir(here)
    lines = [x.strip().partition(" #")[0] for x in README.splitlines() if x.startswith("    dse ")]
    some = [x for x in lines if x.startswith(WRITES)]
    assert len(some) == len(WRITES)
    for line in some:
        assert main(shlex.split(line)[1:]) == 0, line
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["cost", "fleet"]
    assert subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True).stdout == b""


def test_every_command_keeps_off_answers_that_ship():
    """Those that take seconds are run above; the others write below the same folder."""
    for part in typing.get_args(Command):
        made = typing.get_args(part)[0]
        known = {f.name: f.default for f in dataclasses.fields(made)}
        if "results" in known and made.__name__ not in ("ReportCommand", "Query", "ForecastCommand"):
            assert known["results"] == "", made
