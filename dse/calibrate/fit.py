"""Fits the few numbers of a calibration to measurements, by optax through the differentiable model.

Every number stays near its prior unless the data pull it away, so a family with few measurements stays honest. No
number belongs to a row, a model or a source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..core.provenance import Receipts
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration
from ..physics.step import Request, request_s, step_time
from .cases import Case

FITTED = (
    "matmul_frac", "narrow_frac", "attention_frac", "hbm_frac", "vector_frac", "scaleup_frac", "scaleout_frac",
    "host_s", "sync_hop_s", "tp_overlap_frac", "dp_overlap_frac",
)  # fmt: skip
"""Eleven numbers of a pair of family and stack, fitted by descent; the overlap exponent is the twelfth."""

ALONE = (
    "matmul_frac", "narrow_frac", "attention_frac", "hbm_frac", "launch_s", "scaleup_frac", "scaleout_frac",
    "scaleup_hop_s", "scaleout_hop_s", "collective_s", "exchange_s",
)  # fmt: skip
"""Eleven numbers that single operators and collectives can tell; the overlap exponent is the twelfth."""

SERVED = (
    "matmul_frac", "attention_frac", "hbm_frac", "vector_frac", "scaleup_frac", "launch_s", "scaleup_hop_s",
    "collective_s", "exchange_s", "call_s", "request_s",
)  # fmt: skip
"""Eleven numbers of a serving stack; the overlap exponent is the twelfth."""

LEADER, FOLLOW = "matmul_frac", ("narrow_frac", "attention_frac")
"""What slows all matrix work of a stack slows 8-bit products and attention too, unless measurements say otherwise."""

EXPONENTS = (2.0, 4.0, 8.0)
"""Overlap exponents tried: powers of two are several times faster to evaluate."""

STEPS, RATE = 600, 0.03
"""Adam steps and first step size."""
HUBER = 0.15
"""Log error beyond which a row pulls no harder: outliers are software, not physics."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted calibration and how much the data say about each number."""

    calibration: Calibration
    """The fit."""
    deviation: dict[str, float]
    """One standard deviation of each number in log or logit units, from the curvature of the loss."""
    prior_deviation: dict[str, float]
    """The same before any data; a number whose two deviations agree is not determined by the measurements."""
    loss: float
    """Final loss."""
    n_cases: int
    """Measurements used."""

    def determined(self, name: str) -> bool:
        """Whether the measurements, rather than the prior, set a number: they at least halve its deviation."""
        return name == "overlap_p" or self.deviation.get(name, np.inf) < 0.5 * self.prior_deviation.get(name, 0.0)

    def interval(self, name: str) -> tuple[float, float]:
        """Two standard deviations either side of a number, in its own unit."""
        value = float(getattr(self.calibration, name))
        if name not in self.deviation:
            return value, value
        x, s = _to_free(name, value), 2 * min(self.deviation[name], self.prior_deviation[name])
        low, high = (float(_from_free(name, jnp.asarray(v))) for v in (x - s, x + s))
        return low, high


def _to_free(name: str, value: float) -> float:
    """Unbounded coordinate of a number: logit of a fraction, log of a time."""
    clipped = min(max(value, 0.02), 0.98)
    return float(np.log(clipped / (1 - clipped))) if name.endswith("_frac") else float(np.log(value))


def _from_free(name: str, x: Array) -> Array:
    return jax.nn.sigmoid(x) if name.endswith("_frac") else jnp.exp(x)


def with_free(prior: Calibration, names: Sequence[str], x: Array) -> Calibration:
    """`prior` with the numbers `names` at coordinates `x`; those that `FOLLOW` the matrix share move along with it."""
    moved = x[names.index(LEADER)] - _to_free(LEADER, float(prior.matmul_frac))
    shifts = [moved if n in FOLLOW else 0.0 for n in names]
    return dataclasses.replace(prior, **{n: _from_free(n, x[i] + shifts[i]) for i, n in enumerate(names)})


def prior_deviations(receipts: Receipts, names: Sequence[str]) -> np.ndarray:
    """Half of each receipt's range in free coordinates: the range is read as one standard deviation a side."""
    return np.asarray(
        [max((_to_free(n, receipts[n].high) - _to_free(n, max(receipts[n].low, 1e-9))) / 2, 0.1) for n in names]
    )


def padded(demands: Sequence[StepDemand | Request]) -> StepDemand | Request:
    """Demands of different operator counts as one batch: missing operators read a byte and run zero times."""
    requests = [d for d in demands if isinstance(d, Request)]
    if requests:
        phases = [padded_steps([getattr(d, phase) for d in requests]) for phase in ("prefill", "decode")]
        return Request(*phases, *(np.stack([getattr(d, n) for d in requests]) for n in ("n_prefill", "n_decode")))
    return padded_steps([d for d in demands if isinstance(d, StepDemand)])


def padded_steps(demands: Sequence[StepDemand]) -> StepDemand:
    """As `padded`, of steps alone."""
    widest = max(d.ops.runs.shape[0] for d in demands)

    def pad(d: StepDemand) -> StepDemand:
        short = widest - d.ops.runs.shape[0]
        fields: dict[str, Any] = {
            f.name: np.pad(np.asarray(getattr(d.ops, f.name)), (0, short), constant_values=float(f.name == "hbm_B"))
            for f in dataclasses.fields(d.ops)
        }
        return dataclasses.replace(d, ops=dataclasses.replace(d.ops, **fields))

    return jax.tree.map(lambda *xs: np.stack(xs), *(pad(d) for d in demands))


def unnamed(chip: Chip) -> Chip:
    """`chip` without names, so that chips of a family stack."""
    return dataclasses.replace(chip, name="", node="", hbm="", link="", lane_kind="", sram_kind="")


@jax.jit
def predict(demands: StepDemand | Request, chips: Chip, c: Calibration) -> Array:
    """Step or request time of every case along the leading axes [s]."""
    if isinstance(demands, Request):
        return jax.vmap(lambda r, chip: jnp.asarray(request_s(r, chip, c)))(demands, chips)
    return jax.vmap(lambda d, chip: jnp.asarray(step_time(d, chip, c).total_s))(demands, chips)


def batch(cases: Sequence[Case]) -> tuple[StepDemand | Request, Chip]:
    """Demands and chips of `cases`, stacked."""
    chips = jax.tree.map(lambda *xs: np.stack(xs), *(unnamed(c.chip) for c in cases))
    return padded([c.demand for c in cases]), chips


def source_weights(cases: Sequence[Case]) -> np.ndarray:
    """Weight of each case: every source counts as the square root of its rows, shared among them; sums to 1."""
    counts = {s: sum(c.source == s for c in cases) for s in {c.source for c in cases}}
    weights = np.asarray([counts[c.source] ** -0.5 for c in cases])
    return weights / weights.sum()


def _huber(x: Array) -> Array:
    return jnp.where(jnp.abs(x) <= HUBER, 0.5 * x**2, HUBER * (jnp.abs(x) - 0.5 * HUBER))


def _cauchy(x: Array) -> Array:
    return HUBER**2 / 2 * jnp.log1p((x / HUBER) ** 2)


def fit(cases: Sequence[Case], prior: Calibration, receipts: Receipts, name: str, names: Sequence[str] = FITTED) -> Fit:
    """The calibration of one family from its measurements.

        min  sum_i w_i huber(log t_i - log m_i)  +  e^2/(2n) sum_j ((x_j - x0_j)/s_j)^2

    with e the log error `HUBER` of one measurement, n their number, w_i equal over sources up to the root of their
    size, x logits of fractions and logs of times.

    Source: [kingma2015adam] for the descent.

    Args:
        cases: measurements of one chip family.
        prior: where the numbers start and are held.
        receipts: ranges of the prior.
        name: name of the result.
        names: numbers to fit.

    Returns:
        The fit with the standard deviation of every number.
    """
    demands, chips = batch(cases)
    measured = jnp.log(jnp.asarray([c.measured_s for c in cases]))
    weights = jnp.asarray(source_weights(cases))
    start = jnp.asarray([_to_free(n, float(getattr(prior, n))) for n in names])
    spread = jnp.asarray(prior_deviations(receipts, names))
    noise = HUBER**2 / len(cases)
    cost = _cauchy if isinstance(cases[0].demand, Request) else _huber

    def loss(x: Array) -> Array:
        error = jnp.log(predict(demands, chips, with_free(prior, names, x))) - measured
        return jnp.sum(weights * cost(error)) + noise / 2 * jnp.sum(((x - start) / spread) ** 2)

    away = {"host_s": 2.0, "tp_overlap_frac": 4.0, "scaleup_hop_s": 2.0}
    elsewhere = start + jnp.asarray([away.get(n, 0.0) for n in names])
    ends = jax.jit(jax.vmap(_descender(loss)))(jnp.stack([start, elsewhere]))
    x = min(ends, key=lambda end: float(loss(end)))
    hessian = jax.hessian(loss)(x)
    covariance = jnp.linalg.pinv(hessian) * noise
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 0.0))
    result = jax.tree.map(np.asarray, with_free(dataclasses.replace(prior, name=name), names, x))
    return Fit(
        calibration=result,
        deviation=dict(zip(names, np.asarray(deviation).tolist(), strict=True)),
        prior_deviation=dict(zip(names, np.asarray(spread).tolist(), strict=True)),
        loss=float(loss(x)),
        n_cases=len(cases),
    )


def _descender(loss: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Adam with cosine decay from a start, as one loop."""
    optimizer = optax.adam(lambda i: 0.5 * RATE * (1.0 + jnp.cos(jnp.pi * jnp.asarray(i, dtype=float) / STEPS)))

    def step(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], None]:
        x, state = carry
        slope = jax.grad(loss)(x)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to its integer step count
            updates, state = optimizer.update(slope, state)
        return (jnp.asarray(optax.apply_updates(x, updates)), state), None

    return lambda start: jax.lax.scan(step, (start, optimizer.init(start)), None, length=STEPS)[0][0]
