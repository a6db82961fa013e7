"""Milliseconds per solve of the small test chip, 1,024 side by side: `python tests/bench/bench_interior.py`.

`python tests/bench/bench_interior.py sweeps/trainium4.toml` times the program of a study instead, compilation apart.
"""

import importlib.util
import sys
import time
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from dse.optimize.batch import WIDTH, solve_batch  # noqa: E402
from dse.optimize.search import n_choices, search_of, solve_points  # noqa: E402
from dse.optimize.space import batch_of, space_of  # noqa: E402
from dse.study.study import load_study  # noqa: E402

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


def study(path):
    """CPU seconds of the first batch of a study's plans, tracing and compilation included, and of later ones."""
    search = search_of(space_of(load_study(path)))
    rng = np.random.default_rng(0)
    points = [
        (int(rng.integers(n_choices(search))), tuple(int(rng.integers(len(p))) for p in search.space.plans))
        for _ in range(WIDTH)
    ]
    batch_of(search.space, [i for i, _ in points], [p for _, p in points])
    seconds = []
    for _ in range(4):
        begin = time.process_time()
        found = solve_points(search, points)
        seconds.append(time.process_time() - begin)
    converged = np.mean([bool(c.optimum.converged) for c in found])
    print(f"first {seconds[0]:.1f} CPU s, then {min(seconds[1:]):.2f} CPU s for {WIDTH}; converged {converged:.2%}")


if __name__ == "__main__":
    study(sys.argv[1]) if len(sys.argv) > 1 else main()
