"""Studies made in Python: the same words as in a TOML file, so that both ways give the same study to the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .changes import AnyLimit, Bound, ends_of, entries_of, limit_tables, mapping, workload_tables
from .metrics import DELIVERED, Metric
from .study import Study, study_from


def make_study(
    name: str,
    *,
    baseline: str,
    system: str,
    scaleout_per_dir: str | float,
    choices: Mapping[str, Any],
    free: Mapping[str, Bound],
    workloads: Mapping[str, Mapping[str, Any]] | Iterable[Mapping[str, Any]] = (),
    limits: Iterable[AnyLimit] | AnyLimit = (),
    minimise: str = DELIVERED,
    folder: str | Path = ".",
    metrics: Mapping[str, Metric] | None = None,
    **more: Any,
) -> Study:
    """A study from Python values; keys, units and defaults are those of the TOML file.

        dse.make_study(
            "mine", baseline="trainium3", system="trn3-gen2-144", scaleout_per_dir="400 Gbps",
            workloads={"d": {"phase": "decode", "model": "llama-3.1-8b", "chips": 4, "batch": 64, "context": 4096}},
            choices={"node": "N3P", "hbm": "HBM4", "link": "SerDes224G", "n_dies": [1, 2], "pe_array": "128x128",
                     "native_fp4": True},
            free={"n_cores": (2, 64), "hbm_bandwidth": ("2 TBps", "20 TBps")},
            limits=["power <= 700 W", "hbm_capacity >= 1x"],
        )

    Args:
        name: names the results.
        baseline: chip preset or file that speed-ups refer to.
        system: fabric of baseline and design.
        scaleout_per_dir: network share of one chip, one direction.
        choices: entries to choose among by kind; a single one needs no list.
        free: least and most of every free number, or one value to fix it at.
        workloads: phase, model and sizes by name; those of a list are called by their phases.
        limits: "metric <= value" or "metric >= value", mappings as in the file, or `dse.Limit`.
        minimise: goal.
        folder: where the file of a portfolio is looked for.
        metrics: functions of your own that read a `State` (chip, technology, area, money, loads, upkeeps) in JAX and
            give one positive number; `minimise` and `limits` name them, units at their ends. Each is proved log-log
            convex, or the answer is local and names the operation that is not.
        more: other keys of `[study]`, and `portfolio`.

    Returns:
        The study in canonical units.

    Raises:
        SpecError: as `load_study`; also a limit without a comparison.
    """
    portfolio = more.pop("portfolio", None)
    head = {"name": name, "baseline": baseline, "system": system, "scaleout_per_dir": scaleout_per_dir}
    raw: dict[str, Any] = {
        "study": {**head, "minimise": minimise, **more},
        "choices": entries_of(choices),
        "free": {k: ends_of(k, v) for k, v in mapping("free", free).items()},
        "workloads": workload_tables(workloads),
        "limits": limit_tables(limits),
    }
    own = tuple((metrics or {}).items())
    return study_from(raw if portfolio is None else {**raw, "portfolio": portfolio}, Path(folder), own)
