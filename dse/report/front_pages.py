"""Interactive pages of a front and of its designs, one offline HTML file each."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..core.files import write_text
from ..core.text import digits, label, quantity_text
from ..explore.designed import Named
from ..explore.front import Front
from .front import goal_text, heading
from .front_axes import ALIKE, ROOM, axis_label, better, log_ticks
from .style import CONTEXT, DESIGN, NODES, colours


def write_pages(f: Front, named: list[Named], folder: Path) -> list[Path]:
    """Write `front.html` and `designs.html`; nothing where plotly is not installed."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        return []
    varying, alike = _along(f)
    rest = f" Alike in all: {alike}." if alike else ""
    drawn = {name: _axis(name, f.frame()[name]) for name in varying}
    across = f"Drag on an axis to select.{rest}", _designs(go, f, drawn)
    down = f"A line is a design, brighter for more {heading(f.metrics[0])}.{rest}", _designs_down(go, f, drawn)
    figures = {
        "front": (f"{f.study.name}: front", [("Hover for the design of a point.", _front(go, f, named))], 0),
        "designs": (f"{f.study.name}: designs along the front", [across, down], AXIS_PX * len(varying)),
    }
    return [_written(folder / f"{name}.html", *made) for name, made in figures.items()]


def _written(path: Path, title: str, shown: list, least: int) -> Path:
    """A page of figures under their notes: the first on screens of at least some pixels, the last on narrower ones."""
    parts = [
        PART.format(
            kind=kind, note=escape(note),
            # plotly is megabytes: once for all figures of a page
            inside=figure.to_html(full_html=False, include_plotlyjs=i == 0, config=CONFIG, default_height="100%"),
        )
        for i, (kind, (note, figure)) in enumerate(zip(("wide", "narrow"), shown, strict=False))
    ]  # fmt: skip
    html = PAGE.format(title=escape(title), least=least, inside="".join(parts))
    write_text(path, html)
    return path


CONFIG = {"responsive": True, "displaylogo": False}
AXIS_PX = 100
"""Least width of an axis of designs [pixels]: on narrower screens axes lie below each other."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,">
<style>body {{ margin: 0; font: 14px/1.4 system-ui, sans-serif; color: #1d1d1d; }}
h1 {{ font-size: 18px; margin: 12px 16px 0; }} p {{ margin: 0 16px; color: #555; }}
.figure {{ height: calc(100vh - 80px); min-height: 420px; }} .narrow {{ display: none; }}
@media (max-width: {least}px) {{ .wide {{ display: none; }} .narrow {{ display: block; }} }}</style></head>
<body><h1>{title}</h1>{inside}</body></html>
"""
PART = """<div class="{kind}"><p>{note}</p><div class="figure">{inside}</div></div>"""


def _front(go, f: Front, named: list[Named]):
    x_name, y_name = f.metrics[1], f.metrics[0]
    table = f.frame()
    chosen = (f.study.choices[p.choice_index].text() for p in f.points)
    told = ([f"{heading(m)}: {goal_text(m, v)}" for m, v in zip(f.metrics, values, strict=True)] for values in f.values)
    hover = ["<br>".join([choice, *lines]) for choice, lines in zip(chosen, told, strict=True)]
    figure = go.Figure()
    (x, x_title, x_size), (y, y_title, y_size) = (_axis(m, table[m]) for m in (x_name, y_name))
    line = {"width": 1, "color": CONTEXT}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    own = np.asarray([f.study.choices[p.choice_index].node for p in f.points])
    for node, colour in colours((c.node for c in f.study.choices), NODES).items():
        mine = np.flatnonzero(own == node)
        if mine.size:
            figure.add_scatter(
                x=x[mine], y=y[mine], mode="markers", name=f"front on {node}", text=[hover[i] for i in mine],
                hoverinfo="text", marker={"size": 7, "color": colour},
            )  # fmt: skip
    places = [
        better(m, np.asarray([n.values[i] for n in named], dtype=float)) / size
        for m, i, size in ((x_name, 1, x_size), (y_name, 0, y_size))
    ]
    _add_chips(figure, [n.name for n in named], places, (x, y))
    figure.update_xaxes(**_log_axis(x_title, x))
    figure.update_yaxes(**_log_axis(y_title, y))
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(template="simple_white", legend=legend, margin={"l": 64, "r": 16, "t": 60, "b": 56})
    return figure


def _add_chips(figure, names: list[str], at: list[np.ndarray], front: tuple[np.ndarray, np.ndarray]) -> None:
    """Chips that exist; those beyond the focus on the front stand at its edge, with their numbers."""
    x, y = at
    held_x, held_y = (np.clip(v, *_focus(own, ROOM * WITHIN)) for v, own in zip(at, front, strict=True))
    inside = (held_x == x) & (held_y == y)
    beyond = [f"{n} ({digits(a, 2)}, {digits(b, 2)})" for n, a, b in zip(names, x, y, strict=True)]
    words = [n if i else b for n, b, i in zip(names, beyond, inside, strict=True)]
    marks: dict[tuple[float, float], list[int]] = {}
    for i, place in enumerate(zip(held_x.tolist(), held_y.tolist(), strict=True)):
        marks.setdefault(place, []).append(i)
    # the middle of a log axis is the geometric mean
    left = [a < math.sqrt(math.prod(_focus(front[0]))) for a, _ in marks]
    top = [b > _focus(front[1], ROOM * WITHIN)[1] * WITHIN for _, b in marks]
    figure.add_scatter(
        x=[a for a, _ in marks], y=[b for _, b in marks], mode="markers+text", name="chips that exist",
        cliponaxis=False, text=["<br>".join(words[i] for i in some) for some in marks.values()], hoverinfo="text",
        hovertext=["<br>".join(beyond[i] for i in some) for some in marks.values()],
        textposition=[f"{'bottom' if t else 'top'} {'right' if x else 'left'}" for t, x in zip(top, left, strict=True)],
        marker={"symbol": ["diamond-open" if inside[some[0]] else "diamond" for some in marks.values()], "size": 9,
                "color": DESIGN},
    )  # fmt: skip


def _along(f: Front) -> tuple[list[str], str]:
    """Metrics and free numbers that differ along a front, and in words those that do not: an axis would show noise."""
    table = f.frame()
    columns = {n: np.asarray(table[n], dtype=float) for n in f.rays.core.free}
    ends = {n: (float(v.min()), float(v.max())) for n, v in columns.items()}
    varying = [n for n, (low, high) in ends.items() if high - low > ALIKE * high]
    return [*f.metrics, *varying], ", ".join(
        f"{label(n)} {quantity_text(n, high)}" for n, (_, high) in ends.items() if n not in varying
    )


Drawn: TypeAlias = tuple[np.ndarray, str, float]
"""Values of an axis as they are drawn, its title, and the size of its unit."""


def _head(drawn: dict[str, Drawn], name: str) -> str:
    return drawn[name][1].replace(" speed-up over the baseline", "")


def _designs(go, f: Front, drawn: dict[str, Drawn]):
    axes = [{"label": _head(drawn, n), "values": v, "tickformat": ",.3~r"} for n, (v, _, _) in drawn.items()]
    bar = {"title": {"text": _head(drawn, f.metrics[0]), "side": "right"}, "thickness": 12}
    lines = {"color": drawn[f.metrics[0]][0], "colorscale": "Viridis", "showscale": True, "colorbar": bar}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=lines, labelangle=-20, labelside="top"))
    figure.update_layout(margin={"l": 70, "r": 50, "t": 90, "b": 30})
    return figure


def _designs_down(go, f: Front, drawn: dict[str, Drawn]):
    """The same designs on axes that lie below each other, each from its least to its most."""
    from plotly.colors import sample_colorscale

    figure = go.Figure()
    # an axis on which all designs are alike has no width
    spans = np.stack([(v - v.min()) / max(float(np.ptp(v)), 1e-300) for v, _, _ in drawn.values()])
    hover = [
        "<br>".join(f"{_head(drawn, n)} {digits(float(v[i]), 3)}" for n, (v, _, _) in drawn.items())
        for i in range(len(f.points))
    ]
    shades = sample_colorscale("Viridis", spans[0].tolist())
    for x, text, shade in zip(spans.T, hover, shades, strict=True):
        figure.add_scatter(
            x=x, y=list(range(len(drawn))), mode="lines+markers", text=[text] * len(drawn), hoverinfo="text",
            line={"color": shade, "width": 1.5}, marker={"size": 6}, showlegend=False,
        )  # fmt: skip
    for row, name in enumerate(drawn):
        low, high = (digits(float(v), 3) for v in (drawn[name][0].min(), drawn[name][0].max()))
        figure.add_shape(type="line", x0=0, x1=1, y0=row, y1=row, line={"color": CONTEXT, "width": 1}, layer="below")
        for x, side, text in ((0, "left", low), (0.5, "center", _head(drawn, name)), (1, "right", high)):
            figure.add_annotation(x=x, y=row, text=text, xanchor=side, yshift=14, showarrow=False, bgcolor=PAPER)
    figure.update_xaxes(visible=False, range=[-0.04, 1.04], fixedrange=True)
    figure.update_yaxes(visible=False, range=[len(drawn) - 0.7, -0.6], fixedrange=True)
    figure.update_layout(template="simple_white", margin={"l": 12, "r": 12, "t": 8, "b": 8})
    return figure


PAPER = "rgba(255,255,255,0.8)"
"""What stands behind words on lines."""


def _axis(metric: str, values: object) -> Drawn:
    """A metric as it is drawn, its title with a unit people use, and the size of that unit."""
    drawn = better(metric, np.asarray(values, dtype=float))
    title, size = axis_label(metric, drawn)
    return drawn / size, title, size


def _focus(values: np.ndarray, room: float = ROOM) -> tuple[float, float]:
    return float(values.min()) / room, float(values.max()) * room


WITHIN = 0.9999
"""What keeps a mark at the edge of a page's axis: beyond it, by a bit even, plotly draws none."""


def _log_axis(title: str, values: np.ndarray) -> dict[str, object]:
    """A log axis in focus on the front, with plain numbers as its ticks."""
    return {"title": title, "range": [math.log10(v) for v in _focus(values)], **log_ticks(*_focus(values))}
