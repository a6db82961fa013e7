"""Strict harness: float64, no silent rank or dtype promotion, no hypothesis deadline (first call compiles)."""

import os

import hypothesis
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

hypothesis.settings.register_profile("dse", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("dse")

os.environ.pop("COLUMNS", None)  # parallel workers set the terminal's width; tables are tested on a full page
