"""Incumbent of branch and bound: the best integer design so far, and heuristics that improve it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .counts import fixed_boxes, neighbours
from .interior import Optimum
from .search import Candidate
from .space import element
from .tables import Tables, plan_rows, plan_seconds, solve_whole


@dataclasses.dataclass(frozen=True)
class Region:
    """One box of the discrete space."""

    groups: tuple[np.ndarray, ...]
    """Plans of each workload, positions in its table; last, choices that only buy differently, in `study.choices`."""
    counts: tuple[tuple[int, int], ...]
    bound: float
    """No design inside has a smaller log goal."""

    @property
    def choice(self) -> int:
        """The first of the choices: the others differ from it in what they buy alone."""
        return int(self.groups[-1][0])

    @property
    def single(self) -> bool:
        """Whether nothing is left to choose: one choice, one plan per workload, every count fixed."""
        return all(len(g) == 1 for g in self.groups) and all(low == high for low, high in self.counts)


@dataclasses.dataclass
class Incumbent:
    """The best design so far, counts whole, and how better ones are looked for."""

    tables: Tables
    best: Candidate | None = None
    seen: set[tuple[Any, ...]] = dataclasses.field(default_factory=set)
    """Choices, plans and ranges of the counts solved already."""

    @property
    def log_goal(self) -> float:
        """Log goal of the best design; infinite without one."""
        return math.inf if self.best is None else self.best.log_goal

    def take(self, regions: list[Region], optima: Optimum) -> None:
        """Relaxations that leave nothing open, one plan per workload and every count fixed, are designs."""
        for i, region in enumerate(regions):
            if region.single and bool(optima.feasible[i]):
                self._keep(Candidate(region.choice, tuple(int(g[0]) for g in region.groups[:-1]), element(optima, i)))

    def improve(self, choices: list[int], z: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Price all plans at chips of some choices, solve each with its fastest in its box, round: a better design?"""
        if not choices:
            return
        own = [(c, *(0 for _ in self.tables.of_workloads)) for c in choices]
        seconds = plan_seconds(self.tables, choices, plan_rows(self.tables, own), z)
        counts = self.tables.search.integer_places
        fresh = []
        for i, choice in enumerate(choices):
            if all(np.isfinite(s[i]).any() for s in seconds):
                point = (choice, *(int(np.argmin(s[i])) for s in seconds))
                key = (point, tuple(lower[i, counts]), tuple(upper[i, counts]))
                fresh += [(i, point)] if key not in self.seen else []
                self.seen.add(key)
        if fresh:
            rows = [i for i, _ in fresh]
            self._round(self._continuous([p for _, p in fresh], lower[rows], upper[rows]))

    def _keep(self, design: Candidate) -> None:
        if design.log_goal < self.log_goal:
            self.best = design

    def _continuous(self, points: list[tuple[int, ...]], lower: np.ndarray, upper: np.ndarray) -> list[Candidate]:
        """Optima of single plans in boxes of their own that could beat the best."""
        solved = solve_whole(self.tables, (lower, upper), points)
        found = [Candidate(p[0], p[1:], element(solved, i)) for i, p in enumerate(points)]
        return [c for c in found if c.log_goal < self.log_goal]

    def _round(self, candidates: list[Candidate]) -> None:
        search = self.tables.search
        tries = [(c, v) for c in candidates for v in neighbours(search, c)]
        if not tries:
            return
        points = [(c.choice_index, *c.plan_index) for c, _ in tries]
        solved = solve_whole(self.tables, fixed_boxes(search, [v for _, v in tries]), points)
        for i, (c, _) in enumerate(tries):
            self._keep(dataclasses.replace(c, optimum=element(solved, i)))
