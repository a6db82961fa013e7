"""Finished points of a front on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import SpecError
from ..core.files import write_whole
from ..core.origin import preset_hashes, versions
from ..optimize.interior import Optimum
from ..study.study import Study
from .ray import Point, Rays
from .samples import batched

FIELDS = [f.name for f in dataclasses.fields(Optimum)]
STAMP = b"dse_question"


def fingerprint(study: Study, metrics: tuple[str, ...]) -> str:
    """Digest of the question: any change of study, metrics or version makes other points."""
    text = f"{versions()} {preset_hashes()} {metrics} {study}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass
class PointStore:
    """A folder of Parquet parts, one per solved batch."""

    folder: Path
    """Where the parts are."""
    question: str
    """`fingerprint` of the study."""

    def parts(self) -> list[Path]:
        """Parts written so far, in order."""
        return sorted(self.folder.glob("points-*.parquet"))

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
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"points-{len(self.parts()):05d}.parquet"
        write_whole(path, lambda p: pq.write_table(table, p))

    def load(self, rays: Rays) -> int:
        """Give `rays` the points on disk; how many there were.

        Raises:
            SpecError: they answer another question, or a part is damaged.
        """
        n = 0
        for part in self.parts():
            try:
                table = pq.read_table(part)
            except (pa.ArrowInvalid, OSError) as error:
                raise SpecError(f"{part}: damaged ({error}); delete it and resume again") from error
            if (table.schema.metadata or {}).get(STAMP, b"").decode() != self.question:
                raise SpecError(f"{part}: points of another study, metrics or version; run without --resume")
            for row in table.to_pylist():
                optimum = batched(Optimum, *(np.asarray(row[f]) for f in FIELDS))
                key = (row["choice"], tuple(row["caps"]), tuple(row["weights"]))
                rays.solved[key] = rays.point(key, tuple(row["plans"]), optimum)
                n += 1
        return n


def front_folder(root: Path, metrics: tuple[str, ...]) -> Path:
    """Folder of a front within a study's results."""
    return root / f"front_{'_'.join(metrics)}"
