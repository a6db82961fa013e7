"""One place that sets JAX up for the command line: 64 bit, and compiled programs kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Where compiled programs are kept: the user's cache, such as `$XDG_CACHE_HOME/dse/jax` or `~/.cache/dse/jax`."""
    return platformdirs.user_cache_path("dse") / "jax"


def start_jax() -> None:
    """Switch JAX to float64 and keep compiled programs where the home can be written, so that runs start warm."""
    import jax

    jax.config.update("jax_enable_x64", True)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

    from ..core.kept import keep_in

    keep_in(folder.parent / "kept")
