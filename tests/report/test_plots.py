"""Plots: every value has its mark, inside the picture, and its text is escaped."""

import re
from xml.etree import ElementTree

import pytest

from textvae.report.plots import bars, curves, scatter


def numbers(plot, attribute: str) -> list[float]:
    return [float(value) for value in re.findall(rf'\b{attribute}="(-?[\d.]+)"', plot)]


@pytest.mark.parametrize("line", [[(1, 2.0)], [(0, 3.0), (500, 3.0)], [(1, -5.0), (2, float("nan")), (9, 1e6)], []])
def test_curves_of_any_values_are_pictures(line):
    plot = curves({"training": line, "held-out": line})
    tree = ElementTree.fromstring(plot)
    assert len(tree.findall("polyline")) == 2 and "nan" not in plot
    assert all(0 <= x <= 320 for x in numbers(plot, "cx")) and all(0 <= y <= 170 for y in numbers(plot, "cy"))
    assert 2 <= len(tree.findall("path")) <= 5


def test_bars_are_as_high_as_their_values():
    plot = bars([4.0, 2.0, 0.0], ["one", "two", "<three>"], "nats")
    high = numbers(plot, "height")
    assert high[0] == pytest.approx(2 * high[1], abs=0.2) and high[2] == 0
    assert "&lt;three&gt;: 0.000 nats" in plot and len(ElementTree.fromstring(plot).findall("rect")) == 3


def test_a_scatter_keeps_distances():
    points = [(0.0, 0.0), (3.0, 0.0), (0.0, 1.0)]
    plot = scatter(points, ["a & b", "<c>", "d"], [0, 1, 7])
    x, y = numbers(plot, "cx"), numbers(plot, "cy")
    assert (x[1] - x[0]) == pytest.approx(3 * (y[0] - y[2]), abs=0.5)
    assert [one.text for one in ElementTree.fromstring(plot).iter("title")] == ["a & b", "<c>", "d"]
    assert numbers(scatter([(1.0, 1.0)] * 3, ["a"] * 3, [0] * 3), "cx") == [360.0] * 3
