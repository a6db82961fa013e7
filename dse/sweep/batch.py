"""Evaluation of sweep points in compiled batches: settings of equal structure share one program."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.counts import n_padded
from ..core.types import FloatLike, Vector
from ..evaluation.host import plan_steps_s
from ..hardware.chip import ROUNDING, Chip, shares_pool
from ..physics.evaluate import evaluate_demand, fits_memory
from ..physics.power import crossing_B, most_clock_Hz
from ..study.metrics import chip_state
from ..technology.package import harvested
from .keys import CHIP_NUMBERS, EVALUATED, OF_CHIP
from .points import UNSET, Points, Sweep
from .settings import Coefficients, Setting, lower

TABLE = 512
"""Plans of all settings that one call holds, a few kB each; fewer settings are padded."""
ROWS = 2**16
"""Evaluations of one call; fewer are padded, which takes less time than compiling another size."""
STEP = 2048
"""Evaluations that are vectorised together: large enough to hide overheads, small enough for the cache."""
TOO_BIG = "no plan fits in memory"
TOO_HOT = "static power alone exceeds the power limit"
TOO_FAST = "clock beyond what the node reaches at its highest supply"
NO_NUMBER = "not a finite number"
FAULTS = (TOO_HOT, TOO_BIG, TOO_FAST)
"""Reasons of failure in the order of `_best_plan`; the last that applies is reported."""


def evaluate_points(sweep: Sweep, points: Points) -> dict[str, np.ndarray]:
    """Everything recorded of `points`: `sweep.record`, `plan`, `ok` and `reason`, one array each."""
    n = points.index.size
    values = np.full((n, len(sweep.record)), np.nan)
    plan, reason = np.full(n, "", dtype=object), np.full(n, "", dtype=object)
    member, settings = prepared(sweep, points)
    for k, s in enumerate(settings):
        if isinstance(s, str):
            reason[member == k] = s
    numbers = np.stack([points.numbers[k] for k in sweep.numbers], axis=1) if sweep.numbers else np.empty((n, 0))
    for group in _groups(settings):
        rows = np.flatnonzero(np.isin(member, group))
        rows = rows[np.argsort(member[rows], kind="stable")]
        which = np.searchsorted(group, member[rows])
        chosen: list[Setting] = [s for k in group if isinstance(s := settings[k], Setting)]
        found, best, faults = _run(chosen, which, numbers[rows], sweep.numbers, sweep.record)
        values[rows] = found
        reason[rows] = _reasons(found, faults)
        plan[rows] = _plan_texts(chosen, which, best)
    ok = reason == ""
    keep = np.asarray([c == "memory_B" for c in sweep.record], dtype=bool)
    # what a plan that does not fit would need is an answer, and says by how much
    values[np.ix_(~ok, ~keep)] = np.nan
    columns = dict(zip(sweep.record, values.T, strict=True))
    return {**columns, "plan": plan, "ok": ok, "reason": reason}


def prepared(sweep: Sweep, points: Points) -> tuple[np.ndarray, list[Setting | str]]:
    """Which combination of choices each point has, and every combination lowered, or why it has no answer."""
    distinct, member = combinations(sweep, points)
    return member, [lower(c, sweep.folder, sweep.files) for c in distinct]


MOST_CODES = 2**63 - 1
"""Codes of combinations that a number holds."""


def combinations(sweep: Sweep, points: Points) -> tuple[list[tuple[tuple[str, Any], ...]], np.ndarray]:
    """Distinct combinations of choices, and which of them each point has."""
    # one number per combination, in mixed radix; 0 is a choice that is not made
    code, n_codes = np.zeros(points.index.size, dtype=np.int64), 1
    for key, values in sweep.choices.items():
        radix = len(values) + 1
        if n_codes * radix > MOST_CODES:
            # numbered anew by what is there: past 63 bits codes wrap, and two would be one
            code = np.unique(code, return_inverse=True)[1].reshape(-1)
            n_codes = code.size
        code, n_codes = code * radix + points.codes[key] + 1, n_codes * radix
    distinct, first, member = np.unique(code, return_index=True, return_inverse=True)
    rows = [{k: int(points.codes[k][i]) for k in sweep.choices} for i in first]
    named = [tuple((k, sweep.choices[k][c]) for k, c in row.items() if c != UNSET) for row in rows]
    return named[: distinct.size], member.reshape(-1)


def _groups(settings: list[Setting | str]) -> list[list[int]]:
    """Positions of settings that stack: equal structure and sizes, at most `TABLE` plans together."""
    alike: dict[Any, list[int]] = {}
    for k, s in enumerate(settings):
        if isinstance(s, Setting):
            leaves, form = jax.tree.flatten(s.coefficients)
            alike.setdefault((form, tuple(np.shape(x) for x in leaves)), []).append(k)
    out = []
    for members in alike.values():
        first = settings[members[0]]
        assert isinstance(first, Setting)
        size = settings_per_call(n_padded(len(first.plans)))
        out += [members[i : i + size] for i in range(0, len(members), size)]
    return out


def settings_per_call(n_plans: int) -> int:
    """Settings that one call holds, with `n_plans` plans each."""
    return max(TABLE // n_plans, 1)


def _run(
    settings: list[Setting], which: np.ndarray, numbers: np.ndarray, names: tuple[str, ...], record: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recorded values, best plan and its faults, of every row; rows go through in calls of one size."""
    n_plans = n_padded(len(settings[0].plans))
    # one length of tables, whatever a group holds: another would be another program
    padded = settings + [settings[0]] * (settings_per_call(n_plans) - len(settings))
    table = jax.device_put(jax.tree.map(lambda *xs: np.stack(xs), *(s.coefficients for s in padded)))
    most = max(ROWS // n_plans, 1)
    parts = []
    for begin in range(0, which.size, most):
        rows = np.arange(begin, min(begin + most, which.size))
        # the last call is filled with its first row, in vain, and cut off again
        full = np.concatenate([rows, np.full(most - rows.size, rows[0])])
        step = max(STEP // n_plans, 1)
        out = _evaluate(table, which[full], numbers[full], names, record, step)
        parts.append([np.asarray(x)[: rows.size] for x in out])
    values, best, faults = (np.concatenate(p) for p in zip(*parts, strict=True))
    return values, best, faults


@partial(jax.jit, static_argnames=("names", "record", "step"))
def _evaluate(
    table: Coefficients, which: FloatLike, numbers: FloatLike, names: tuple[str, ...], record: tuple[str, ...],
    step: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Every row of `numbers` on its setting of `table`, `step` rows at a time."""

    def one(row: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        setting = jax.tree.map(lambda x: x[row[0]], table)
        chip = with_numbers(setting.chip, names, row[1])
        return _best_plan(setting, chip, record)

    return jax.lax.map(one, (which, numbers), batch_size=step)  # type: ignore[return-value]


def _best_plan(s: Coefficients, chip: Chip, record: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Recorded values under the fastest plan that fits, or the leanest if none does; its position; its `FAULTS`."""
    roomy = fits_memory(s.demands, chip)
    if s.demands.memory_B.size == 1:
        best = jnp.asarray(0)
    else:
        seconds = plan_steps_s(s.demands, chip, s.tech, s.calibration)
        # where every plan that fits is too hot, all take forever: the leanest says which of both it is
        best = jnp.where(jnp.any(jnp.isfinite(seconds)), jnp.argmin(seconds), jnp.argmin(s.demands.memory_B))
    evaluation = evaluate_demand(jax.tree.map(lambda x: x[best], s.demands), chip, s.tech, s.calibration)
    # whether dies with bad cores can be sold depends on spares, which an axis may set
    tech = dataclasses.replace(s.tech, package=harvested(s.tech.package, chip.spare_frac))
    state = chip_state(chip, tech)
    values = [EVALUATED[c][0](evaluation) if c in EVALUATED else OF_CHIP[c][0](state) for c in record]
    fast = chip.clock_Hz > most_clock_Hz(chip, s.tech.node) * (1.0 + ROUNDING)
    faults = jnp.stack([jnp.isinf(evaluation.step_s), ~jnp.asarray(roomy)[best], fast])
    return jnp.stack([jnp.asarray(v, dtype=float) for v in values]), best, faults


CROSSING = ("n_dies", "hbm_bandwidth_Bps")
"""Numbers that change what must cross between dies."""
STACKS, CAPACITY = "n_stacks", "hbm_capacity_B"
"""Numbers of which the second follows the first."""


def with_numbers(chip: Chip, names: tuple[str, ...], values: Vector) -> Chip:
    """`chip` with `names` set to finite `values` (n,): pools of all cores stay that, as in `with_free`.

    Stacks bring their capacity unless that is set too; links between dies change only where dies or memory do.
    """
    if not names:
        return chip
    new = [jnp.where(jnp.isnan(values[i]), CHIP_NUMBERS[n](chip), values[i]) for i, n in enumerate(names)]
    common, pool_frac = shares_pool(chip.cores_per_pool, chip.n_cores, chip.n_dies), chip.cores_per_pool / chip.n_cores
    stack_B = chip.hbm_capacity_B / chip.n_stacks
    chip = eqx.tree_at(lambda c: [CHIP_NUMBERS[n](c) for n in names], chip, new)
    pool = jnp.where(common, pool_frac * chip.n_cores, chip.cores_per_pool)
    follows = _is_set(names, values, (STACKS,)) & ~_is_set(names, values, (CAPACITY,))
    full_B = jnp.where(follows, stack_B * chip.n_stacks, chip.hbm_capacity_B)
    # a preset's own links are the vendor's, so that they stay until what must cross them changes
    crosses = _is_set(names, values, CROSSING)
    between_Bps = jnp.where(crosses, crossing_B(chip.hbm_bandwidth_Bps, chip), chip.die_to_die_bandwidth_Bps)
    return eqx.tree_at(
        lambda c: (c.cores_per_pool, c.hbm_capacity_B, c.die_to_die_bandwidth_Bps), chip, (pool, full_B, between_Bps)
    )


def _is_set(names: tuple[str, ...], values: Vector, some: tuple[str, ...]) -> Array:
    """Whether a point sets any of some numbers: NaN stands for one that it leaves as it is."""
    found = [~jnp.isnan(values[i]) for i, n in enumerate(names) if n in some]
    return jnp.any(jnp.stack(found)) if found else jnp.asarray(False)


def _reasons(values: np.ndarray, faults: np.ndarray) -> np.ndarray:
    out = np.full(len(values), "", dtype=object)
    out[~np.isfinite(values).all(axis=1)] = NO_NUMBER
    for fault, why in zip(faults.T, FAULTS, strict=True):
        out[fault] = why
    return out


def _plan_texts(settings: list[Setting], which: np.ndarray, best: np.ndarray) -> np.ndarray:
    names = np.asarray([p for s in settings for p in s.plans], dtype=object)
    starts = np.cumsum([0, *(len(s.plans) for s in settings[:-1])])
    return names[starts[which] + best]
