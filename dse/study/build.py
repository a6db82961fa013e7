"""Studies made in Python: the same words as in a TOML file, so that both ways give the same study to the last bit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import SpecError
from .metrics import DELIVERED, Metric
from .study import Study, study_from, unit_of

Bound = tuple[str | float, str | float]
"""Least and most of a free number: text with a unit, or canonical units."""
SENSES = {"<=": "at_most", ">=": "at_least"}


def make_study(
    name: str,
    *,
    baseline: str,
    system: str,
    scaleout_per_dir: str | float,
    choices: Mapping[str, Any],
    free: Mapping[str, Bound],
    workloads: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Iterable[str | Mapping[str, Any]] = (),
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
        free: least and most of every free number.
        workloads: phase, model and sizes by name.
        limits: "metric <= value" or "metric >= value", or mappings as in the file.
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
        "choices": {k: list(v) if isinstance(v, (list, tuple)) else [v] for k, v in choices.items()},
        "free": {k: tuple(v) for k, v in free.items()},
        "workloads": {k: dict(v) for k, v in (workloads or {}).items()},
        "limits": [_limit(x) for x in limits],
    }
    own = tuple((metrics or {}).items())
    return study_from(raw if portfolio is None else {**raw, "portfolio": portfolio}, Path(folder), own)


def change_study(
    study: Study,
    *,
    limits: Iterable[str | Mapping[str, Any]] = (),
    without: Iterable[str] = (),
    free: Mapping[str, Bound | str | float | None] | None = None,
    choices: Mapping[str, Any] | None = None,
    workloads: Mapping[str, Mapping[str, Any] | None] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    **head: Any,
) -> Study:
    """A copy of a study with some of what was written changed; everything is checked as if it were written anew.

        dse.change_study(study, name="hotter", limits=["power <= 1500 W"], choices={"n_dies": 4}, without=["silicon"])

    Args:
        study: made by `make_study` or `load_study`.
        limits: in place of those with the same metric and sense, or added.
        without: metrics whose limits go.
        free: bounds, or one value to fix a number at; None drops it.
        choices: entries by kind; a single one needs no list.
        workloads: in place of those of the same name, or added; None drops one.
        metrics: functions of your own, as in `make_study`.
        head: keys of `[study]`, such as `minimise` or `name`.

    Raises:
        SpecError: as `load_study`; a study that was changed by other means since it was written.
    """
    old = study.written
    if old is None or study_from(old.tables, old.folder, study.own) != study:
        raise SpecError(f"{study.name}: changed since it was written; make it anew, then change that")
    gone, news = {_stem(x) for x in without}, [_limit(x) for x in limits]
    taken = {(_stem(x["metric"]), s) for x in news for s in SENSES.values() if s in x}
    left = [x for x in old.tables.get("limits", []) if _stem(x["metric"]) not in gone]
    kept = [x for x in left if not any((_stem(x["metric"]), s) in taken for s in SENSES.values() if s in x)]
    entries = {k: list(v) if isinstance(v, (list, tuple)) else [v] for k, v in (choices or {}).items()}
    tables = {
        **old.tables,
        "study": {**old.tables["study"], **head},
        "choices": {**old.tables["choices"], **entries},
        "free": _changed(old.tables["free"], free or {}),
        "workloads": _changed(old.tables.get("workloads", {}), workloads or {}),
        "limits": [*kept, *news],
    }
    return study_from(tables, old.folder, tuple({**dict(study.own), **(metrics or {})}.items()))


def _stem(metric: str) -> str:
    """A metric's name without its unit."""
    unit = unit_of(metric)
    return metric.removesuffix(f"_{unit}") if unit else metric


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with entries of `new` in place or added; None drops one."""
    return {k: v for k, v in {**old, **new}.items() if v is not None}


def _limit(written: str | Mapping[str, Any]) -> dict[str, Any]:
    """A limit as the file has it."""
    if not isinstance(written, str):
        return dict(written)
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\S.*?)\s*", written)
    if found is None:
        raise SpecError(f"limit '{written}': write it as 'metric <= value' or >=, such as 'power <= 700 W'")
    metric, sense, value = found.groups()
    return {"metric": metric, SENSES[sense]: value}
