"""Scores of a forecast against published facts: log score and coverage."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from ..core.errors import SpecError
from ..core.files import read_text, read_toml
from ..core.text import spelled
from ..core.units import UNITS, positive

WORDS = ("node", "hbm", "link", "n_dies", "pe_array")
"""Discrete choices that are forecast: they have shares and no quantiles, in digits too."""
BAND = (0.1, 0.9)
"""Quantiles of the band that should hold four facts in five."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """One fact and how well it was foreseen."""

    name: str
    """Quantity or discrete choice, as in the forecast."""
    fact: float | str
    """The true value."""
    log_score: float
    """Log of the probability density of log(quantity), or of the probability of a choice [nats]; more is better."""
    quantile: float | None
    """Share of the draws below the fact; None for a choice."""
    drawn_frac: float | None = None
    """Share of the draws with this very choice, 0 for one that was never drawn; None for a quantity."""

    @property
    def covered(self) -> bool | None:
        """Whether the fact lies within `BAND`; None for a choice."""
        return None if self.quantile is None else BAND[0] <= self.quantile <= BAND[1]


def read_draws(path: Path) -> dict[str, list[str]]:
    """The draws of a forecast by quantity, as text; SpecError for a file that is none."""
    try:
        # strict: a quote that never closes is an error, where it would swallow the rest of the file
        head, *rows = csv.reader(read_text(path).splitlines(), strict=True)
    except SpecError as error:
        raise SpecError(f"{error}; give a folder that `dse forecast` wrote") from None
    except csv.Error as error:
        raise SpecError(f"{path}: {error}; give a folder that `dse forecast` wrote") from None
    except ValueError:
        head, rows = [], []
    if not rows:
        raise SpecError(f"{path}: holds no draws")
    odd = next((n for n, row in enumerate(rows, start=2) if len(row) != len(head)), None)
    if odd is not None:
        raise SpecError(f"{path}: line {odd} has {len(rows[odd - 2])} cells for {len(head)} quantities; forecast again")
    return {name: [row[i] for row in rows] for i, name in enumerate(head)}


def read_facts(path: Path, known: dict[str, list[str]]) -> dict[str, float | str]:
    """Facts such as `hbm_bandwidth = "19.6 TB/s"` or `node = "N3P"`, in canonical units; else SpecError.

    Names are those of `known`, the draws, with or without their units.
    """
    facts: dict[str, float | str] = {}
    for key, value in read_toml(path).items():
        if isinstance(value, bool | list | dict):
            raise SpecError(f"{path}: {key} = {spelled(value)}: give one name, or one number with its unit")
        name = next((n for n in known if key in (n, _stem(n))), None)
        if name is None:
            raise SpecError(f"{path}: '{key}' was not forecast; known are {', '.join(sorted(known))}")
        if name in facts:
            raise SpecError(f"{path}: {name} is there twice, with and without its unit")
        facts[name] = str(value) if _is_word(name, known) else positive(value, _unit(name), f"{path}: {key}")
    return facts


def _unit(name: str) -> str:
    # behind a colon stands the workload, before it a name that ends in its unit
    tail = name.partition(":")[0].rpartition("_")[2]
    return tail if tail in UNITS else ""


def _stem(name: str) -> str:
    quantity, colon, workload = name.partition(":")
    return f"{quantity.removesuffix(f'_{_unit(name)}')}{colon}{workload}"


def _is_word(name: str, known: dict[str, list[str]]) -> bool:
    try:
        float(known[name][0])
    except ValueError:
        return True
    return name in WORDS


def score(draws: dict[str, list[str]], facts: dict[str, float | str]) -> tuple[Scored, ...]:
    """Every fact with its log score and quantile; SpecError for a draw that is no positive number beside such a fact.

    Source: [gneiting2007] sections 4.1 and 6 for the logarithmic score and the coverage of central intervals.
    """
    found = []
    for name, fact in facts.items():
        column = draws[name]
        if isinstance(fact, str):
            # one more draw for every word and for one unheard of (Laplace): a word never drawn is not impossible
            share = (column.count(fact) + 1.0) / (len(column) + len(set(column)) + 1.0)
            found.append(Scored(name, fact, float(np.log(share)), None, column.count(fact) / len(column)))
            continue
        logs = np.asarray([_log(x, name) for x in column])
        # a tie is half below: counts such as stacks have many
        below = float(np.mean(logs < np.log(fact)) + 0.5 * np.mean(logs == np.log(fact)))
        found.append(Scored(name, fact, log_density(logs, float(np.log(fact))), below))
    return tuple(found)


def _log(text: str, name: str) -> float:
    """Log of a draw of the quantity `name`; SpecError where it has none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 < number < math.inf:
        raise SpecError(f"{name}: '{text[:40]}' among its draws is no positive number; forecast again")
    return math.log(number)


def log_density(draws: Float[np.ndarray, " n"], at: float) -> float:
    """Log density of draws at a point, by normal kernels.

        h = 0.9 min(s, q / 1.34) n^-1/5
    with s the standard deviation and q the distance of quartiles; at least 0.001. Source: [silverman1986] eq. 3.31.
    """
    # the smaller of two widths: a long tail widens the deviation, and hardly the quartiles
    quarters = float(np.subtract(*np.quantile(draws, (0.75, 0.25))))
    width = 0.9 * min(float(np.std(draws)), quarters / 1.34 or np.inf) * len(draws) ** -0.2
    # draws that agree (a bound that always binds) would be a spike of infinite density
    h = max(width, 1e-3)
    return float(logsumexp(-0.5 * ((at - draws) / h) ** 2) - np.log(len(draws) * h * np.sqrt(2.0 * np.pi)))


def mean_log_score(scored: tuple[Scored, ...]) -> float:
    """Mean over all facts [nats]."""
    return float(np.mean([s.log_score for s in scored]))


def coverage(scored: tuple[Scored, ...]) -> float:
    """Share of the facts with a number that lie within `BAND`; a good forecast comes to 0.8."""
    inside = [s.covered for s in scored if s.covered is not None]
    return float(np.mean(inside)) if inside else float("nan")
