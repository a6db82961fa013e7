"""The command line, in process: answers, JSON, exit codes, and one line for every kind of bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dse.cli import main
from dse.explore.designed import is_far_off
from dse.hardware.presets import chip, chip_names
from dse.report.chip_tables import chip_numbers
from dse.study.metrics import METRICS, chip_state

from .conftest import refused, written

pytestmark = pytest.mark.usefixtures("cache_elsewhere")
slow = pytest.mark.slow
TINY = Path(__file__).parents[1] / "data" / "tiny.toml"
CONFIG = {
    "model_type": "llama", "hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16,
    "num_key_value_heads": 8, "intermediate_size": 4096, "vocab_size": 32000, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5, "hidden_act": "silu",
}  # fmt: skip


@pytest.fixture
def study(tmp_path):
    """Writes the tiny study with some text replaced, and returns its path."""
    return lambda *changes: written(tmp_path / "tiny.toml", TINY.read_text(), *changes)


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert "optimize" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dse ")


def test_help_does_not_load_jax():
    code = "import sys, dse.cli; dse.cli.main(['--help']); sys.exit(int('jax' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_one_evaluation_waits_for_no_library_that_it_does_not_use():
    """Tables of pandas, special functions of scipy and the study's solver are half of what its imports would cost."""
    code = (
        "import sys, dse.cli; dse.cli.main(['evaluate', 'trainium2', 'llama-3.1-8b']); "
        "print({'pandas', 'scipy.special', 'dse.optimize', 'dse.study'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["optimize", "evaluate"]),
        (["evalute"], ["evalute"]),
        (["optimize"], ["missing STUDY.toml; see dse optimize --help"]),
        (["compare", "h100"], ["missing MODEL; see"]),
        (["compare", "h100", "llama-3.1-8b", "--prompt", "9"], ["options: --prompt 9; see dse compare --help"]),
        (["evaluate"], ["missing CHIP, MODEL; see"]),
        (["new"], ["missing study or sweep or chip or portfolio, NAME; see"]),
        (["optimize", "x.toml", "--jsn"], ["--jsn", "--json"]),
        (["evaluate", "trainium3", "llama-3.1-8b", "--batch", "1.5"], ["--batch", "1.5", "see dse evaluate --help"]),
        (["evaluate", "trainium3", "llama-3.1-8b", "--phase", "prefil"], ["prefil", "training"]),
        (["evaluate", "trainium3", "llama-3.1-8b", "--chips", "-4"], ["--chips", "-4"]),
        (["evaluate", "trainium2", "llama-3.1-8b", "--chips", "7"], ["n_chips = 7", "64"]),
        (["evaluate", "trainium3", "llama-3.1-8b", "--chips", "1000000000"], ["1,000,000,000", "4,194,304"]),
        (
            ["evaluate", "h100", "llama-3.1-8b", "--phase", "decode", "--context", "1000000"],
            ["--context 1,000,000", "131,072", "llama-3.1-8b"],
        ),
        (["evaluate", "trainium3", "llama-3.1-8b", "--kv", "fp8"], ["--kv", "decode"]),
        (["evaluate", "trainum3", "llama-3.1-8b"], ["trainum3", "did you mean trainium3"]),
        (["evaluate", "trainium3", "llama-3.1-9b"], ["llama-3.1-9b", "did you mean llama-3.1-8b"]),
        (["evaluate", "trainium3", "llama-3.1-8b", "--system", "trn2-16"], ["trn2-16", "trainium2"]),
        (["evaluate", "trainium3", "llama-3.1-8b", "--plan", "tp=7"], ["tp*pp*dp"]),
        (
            ["evaluate", "trainium3", "llama-3.1-8b", "--chips", "12", "--plan", "tp=12"],
            ["tp=12 does not divide the 32 heads"],
        ),
        (["evaluate", "trainium3", "llama-3.1-8b", "--plan", "tp=4,qq=3"], ["unknown key 'qq'"]),
        (["evaluate", "trainium3", "llama-3.1-405b", "--chips", "1"], ["GiB", "use more chips"]),
        (["chips", "trainium9"], ["trainium9", "did you mean"]),
        (["optimize", "nowhere.toml"], ["nowhere.toml", "cannot be read"]),
        (["cite", "nowhere.toml"], ["nowhere.toml"]),
    ],
)
def test_bad_calls_are_one_clear_line(capsys, argv, words):
    line = refused(capsys, *argv)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("[choices]", "[choises]")], ["choises", "unknown key"]),
        ([('at_most = "700 W"', 'at_most = "700 GB"')], ["limits.0", "measures B"]),
        ([('at_most = "900 mm2"', 'at_most = "-900 mm2"')], ["limits.1", "must be positive"]),
        ([('at_most = "900 mm2"', 'at_most = "nan mm2"')], ["limits.1"]),
        ([('name = "tiny"', 'name = "../tiny"')], ["study.name", "folder"]),
        ([('baseline = "trainium3"', 'baseline = "trainium')], ["not valid TOML"]),
    ],
)
def test_bad_studies_are_one_clear_line(capsys, study, tmp_path, changes, words):
    line = refused(capsys, "optimize", study(*changes), "--results", str(tmp_path / "results"))
    for word in words:
        assert word in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(CONFIG)[:-30], ["not valid JSON", "truncated"]),
        (json.dumps({"image_size": 224, "num_channels": 3}), ["model_type = null", "not known"]),
        (json.dumps({**CONFIG, "num_local_experts": 8}), ["num_local_experts", "not known for model_type llama"]),
    ],
)
def test_bad_model_files_are_one_clear_line(capsys, tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_text(text)
    line = refused(capsys, "evaluate", "trainium3", str(path))
    for word in ("config.json", *words):
        assert word in line


def test_evaluate_shows_breakdown_and_band(capsys):
    assert main(["evaluate", "trainium3", "llama-3.1-8b", "--chips", "4", "--sequence", "2048"]) == 0
    out = capsys.readouterr().out
    for word in (
        "step time",
        "holds 80 % of unseen measurements; fit-trainium3-neuron",
        "tokens/s",
        "MFU",
        "GiB usable",
        "up wgrad (bf16)",
        "100 %",
    ):
        assert word in out


def test_evaluate_says_when_a_chip_lacks_the_precision(capsys):
    argv = ["evaluate", "trainium2", "llama-3.1-8b", "--phase", "decode", "--chips", "4", "--weights", "fp4"]
    assert main([*argv, "--plan", "tp=4"]) == 0
    assert "trainium2 has no FP4 products" in capsys.readouterr().out


def test_evaluate_json_of_a_config_file(capsys, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    argv = ["evaluate", "trainium3", str(path), "--phase", "decode", "--chips", "4", "--plan", "tp=4", "--json"]
    assert main(argv) == 0
    out = json.loads(capsys.readouterr().out)
    assert sum(out["parts_s"].values()) == pytest.approx(out["step_s"])
    assert out["band_s"][0] < out["step_s"] < out["band_s"][1]
    assert {o["bound"] for o in out["operators"]} <= {"compute", "tile", "hbm", "vector", "dma", "launch"}


def test_chips_and_models(capsys):
    assert main(["chips"]) == 0
    out = capsys.readouterr().out
    assert "trainium3" in out and "2,517" in out
    assert main(["chips", "--json"]) == 0
    chips = {c["name"]: c for c in json.loads(capsys.readouterr().out)["rows"]}
    # 2 x 8 cores x 128 x 128 x 2.4 GHz, four times that in FP8
    assert chips["trainium3"]["peak_fp8_FLOPps"] == pytest.approx(2 * 8 * 128 * 128 * 4 * 2.4e9)
    assert main(["models"]) == 0
    assert "llama-3.1-405b" in capsys.readouterr().out
    assert main(["models", "gpt-oss-120b"]) == 0
    shown = capsys.readouterr().out
    assert "norms 0.21 M" in shown and "0 B per sequence" not in shown  # it keeps no state
    assert main(["models", "--json"]) == 0
    models = {m["name"]: m for m in json.loads(capsys.readouterr().out)["rows"]}
    # 2 x 32 layers x 8 KV heads x 128 x 2 bytes
    assert models["llama-3.1-8b"]["kv_bf16_B_per_token"] == 2 * 32 * 8 * 128 * 2


def test_one_chip_lists_guesses_first_and_vendor_totals(capsys):
    assert main(["chips", "trainium2"]) == 0
    out = capsys.readouterr().out
    assert out.index("guess") < out.index("datasheet")
    assert "AWS states 667 TFLOP/s BF16, 6 % above 8 x 128 x 128 x 2 x 2.4 GHz" in " ".join(out.split())
    assert main(["chips", "trainium2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts[0]["kind"] == "guess" and {"value", "low", "high", "source", "where"} <= set(facts[0])


def test_one_chip_tells_what_the_models_make_of_its_facts(capsys, tmp_path):
    """Before: only the table of all presets did, so that nobody saw what became of a file of one's own."""
    assert main(["chips", "l40s"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    # 362 TFLOP/s / 864 GB/s = 419
    assert "on FCBGA: 689 mm2, 1.13x the published 609 mm2" in out and "of 350 W, 40 W at rest" in out
    assert "Machine balance 419 FLOP/B, 362 TFLOP/s over 864 GB/s" in out and "far off" not in out
    path = tmp_path / "tiles.toml"
    path.write_text('[tiles]\nbase = "l40s"\nn_cores = 1400\ncores_per_pool = 1400\n')
    assert main(["chips", str(path)]) == 0
    assert "far off" not in capsys.readouterr().out  # nothing is published of it
    path.write_text(path.read_text() + 'die_area = "823 mm2"\n')
    assert main(["chips", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimates"]["die_mm2_estimate"] > 1400
    assert main(["chips", str(path)]) == 0
    assert "facts do not describe it" in " ".join(capsys.readouterr().out.split())


def test_a_chip_whose_products_run_in_fp32_alone_has_a_full_load(tmp_path):
    """Neither BF16 nor FP8, in which the load of others is told: it was an error of Python's."""
    path = tmp_path / "single.toml"
    path.write_text('[single]\nbase = "v100"\nmacs_bf16 = 0\nmacs_fp32 = 0.5\n')
    found = chip_numbers(str(path))
    wider_W = float(METRICS["full_load_bf16_W"](chip_state(chip(str(path)))))  # BF16 runs in the next wider, FP32
    assert found["full_load_W_estimate"] == wider_W > found["rest_W_estimate"] > 0


def test_no_preset_is_called_far_off():
    numbers = [chip_numbers(n) for n in chip_names()]
    ratios = [n["die_mm2_estimate"] / n["die_mm2_published"] for n in numbers if n["die_mm2_published"]]
    assert len(ratios) > 20 and not any(map(is_far_off, ratios))


def test_cite(capsys):
    assert main(["cite", str(TINY)]) == 0
    out = capsys.readouterr().out
    assert "@" in out and "aws2026nkitrn3" in out


def test_an_interrupt_is_quiet(capsys, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("dse.cli.facts.Models.run", stop)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "dse: interrupted\n"
    monkeypatch.setattr("dse.cli.study.Optimize.run", stop)
    assert main(["optimize", "trainium4"]) == 130
    said = "dse: interrupted; --seconds S ends by itself, with what was found until then\n"
    assert capsys.readouterr().err == said


@slow
def test_optimize_answers_on_one_screen_and_writes_results(capsys, study, tmp_path):
    assert main(["optimize", study(), "--results", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "round 1" in err
    for word in ("delivers", "power <= 700 W", "speed-up", "combinations of choices", "guesses"):
        assert word in out, word
    assert len(out.splitlines()) < 60
    folder = tmp_path / "tiny"
    written = {p.name for p in folder.iterdir()}
    assert {
        "solution.json",
        "manifest.json",
        "area_power.png",
        "area_power.svg",
        "roofline.png",
        "roofline.svg",
    } <= written
    assert all(p.stat().st_size < 200_000 for p in folder.glob("*.png"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["float_bits"] == 64 and manifest["seed"] is None and len(manifest["study_sha256"]) == 64
    assert manifest["sources"] and manifest["guesses"]


@slow
def test_optimize_json(capsys, study, tmp_path):
    assert main(["optimize", study(), "--results", str(tmp_path), "--json", "--no-figures"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["status"] == "optimal"
    assert out["design"]["n_cores"] == pytest.approx(round(out["design"]["n_cores"]), abs=1e-9)
    assert out["metrics"]["delivered_speedup"] > 0
    assert out["certificate"]["relative_gap"] < 1e-4
    limits = {x["name"]: x for x in out["limits"]}
    assert {"value", "limit", "margin", "price"} <= set(limits["power_W"])
    assert all(x["margin"] > -1e-6 for x in out["limits"])
    assert not list((tmp_path / "tiny").glob("*.png"))


@slow
def test_an_infeasible_study_is_explained(capsys, study, tmp_path):
    path = study(('at_most = "700 W"', 'at_most = "20 W"'))
    assert main(["optimize", path, "--results", str(tmp_path)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "No design meets all limits of tiny" in out
    assert "power from 20 W to" in out
    assert main(["optimize", path, "--results", str(tmp_path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "infeasible"
    power = next(r for r in answer["relaxations"] if r["name"] == "power_W")
    assert power["needed"] > power["limit"] == 20


def test_prefill_of_a_prompt_in_chunks(capsys):
    argv = ["evaluate", "trainium2", "llama-3.1-8b", "--phase", "prefill", "--chips", "4", "--prompt", "4096"]
    assert main([*argv, "--chunk", "1024", "--weights", "fp8", "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert "prompt 4096, in chunks of 1024" in out["workload"]
    assert out["tokens_per_s"] == pytest.approx(4096 / out["step_s"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--phase", "prefill", "--context", "8"], ["--context belongs to decode", "--prompt, --chunk, --cached"]),
        (["--phase", "decode", "--prompt", "8"], ["--prompt belongs to prefill"]),
        (["--phase", "prefill", "--prompt", "0"], ["--prompt 0", "at least 1"]),
        (["--phase", "decode", "--batch", "100000000"], ["needs", "PiB per chip"]),
    ],
)
def test_flags_of_another_phase_are_refused(capsys, flags, words):
    assert main(["evaluate", "trainium2", "llama-3.1-8b", "--chips", "4", *flags]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(w in err for w in words), err


def test_a_command_that_is_none_is_told_the_nearest(capsys):
    assert main(["optimise", "trainium4"]) == 2
    assert capsys.readouterr().err == "dse: unknown command 'optimise'; did you mean optimize?\n"
    assert main(["everything"]) == 2
    assert "known: ablation, backtest" in capsys.readouterr().err


def test_all_stands_for_every_preset():
    from dse.cli.flags import chips_of
    from dse.hardware.presets import chip_names

    assert chips_of("all") == list(chip_names())
    assert chips_of("mine.toml,all,h100") == ["mine.toml", *chip_names()]
    assert chips_of("h100,h100") == ["h100"]
