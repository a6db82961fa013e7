"""Strict harness: float64, no silent rank or dtype promotion, no hypothesis deadline (first call compiles)."""

import json
import os
from typing import Any

import hypothesis
import jax
import pytest
from python_texts import PYTHON, texts

from dse.core import files

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# a machine that stalls is no fault of a test: `too_slow` would call it one
SLOW = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "dse", deadline=None, max_examples=50, derandomize=True, suppress_health_check=SLOW
)
hypothesis.settings.load_profile("dse")

os.environ.pop("COLUMNS", None)  # parallel workers set the terminal's width; tables are tested on a full page


@pytest.fixture(scope="session", autouse=True)
def no_python_in_json():
    """Every JSON that any test makes, answers and files alike, holds no spelling of Python's."""
    made = files._dumped

    def checked(value: Any) -> str:
        text = made(value)
        odd = [t for t in texts(json.loads(text)) if PYTHON.search(t)]
        assert not odd, odd[:3]
        return text

    files._dumped = checked
    yield
    files._dumped = made
