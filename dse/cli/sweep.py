"""Commands on many points: `dse sweep` and `dse query`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core.errors import DseError, SpecError
from ..report.terminal import points_progress, progress, show, start_jax
from .flags import COUNT, FLAG, RESULTS

if TYPE_CHECKING:
    from ..sweep.engine import Engine
    from ..sweep.points import Sweep as Specification

OPEN = "not encrypted, and whoever reaches that port can run programs as you; use tls:// or a network of your own"
"""Warning about a scheduler on another machine."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Compute every point of a specification into Parquet; nothing that is done is lost or done twice."""

    spec: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="SPEC.toml", help_behavior_hint="")] = None
    """The specification: a file, or the bare name of one that came along (`dse studies`)."""
    status: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Instead of computing: what is done, missing, damaged or given up in a results folder, and why."""
    dry_run: FLAG = False
    """Only say how many points, how long and how many bytes, after trying a few points."""
    resume: FLAG = False
    """Go on where an earlier run stopped: what is whole is kept, what is missing or damaged is computed."""
    fresh: FLAG = False
    """Remove what an earlier run left and begin anew."""
    engine: Literal["local", "dask"] = "local"
    """Where: in this process, or on a Dask cluster."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="tcp://HOST:PORT", help_behavior_hint="")] = None
    """Dask: a scheduler that is already running; by default workers are started here."""
    workers: COUNT = None
    """Dask: worker processes to start here; by default one per core."""
    shard: Annotated[str | None, tyro.conf.arg(metavar="I/N", help_behavior_hint="")] = None
    """Do only slice I of N, from 0: for array jobs that share one results folder."""
    results: RESULTS = ""
    """Folder that gets a folder named after the sweep."""
    json: FLAG = False
    """Print JSON."""

    def run(self) -> int | None:
        """Check, compute, show."""
        if self.status is not None:
            return self._status(self.status)
        if self.spec is None:
            raise SpecError("sweep: missing SPEC.toml; see dse sweep --help")
        # every job of an array would remove what the others have computed
        for flag in (f for f, given in (("--resume", self.resume), ("--shard", self.shard)) if given and self.fresh):
            raise SpecError(f"--fresh removes what {flag} keeps; give one of them")
        start_jax()
        # first, since a cluster starts while the specification is read
        with contextlib.nullcontext() if self.dry_run else self._engine() as engine:
            from ..sweep.spec import load_sweep

            with progress("reading the specification"):
                sweep = load_sweep(self.spec)
            return self._try(sweep) if engine is None else self._compute(sweep, engine)

    def _status(self, folder: str) -> None:
        from pathlib import Path

        from ..report.sweeps import status_view
        from ..sweep.folder import status

        found = status(Path(folder))
        show(self.json, lambda: found, lambda _: status_view(found))

    def _try(self, sweep: Specification) -> None:
        from ..report.sweeps import estimate_view
        from ..sweep.engine import estimate

        with progress() as tell:
            tell("trying a few points")
            found = estimate(sweep)
        show(self.json, lambda: dataclasses.asdict(found), lambda _: estimate_view(sweep.name, found))

    def _compute(self, sweep: Specification, engine: Engine) -> int:
        from ..report.sweep_summary import summary
        from ..report.sweeps import summary_view
        from ..sweep.engine import parse_part, plan_work, run
        from ..sweep.store import open_store

        part = parse_part(self.shard or "0/1")
        # slices share a folder: each finds what the others have begun, and that is no mistake
        store = open_store(sweep, self.results, self.resume or self.shard is not None, self.fresh)
        try:
            with progress("checking what is done"):
                work = plan_work(store, part)
            with points_progress(work.points(sweep)) as tell:
                given_up = run(store, work, engine, tell)
        except KeyboardInterrupt:
            print(f"dse: interrupted; {self._go_on()}", file=sys.stderr)
            return 130
        except DseError as error:
            raise SpecError(f"{error}; {self._go_on()}") from error
        found = summary(store, given_up)
        show(self.json, lambda: found, lambda _: summary_view(found))
        if given_up:
            print(f"dse: {len(given_up)} shards were given up; {self._go_on()}", file=sys.stderr)
        # a point without an answer has its reason, which is one: a sweep fails where all do
        return 1 if given_up or (found["rows"] and found["failed"] == found["rows"]) else 0

    def _engine(self) -> contextlib.AbstractContextManager[Engine]:
        if self.engine == "local":
            for flag, value in (("--scheduler", self.scheduler), ("--workers", self.workers)):
                if value is not None:
                    raise SpecError(f"{flag} {value} belongs to --engine dask")
            from ..sweep.engine import local

            return contextlib.nullcontext(local)
        from ..sweep.dask_engine import dask_engine, is_open

        if self.scheduler is not None and is_open(self.scheduler):
            print(f"dse: --scheduler {self.scheduler}: {OPEN}", file=sys.stderr)
        return dask_engine(self.scheduler, self.workers)

    def _go_on(self) -> str:
        where = f" --results {self.results}" if self.results else ""
        part = f" --shard {self.shard}" if self.shard else ""
        return f"finished shards are kept; go on with: dse sweep {self.spec}{where}{part} --resume"


@dataclasses.dataclass(frozen=True)
class Query:
    """Ask the results of a sweep in SQL: `dse query 'select chip, min(step_s) from results group by chip' DIR`."""

    sql: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SQL")]
    """A select; the rows are the table `results`, and manifest.json says what the columns mean."""
    results: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS")]
    """Results folder of a sweep, or a Parquet file."""
    verify: FLAG = True
    """Read without comparing the checksums that were written: for damaged results, at your own risk."""
    json: FLAG = False
    """Print JSON, one object per row."""

    def run(self) -> None:
        """Ask and show."""
        from ..report.sweeps import answer_rows, answer_view
        from ..sweep.results import query

        answer = query(self.sql, self.results, verify=self.verify)
        show(self.json, lambda: answer_rows(answer), lambda _: answer_view(answer, self.results))
