"""Scores of the shipped measurements, and answers of `serve` and `cost`, against what is committed."""

import json

import pytest

from .conftest import AGAIN, ROOT, differences

KINDS = ("training", "inference", "kernels", "collectives")


@AGAIN
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_as_committed(kind, answer, tmp_path):
    again = answer("validate", "--kind", kind, "--results", str(tmp_path))
    committed = json.loads((ROOT / "results" / "validation" / kind / "scores.json").read_text())
    written = json.loads((tmp_path / "validation" / kind / "scores.json").read_text())
    assert again
    for part in ("total", "sources", "memory", "unmodelled"):
        assert differences(committed[part], written[part], 1e-6, f"{kind} {part} ") == []


@AGAIN
@pytest.mark.slow
def test_serving_is_as_committed(answer, tmp_path):
    committed = json.loads((ROOT / "results/serve/gpt-oss-120b_trainium2_trainium3.json").read_text())
    answer("serve", "trainium2,trainium3", "gpt-oss-120b", "--tpot", "20ms", "--weights", "mxfp4",
           "--results", str(tmp_path))  # fmt: skip
    (written,) = (tmp_path / "serve").glob("*.json")
    assert differences(committed, json.loads(written.read_text()), 1e-6) == []
