"""Certified fronts against black-box search on one model: `python tests/bench/bench_explorer.py --points 100`.

Every method sees the same study with one discrete choice and one plan per workload. Black-box searches get a head
start: supply, die and step times follow in closed form, so they search the nine free numbers only, with one jitted
function that evaluates a whole population; all their feasible evaluations count, not the last population alone. They
run for ten times the wall-clock of the warm front (at most `--cap` seconds), scored at once and ten times. One seed.
Needs moocore, pymoo and optuna. Writes a table and a plot to results/explorer_bench/.
"""

import argparse
import dataclasses
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import moocore
import numpy as np
import pandas as pd

import dse
from dse.explore.built import as_built
from dse.explore.front import front
from dse.explore.ray import Rays
from dse.optimize.descent import run_search
from dse.optimize.search import search_of
from dse.optimize.space import classes_of, data_of, demands_on, space_of
from dse.study.convex import chip_at, separate
from dse.study.design import with_free
from dse.study.metrics import METRICS

matplotlib.use("Agg")

ROOT = Path(__file__).parents[2]
OUT = ROOT / "results" / "explorer_bench"
TIMES = 10
SEED = 1
CHECKED = 40
FEASIBLE = 1e-9
"""Sum of log violations that is rounding."""
MIXED = 4000
"""Geometric mixes of certified designs that fill the front in."""
COLUMNS = {
    ("delivered_time", "package_cost_USD"): "2 metrics",
    ("delivered_time", "package_cost_USD", "full_load_fp8_W"): "3 metrics",
}


class Task:
    """One study with one choice and one plan per workload, and a compiled evaluation of populations."""

    def __init__(self, study, metrics):
        search = search_of(space_of(study))
        best = run_search(search)[0]
        self.metrics, self.plans = (
            metrics,
            [[kept[i]] for kept, i in zip(search.space.plans, best.plan_index, strict=True)],
        )
        self.study = dataclasses.replace(study, choices=(study.choices[best.choice_index],))
        rays = self.rays()
        self.core, self.data = search.core, data_of(search.space, best.choice_index, best.plan_index)
        self.caps = np.log(rays.widest)
        self.lower, self.upper = (b[: len(self.core.free)] for b in search.box)
        self._many = jax.jit(jax.vmap(partial(measure, self.core, self.metrics, self.data)))
        for n in (1, 128):
            self(np.repeat(((self.lower + self.upper) / 2)[None], n, axis=0))

    def rays(self):
        """Fresh problems of the front, held to the same plans."""
        rays = Rays(self.study, self.metrics)
        space = rays.space
        # a search begins with the baseline's own plans: here those that every method is given
        own = [(kept[0], step) for kept, (_, step) in zip(self.plans, space.ground.baselines, strict=True)]
        ground = dataclasses.replace(space.ground, baselines=own)
        demands = demands_on(ground, space.structures, self.plans)
        classes = classes_of(self.study, self.plans)
        rays.__dict__["space"] = dataclasses.replace(
            space, ground=ground, plans=self.plans, demands=demands, classes=classes
        )
        return rays

    def __call__(self, z):
        """Log metrics and total log violation of a population, padded to a compiled size."""
        size = 1 if len(z) == 1 else 128
        found = []
        for begin in range(0, len(z), size):
            part = z[begin : begin + size]
            rows = np.minimum(np.arange(size), len(part) - 1)
            found.append([np.asarray(x)[: len(part)] for x in self._many(part[rows])])
        logs, broken = (np.concatenate(x) for x in zip(*found, strict=True))
        finite = np.where(np.isfinite(self.caps), self.caps, np.inf)
        return logs, broken + np.maximum(logs - finite, 0.0).sum(axis=1)


def measure(core, metrics, data, z):
    """Log metrics and sum of log violations of one chip as built."""
    free = dict(zip(core.free, jnp.exp(z), strict=True))
    x = as_built(core, free, data)
    chip = with_free(data.chip, free)
    state, _ = chip_at(core, chip, x, data)
    logs = jnp.log(jnp.stack([jnp.asarray(METRICS[m](state)) for m in metrics]))
    _, *ratios = separate(core, x, data)
    over = jnp.append(jnp.log(jnp.stack(ratios)), jnp.log(x["supply_V"] / data.tech.node.maximum_V))
    total = jnp.sum(jnp.where(over > 1e-7, over, 0.0))
    return jnp.nan_to_num(logs, nan=1e3, posinf=1e3), jnp.nan_to_num(total, nan=1e3, posinf=1e3)


class Archive:
    """Every feasible evaluation with the time it came at."""

    def __init__(self, task, seconds):
        self.task, self.end, self.begin = task, seconds, time.perf_counter()
        self.rows, self.at, self.n = [], [], 0

    @property
    def over(self):
        return time.perf_counter() - self.begin > self.end

    def __call__(self, z):
        logs, broken = self.task(np.atleast_2d(z))
        now, good = time.perf_counter() - self.begin, broken <= FEASIBLE
        self.rows.append(logs[good])
        self.at.append(np.full(good.sum(), now))
        self.n += len(logs)
        return logs, broken

    def until(self, seconds):
        rows = np.concatenate([*self.rows, np.zeros((0, len(self.task.metrics)))])
        at = np.concatenate([*self.at, np.zeros(0)])
        rows = rows[at <= seconds]
        return rows[moocore.is_nondominated(rows)] if len(rows) else rows


def random_search(archive):
    rng, t = np.random.default_rng(SEED), archive.task
    while not archive.over:
        archive(rng.uniform(t.lower, t.upper, (128, t.lower.size)))


def pymoo_search(name, archive):
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.problem import Problem
    from pymoo.core.termination import Termination
    from pymoo.optimize import minimize
    from pymoo.util.ref_dirs import get_reference_directions

    t, k = archive.task, len(archive.task.metrics)

    class Chips(Problem):
        def __init__(self):
            super().__init__(n_var=t.lower.size, n_obj=k, n_ieq_constr=1, xl=t.lower, xu=t.upper)

        def _evaluate(self, x, out, *_, **__):
            logs, broken = archive(x)
            out["F"], out["G"] = logs, broken[:, None]

    class WhenOver(Termination):
        def _update(self, _):
            return 1.0 if archive.over else 0.0

    directions = get_reference_directions("das-dennis", k, n_partitions=99 if k == 2 else 13)
    method = NSGA2(pop_size=128) if name == "NSGA-II" else NSGA3(ref_dirs=directions)
    minimize(Chips(), method, WhenOver(), seed=SEED, verbose=False)


def optuna_search(name, archive):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    t, k = archive.task, len(archive.task.metrics)
    broken = lambda trial: (trial.user_attrs["broken"],)  # noqa: E731
    samplers = optuna.samplers
    kind = samplers.NSGAIISampler if name == "NSGA-II" else samplers.TPESampler
    sampler = kind(seed=SEED, constraints_func=broken)
    runs = optuna.create_study(directions=["minimize"] * k, sampler=sampler)

    def objective(trial):
        z = np.asarray(
            [trial.suggest_float(f"z{i}", a, b) for i, (a, b) in enumerate(zip(t.lower, t.upper, strict=True))]
        )
        logs, total = archive(z)
        trial.set_user_attr("broken", float(total[0]))
        return tuple(float(x) for x in logs[0])

    runs.optimize(objective, timeout=archive.end)


METHODS = {
    "random": random_search,
    "pymoo NSGA-II": partial(pymoo_search, "NSGA-II"),
    "pymoo NSGA-III": partial(pymoo_search, "NSGA-III"),
    "Optuna NSGA-II": partial(optuna_search, "NSGA-II"),
    "Optuna TPE": partial(optuna_search, "TPE"),
}


def certified_front(task, n):
    """Log points of the warm front, its seconds and its worst gap."""
    front(task.study, task.metrics, n, rays=task.rays())
    rays = task.rays()
    _ = rays.space.without_plans, rays.space.demands
    begin = time.perf_counter()
    found = front(task.study, task.metrics, n, rays=rays)
    points, seconds = np.log(found.values), time.perf_counter() - begin
    z = np.stack([p.optimum.z for p in found.points])[:, : len(task.core.free)]
    mixed = fill(task, points, z)
    return points, seconds, mixed, time.perf_counter() - begin, found.worst_gap


def fill(task, points, z):
    """Points of geometric mixes of neighbouring designs, which meet all limits since the problem is log-log convex."""
    rng, k = np.random.default_rng(SEED), points.shape[1]
    near = np.argsort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, : k + 2]
    picked = near[rng.integers(len(points), size=MIXED)]
    weights = rng.dirichlet(np.ones(picked.shape[1]), MIXED)
    logs, broken = task(np.einsum("mi,mij->mj", weights, z[picked]))
    every = np.concatenate([points, logs[broken <= FEASIBLE]])
    return every[moocore.is_nondominated(every)]


def behind(task, points):
    """Median log distance of the first metric from its certified optimum at the same other metrics."""
    if not len(points):
        return float("nan")
    rays = task.rays()
    some = points[np.random.default_rng(0).permutation(len(points))[:CHECKED]]
    weights = (1.0, *(0.0 for _ in task.metrics[1:]))
    solved = rays.solve([(0, (1.0, *(float(x) for x in np.exp(p[1:]))), weights) for p in some])
    best = np.asarray([np.log(p.values[0]) if np.isfinite(p.slack) else np.nan for p in solved])
    return float(np.nanmedian(some[:, 0] - best))


def score(points, low, high):
    """Share of the box between the best values of all methods and the ends that the points dominate, log axes."""
    if not len(points):
        return 0.0
    unit = (points - low) / (high - low)
    return float(moocore.hypervolume(unit, ref=np.ones(points.shape[1])))


def thinned(points, n):
    """At most `n` points, far from each other: the same size for every method."""
    if len(points) <= n:
        return points
    kept = [int(points.sum(axis=1).argmin())]
    far = np.linalg.norm(points - points[kept[0]], axis=1)
    while len(kept) < n:
        kept.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(points - points[kept[-1]], axis=1))
    return points[kept]


def row_of(task, head, points, box, n_evaluations):
    """One line of the table."""
    low, high, size = box
    volumes = score(points, low, high), score(thinned(points, size), low, high)
    return (*head, len(points), *volumes, np.expm1(behind(task, points)), n_evaluations)


def compare(task, n, cap):
    """Every method on one task: rows of the table and the points drawn."""
    ours, seconds, mixed, filled_at, gap = certified_front(task, n)
    print(f"front: {len(ours)} points in {seconds:.1f} s, worst gap {gap:.1e}", flush=True)
    archives = {}
    for name, method in METHODS.items():
        archive = Archive(task, min(TIMES * seconds, cap))
        method(archive)
        archives[name] = archive
        print(f"{name}: {archive.n:,} evaluations in {archive.end:.0f} s", flush=True)
    everything = np.concatenate([mixed, *(a.until(np.inf) for a in archives.values())])
    low, high = everything.min(axis=0), np.minimum(everything.max(axis=0), task.caps)
    label = COLUMNS[task.metrics]
    rows = [
        row_of(task, (label, "dse front", seconds, 1.0), ours, (low, high, len(ours)), 0),
        row_of(task, (label, "dse front, mixes", filled_at, filled_at / seconds), mixed, (low, high, len(ours)), MIXED),
    ]
    for name, a in archives.items():
        for end in (seconds, a.end):
            n_so_far = int(a.n * end / a.end)
            row = row_of(task, (label, name, end, end / seconds), a.until(end), (low, high, len(ours)), n_so_far)
            rows.append(row)
    return rows, ours, {name: a.until(np.inf) for name, a in archives.items()}


def draw(ours, others, metrics):
    """The two-metric front and what the searches found in ten times its time."""
    from dse.report.style import BLOCKS, DESIGN, STYLE, plt, save

    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(7.2, 4.2))
        for (name, points), colour in zip(others.items(), BLOCKS.values(), strict=False):
            x = np.exp(points)
            ax.scatter(x[:, 1], 1 / x[:, 0], s=10, color=colour, label=f"{name}, up to {TIMES}x the time", linewidths=0)
        x = np.exp(ours[np.argsort(ours[:, 1])])
        ax.plot(x[:, 1], 1 / x[:, 0], color=DESIGN, linewidth=1.6, label="certified front")
        ax.set(
            xlabel="package cost [USD]",
            ylabel="delivered speed-up",
            title="Same model, same limits, one discrete choice",
        )
        ax.grid()
        ax.legend(fontsize=8.5, loc="lower right")
        save(figure, OUT, "fronts")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--cap", type=float, default=float("inf"))
    parser.add_argument("--study", default=str(ROOT / "sweeps" / "trainium4.toml"))
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    columns = (
        "task",
        "method",
        "seconds",
        "times",
        "points",
        "hypervolume",
        "same_size",
        "behind_optimum",
        "evaluations",
    )
    rows = []
    for metrics in COLUMNS:
        task = Task(dse.load_study(options.study), metrics)
        more, ours, others = compare(task, options.points, options.cap)
        rows += more
        if len(metrics) == 2:
            draw(ours, others, metrics)
    table = pd.DataFrame(rows, columns=list(columns))
    table.to_csv(OUT / "table.csv", index=False, float_format="%.6g")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    main()
