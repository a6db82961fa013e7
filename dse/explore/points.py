"""Points of a front: saved to disk, so that an interrupted run can resume, and re-solved with whole counts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import SpecError
from ..core.files import write_whole
from ..core.origin import digest, software
from ..optimize.batch import solve_batch
from ..optimize.counts import around
from ..optimize.interior import Optimum
from ..optimize.search import search_of
from ..optimize.space import element
from ..study.study import Study
from .front import Front, front_of
from .ray import BATCH, Point, Rays, along_ray
from .samples import batched

FIELDS = [f.name for f in dataclasses.fields(Optimum)]
STAMP = b"dse_question"
NAMED = 16
"""Hexadecimal digits of a part's digest in its name."""


def fingerprint(study: Study, metrics: tuple[str, ...]) -> str:
    """Digest of the question: any change of study, metrics, code, data files or versions makes other points."""
    return digest(f"{sorted(software().items())} {metrics} {study}".encode())


@dataclasses.dataclass
class PointStore:
    """A folder of Parquet parts, one per solved batch."""

    folder: Path
    question: str

    def parts(self) -> list[Path]:
        """Parts written so far, in order."""
        # by number: names of more than five digits do not sort as texts
        return sorted(self.folder.glob("points-*.parquet"), key=_number)

    def clear(self) -> None:
        """Forget all points."""
        for part in self.parts():
            part.unlink()

    def append(self, points: list[Point]) -> None:
        """Write one part with a batch of points."""
        rows = [
            {
                "choice": p.choice_index, "plans": list(p.plan_index), "caps": list(p.caps), "weights": list(p.weights),
                **{f: np.asarray(getattr(p.optimum, f)).tolist() for f in FIELDS},
            }
            for p in points
        ]  # fmt: skip
        table = pa.Table.from_pylist(rows).replace_schema_metadata({STAMP: self.question.encode()})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        content = sink.getvalue()
        self.folder.mkdir(parents=True, exist_ok=True)
        # behind the last there is, so that a run that resumes never writes over what it read
        place = max(map(_number, self.parts()), default=-1) + 1
        path = self.folder / f"points-{place:05d}-{digest(content)[:NAMED]}.parquet"
        write_whole(path, lambda p: p.write_bytes(content))

    def load(self, rays: Rays) -> int:
        """Give `rays` the points on disk; how many. SpecError where they answer another question, or are damaged."""
        n = 0
        for part in self.parts():
            table = _table(part)
            if (table.schema.metadata or {}).get(STAMP, b"").decode() != self.question:
                told = "points of another study or metrics, or of other code, data files or versions"
                raise SpecError(f"{part}: {told}; run without --resume")
            for row in table.to_pylist():
                optimum = batched(Optimum, *(np.asarray(row[f]) for f in FIELDS))
                key = (row["choice"], tuple(row["caps"]), tuple(row["weights"]))
                rays.solved[key] = rays.point(key, tuple(row["plans"]), optimum)
                n += 1
        return n


def _number(part: Path) -> int:
    """Position of a part, from its name; 0 for a stray file, which then fails its check."""
    word = part.stem.split("-")[1]
    return int(word) if word.isdecimal() else 0


def _table(part: Path) -> pa.Table:
    """The rows of a part; SpecError where its bytes are not those that its name was given for."""
    try:
        content = part.read_bytes()
    except OSError as error:
        raise SpecError(f"{part}: cannot be read ({error.strerror})") from error
    if not part.stem.endswith(f"-{digest(content)[:NAMED]}"):
        raise SpecError(f"{part}: damaged, it is not what was written; delete it and resume again")
    return pq.read_table(pa.BufferReader(content))


def front_folder(root: Path, metrics: tuple[str, ...]) -> Path:
    """Folder of a front within a study's results."""
    return root / f"front_{'_'.join(metrics)}"


Try: TypeAlias = tuple[Point, tuple[float, ...]]
"""A point and logs of the counts to hold it at."""


def buildable(found: Front) -> Front:
    """The front with whole cores and stacks: the best neighbouring counts at every point, of its choice and plans.

    Each point is certified for its own counts, not that no others are better. Without time, the last are left out.
    """
    rays = found.rays
    search = search_of(rays.space)
    tries = [(p, v) for p in found.points for v in around(search, p.choice_index, np.asarray(p.optimum.z[:-1]))]
    if not tries or not search.integer_places:
        return found
    points: list[Point] = []
    for first in range(0, len(tries), BATCH):
        if first and rays.deadline.over(LATE):
            break
        points += solved_with_counts(rays, search.integer_places, tries[first : first + BATCH])
    # several counts are tried beside a point: it is stuck only where none of them works
    # by identity: points hold arrays, which do not hash
    tried = len({id(p) for p, _ in tries[: len(points)]})
    met = {id(p) for (p, _), q in zip(tries, points, strict=False) if math.isfinite(q.slack)}
    whole = front_of(rays, points, len(found.points), whole=True)
    # bounds may hold no whole count for the dies of a choice: its points were never tried, and no time would help
    asked, stuck = len({id(p) for p, _ in tries}), tried - len(met)
    reasons = {
        "no whole counts nearby meet the cap": stuck + len(found.points) - asked,
        "same counts as another point, beaten by it or hardly better": tried - len(whole.points) - stuck,
        LATE: asked - tried,
    }
    return dataclasses.replace(whole, missing={**found.missing, **{k: n for k, n in reasons.items() if n > 0}})


LATE = "points with fractions that there was no time to round"
"""Why a front of whole counts has fewer points."""


def solved_with_counts(rays: Rays, places: list[int], tries: list[Try]) -> list[Point]:
    """Points under their choices and plans with numbers at `places` held at the values beside them."""
    lower, upper = (np.repeat(b[None], len(tries), axis=0) for b in rays.box)
    lower[:, places] = upper[:, places] = np.asarray([v for _, v in tries])
    data = rays.data([(p.choice_index, p.caps, p.weights) for p, _ in tries], [p.plan_index for p, _ in tries])
    # from the point with fractions, counts moved into their boxes: the rest of the chip hardly changes
    start = np.clip(np.stack([p.optimum.z for p, _ in tries]), lower, upper)
    solved = solve_batch(eqx.Partial(along_ray, rays.core), data, lower, upper, start, size=BATCH)
    return [
        rays.point((p.choice_index, p.caps, p.weights), p.plan_index, element(solved, i))
        for i, (p, _) in enumerate(tries)
    ]
