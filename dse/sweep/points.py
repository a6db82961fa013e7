"""Points of a sweep: an indexed product of axes, so that any slice can be generated anywhere, reproducibly.

The index of a point in mixed radix has one digit per axis, the last fastest; nothing is stored per point.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from .keys import Value, is_number

SAMPLERS = ("sobol", "latin_hypercube")
"""How points can be spread over a box."""


@dataclasses.dataclass(frozen=True)
class ListAxis:
    """Values one after the other; several keys move together (zipped)."""

    keys: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    """One entry per step, with a value for each key."""

    @property
    def size(self) -> int:
        """Steps."""
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class SampleAxis:
    """Points spread over a box of numbers."""

    keys: tuple[str, ...]
    method: str
    size: int
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    logarithmic: tuple[bool, ...]
    """Whether the logarithm of the key is spread evenly, rather than the key."""
    seed: tuple[int, ...]

    def numbers(self, digits: np.ndarray) -> np.ndarray:
        """Values of the keys at some steps, shape (keys, steps)."""
        first = int(digits.min())
        unit = _unit_points(self.method, len(self.keys), self.size, self.seed, first, int(digits.max()) + 1)
        out = np.empty((len(self.keys), digits.size))
        for k, (lo, hi, log) in enumerate(zip(self.lower, self.upper, self.logarithmic, strict=True)):
            u = unit[digits - first, k]
            out[k] = lo * (hi / lo) ** u if log else lo + (hi - lo) * u
        return out


Axis = ListAxis | SampleAxis


@dataclasses.dataclass(frozen=True)
class Condition:
    """Holds where a key has one of some values, or a number lies within bounds (inclusive)."""

    key: str
    values: tuple[Value, ...] = ()
    """Any of these; empty for bounds."""
    at_least: float = -math.inf
    at_most: float = math.inf


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where all conditions hold, keys are set, or the point is left out."""

    conditions: tuple[Condition, ...]
    settings: tuple[tuple[str, Value], ...]
    skip: bool


def pairs_of(base: Sequence[tuple[str, Value]], axes: Sequence[Axis], rules: Sequence[Rule]) -> list[tuple[str, Value]]:
    """Every key and value that is listed anywhere; samples are not."""
    rows = (zip(axis.keys, row, strict=True) for axis in axes if isinstance(axis, ListAxis) for row in axis.rows)
    return [*base, *(pair for row in rows for pair in row), *(pair for rule in rules for pair in rule.settings)]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A checked specification, values in canonical units."""

    name: str
    text: str
    """The file as it was written."""
    folder: Path
    """Where it lies: users' files are looked for beside it."""
    of_studies: bool
    """Whether points are studies to solve, rather than chips and workloads to evaluate."""
    base: tuple[tuple[str, Value], ...]
    """What every point has unless an axis or a rule says otherwise."""
    axes: tuple[Axis, ...]
    """Choices first, numbers last: what varies fastest shares what is prepared."""
    rules: tuple[Rule, ...]
    """Applied in order."""
    record: tuple[str, ...]
    """Columns to keep, beside those of what is set."""
    seed: int
    shard_points: int
    """Points of one unit of work."""
    files: tuple[tuple[str, str], ...]
    """Users' own files and the digest of each: they are part of the question."""

    @property
    def size(self) -> int:
        """Points, those that rules leave out included."""
        return math.prod(axis.size for axis in self.axes)

    @property
    def n_shards(self) -> int:
        """Units of work."""
        return -(-self.size // self.shard_points)

    def shard(self, index: int) -> range:
        """The points of one unit of work."""
        return range(index * self.shard_points, min((index + 1) * self.shard_points, self.size))

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Keys that some axis or rule sets."""
        ruled = (k for rule in self.rules for k, _ in rule.settings)
        return tuple(dict.fromkeys([*(k for axis in self.axes for k in axis.keys), *ruled]))

    @cached_property
    def set_keys(self) -> tuple[str, ...]:
        """Keys that are set anywhere, each a column of the results: what varies first, then what all points share."""
        return tuple(dict.fromkeys([*self.varied, *(k for k, _ in self.base)]))

    @cached_property
    def choices(self) -> Mapping[str, tuple[Value, ...]]:
        """Every value that a choice (not a number) takes anywhere in the sweep, by key."""
        found: dict[str, dict[Value, None]] = {}
        for key, value in pairs_of(self.base, self.axes, self.rules):
            if not is_number(key):
                found.setdefault(key, {})[value] = None
        return {key: tuple(values) for key, values in found.items()}

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Keys with numbers, set anywhere, sorted."""
        return tuple(sorted(k for k in self.set_keys if is_number(k)))


def column_of(key: str) -> str:
    """Name of a key's column: the key, unless something recorded has that name."""
    group, dot, name = key.partition(".")
    return f"{'limit' if group == 'limits' else 'set'}_{name}" if dot else "plan_asked" if key == "plan" else key


UNSET = -1
"""Code of a choice that a point does not make."""


@dataclasses.dataclass(frozen=True)
class Points:
    """Some points of a sweep, by column."""

    index: np.ndarray
    """Position of each in the sweep."""
    codes: dict[str, np.ndarray]
    """For each choice its position in `Sweep.choices`, or `UNSET`."""
    numbers: dict[str, np.ndarray]

    def at(self, keep: np.ndarray) -> Points:
        """The points where `keep` is true, or at the positions it lists."""
        codes = {k: v[keep] for k, v in self.codes.items()}
        return Points(self.index[keep], codes, {k: v[keep] for k, v in self.numbers.items()})


def points(sweep: Sweep, wanted: range | np.ndarray) -> Points:
    """The points at the positions `wanted`, without those that rules leave out."""
    index = np.asarray(wanted, dtype=np.int64)
    codes = {k: np.full(index.size, UNSET, dtype=np.int64) for k in sweep.choices}
    made = Points(index, codes, {k: np.full(index.size, np.nan) for k in sweep.numbers})
    for key, value in sweep.base:
        _set(sweep, made, key, value, np.ones(index.size, dtype=bool))
    rest = index
    for axis in reversed(sweep.axes):  # the last axis is the lowest digit
        rest, digits = np.divmod(rest, axis.size)
        if index.size:  # of no points there is no first step and no last
            _move(sweep, made, axis, digits)
    keep = np.ones(index.size, dtype=bool)
    for rule in sweep.rules:
        # after all rules before this one, whose settings it sees
        holds = np.logical_and.reduce([_holds(sweep, made, c) for c in rule.conditions])
        for key, value in rule.settings:
            _set(sweep, made, key, value, holds)
        keep &= ~holds | (not rule.skip)
    return made.at(keep)


def _set(sweep: Sweep, made: Points, key: str, value: Value, where: np.ndarray) -> None:
    if key in made.numbers:
        made.numbers[key][where] = value
    else:
        made.codes[key][where] = sweep.choices[key].index(value)


def _move(sweep: Sweep, made: Points, axis: Axis, digits: np.ndarray) -> None:
    """Set what `axis` sets, at its steps `digits`."""
    if isinstance(axis, SampleAxis):
        made.numbers.update(zip(axis.keys, axis.numbers(digits), strict=True))
        return
    for key, values in zip(axis.keys, zip(*axis.rows, strict=True), strict=True):
        if key in made.numbers:
            made.numbers[key] = np.asarray(values, dtype=float)[digits]
        else:
            made.codes[key] = np.asarray([sweep.choices[key].index(v) for v in values])[digits]


def _holds(sweep: Sweep, made: Points, condition: Condition) -> np.ndarray:
    """Where `condition` holds; a key that is not set meets none."""
    if condition.key in made.numbers:
        x = made.numbers[condition.key]
        inside = (x >= condition.at_least) & (x <= condition.at_most)
        return inside & (np.isin(x, condition.values) if condition.values else True)
    known = sweep.choices[condition.key]
    return np.isin(made.codes[condition.key], [known.index(v) for v in condition.values if v in known])


def _unit_points(method: str, n_keys: int, size: int, seed: tuple[int, ...], first: int, end: int) -> np.ndarray:
    """Rows `first` to `end` of a design in the unit cube, shape (rows, keys)."""
    if method == "latin_hypercube":
        return _hypercube(n_keys, size, seed)[first:end]
    sampler = qmc.Sobol(n_keys, rng=np.random.default_rng(seed))
    if first:
        sampler.fast_forward(first)  # a shard alone draws what the whole run would
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The balance properties of Sobol")  # shards are parts of a design
        return sampler.random(end - first)


@lru_cache(maxsize=4)
def _hypercube(n_keys: int, size: int, seed: tuple[int, ...]) -> np.ndarray:
    """A whole Latin hypercube: unlike a Sobol sequence it has no parts that can be made alone."""
    return qmc.LatinHypercube(n_keys, rng=np.random.default_rng(seed)).random(size)
