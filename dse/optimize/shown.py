"""Tables of a solution: numbers for pandas, and with labels and units for notebooks."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import UnknownNameError
from ..core.frames import table_of
from ..core.text import label, percent, quantity_text, times, unit_of
from ..hardware.chip import Chip
from ..lowering.plan import Plan
from ..study.design import FREE
from ..study.metrics import METRICS, chip_state

if TYPE_CHECKING:
    import pandas as pd


Answer = Any
"""A `Solution`, which knows this module and not the reverse."""
TABLES = ("design", "limits", "workloads", "relaxations")
"""What can be asked of a solution."""
OF_CHIP = ("peak_fp4_FLOPps", "peak_fp8_FLOPps", "peak_bf16_FLOPps")
"""Metrics of a chip that stand beside its numbers."""


def frame(s: Answer, of: str = "design") -> pd.DataFrame:
    """One table of a solution, canonical units; UnknownNameError for no such table.

    `of` is "design" (beside the baseline), "limits" (value, asked, room, price), "workloads" (step time, speed-up,
    power, share of peak) or "relaxations" (what to loosen where nothing is feasible).
    """
    makers = {"design": _design, "limits": _limits, "workloads": _workloads, "relaxations": _relaxations}
    if of not in makers:
        raise UnknownNameError("table", of, TABLES)
    return makers[of](s)


def _numbers(chip: Chip) -> dict[str, float]:
    state = chip_state(chip)
    return {
        **{n: float(np.asarray(read(chip))) for n, read in FREE.items()},
        **{n: float(np.asarray(METRICS[n](state))) for n in OF_CHIP if n in METRICS},
    }


def _design(s: Answer) -> pd.DataFrame:
    base = _numbers(s.study.baseline.chip)
    mine = {} if s.chip is None else _numbers(s.chip)
    # a baseline may have no rate in a precision that designs have
    rows = [(n, mine[n], b, mine[n] / b if b else np.inf, unit_of(n)) for n, b in base.items() if n in mine]
    return table_of(rows, ["number", "value", "baseline", "ratio", "unit"], "number")


def _limits(s: Answer) -> pd.DataFrame:
    rows = [(x.name, x.value, x.sense, x.limit, x.margin, x.price, x.binds, x.kind.value) for x in s.limits]
    columns = ["limit", "value", "sense", "asked", "room_frac", "price", "binds", "set_by"]
    return table_of(rows, columns, "limit")


def _workloads(s: Answer) -> pd.DataFrame:
    columns = ["workload", "step_s", "baseline_s", "speedup", "power_W", "mfu_frac", "plan"]
    rows = [
        (w.name, float(e.step_s), w.baseline_s, w.speedup, float(e.power_W), float(e.mfu_frac), str(w.plan))
        for w in s.workloads
        for e in (w.evaluation,)
    ]
    return table_of(rows, columns, "workload")


def _relaxations(s: Answer) -> pd.DataFrame:
    names = ["name", "limit", "needed", "sense"]
    return table_of([dataclasses.asdict(r) for r in s.relaxations], names, "name")


def plan_words(plan: Mapping[str, Any]) -> str:
    """A plan as in the JSON of a solution, in words: all that is not one rank, or not the usual way."""
    usual, words = dataclasses.asdict(Plan()), []
    for key, value in plan.items():
        name = key.replace("_", " ")
        if value == usual.get(key):
            continue
        # before numbers, which a truth value is as well in Python
        if isinstance(value, bool):
            words.append(name if value else f"no {name}")
        else:
            words.append(f"{name.removesuffix(' frac')} {percent(value) if key.endswith('_frac') else value}")
    return ", ".join(words)


def page(s: Answer) -> str:
    """A solution as HTML for a notebook: how it ended, the design, its workloads and what binds."""
    parts = [f"<p><b>{html.escape(s.study.name)}</b>: {html.escape(s.status.value)}</p>"]
    if s.chip is None:
        return "".join([*parts, _html(_relaxations(s).map(str))])
    if s.workloads:
        parts.append(f"<p>{times(s.delivered)} delivered over {html.escape(s.study.baseline.chip.name)}</p>")
    return "".join([*parts, _html(_design_text(s)), _html(_workloads_text(s)), _html(_binding_text(s))])


def _html(table: pd.DataFrame) -> str:
    return table.to_html(border=0) if len(table) else ""


def _design_text(s: Answer) -> pd.DataFrame:
    rows = [
        (label(str(n)), quantity_text(str(n), r.value), quantity_text(str(n), r.baseline), times(r.ratio))
        for n, r in frame(s).iterrows()
    ]
    return table_of(rows, ["number", "design", "baseline", "ratio"], "number")


def _workloads_text(s: Answer) -> pd.DataFrame:
    texts = {"step_s": "step time", "baseline_s": "baseline", "power_W": "power", "mfu_frac": "share of peak"}
    table = frame(s, "workloads")
    shown = {text: [quantity_text(n, x) for x in table[n]] for n, text in texts.items()}
    shown["speed-up"] = [times(x) for x in table.speedup]
    return table_of(zip(*shown.values(), strict=True), list(shown)).set_index(table.index)


def _binding_text(s: Answer) -> pd.DataFrame:
    tight = sorted((x for x in s.limits if x.binds), key=lambda x: -abs(x.price))
    # a price is d log goal / d log limit: one per cent of the limit is price per cent of the goal
    rows = [(label(x.name), x.sense.replace("_", " "), percent(abs(x.price) / 100)) for x in tight]
    return table_of(rows, ["limit that binds", "sense", "1 % looser buys"], "limit that binds")
