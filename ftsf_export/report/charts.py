"""Charts as SVG text, drawn here: no script, no font, no library, and colours that follow the page's light or dark.

Colours are CSS variables (``--kind-<name>``, ``--ink``, ``--soft``, ``--line``) of the page, or of ``standalone``.
Every chart carries its title and a description for who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, pairwise

from ftsf_export.mechanisms import MECHANISMS
from ftsf_export.plan_record import KINDS

_ROW, _BAR, _TOP = 22, 14, 6
_WIDTH, _LABELS, _TOTALS = 880, 120, 92
_PLOT_HEIGHT, _LEFT, _RIGHT, _BOTTOM = 340, 76, 150, 46
_PLOT_WIDTH, _LOW = _WIDTH - _LEFT - _RIGHT, _TOP + 24 + _PLOT_HEIGHT
# Okabe and Ito's palette, told apart by the colour-blind too; the second of each pair is for a dark page.
_PALETTE = (
    ("#0072b2", "#4da3d9"),
    ("#e69f00", "#e8b04a"),
    ("#009e73", "#3fbf9b"),
    ("#cc79a7", "#d795ba"),
    ("#7f8790", "#8d96a1"),
    ("#d55e00", "#ee8a4a"),
)


def colours() -> dict[str, tuple[str, str]]:
    """Kind of kernel, or mechanism -> its colour on a light page and on a dark one.

    Each stands in charts of its own. Mechanisms take the palette in the order of their table, its last colour first.
    """
    of_mechanisms = zip(MECHANISMS, cycle((_PALETTE[-1], *_PALETTE)), strict=False)
    return {**dict(zip(KINDS, _PALETTE, strict=False)), **dict(of_mechanisms)}


def colour_rules() -> str:
    """The CSS variables of ``colours``, for light pages and for dark ones."""
    light, dark = ("".join(f"--kind-{name}:{pair[i]};" for name, pair in colours().items()) for i in (0, 1))
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, title: str, unit: str, scale: float) -> str:
    """One horizontal bar a row, stacked by kind in the order of the first row; values are divided by ``scale``.

    Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("stacked_bars: expected at least one row")
    largest = max(sum(parts.values()) for parts in rows.values()) or 1
    room = _WIDTH - _LABELS - _TOTALS
    height = _TOP * 2 + _ROW * len(rows)
    drawn = []
    for index, (label, parts) in enumerate(rows.items()):
        y, x, total = _TOP + index * _ROW, float(_LABELS), sum(parts.values())
        drawn.append(_text(_LABELS - 10, y + 12, label, anchor="end"))
        for kind, value in parts.items():
            wide = value / largest * room
            if wide > 0:
                tip = f"{label}, {kind}: {value / scale:,.2f} {unit}"
                drawn.append(
                    f'<rect x="{x:.1f}" y="{y + 1}" width="{max(wide - 0.8, 0.4):.1f}" height="{_BAR}" '
                    f'fill="var(--kind-{kind})"><title>{escape(tip)}</title></rect>'
                )
            x += wide
        drawn.append(_text(x + 8, y + 12, f"{total / scale:,.1f} {unit}", soft=True))
    whole = sum(sum(parts.values()) for parts in rows.values())
    said = f"{len(rows)} rows, {whole / scale:,.1f} {unit} in all; the largest holds {largest / scale:,.1f} {unit}."
    return _svg(height, title, said, drawn)


@dataclass(frozen=True)
class Series:
    """A line of a chart."""

    name: str  #: A key of ``colours``.
    points: tuple[tuple[float, float], ...]  #: (x, y) in order of x, in the units of the axes.


@dataclass(frozen=True)
class Point:
    """A mark of a chart."""

    name: str  #: A key of ``colours``.
    label: str  #: What it is, in words.
    x: float  #: In the unit of its axis.
    y: float  #: In the unit of its axis.
    marked: bool  #: Whether the chart's line runs through it.


def line_chart(series: Sequence[Series], *, title: str, x_name: str, y_name: str, said: str) -> str:
    """Lines over common ticks, zero at the bottom; names stand at the lines' ends. ``said`` describes it in words."""
    xs = sorted({x for one in series for x, _ in one.points})
    top = _round_up(max(y for one in series for _, y in one.points))
    place = _places(xs[0], xs[-1], 0, top)
    drawn = _axes(place, _quarters(0, top), x_name, y_name)
    drawn += [_text(place(x, 0)[0], _LOW + 18, f"{x:,g}", anchor="middle", soft=True) for x in _spread(xs, place)]
    ends = _apart([place(*one.points[-1])[1] for one in series])
    for one, end in zip(series, ends, strict=True):
        drawn += _line(one, [place(*point) for point in one.points], end)
    return _svg(_LOW + _BOTTOM, title, said, drawn)


def scatter_chart(points: Sequence[Point], *, title: str, x_name: str, y_name: str, said: str) -> str:
    """Marks, and a line through the marked ones from left to right; x begins at zero. ``said`` describes it in words.

    ``y_name``'s axis ends at the points, for a share of 97 is no different from 98 on one that begins at zero.
    """
    right = _round_up(max(point.x for point in points))
    least, most = min(point.y for point in points), max(point.y for point in points)
    room = (most - least) / 8 or 1
    bottom, top = least - room, most + room
    place = _places(0, right, bottom, top)
    drawn = _axes(place, _quarters(bottom, top), x_name, y_name)
    drawn += [
        _text(place(x, bottom)[0], _LOW + 18, _figure(x), anchor="middle", soft=True) for x in _quarters(0, right)
    ]
    path = " ".join("{:.1f},{:.1f}".format(*place(point.x, point.y)) for point in points if point.marked)
    drawn.append(f'<polyline points="{path}" fill="none" stroke="var(--soft)" stroke-width="1.5"/>')
    for point in points:
        (x, y), fill = place(point.x, point.y), f"var(--kind-{point.name})"
        tip = escape(f"{point.label}: {_figure(point.x)}, {_figure(point.y)}")
        look = f'fill="{fill}"' if point.marked else f'fill="none" stroke="{fill}" stroke-width="2"'
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {look}><title>{tip}</title></circle>')
        if point.marked:
            drawn.append(_text(x + 9, y + 4, point.label))
    return _svg(_LOW + _BOTTOM, title, said, drawn)


def _places(left: float, right: float, bottom: float, top: float) -> Callable[[float, float], tuple[float, float]]:
    """From values to places in the picture."""
    wide, high = (right - left) or 1, (top - bottom) or 1
    return lambda x, y: (_LEFT + (x - left) / wide * _PLOT_WIDTH, _LOW - (y - bottom) / high * _PLOT_HEIGHT)


def _quarters(low: float, high: float) -> tuple[float, ...]:
    return tuple(low + (high - low) * step / 4 for step in range(5))


def _spread(xs: Sequence[float], place: Callable[[float, float], tuple[float, float]], gap: float = 44) -> list[float]:
    """Those ticks that have room beside each other, the last always."""
    kept: list[float] = []
    for x in reversed(xs):
        if not kept or place(kept[-1], 0)[0] - place(x, 0)[0] >= gap:
            kept.append(x)
    return kept[::-1]


def _axes(
    place: Callable[[float, float], tuple[float, float]], values: Sequence[float], x_name: str, y_name: str
) -> list[str]:
    """Names of both axes, and a line at each of the ``values``."""
    drawn = [_text(_LEFT, 14, y_name, soft=True)]
    drawn.append(_text(_LEFT + _PLOT_WIDTH / 2, _LOW + 38, x_name, anchor="middle", soft=True))
    for value in values:
        y = place(0, value)[1]
        drawn.append(f'<line x1="{_LEFT}" x2="{_LEFT + _PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        drawn.append(_text(_LEFT - 10, y + 4, _figure(value), anchor="end", soft=True))
    return drawn


def standalone(svg: str) -> str:
    """A chart as a file of its own, with its colours inside."""
    page = ":root{--ink:#1b1e22;--soft:#5d646d;--line:#e3e4e0}"
    dark = "@media (prefers-color-scheme:dark){:root{--ink:#e5e7ea;--soft:#a2a9b2;--line:#2b2f35}}"
    style = f"<style>{page}{dark}{colour_rules()}text{{font:13px system-ui,sans-serif}}</style>"
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}">{style}{rest}\n'


def _line(one: Series, places: Sequence[tuple[float, float]], end: float) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    colour = f"var(--kind-{one.name})"
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}">'
        f"<title>{one.name}, {point[0]:g}: {_figure(point[1])}</title></circle>"
        for (x, y), point in zip(places, one.points, strict=True)
    ]
    name = f'<text x="{places[-1][0] + 12:.1f}" y="{end + 4:.1f}" fill="{colour}">{escape(one.name)}</text>'
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots, name]


def _apart(places: Sequence[float], gap: float = 16) -> list[float]:
    """Heights of names that do not cover each other, near where they belong."""
    order = sorted(range(len(places)), key=lambda index: -places[index])
    found = list(places)
    for below, above in pairwise(order):
        found[above] = min(found[above], found[below] - gap)
    return found


def _round_up(value: float) -> float:
    """The next number whose quarters are short: 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return float(next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value))


def _figure(value: float) -> str:
    """Four digits, and thousands written out: 10,000, never 1e+04."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", soft: bool = False) -> str:
    colour = "--soft" if soft else "--ink"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var({colour})">{escape(text)}</text>'


def _svg(height: float, title: str, said: str, drawn: Sequence[str]) -> str:
    words = f"<title>{escape(title)}</title><desc>{escape(said)}</desc>"
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(f"{title}. {said}")}">'
    return f"{head}{words}{''.join(drawn)}</svg>"
