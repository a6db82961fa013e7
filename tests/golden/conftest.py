"""Comparing answers: what is committed against what is computed here and now.

Solving every shipped study and sweep again takes a quarter of an hour, so those tests run where `DSE_GOLDEN=1`
(`make check-golden`), not with every change.
"""

import json
import math
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGAIN = pytest.mark.skipif(not os.environ.get("DSE_GOLDEN"), reason="solves every shipped study again: DSE_GOLDEN=1")
VOLATILE = {"seconds", "n_nodes", "date", "git_commit", "log"}
"""What may differ between two runs of the same question."""


def differences(committed, computed, relative: float, place: str = "") -> list[str]:
    """Where two JSON values differ: numbers by more than `relative`, all else at all."""
    if isinstance(committed, dict) and isinstance(computed, dict):
        keys = (committed.keys() | computed.keys()) - VOLATILE
        absent = [f"{place}.{k}: only on one side" for k in sorted(keys) if (k in committed) != (k in computed)]
        both = [k for k in sorted(keys) if k in committed and k in computed]
        return absent + [d for k in both for d in differences(committed[k], computed[k], relative, f"{place}.{k}")]
    if isinstance(committed, list) and isinstance(computed, list) and len(committed) == len(computed):
        pairs = enumerate(zip(committed, computed, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, relative, f"{place}[{i}]")]
    if isinstance(committed, float) and isinstance(computed, float | int):
        same = math.isclose(committed, computed, rel_tol=relative, abs_tol=1e-12)
        return [] if same else [f"{place}: {committed} committed, {computed} computed"]
    return [] if committed == computed else [f"{place}: {committed!r} committed, {computed!r} computed"]


@pytest.fixture
def answer(capsys):
    """The JSON answer of a command, exit code 0 or 1, without the version of its form, which files do not hold."""
    from dse.cli import main

    def run(*arguments: str):
        capsys.readouterr()
        assert main([*arguments, "--json"]) in (0, 1)
        found = json.loads(capsys.readouterr().out)
        found.pop("schema_version")
        return found

    return run
