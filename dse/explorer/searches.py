"""Searches started from the page (fronts, risk, serving), and results of other commands in results folders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ..calibrate.columns import KINDS
from ..calibrate.validate import validate
from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.files import SAFE_NAME, read_text
from ..core.text import label, scoped_label, unit_of
from ..economy.owning import hours
from ..explore.front import checked_metrics, front
from ..explore.ray import Rays
from ..explore.risk import Known, risk
from ..hardware.presets import chip_names, chip_system
from ..lowering.engines import Policy
from ..optimize.deadline import Deadline
from ..report.front import front_json
from ..report.risk import risk_json
from ..report.serving import serving_json
from ..report.validation import validation_json
from ..serving.curve import Promise
from ..serving.offer import offers
from ..study.design import Choice
from ..study.metrics import HEAT
from ..workload.presets import model, model_names
from ..workload.requests import Length, Requests
from .receipts import receipts_of_measurements, receipts_of_served, receipts_of_unknowns, topic_of_metric
from .reoptimise import Tell, lines_of
from .subject import Plans, Subject, known_plans

MOST_FRONT, MOST_CHIPS, MOST_TOKENS, MOST_SAMPLES = 200, 8, 2**20, 4000
"""Points of a front, chips beside each other, tokens of a request, draws of facts: what one page may ask for."""
DRAWS = 60
"""Draws of facts unless a page says otherwise."""
LIMIT_S = 300.0
"""Time of a front or of draws, compiling not counted: a page shows what there is then."""


def compute_front(subject: Subject, asked: dict[str, Any], tell: Tell) -> None:
    """The Pareto front of the study over `metrics`, with `n` points; its own limits."""
    names = tuple(m.strip() for m in str(asked.get("metrics", "delivered_time,package_cost_USD")).split(",")[:4])
    n = whole(asked, "n", 40, MOST_FRONT)
    metrics = checked_metrics(subject.study, names)
    rays = Rays(subject.study, metrics, deadline=Deadline(LIMIT_S))
    found = front(subject.study, metrics, n, rays=rays, progress=lines_of(tell))
    tell({"done": True, "front": front_numbers(subject, front_json(found))})


def compute_risk(subject: Subject, plans: Plans | None, asked: dict[str, Any], tell: Tell) -> None:
    """The study re-optimised under `n` draws within its own limits; each choice under `plans`, or all searched."""
    n, known = whole(asked, "n", DRAWS, MOST_SAMPLES), Known(subject.space, plans) if plans else None
    found = risk(
        subject.study, n, target=_target(asked), known=known, progress=lines_of(tell),
        deadline=Deadline(LIMIT_S),
    )  # fmt: skip
    tell({"done": True, "risk": risk_numbers(subject, risk_json(found, None))})


def _target(asked: dict[str, Any]) -> float | None:
    text = str(asked.get("target", "")).strip()
    if not text:
        return None
    # float() takes "nan", "inf" and "1e300" as well
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) == 0:
        raise SpecError("target: give a speed-up, such as 4.5")
    return float(text)


def compute_serving(asked: dict[str, Any], own: tuple[str, ...], tell: Tell) -> None:
    """Throughput against interactivity of `chips` for `model`; presets, or the user's own chips of this session."""
    chips = list(dict.fromkeys(str(asked.get("chips", "")).split(",")))[:MOST_CHIPS]
    for name in chips:
        if name not in (*chip_names(), *own):
            raise UnknownNameError("chip", name, (*chip_names(), *own))
    named = str(asked.get("model", ""))
    if named not in model_names():
        raise UnknownNameError("model", named, model_names())
    served = model(named)
    length = Length(whole(asked, "in", 2000, MOST_TOKENS), whole(asked, "out", 300, MOST_TOKENS))
    requests = Requests(served, (length,), served.weight_format, "bf16")
    systems = [chip_system(name) for name in chips]
    found = offers(systems, requests, Promise(), Policy(), hours(chips), lines_of(tell))
    tell({"done": True, "serving": serving_lines(serving_json(found), own)})


def compute_truth(asked: dict[str, Any], tell: Tell) -> None:
    """Every shipped measurement of one `kind` predicted, as `dse validate` does."""
    kind = str(asked.get("kind", ""))
    if kind not in KINDS:
        raise UnknownNameError("kind of measurement", kind, KINDS)
    tell({"progress": f"predicting every {kind} measurement"})
    found = validate(kind)
    points = prediction_rows(found.scores.predictions)
    scores = {**validation_json(found), "name": kind, "points": points, "receipts": receipts_of_measurements(kind)}
    tell({"done": True, "truth": scores})


def whole(asked: dict[str, Any], name: str, usual: int, most: int) -> int:
    """A whole number from 1 to `most` in a question; SpecError for anything else."""
    text = str(asked.get(name, usual))
    # int() reads digits of every alphabet, underscores and blanks
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and 1 <= int(text) <= most):
        raise SpecError(f"{name}: give a whole number from 1 to {most}")
    return int(text)


MOST_POINTS = 2000
"""Points that are drawn of a kind of measurement; of more, evenly many."""
MOST_DRIVERS = 20
"""Unknowns that are shown of a risk study, those that move the outcome most."""
SHOWN = ("point_id", "source", "chip", "calibration", "measured_s", "predicted_s")
"""Columns of predictions that are drawn."""
Roots = tuple[Path, ...]
"""Folders of answers, see `answer_roots`."""


def _files(roots: Roots, pattern: str) -> list[Path]:
    """Files of some folders by their path in them; of two alike the one in the folder that comes first."""
    found: dict[Path, Path] = {}
    for root in roots:
        for path in sorted(root.glob(pattern)):
            found.setdefault(path.relative_to(root), path)
    return list(found.values())


def _of_study(subject: Subject, roots: Roots, pattern: str) -> list[Path]:
    name = subject.study.name
    # a name from a user's file may hold "..", and must not lead out of the folder
    return _files(roots, f"{name}/{pattern}") if SAFE_NAME.fullmatch(name) else []


def fronts_in(subject: Subject, results: Roots) -> dict[str, Any]:
    """Fronts of this study, each with its points as designs that can be loaded."""
    return _kept(_of_study(subject, results, "front_*/front.json"), lambda a: front_numbers(subject, a), "fronts")


def front_numbers(subject: Subject, a: dict[str, Any]) -> dict[str, Any]:
    """A front as `front_json` gives it, its points as designs: free numbers and position of the choice."""
    metrics = [{"name": m, "label": label(m), "unit": unit_of(m), "topic": topic_of_metric(m)} for m in a["metrics"]]
    points = []
    for row in a["points"]:
        # a choice that the study has no more is an error, for which `_kept` passes the file over
        choice = subject.study.choices.index(Choice(**{f: row[f] for f in Choice.__dataclass_fields__ if f in row}))
        x = {f.name: float(row[f.name]) for f in subject.study.free}
        blank = float(row["blank_mm2"]) if HEAT in a["metrics"] else 0.0  # what limits ask for, they ask for again
        plans = known_plans(subject, [str(row.get(f"plan:{w}")) for w in subject.study.workloads])
        values = [float(row[m]) for m in a["metrics"]]
        points.append({"values": values, "x": x, "choice": choice, "blank_mm2": blank, "plans": plans})
    shown = {"knee": int(a["knee"]), "worst_gap": float(a["worst_gap"]), "unfinished": _unfinished(a)}
    return {"metrics": metrics, "points": points, **shown}


def risks_in(subject: Subject, results: Roots) -> dict[str, Any]:
    """What `dse risk` said of this study."""
    return _kept(_of_study(subject, results, "risk.json"), lambda a: risk_numbers(subject, a), "risks")


def risk_numbers(subject: Subject, a: dict[str, Any]) -> dict[str, Any]:
    """A risk study as `risk_json` gives it: the distribution of the outcome, and what it hangs on, with receipts."""
    kept = ("samples", "seed", "target", "probability", "probability_error", "feasible", "in_the_way")
    first = a["drivers"][:MOST_DRIVERS]
    receipts = receipts_of_unknowns(subject, [str(d["unknown"]) for d in first])
    drivers = [
        {"unknown": str(d["unknown"]), "words": scoped_label(str(d["unknown"])), "group": str(d["group"]),
         "correlation": float(d["rank_correlation"]), "error": float(d["error"]),
         "receipts": receipts[str(d["unknown"])]} for d in first
    ]  # fmt: skip
    merit, left = [float(v) for v in a["merit_distribution"]], _unfinished(a)
    return {**{k: a[k] for k in kept}, "merit": merit, "drivers": drivers, "unfinished": left}


def _unfinished(a: dict[str, Any]) -> list[str]:
    """What an answer lacks because time was up; older ones do not say."""
    return [str(x) for x in a.get("unfinished", [])]


def servings_in(results: Roots, own: tuple[str, ...] = ()) -> dict[str, Any]:
    """Serving curves of all models; `own` are the user's chips of this session."""
    return _kept(_files(results, "serve/*.json"), lambda a: serving_lines(a, own), "servings")


def serving_lines(a: dict[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    """Curves as `dse serve` gives them, only what is drawn; receipts of presets and of the chips in `own`."""
    names = ("tpot_s", "ttft_s", "chip_tokens_per_s", "tokens_per_J", "million_tokens_USD", "batch", "n_chips", "plan")
    stored = str(a["weights"]), str(a["kv"])
    known = (*chip_names(), *own)  # a file may name a chip that this session may not read
    chips = {
        chip: {
            "system": c["system"],
            "calibration": c["calibration"],
            "curve": [{n: p[n] for n in names} for p in c["curve"]],
            "receipts": receipts_of_served(chip, str(c["system"]), str(c["calibration"]), *stored)
            if chip in known
            else None,
        }
        for chip, c in a["chips"].items()
    }
    kept = ("model", "requests", "weights", "kv", "promise", "comparison")
    return {**{k: a[k] for k in kept}, "chips": chips}


def truth_in(results: Roots) -> dict[str, Any]:
    """Scores of every kind of measurement, out of sample first, and the single predictions where they are there."""
    folders = [f"{k}{held}" for k in KINDS for held in ("-without-source", "")]
    files = [path for f in folders for path in _files(results, f"validation/{f}/scores.json")]
    found = _kept(files, _scores, "kinds")
    for scores in found["kinds"]:
        path = Path(scores["file"]).parent.with_suffix(".parquet")
        scores["points"] = prediction_rows(pd.read_parquet(path)) if path.is_file() else []
    return found


def prediction_rows(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Predictions beside measurements, one row each; of many, evenly some."""
    done = predictions.dropna(subset=["predicted_s"])
    # every k-th, not the first: rows of a source lie together
    return done.iloc[:: max(1, -(-len(done) // MOST_POINTS))][list(SHOWN)].to_dict("records")


def _scores(a: dict[str, Any]) -> dict[str, Any]:
    kept = ("kind", "held_out", "total", "sources", "chips", "worst")
    name = f"{a['kind']}, out of sample" if a["held_out"] else a["kind"]
    return {**{k: a[k] for k in kept}, "name": name, "receipts": receipts_of_measurements(a["kind"])}


def _kept(files: list[Path], read: Callable[[Any], dict[str, Any]], name: str) -> dict[str, Any]:
    """What could be read of some files, and which could not."""
    found, skipped = [], []
    for path in (p for p in files if p.is_file()):
        try:
            found.append({**read(json.loads(read_text(path))), "file": str(path)})
        except (DseError, json.JSONDecodeError, RecursionError) as error:
            skipped.append(f"{path}: {' '.join(str(error).split())[:200]}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            skipped.append(f"{path}: not written by this version ({type(error).__name__})")
    return {name: found, "skipped": skipped}
