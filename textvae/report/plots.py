"""Plots as inline SVG: they print well, need no script, and say what each mark is when a pointer rests on it.

Colours and sizes of letters are those of the page (`page.html`), so that a plot follows its light and dark style.
"""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

Point = tuple[float, float]

COLOURS = 7  # of groups; the page has as many classes, from c0 on, and one for all other groups
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 18, 8, 22  # room for the axes
_DOT = Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
_BAR = Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>')
_GRID = Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>')
_LETTERS = Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>')


def curves(lines: Mapping[str, Sequence[Point]], width: int = 320, height: int = 170) -> Markup:
    """Lines (x, y) over common axes; the points of the second and later ones are dots, too."""
    points = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    across, up = _axis([x for x, _ in points]), _axis([y for _, y in points])
    place = _Frame(across, up, width, height)
    marks = []
    for index, (name, line) in enumerate(lines.items()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place.of, line) if math.isfinite(y))
        marks.append(Markup('<polyline class="line c{}" points="{}"/>').format(index, path))
        if index:
            dots = [(point, place.of(point)) for point in line if math.isfinite(point[1])]
            said = (
                '<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{}, step {:,}: {:.4g}</title></circle>'
            )
            marks += [Markup(said).format(index, x, y, name, point[0], point[1]) for point, (x, y) in dots]
    return _svg(width, height, "curve", [*place.axes(), *marks])


def bars(values: Sequence[float], names: Sequence[str], unit: str, width: int = 720, height: int = 220) -> Markup:
    """Bars from 0, in the order given."""
    up = _axis([0.0, *values])
    place = _Frame((0.0, float(len(values)), []), up, width, height)
    thick = max(1.0, 0.75 * (place.of((1, 0))[0] - place.of((0, 0))[0]))
    zero = place.of((0, 0))[1]
    marks = []
    for index, (value, name) in enumerate(zip(values, names, strict=True)):
        x, y = place.of((index, value))
        said = (
            '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}: {:.3f} {}</title></rect>'
        )
        marks.append(Markup(said).format(x, min(y, zero), thick, abs(zero - y), name, value, unit))
    return _svg(width, height, "wide", [*place.axes(), *marks])


def scatter(
    points: Sequence[Point], titles: Sequence[str], groups: Sequence[int], width: int = 720, height: int = 480
) -> Markup:
    """A dot for each point, with its title, in the colour of its group; both axes have the same scale."""
    (left, right), (low, high) = _same_scale(points, width / height)
    scale = width / (right - left)
    marks = [
        _DOT.format(group, (x - left) * scale, (high - y) * scale, 3.5, title)
        for (x, y), title, group in zip(points, titles, groups, strict=True)
    ]
    return _svg(width, height, "wide map", marks)


class _Frame:
    """Axes, and where a point is between them."""

    def __init__(
        self, across: tuple[float, float, list[float]], up: tuple[float, float, list[float]], width: int, height: int
    ):
        self.across, self.up, self.width, self.height = across, up, width, height

    def of(self, point: Point) -> Point:
        (left, right, _), (low, high, _) = self.across, self.up
        x = _LEFT + (point[0] - left) / (right - left) * (self.width - _LEFT - _RIGHT)
        y = self.height - _BOTTOM - (point[1] - low) / (high - low) * (self.height - _TOP - _BOTTOM)
        return x, y

    def axes(self) -> list[Markup]:
        """Thin lines at the ticks of y, and the numbers of both axes."""
        marks = []
        for tick in self.up[2]:
            y = self.of((self.across[0], tick))[1]
            marks.append(_GRID.format(_LEFT, y, self.width - _RIGHT))
            marks.append(_LETTERS.format("y", _LEFT - 5, y + 3.5, f"{tick:,.6g}"))
        for tick in self.across[2]:
            x = self.of((tick, self.up[0]))[0]
            marks.append(_LETTERS.format("x", x, self.height - 6, f"{tick:,.6g}"))
        return marks


def _svg(width: int, height: int, kind: str, marks: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img">').format(kind, width, height)
    return head + Markup("\n").join(marks) + Markup("</svg>")


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Where an axis begins and ends, and from two to five round numbers on it."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    power = 10 ** math.floor(math.log10((high - low) / 2))
    step = next(size * power for size in (5, 2, 1) if (high - low) / (size * power) >= 2 - 1e-9)  # rounding
    first = math.ceil(low / step - 1e-9)
    ticks = [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]
    return low, high, ticks


def _same_scale(points: Sequence[Point], ratio: float) -> tuple[Point, Point]:
    """The range of x and of y around all points, the one `ratio` times the other."""
    sides = []
    for values in zip(*points, strict=True):
        sides.append(((max(values) + min(values)) / 2, (max(values) - min(values)) * 1.04 or 1.0))
    (x, width), (y, height) = sides
    height = max(height, width / ratio)
    width = height * ratio
    return (x - width / 2, x + width / 2), (y - height / 2, y + height / 2)
