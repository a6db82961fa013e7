"""Pages to hover over: a front and its designs, in one HTML file each that needs no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.files import write_whole
from ..core.text import digits
from ..explore.front import Front
from ..explore.named import Named
from .front import goal_text, heading
from .front_axes import axis_label, better, round_ticks
from .style import CONTEXT, DESIGN, NODES


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
    (x, x_title, x_size), (y, y_title, y_size) = (_axis(m, table[m]) for m in (x_name, y_name))
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"width": 1, "color": CONTEXT}, hoverinfo="skip", showlegend=False
    )  # fmt: skip
    own = np.asarray([f.study.choices[p.choice_index].node for p in f.points])
    for node, colour in zip(dict.fromkeys(c.node for c in f.study.choices), NODES, strict=False):
        mine = np.flatnonzero(own == node)
        if mine.size:
            figure.add_scatter(
                x=x[mine], y=y[mine], mode="markers", name=f"front on {node}", text=[hover[i] for i in mine],
                hoverinfo="text", marker={"size": 6, "color": colour},
            )  # fmt: skip
    beside_x, beside_y = (
        better(m, np.asarray([n.values[i] for n in named], dtype=float)) / size
        for m, i, size in ((x_name, 1, x_size), (y_name, 0, y_size))
    )
    figure.add_scatter(
        x=beside_x, y=beside_y, mode="markers+text", name="chips that exist", text=[n.name for n in named],
        textposition="top center", marker={"symbol": "diamond-open", "size": 9, "color": DESIGN},
    )  # fmt: skip
    figure.update_xaxes(**_log_axis(x_title, np.concatenate([x, beside_x])))
    figure.update_yaxes(**_log_axis(y_title, np.concatenate([y, beside_y])))
    figure.update_layout(title=f"{f.study.name}: front", template="simple_white")
    return figure


def _designs(go, f: Front):
    names = [*f.metrics, *f.rays.core.free]
    table = f.table()
    drawn = {n: _axis(n, table[n]) for n in names}
    axes = [{"label": title, "values": values} for values, title, _ in drawn.values()]
    lines = {"color": drawn[f.metrics[0]][0], "colorscale": "Viridis", "showscale": True}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=lines))
    figure.update_layout(title=f"{f.study.name}: designs along the front; drag on an axis to select")
    return figure


def _axis(metric: str, values: object) -> tuple[np.ndarray, str, float]:
    """A metric as it is drawn, its title with a unit people use, and the size of that unit."""
    drawn = better(metric, np.asarray(values, dtype=float))
    title, size = axis_label(metric, drawn)
    return drawn / size, title, size


def _log_axis(title: str, values: np.ndarray) -> dict[str, object]:
    """A log axis with plain numbers at the 1, 2 and 5 of every decade."""
    ticks = round_ticks(float(values.min()) / 2, float(values.max()) * 2)
    return {"type": "log", "title": title, "tickvals": ticks, "ticktext": [digits(t, 2) for t in ticks]}
