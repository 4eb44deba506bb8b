"""Charts as shapes in a box, which a template writes as SVG in the colours of the page."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from volseg.figures.colours import region_colours
from volseg.reporting.axes import LEFT, PLOT_HEIGHT, RIGHT, TOP, WIDTH, Axis, Tick, apart

_BOTTOM, _ROW = 40, 58
_RADIUS, _FEW = 3.2, 300
_CORNERS: Mapping[str, Sequence[tuple[float, float]]] = {
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1.2), (1.2, 0.9), (-1.2, 0.9)],
    "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    "wedge": [(0, 1.2), (1.2, -0.9), (-1.2, -0.9)],
    "hourglass": [(-1, -1.1), (1, -1.1), (-1, 1.1), (1, 1.1)],
}
_SHAPES = ("circle", *_CORNERS)
# As the colours, shapes differ among the regions of each label scheme and of each protocol.
_REGION_SHAPES: Mapping[str, str] = {
    **{"WT": "circle", "TC": "square", "ET": "triangle", "RC": "hourglass", "CC": "hourglass"},
    **{"NETC": "diamond", "NCR": "diamond", "SNFH": "wedge", "ED": "wedge"},
    **{"GTV": "circle", "foreground": "circle"},
}
# Points of a strip that lie closer than this share of its length are stacked.
_BINS = 60


@dataclass(frozen=True)
class Mark:
    """A point: an SVG path, its colour and what it shows."""

    path: str
    colour: str
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A line through points `x,y x,y ...`."""

    points: str
    colour: str = "currentColor"
    is_dashed: bool = False
    width: float = 1.5


@dataclass(frozen=True)
class Chart:
    """A chart of `WIDTH` times `height` units.

    Attributes:
        title: Heading.
        description: Text for readers who do not see the chart.
        height: Height of the box.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        x_ticks: Ticks from left to right.
        y_ticks: Ticks of the vertical axis.
        marks: Points, drawn below the lines.
        lines: Lines.
        breaks: Marks where an axis is broken.
        legend: Names with the mark of each.
    """

    title: str
    description: str
    height: float
    x_label: str
    y_label: str = ""
    x_ticks: Sequence[Tick] = ()
    y_ticks: Sequence[Tick] = ()
    marks: Sequence[Mark] = ()
    lines: Sequence[Line] = ()
    breaks: Sequence[Line] = ()
    legend: Sequence[tuple[str, Mark]] = ()

    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP

    @property
    def bottom(self) -> float:
        """Place of the horizontal axis."""
        return self.height - _BOTTOM


def path_of(shape: str, x: float, y: float, radius: float = _RADIUS) -> str:
    """SVG path of a point.

    >>> path_of("square", 10, 20, 3)
    'M7 17L13 17L13 23L7 23z'
    """
    if shape in _CORNERS:
        places = (f"{x + a * radius:g} {y + b * radius:g}" for a, b in _CORNERS[shape])
        return f"M{'L'.join(places)}z"
    arc = f"a{radius:g} {radius:g} 0 1 0"
    return f"M{x - radius:g} {y:g}{arc} {2 * radius:g} 0{arc} {-2 * radius:g} 0z"


def looks(regions: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and shape by region, so that colour is never the only difference.

    Both are those of the region's name; a name that is not known gets the next shape not in use.
    """
    colours = region_colours(regions)
    used = {_REGION_SHAPES[region] for region in colours if region in _REGION_SHAPES}
    spare = itertools.cycle([shape for shape in _SHAPES if shape not in used] or _SHAPES)
    return {
        region: (colour, _REGION_SHAPES.get(region) or next(spare))
        for region, colour in colours.items()
    }


def _mark(look: tuple[str, str], x: float, y: float, title: str = "") -> Mark:
    colour, shape = look
    return Mark(path_of(shape, x, y), colour, title)


def _legend(of: Mapping[str, tuple[str, str]]) -> list[tuple[str, Mark]]:
    return [(name, Mark(path_of(shape, 7, 7, 5), colour)) for name, (colour, shape) in of.items()]


def strip(
    values: Mapping[str, Mapping[str, float]],
    axis: Axis,
    titles: tuple[str, str],
    summary: Mapping[str, tuple[float | None, Sequence[float] | None]] | None = None,
) -> Chart:
    """A row for each region with a point for each case; lines show the mean and its interval.

    Args:
        values: `{region: {case: value}}`.
        axis: Horizontal axis.
        titles: Heading of the chart, and name of the axis.
        summary: Mean and its interval by region.
    """
    marks, lines, ticks = [], [], []
    of = looks(values)
    is_few = max((len(cases) for cases in values.values()), default=0) <= _FEW
    for number, (region, cases) in enumerate(values.items()):
        middle = TOP + _ROW * (number + 0.5)
        ticks.append(Tick(middle, region))
        for (case, value), shift in zip(cases.items(), _spread(cases.values(), axis), strict=True):
            title = f"{case}: {value:.3g}" if is_few else ""
            marks.append(_mark(of[region], axis.place(value), middle + shift, title))
        mean, interval = (summary or {}).get(region, (None, None))
        if mean is not None:
            lines.append(_stroke(axis.place(mean), middle, axis.place(mean), middle, 16))
        if interval:
            low, high = map(axis.place, interval)
            lines.append(_stroke(low, middle, high, middle, 0))
            lines += [_stroke(end, middle, end, middle, 7) for end in (low, high)]
    middle_values = [
        f"{region}: {len(cases)} cases, median {np.median([*cases.values()]):.3g}"
        for region, cases in values.items()
        if cases
    ]
    bottom = TOP + _ROW * max(len(values), 1)
    return Chart(
        titles[0],
        f"{titles[0]}, a point for each case. {'; '.join(middle_values)}.",
        bottom + _BOTTOM,
        titles[1],
        x_ticks=apart(axis.ticks),
        breaks=_breaks(axis, None, bottom),
        y_ticks=ticks,
        marks=marks,
        lines=lines,
    )


def _breaks(x: Axis, y: Axis | None, bottom: float) -> list[Line]:
    """Two slashes across each axis that has a break, `bottom` being the place of the lower."""
    at_x = [(x.break_place, bottom)] if x.break_place is not None else []
    at_y = [(LEFT, y.break_place)] if y and y.break_place is not None else []
    return [
        Line(f"{a + shift - 2:g},{b + 5:g} {a + shift + 2:g},{b - 5:g}", width=1.2)
        for a, b in at_x
        for shift in (-2, 2)
    ] + [
        Line(f"{a - 5:g},{b + shift + 2:g} {a + 5:g},{b + shift - 2:g}", width=1.2)
        for a, b in at_y
        for shift in (-2, 2)
    ]


def _stroke(x1: float, y1: float, x2: float, y2: float, half: float) -> Line:
    return Line(f"{x1:g},{y1 - half:g} {x2:g},{y2 + half:g}", width=2)


def _spread(values: Iterable[float], axis: Axis) -> list[float]:
    """Shift of each point of a strip, so that points with nearly equal values lie side by side."""
    bins = [round((axis.place(v) - axis.start) / (axis.end - axis.start) * _BINS) for v in values]
    step = min(2.2 * _RADIUS, 0.8 * _ROW / max(Counter(bins).values(), default=1))
    seen: Counter[int] = Counter()
    shifts = []
    for place in bins:
        rank = seen[place]
        seen[place] += 1
        # 0, 1, -1, 2, -2, ...: the column grows to both sides.
        shifts.append(round(step * ((rank + 1) // 2) * (1 if rank % 2 else -1), 1))
    return shifts


def scatter(
    points: Mapping[str, Mapping[str, tuple[float, float]]],
    axes: tuple[Axis, Axis],
    titles: tuple[str, str, str],
    *,
    diagonal: bool = False,
) -> Chart:
    """A point `(x, y)` for each case and region.

    Args:
        points: `{region: {case: (x, y)}}`.
        axes: Horizontal and vertical axis.
        titles: Heading of the chart, and names of the two axes.
        diagonal: Whether a dashed line marks where both values are equal.
    """
    (x, y), of = axes, looks(points)
    is_few = max((len(cases) for cases in points.values()), default=0) <= _FEW
    marks = [
        _mark(of[region], x.place(a), y.place(b), f"{case}, {region}" if is_few else "")
        for region, cases in points.items()
        for case, (a, b) in cases.items()
    ]
    heading, x_label, y_label = titles
    counted = ", ".join(f"{len(cases)} cases of {region}" for region, cases in points.items())
    return Chart(
        heading,
        f"{heading}: {counted}.",
        TOP + PLOT_HEIGHT + _BOTTOM,
        x_label,
        y_label,
        apart(x.ticks),
        y.ticks,
        marks,
        [_diagonal(axes)] if diagonal else [],
        _breaks(x, y, TOP + PLOT_HEIGHT),
        _legend(of),
    )


def curves(
    points: Mapping[str, Sequence[tuple[float, float]]],
    axes: tuple[Axis, Axis],
    titles: tuple[str, str, str],
    *,
    diagonal: bool = False,
) -> Chart:
    """A line with marks for each region, through points `(x, y)` in the given order.

    Args:
        points: `{region: [(x, y), ...]}`.
        axes: Horizontal and vertical axis.
        titles: Heading of the chart, and names of the two axes.
        diagonal: Whether a dashed line marks where both values are equal.
    """
    (x, y), of = axes, looks(points)
    lines = [
        Line(" ".join(f"{x.place(a):g},{y.place(b):g}" for a, b in places), of[region][0])
        for region, places in points.items()
    ]
    lines += [_diagonal(axes)] if diagonal else []
    heading, x_label, y_label = titles
    return Chart(
        heading,
        f"{heading}: {y_label} against {x_label} for {', '.join(points)}.",
        TOP + PLOT_HEIGHT + _BOTTOM,
        x_label,
        y_label,
        apart(x.ticks),
        y.ticks,
        [
            _mark(of[region], x.place(a), y.place(b))
            for region, places in points.items()
            for a, b in places
        ],
        lines,
        _breaks(x, y, TOP + PLOT_HEIGHT),
        _legend(of),
    )


def _diagonal(axes: tuple[Axis, Axis]) -> Line:
    x, y = axes
    ends = [(x.place(value), y.place(value)) for value in (x.low, x.high)]
    return Line(" ".join(f"{a:g},{b:g}" for a, b in ends), is_dashed=True, width=1)
