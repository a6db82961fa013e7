"""Generations side by side: limits are kept, looser ones never serve less."""

import pytest

from dse.hardware.presets import system
from dse.report.generations import best_served, generations_view
from dse.report.terminal import screen
from dse.workload.presets import model
from dse.workload.transformer import Decode

TOKEN = Decode(model("llama-3.1-8b"), 1, 2048)


@pytest.fixture(scope="module")
def found():
    return {limit: best_served(system("trn2-16", 4), TOKEN, limit, ("fp8", "bf16")) for limit in (1e-5, 5e-3, 0.1)}


def test_no_plan_is_faster_than_reading_the_weights(found):
    assert found[1e-5] is None


def test_limits_are_kept_and_looser_ones_never_serve_less(found):
    tight, loose = found[5e-3], found[0.1]
    assert tight.token_s <= 5e-3
    assert tight.tokens_per_s_per_chip <= loose.tokens_per_s_per_chip
    assert loose.tokens_per_s_per_chip == pytest.approx(loose.workload.batch / loose.token_s / 4)
    assert loose.n_tokens_per_J == pytest.approx(loose.tokens_per_s_per_chip / loose.power_W)


def test_the_view_shows_ratios(found, capsys):
    screen().print(generations_view(found[5e-3], found[0.1]))
    out = capsys.readouterr().out
    assert "tokens/s per MW" in out and "ratio" in out
