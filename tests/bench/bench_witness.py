"""Our solver beside an independent conic one: `python tests/bench/bench_witness.py [N] [STUDY ...]`.

On the shipped studies (or those named) and N random ones, 100 unless told otherwise. Every study is rewritten as
exponential cones (`tests/unit/optimize/conic.py`, which shares nothing with the solver) and solved by Clarabel:
optimum, price of every limit, and whether a design exists at all. Prints one Markdown row per study and the largest
differences; ends with an error where they differ by more than `AGREE`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import sys
import time
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from dse.optimize.batch import WIDTH, solve_batch  # noqa: E402
from dse.optimize.search import n_choices, search_of  # noqa: E402
from dse.optimize.space import data_of, element, own_plans, space_of  # noqa: E402
from dse.study.convex import all_strict, model_of, ratio_rows  # noqa: E402
from dse.study.study import load_study  # noqa: E402

ROOT = Path(__file__).parents[2]
GAVE_UP = "gave up"
AGREE = {"optimal": 1e-6, "optimal_inaccurate": 1e-4}
"""Largest difference of log goals where Clarabel says so of its answer."""
HEAD = """# An outside witness

Written by `python tests/bench/bench_witness.py --write docs/witness.md`: shipped studies (the first choice of each
under the plans of the baseline) and random ones (limits of the tiny study multiplied), rewritten as exponential cones
by code that shares nothing with the solver, and solved by Clarabel. Prices are multipliers of the user's limits; those
of a degenerate optimum are not unique. Where Clarabel calls its own answer inaccurate or gives up, so does the row.

| study | ours | Clarabel | difference of log goals | of prices | CPU s of Clarabel |
|---|---|---|---|---|---|
"""


def witness_of_tests():
    """The rewriting of the unit tests."""
    spec = importlib.util.spec_from_file_location("conic", ROOT / "tests/unit/optimize/conic.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["conic"] = module
    spec.loader.exec_module(module)
    return module.witness


def ours(search, data):
    """Our optimum of one choice under its plans."""
    lower, upper = search.box
    batch = jax.tree.map(lambda x: np.asarray(x)[None], data)
    middle = ((lower + upper) / 2)[None]
    strict = all_strict(search.core)
    return element(solve_batch(model_of(search.core), batch, lower, upper, middle, loose=strict, size=WIDTH), 0)


def compare(name, search, data, witness):
    """One row: both verdicts, log goals, largest difference of a price, seconds of the other solver."""
    o = ours(search, data)
    begin = time.process_time()
    status, log_goal, prices = witness(search.core, data, *search.box)
    seconds = time.process_time() - begin
    we = "optimal" if bool(o.converged) else "infeasible" if float(o.violation_bound) > 0 else "unfinished"
    both = we == "optimal" and status in AGREE
    goal = abs(float(o.objective) - log_goal) if both else math.nan
    users = np.asarray([r.limit is not None for r in ratio_rows(search.core)])
    price = np.max(np.abs(np.asarray(o.multipliers) - prices)[users], initial=0.0) if both else math.nan
    same = status == GAVE_UP or (we == status.split("_")[0] and not goal > AGREE.get(status, 0.0))
    apart = f"{goal:.1e} | {price:.1e}" if both else "- | -"  # nothing to compare is no agreement to the last bit
    line = f"| {name} | {we} | {status} | {apart} | {seconds:.1f} |"
    print(line, flush=True)
    return line, same, status, goal, float(price)


def shipped(names):
    """The shipped studies, or some, each with its first choice under the baseline's plans."""
    for path in sorted((ROOT / "sweeps").rglob("*.toml")):
        if "[study]" in path.read_text() and (not names or path.stem in names):
            search = search_of(space_of(load_study(path)))
            yield path.stem, search, data_of(search.space, 0, own_plans(search.space))


def drawn(n):
    """Random studies: the tiny one with its limits multiplied, choices in turn; a third has no design."""
    search = search_of(space_of(load_study(ROOT / "tests/data/tiny.toml")))
    rng = np.random.default_rng(0)
    for i in range(n):
        data = data_of(search.space, i % n_choices(search), own_plans(search.space))
        factors = np.exp(rng.uniform(-1.0, 1.0, len(search.space.study.limits)))
        yield f"random {i}", search, dataclasses.replace(data, limits=np.asarray(data.limits) * factors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("n", type=int, nargs="?", default=100)
    parser.add_argument("studies", nargs="*")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    witness = witness_of_tests()
    print(HEAD, end="")
    found = [compare(*x, witness) for x in (*shipped(asked.studies), *drawn(asked.n))]
    lines, same, statuses, goals, prices = zip(*found, strict=True)
    sure = [goal for goal, status in zip(goals, statuses, strict=True) if status in ("optimal", "infeasible")]
    prices = np.asarray(prices)[np.isfinite(prices)]
    said = (
        f"{len(found)} studies, {len(sure)} of which Clarabel is sure of, {statuses.count(GAVE_UP)} that it gave up: "
        f"{len(found) - sum(same)} contradictions. Largest difference of log goals {np.nanmax(sure):.1e} where it is "
        f"sure, {np.nanmax(goals):.1e} anywhere; of prices {max(prices):.1e}, median {np.median(prices):.1e}, over the "
        f"{len(prices)} studies that both have an optimum of."
    )
    print(f"\n{said}")
    if asked.write:
        asked.write.write_text(f"{HEAD}{chr(10).join(lines)}\n\n{said}\n", encoding="utf-8")
    return int(not all(same))


if __name__ == "__main__":
    sys.exit(main())
