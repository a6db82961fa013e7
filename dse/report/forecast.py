"""A forecast and its score as terminal tables, JSON, and files in a results folder."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.errors import SpecError
from ..core.files import write_json
from ..core.text import label, percent, quantity_text
from ..explore.forecast import Forecast
from ..explore.score import Scored, coverage, mean_log_score
from .layout import table_of
from .results import study_manifest
from .terminal import unfinished

LEVELS = (0.1, 0.5, 0.9)


DRAWS = "draws.csv"


def next_version(root: Path) -> Path:
    """Folder of a new version below `root`: today's date, with a number from the second of a day on."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    names = [today, *(f"{today}-{k}" for k in range(2, LAST))]
    return next(root / n for n in names if not (root / n).exists())


def last_version(root: Path) -> Path:
    """The newest version below `root`, or `root` where it is a version itself; SpecError where there is none."""
    if (root / DRAWS).exists():
        return root
    found = sorted((p.parent for p in root.glob(f"*/{DRAWS}")), key=_version)
    if not found:
        raise SpecError(f"{root}: holds no forecast; `dse forecast sweeps/forecast_trainium4.toml` writes one")
    return found[-1]


def _version(folder: Path) -> tuple[str, int]:
    """Day and number of a version, from the name of its folder."""
    day, number = folder.name[:DATE], folder.name[DATE + 1 :]
    # as a number: as text the tenth of a day would come before the second
    return day, int(number) if number.isdecimal() else 1


DATE = len("2026-11-27")
LAST = 1000


def forecast_json(f: Forecast) -> dict[str, Any]:
    """Quantiles of every quantity, canonical units, and probabilities of every choice."""
    return {
        "study": f.assumptions.study.name,
        "draws": f.n,
        "unfinished": list(f.unfinished),
        "draws_with_a_design": len(next(iter(f.numbers.values()))),
        "seed": f.seed,
        "levels": list(LEVELS),
        "quantiles": f.quantiles(LEVELS),
        "probabilities": f.shares(),
    }


def write_forecast(folder: Path, text: str, study_text: str, f: Forecast) -> None:
    """`forecast.json`, the draws, the forecast file and its study as they were, and a manifest with commit and date."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "forecast.json", forecast_json(f))
    write_json(folder / "manifest.json", study_manifest(study_text, f.assumptions.study, seed=f.seed))
    (folder / "forecast.toml").write_text(text, encoding="utf-8")
    (folder / "study.toml").write_text(study_text, encoding="utf-8")
    with (folder / DRAWS).open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*f.numbers, *f.words])
        numbers = [[f"{x:.5g}" for x in column] for column in f.numbers.values()]
        out.writerows(zip(*numbers, *f.words.values(), strict=True))


def forecast_view(f: Forecast) -> RenderableType:
    """The forecast on one screen."""
    found = f.quantiles(LEVELS).items()
    numbers = ((label(n), *(quantity_text(n.partition(":")[0], x) for x in values)) for n, values in found)
    words = ((label(n), ", ".join(f"{w} {percent(p)}" for w, p in shares.items())) for n, shares in f.shares().items())
    tables = table_of(("quantity", "10 %", "50 %", "90 %"), numbers), table_of(("choice", "probability"), words)
    head = Text(f"{f.assumptions.study.name}: {f.n} draws, seed {f.seed}")
    return Group(head, *(part for t in tables for part in ("", t)), *unfinished(f.unfinished))


def score_json(scored: tuple[Scored, ...]) -> dict[str, Any]:
    """Every fact with its score, and both means."""
    told = ("fact", "log_score", "quantile", "drawn_frac")
    facts = {s.name: {key: getattr(s, key) for key in told} for s in scored}
    return {"facts": facts, "mean_log_score": mean_log_score(scored), "coverage_frac": coverage(scored)}


def score_view(scored: tuple[Scored, ...]) -> RenderableType:
    """Facts against the forecast."""
    facts = (quantity_text(s.name.partition(":")[0], s.fact) for s in scored)
    rows = ((label(s.name), fact, _among(s), f"{s.log_score:.2f}") for s, fact in zip(scored, facts, strict=True))
    inside = coverage(scored)
    # NaN, which differs from itself: none of the facts is a number
    band = "" if inside != inside else f", {percent(inside)} of the numbers between the 10 % and 90 % quantiles"
    t = table_of(("quantity", "fact", "draws", "log score"), rows)
    return Group(t, f"mean log score {mean_log_score(scored):.2f} nats{band}")


def _among(s: Scored) -> str:
    """Where a fact lies among the draws; a word that none of them has may be a misspelt one."""
    if s.quantile is not None:
        return f"{percent(s.quantile)} below"
    return percent(s.drawn_frac) if s.drawn_frac else "never drawn"
