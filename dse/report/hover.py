"""Interactive plotly figures for a page that holds plotly.js once; empty if plotly is not installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ..core.text import label, unit_of
from ..study.metrics import DELIVERED
from .front import heading, metric_text
from .front_axes import better, log_ticks
from .markup import value_text
from .style import DESIGN, NODES, colours

if TYPE_CHECKING:
    import pandas as pd

HOVER = 'class="hover"'
"""What marks a part that needs plotly.js."""
MOST_POINTS = 2000
"""Points of a figure; of more, evenly many are drawn."""
CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": False}
LOG_FROM = 5.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def script() -> str:
    """plotly.js, to be put into a page once."""
    import plotly.offline

    return f"<script>{plotly.offline.get_plotlyjs()}</script>"


def available() -> bool:
    """Whether plotly is installed."""
    return importlib.util.find_spec("plotly") is not None


def _part(traces: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], title: str) -> str:
    """A figure as a part of a page; its name depends on nothing but its content."""
    import plotly.graph_objects as go

    figure = go.Figure(traces)
    look: dict[str, Any] = {"template": "simple_white", "height": 400, "margin": {"l": 60, "r": 16, "t": 14, "b": 110}}
    figure.update_layout(xaxis=x, yaxis=y, legend={"orientation": "h", "y": -0.22}, showlegend=len(traces) > 1, **look)
    # the traces too: two fronts of the same axes on one page would both be drawn into the first of their places
    content = json.dumps([title, x, y, traces], default=str).encode()
    place = f"hover-{hashlib.sha256(content).hexdigest()[:10]}"
    inside = figure.to_html(full_html=False, include_plotlyjs=False, config=CONFIG, div_id=place, default_height=400)
    return f"<figure><div {HOVER}>{inside}</div><figcaption>{escape(title)}</figcaption></figure>"


def _dots(name: str, x: list[Any], y: list[Any], texts: Sequence[str] = (), **marker: Any) -> dict[str, Any]:
    """Points of one colour; hovering shows their texts, which ask for line breaks of HTML."""
    told = {"text": texts, "hoverinfo": "text"} if texts else {}
    return {"type": "scatter", "mode": "markers", "name": name, **told, "x": x, "y": y, "marker": marker}


def _axis(title: str, values: list[float]) -> dict[str, Any]:
    positive = bool(values) and min(values) > 0
    if positive and max(values) > LOG_FROM * min(values):
        return {"title": {"text": title}, **log_ticks(min(values) / 2, max(values) * 2)}
    return {"title": {"text": title}, "type": "linear", "showgrid": True}


DESCRIBED = (
    "node", "hbm", "n_dies", "pe_array", "fp8_rate", "n_cores", "clock_Hz", "scratchpad_B", "n_stacks",
    "hbm_bandwidth_Bps",
)  # fmt: skip
"""What hovering shows of a design beside its metrics; nothing for a field of 0, which is as the baseline has it."""


def front(a: dict[str, Any]) -> str:
    """Points of a front by process node; hovering shows the design behind each."""
    if not available():
        return ""
    y_name, x_name = a["metrics"][:2]
    points = a["points"]
    nodes = a.get("nodes") or [p["node"] for p in points]
    traces = []
    for node, colour in colours(nodes, NODES).items():
        mine = [p for p in points if p["node"] == node]
        if not mine:
            continue
        texts = ["<br>".join(_lines(p, (*a["metrics"], *(n for n in DESCRIBED if p.get(n))))) for p in mine]
        x, y = ([better(m, p[m]) for p in mine] for m in (x_name, y_name))
        traces.append(_dots(f"front on {node}", x, y, texts, size=8, color=colour))
    x, y = ([better(m, points[a["knee"]][m])] for m in (x_name, y_name))
    ring = _dots("knee", x, y, size=16, symbol="circle-open", color=DESIGN, line={"width": 2})
    traces.append({**ring, "hoverinfo": "skip"})
    x, y = (_axis(_title(m), [better(m, p[m]) for p in points]) for m in (x_name, y_name))
    return _part(traces, x, y, "The front; hover for the design of a point")


def _lines(point: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [f"{heading(n)} {metric_text(n, point[n])}" for n in names if n in point]


def _title(metric: str) -> str:
    if metric == DELIVERED:
        return "delivered speed-up [x]"
    if metric.endswith("_per_s"):
        return f"{label(metric.removesuffix('_per_s'))}/s"
    unit = unit_of(metric)
    return f"{label(metric)} [{unit}]" if unit else label(metric)


def _name(axis: str | None, value: Any) -> str:
    """A value of an axis in a legend: words stand alone, numbers have their axis and unit."""
    if axis and value != value:  # a point that has none of it
        return f"no {label(axis)}"
    return f"{label(axis)} {value_text(axis, value)}" if axis and isinstance(value, int | float) else str(value)


def scatter(rows: pd.DataFrame, x: str, y: str, by: str | None, shown: list[str]) -> str:
    """Rows of a sweep: one metric over one axis, coloured by another; hovering shows the point."""
    if not available():
        return ""
    # every nth of all, not the first: rows come in the order of the axes, so that a head would be one corner
    thin = rows.iloc[:: max(1, -(-len(rows) // MOST_POINTS))]
    groups = [(name, group) for name, group in thin.groupby(by, sort=False, dropna=False)] if by else [("points", thin)]
    traces = []
    for i, (name, group) in enumerate(groups):
        texts = ["<br>".join(f"{n}: {value_text(n, v)}" for n, v in r.items()) for r in group[shown].to_dict("records")]
        at = group[x].tolist(), group[y].tolist()
        traces.append(_dots(_name(by, name), *at, texts, size=7, color=NODES[i % len(NODES)]))
    axes = [
        _axis(_title(n), thin[n].tolist()) if thin[n].dtype.kind in "fi" else {"title": {"text": n}, "type": "category"}
        for n in (x, y)
    ]
    return _part(traces, axes[0], axes[1], f"{_title(y)} over {_title(x)}; hover for a point")
