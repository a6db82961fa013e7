"""Partial-pooling fit: effects of software, vendor, family, stack, chip and pair, fitted jointly to all measurements.

    log t_i = f(sum of the effects of row i) + b[source] + c[cell] + noise_i,  z ~ N(0, kappa^2), noise ~ Student t
Leaving rows out is done by a mask with a warm start.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..core.provenance import Receipts, load_receipts, number
from ..physics.coordinates import BY_HAND, NUMBERS, OF_HOST
from .design import Design

SETTINGS = Path(__file__).parent / "data" / "pooling.toml"
N = len(NUMBERS)
LARGEST_STEP = 3.0
"""Most prior deviations that one step moves an effect."""
TRIES, GIVE, TAKE, DAMPING = 8, 8.0, 5.0, 1e-2
"""Damping that is tried at most so often, multiplied after a step that fails and divided after one that succeeds."""
NOISE_STEPS = 5
"""Fixed-point steps on the noise of each source between steps of the effects."""


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How much effects may differ, and how noisy measurements are."""

    spread: np.ndarray
    """Standard deviation of the effect of each level on each number, in prior deviations, shape (levels, numbers)."""
    tau: float
    """Standard deviation of the offset of a source, and of a cell within it, in log time."""
    sigma: float
    """Scale of the noise of a source before its rows are seen, in log time."""
    nu: float
    """Degrees of freedom of the noise: few give outliers little pull."""
    temper_rows: float
    """Rows of a source beyond which each counts less: n rows weigh as sqrt(n temper_rows)."""


@cache
def pooling(levels: tuple[str, ...]) -> Pooling:
    """The shipped settings for `levels`."""
    facts = load_receipts(SETTINGS)["pooling"]
    # what a host does, and kernels that are written by hand, differ at other levels than the rest
    groups = ["host_" if n in OF_HOST else "by_hand_" if n in BY_HAND else "" for n in NUMBERS]
    spread = np.asarray([[_kappa(facts, group, level) for group in groups] for level in levels])
    return Pooling(spread, *(number(facts, n) for n in ("tau", "sigma", "nu", "temper_rows")))


def _kappa(facts: Receipts, group: str, level: str) -> float:
    """A group's own deviation at a level, or that of all numbers where it has none."""
    own = f"{group}kappa_{level}"
    return number(facts, own if own in facts else f"kappa_{level}")


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Where the effects are and what the data leave open."""

    z: np.ndarray
    """Effects, then offsets of sources, then of cells."""
    log_sigma: np.ndarray
    """Log of the noise scale of each source."""
    precision: np.ndarray
    """Gauss-Newton matrix at `z`: the inverse of the Laplace covariance."""
    iterations: int
    """Steps taken."""

    def effects(self, n_units: int) -> np.ndarray:
        """Effects of shape (units, numbers)."""
        return self.z[: n_units * N].reshape(-1, N)


class _Columns:
    """Where effects and offsets stand in the vector of unknowns, and their prior precisions."""

    def __init__(self, design: Design, settings: Pooling) -> None:
        index, names = design.units
        source_names, self.source = np.unique(design.frame.source.tolist(), return_inverse=True)
        self.n_effects, self.n_sources = len(names) * N, len(source_names)
        cell = np.zeros(len(design.frame), dtype=int)
        for k, rows in enumerate(design.cells):
            cell[rows] = k
        self.offsets = np.stack([self.n_effects + self.source, self.n_effects + self.n_sources + cell], axis=1)
        self.effects = (index[:, :, None] * N + np.arange(N)).reshape(len(design.frame), -1)
        self.n_levels = index.shape[1]
        spread = settings.spread[[design.levels.index(n.split(":", 1)[0]) for n in names]]
        rest = np.full(self.n_sources + len(design.cells), settings.tau**-2.0)
        self.precision = np.concatenate([(spread**-2.0).ravel(), rest])


class Pooled:
    """The fit of a design; make one and fit it to as many masks as wanted."""

    def __init__(self, design: Design, settings: Pooling | None = None) -> None:
        self.design = design
        self.settings = settings or pooling(design.levels)
        self.columns = _Columns(design, self.settings)
        self.log_s = design.frame.log_s.to_numpy()
        self.learnt = design.frame.calibrates.to_numpy()
        self.n_units = len(design.units[1])

    def fit(self, mask: np.ndarray | None = None, start: Posterior | None = None, iterations: int = 120) -> Posterior:
        """The most probable effects given the rows in `mask` that calibrate.

        Source: [marquardt1963] for the steps, on forward-mode slopes; [lange1989] for weights, as of Student-t noise.
        """
        # rows left out stay in the arrays and weigh nothing, so that every mask runs the same program
        on = self.learnt if mask is None else self.learnt & mask
        # zero effects: every chip at its prior
        z = np.zeros(len(self.columns.precision)) if start is None else start.z.copy()
        log_sigma = np.full(self.columns.n_sources, np.log(self.settings.sigma)) if start is None else start.log_sigma
        power, damping, steady, taken = self._power(on), DAMPING, 0, 0
        t, slope = self.design.evaluate(z[: self.columns.n_effects].reshape(-1, N), on)
        for _ in range(iterations):
            taken += 1
            r = self._residual(z, t)
            log_sigma = self._noise(r, power, log_sigma)
            weight = self._weight(r, power, log_sigma)
            hessian, gradient = self._normal(z, slope, r, weight, on)
            before = self._cost(z, r, power, log_sigma)
            for _try in range(TRIES):
                # Marquardt's scaling: a share of each diagonal, so that units of the effects do not matter
                step = cho_solve(cho_factor(hessian + damping * np.diag(np.diagonal(hessian))), gradient)
                # far from the optimum a linearised step may ask for numbers that nobody would believe
                trial = z + step * min(1.0, LARGEST_STEP / max(np.abs(step).max(), 1e-12))
                t_new, slope_new = self.design.evaluate(trial[: self.columns.n_effects].reshape(-1, N), on)
                after = self._cost(trial, self._residual(trial, t_new), power, log_sigma)
                if np.isfinite(t_new).all() and after < before:
                    break
                damping *= GIVE
            else:
                break
            z, t, slope, damping = trial, t_new, slope_new, max(damping / TAKE, 1e-4)
            # one small gain may be a damped step on a slope; three in a row are the bottom
            steady = steady + 1 if before - after < 1e-4 * abs(before) else 0
            if steady >= 3:
                break
        r = self._residual(z, t)
        hessian, _ = self._normal(z, slope, r, self._weight(r, power, log_sigma), on)
        return Posterior(z, log_sigma, hessian, taken)

    def _power(self, on: np.ndarray) -> np.ndarray:
        """Weight of each row: sources with many rows count by the root of their number."""
        n = np.maximum(np.bincount(self.columns.source[on], minlength=self.columns.n_sources), 1)
        return np.minimum(1.0, np.sqrt(self.settings.temper_rows / n))[self.columns.source] * on

    def _residual(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.log_s - t - z[self.columns.offsets].sum(axis=1)

    def _noise(self, r: np.ndarray, power: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
        """Noise scale of each source: damped fixed point of its own posterior around the usual scale."""
        src, nu, n = self.columns.source, self.settings.nu, self.columns.n_sources
        rows = np.bincount(src, power, n)
        for _ in range(NOISE_STEPS):
            # slope of the Student-t likelihood in log sigma: a row pulls by at most nu, however far off it is
            s2 = np.exp(2 * log_sigma[src])
            pull = np.bincount(src, power * ((nu + 1) * r**2 / (nu * s2 + r**2) - 1), n)
            # without a prior of its own, the noise of a source of one row would shrink onto that row
            pull -= (log_sigma - np.log(self.settings.sigma)) / NOISE_VARIANCE
            log_sigma = log_sigma + np.clip(pull / (2 * rows + 1 / NOISE_VARIANCE), -0.5, 0.5)
        return log_sigma

    def _weight(self, r: np.ndarray, power: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
        nu = self.settings.nu
        # iteratively reweighted least squares: outliers keep their slope and lose their weight
        return power * (nu + 1) / (nu * np.exp(2 * log_sigma[self.columns.source]) + r**2)

    def _cost(self, z: np.ndarray, r: np.ndarray, power: np.ndarray, log_sigma: np.ndarray) -> float:
        """Minus the log posterior, up to what does not move in a step."""
        nu, s2 = self.settings.nu, np.exp(2 * log_sigma[self.columns.source])
        noise = power * (nu + 1) / 2 * np.log1p(np.where(power > 0, r, 0.0) ** 2 / (nu * s2))
        return float(noise.sum() + 0.5 * (self.columns.precision * z**2).sum())

    def _normal(
        self, z: np.ndarray, slope: np.ndarray, r: np.ndarray, weight: np.ndarray, on: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Newton matrix and gradient, summed cell by cell: rows of a cell share their columns."""
        c = self.columns
        hessian, gradient = np.diag(c.precision), -c.precision * z
        for cell in self.design.cells:
            rows = cell[on[cell]]
            if len(rows):
                at = np.concatenate([c.effects[rows[0]], c.offsets[rows[0]]])
                j = np.hstack([np.tile(slope[rows], c.n_levels), np.ones((len(rows), 2))])
                hessian[np.ix_(at, at)] += j.T @ (weight[rows, None] * j)
                gradient[at] += j.T @ (weight[rows] * r[rows])
        return hessian, gradient

    def predict(self, p: Posterior, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log times of `wanted` rows without offsets, and the standard deviation that the effects leave."""
        t, slope = self.design.evaluate(p.effects(self.n_units), wanted)
        # offsets of sources are left out of the prediction but were free in the fit: their share is marginalised
        covariance = np.linalg.inv(p.precision)
        variance = np.zeros(len(t))
        for cell in self.design.cells:
            at = self.columns.effects[cell[0]]
            j = np.tile(slope[cell], self.columns.n_levels)
            variance[cell] = np.einsum("ij,jk,ik->i", j, covariance[np.ix_(at, at)], j)
        return t, np.sqrt(np.maximum(variance, 0.0))


NOISE_VARIANCE = 0.25
"""Variance of the log of a source's noise scale around the usual one (guess: half or twice as much is common)."""
