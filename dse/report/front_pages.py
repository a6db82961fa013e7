"""Pages to hover over: a front and its designs, in one HTML file each that needs no network."""

from __future__ import annotations

from pathlib import Path

from ..core.files import write_whole
from ..core.text import label
from ..explore.front import Front
from ..explore.named import Named
from ..study.metrics import DELIVERED
from .front import goal_text, heading
from .style import DESIGN, HELPS


def write_pages(f: Front, named: list[Named], folder: Path) -> list[Path]:
    """Write `front.html` and `designs.html`; nothing where plotly is not installed."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        return []
    paths = []
    for name, figure in (("front", _front(go, f, named)), ("designs", _designs(go, f))):
        path = folder / f"{name}.html"
        html = figure.to_html(include_plotlyjs=True, full_html=True)
        write_whole(path, lambda p, html=html: p.write_text(html, encoding="utf-8"))
        paths.append(path)
    return paths


def _front(go, f: Front, named: list[Named]):
    x_name, y_name = f.metrics[1], f.metrics[0]
    table = f.table()
    hover = [
        "<br>".join(
            [
                f.study.choices[p.choice_index].text(),
                *(f"{heading(m)}: {goal_text(m, v)}" for m, v in zip(f.metrics, values, strict=True)),
            ]
        )
        for p, values in zip(f.points, f.values, strict=True)
    ]
    figure = go.Figure()
    drawn = {m: _drawn(m, table[m]) for m in (x_name, y_name)}
    figure.add_scatter(
        x=drawn[x_name], y=drawn[y_name], mode="markers+lines", name="front", text=hover, hoverinfo="text",
        marker={"size": 6, "color": HELPS}, line={"width": 1},
    )  # fmt: skip
    figure.add_scatter(
        x=[_drawn(x_name, n.values[1]) for n in named], y=[_drawn(y_name, n.values[0]) for n in named],
        mode="markers+text", name="chips that exist", text=[n.name for n in named], textposition="top center",
        marker={"symbol": "diamond-open", "size": 9, "color": DESIGN},
    )  # fmt: skip
    figure.update_xaxes(type="log", title=_title(x_name))
    figure.update_yaxes(type="log", title=_title(y_name))
    figure.update_layout(title=f"{f.study.name}: front", template="simple_white")
    return figure


def _designs(go, f: Front):
    names = [*f.metrics, *f.rays.core.free]
    table = f.table()
    axes = [{"label": _title(n), "values": _drawn(n, table[n])} for n in names]
    lines = {"color": _drawn(f.metrics[0], table[f.metrics[0]]), "colorscale": "Viridis", "showscale": True}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=lines))
    figure.update_layout(title=f"{f.study.name}: designs along the front; drag on an axis to select")
    return figure


def _drawn(metric: str, values):
    return 1.0 / values if metric == DELIVERED else values


def _title(metric: str) -> str:
    unit = metric.rpartition("_")[2]
    return "delivered speed-up [x]" if metric == DELIVERED else f"{label(metric)} [{unit}]"
