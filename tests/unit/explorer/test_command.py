"""`dse explore` as a program: an address, a refusal, Ctrl-C."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dse.cli import main
from dse.core.errors import SpecError
from dse.core.origin import digest
from dse.explorer.session import study_answers
from dse.explorer.state import optimum_in
from dse.study.study import load_study

LIMIT_S = 600
"""Seconds after which an answer is taken never to come: a slow machine must not look like that."""
TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


@pytest.mark.slow
def test_it_listens_refuses_strangers_and_ends_with_ctrl_c(tmp_path):
    command = [sys.executable, "-m", "dse.cli", "explore", str(TINY), "--no-open", "--results", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        address = run.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:") and len(address.split("/")[3]) >= 32
        with urllib.request.urlopen(f"{address}state", timeout=LIMIT_S) as got:
            assert json.loads(got.read())["title"] == "tiny"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address[:-3] + "xx/state", timeout=LIMIT_S)
        assert refused.value.code == 403
        refused.value.close()
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=LIMIT_S)
        assert run.returncode == 0 and "Traceback" not in said


@pytest.mark.parametrize(("arguments", "said"), [
    (["nothing.toml"], "nothing.toml"),
    ([str(TINY), "--chips", "4"], "--chips belongs to a chip and a model"),
    ([str(TINY), "--phase", "training"], "--phase belongs to a chip and a model"),
    ([str(TINY), "--compare", "h100"], "give paths of chip files"),
    ([str(TINY), "--compare", "none.toml"], "none.toml: cannot be read"),
    ([str(TINY), "--compare", str(TINY)], "this is a study"),
    ([str(TINY), "--port", "65536"], "--port 65536: give a whole number from 0"),
    ([str(TINY), "--export", "page.htm"], "--export page.htm: give a file that ends in .html"),
    (["trainium2"], "trainium2 is a chip: name a model too"),
    (["h100", "llama-3.1-8b", "--chips", "0"], "give a whole number, at least 1"),
    (["h101", "llama-3.1-8b"], "unknown"),
])  # fmt: skip
def test_bad_arguments_are_one_line(arguments, said, capsys):
    assert main(["explore", *arguments, "--no-open"]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("dse: ") == 1 and "Traceback" not in told.err


def test_it_begins_at_the_optimum_of_this_very_study(answers, tmp_path):
    """What `dse optimize` left is taken only where the study is the same to the letter."""
    text, folder = TINY.read_text(), tmp_path / "tiny"
    folder.mkdir()
    x = {"n_cores": 12.0, "n_stacks": 4.0, "hbm_bandwidth_Bps": 8e12, "hbm_capacity_B": 2.0**37}
    plan = answers.subject.space.plans[0][0]
    choice = {k: v for k, v in vars(answers.subject.study.choices[1]).items()}
    design = {**x, "choice": choice}
    limits = [{"price": -0.5}, {"price": -0.1}, {"price": 0.0}]
    metrics = {"workloads": {"decode": {"plan": vars(plan)}}}
    (folder / "solution.json").write_text(
        json.dumps({"design": design, "metrics": metrics, "limits": limits, "status": "optimal"})
    )
    (folder / "manifest.json").write_text(json.dumps({"study_sha256": digest(text.encode())}))
    found = optimum_in(answers.subject, (tmp_path,), text)
    assert found["x"] == x and found["choice"] == 1 and found["plans"] == [0] and found["prices"] == [-0.5, -0.1, 0.0]
    assert optimum_in(answers.subject, (tmp_path,), f"{text}\n") is None
    (folder / "solution.json").write_text('{"design": {}}')
    assert optimum_in(answers.subject, (tmp_path,), text) is None


@pytest.mark.slow
def test_a_host_and_a_margin_that_only_a_front_reads_are_explored(tmp_path):
    """`dse front` takes such a study for its axes of owning; the page, which shows them too, refused it."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.read_text().replace("[study]\n", "[study]\nmargin = 2.0\n"))
    with pytest.raises(SpecError, match=r"study\.margin serve"):
        load_study(path)
    subject = study_answers(str(path), (), (), lambda _: None).subject
    assert subject.study.owner.margin == 2.0 and "mean_cost_per_token_USD" in subject.names
