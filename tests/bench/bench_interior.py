"""Milliseconds per solve of the small test chip, 1,024 side by side: `python tests/bench/bench_interior.py`."""

import importlib.util
import time
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from dse.optimize.batch import solve_batch  # noqa: E402

N = 1024


def small_chip():
    """The chip of the unit tests."""
    path = Path(__file__).parents[1] / "unit" / "optimize" / "conftest.py"
    spec = importlib.util.spec_from_file_location("small_chip", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SmallChip


def main():
    chip = small_chip()
    data = chip.data(N)
    for chunk in (N, 256):
        seconds = []
        for _ in range(4):
            begin = time.perf_counter()
            o = solve_batch(chip.fun, data, chip.lower, chip.upper, chip.start, size=chunk)
            seconds.append(time.perf_counter() - begin)
        iterations = np.asarray(o.n_iterations)
        print(
            f"chunk {chunk:5d}: first {seconds[0]:.1f} s with compilation, "
            f"then {min(seconds[1:]) / N * 1e3:.3f} ms/solve; converged {np.mean(o.converged):.2%}, "
            f"iterations mean {iterations.mean():.1f}, max {iterations.max()}, largest gap {np.max(o.gap):.1e}"
        )


if __name__ == "__main__":
    main()
