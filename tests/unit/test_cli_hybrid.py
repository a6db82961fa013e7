"""A sweep and a serving run on a user's own file of a hybrid; `test_cli_sweep` has a study and a sweep of studies."""

import json

import pytest

import dse
from dse.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache_elsewhere")]

HYBRID = {
    "model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 8,
    "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4, "num_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512, "vocab_size": 32768, "max_position_embeddings": 32768,
}  # fmt: skip
SWEEP = """
[sweep]
name = "hybrid"
[base]
chip = "a100-80"
model = "hybrid.json"
chips = 1
phase = "decode"
weights = "fp8"
plan = "tp=1,pp=1,dp=1"
[[axes]]
key = "context"
values = [1024, 16384]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hybrid.json").write_text(json.dumps(HYBRID))
    return tmp_path


def test_a_sweep_whose_states_do_not_grow_and_whose_note_says_what_it_ran_in(folder, capsys):
    (folder / "mine.toml").write_text(SWEEP)
    assert main(["sweep", str(folder / "mine.toml"), "--results", str(folder / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["a100-80 has no FP8 products and runs them in BF16."]
    short, long = dse.results.load(str(folder / "out" / "hybrid"))["memory_B"]
    # 16 sequences: 2 of 8 layers keep 2 x 2 heads x 256 at 2 B for each of 15,360 further tokens
    assert long - short == pytest.approx(16 * 15360 * 2 * 2 * 2 * 256 * 2, rel=1e-6)


def test_a_serving_run(folder, capsys):
    argv = ["serve", "a100-80", str(folder / "hybrid.json"), "--chips", "1", "--in", "256", "--out", "64"]
    assert main([*argv, "--no-figures", "--json", "--results", str(folder / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "hybrid" and found["chips"]
