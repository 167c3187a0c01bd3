"""The page of a map: points that show their text where one points or taps, drawn by plotly.

N texts
"""

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

from torch import Tensor

from textvae.errors import require_extra

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_LONGEST, _WIDTH = 400, 48  # characters of a text that is shown, and of a line of it: those of a phone
_IN_LEGEND = 12  # more classes have no legend, but their name with the text
_DRAWN_ONE_BY_ONE = 5_000  # more points need WebGL
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; height: 100vh; display: flex; flex-direction: column; font-family: sans-serif; }}
p {{ margin: 0.5rem; font-size: 0.9rem; }}
#map {{ flex: 1; min-height: 0; }}
</style>
</head>
<body>
<p>{title}. Point at a text or tap it to read it; scroll or pinch to look closer.</p>
<div id="map">{figure}</div>
</body>
</html>
"""


def map_page(
    texts: Sequence[str], points: Tensor, classes: Sequence[str] | None, titles: tuple[str, str] | None
) -> str:
    """A page of HTML with plotly's JavaScript inside; see `map_figure`."""
    figure = map_figure(texts, points, classes, titles)
    buttons = [["zoomIn2d", "zoomOut2d", "resetScale2d"]]
    config = {"responsive": True, "scrollZoom": True, "displaylogo": False, "modeBarButtons": buttons}
    drawn = figure.to_html(config, full_html=False, include_plotlyjs=True, div_id="map-of-texts")
    return _PAGE.format(title=f"A map of {len(texts):,} texts", figure=drawn)


def map_figure(
    texts: Sequence[str], points: Tensor, classes: Sequence[str] | None, titles: tuple[str, str] | None
) -> "Figure":
    """The figure of plotly.

    Args:
        texts: N of them.
        points: (N, 2).
        classes: of each text, by which it is coloured.
        titles: of both axes, whose scales are then shown; they are equal.

    Raises:
        InputError: if plotly, an extra, is not installed.
    """
    require_plotly()
    from plotly.graph_objects import Figure

    names = sorted(set(classes or [""]))
    figure = Figure([_points_of(name, color, texts, points, classes) for name, color in _colors(names)])
    axis = {"visible": titles is not None, "zeroline": False}
    figure.update_layout(
        template="plotly_white",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode="pan",
        hovermode="closest",
        hoverlabel={"align": "left", "font": {"size": 14}, "bgcolor": "white"},
        showlegend=1 < len(names) <= _IN_LEGEND,
        legend={"orientation": "h", "itemsizing": "constant"},
        xaxis={**axis, "title": {"text": (titles or ("",))[0]}},
        yaxis={**axis, "title": {"text": (titles or ("", ""))[1]}, "scaleanchor": "x"},
    )
    return figure


def _points_of(name: str, color: str, texts: Sequence[str], points: Tensor, classes: Sequence[str] | None):
    from plotly.graph_objects import Scatter, Scattergl

    rows = [row for row in range(len(texts)) if classes is None or classes[row] == name]
    kind = Scatter if len(texts) <= _DRAWN_ONE_BY_ONE else Scattergl
    return kind(
        x=points[rows, 0].numpy(),
        y=points[rows, 1].numpy(),
        text=[_shown(texts[row]) for row in rows],
        name=_shown(name),
        mode="markers",
        marker={"color": color, "size": 8 if len(texts) <= 1_000 else 5, "opacity": 0.7},
        hovertemplate=f"%{{text}}<extra>{_shown(name).replace('%', '&#37;')}</extra>",
    )


def _colors(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each name with a color: around the circle of hues, every other one darker."""
    turn = 360 / len(names)
    return [(name, f"hsl({(210 + turn * i) % 360:.0f}, 65%, {(45, 32)[i % 2]}%)") for i, name in enumerate(names)]


def _shown(text: str) -> str:
    """A text in lines; plotly reads tags in it, so what would be one is escaped."""
    words = " ".join(text.split())
    some = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 2].rstrip()} …"
    return "<br>".join(escape(line, quote=False) for line in wrap(some, _WIDTH))


def require_plotly() -> None:
    """Raises InputError without plotly, an extra."""
    require_extra("plotly", "plotly", "map", "A map as a page")
