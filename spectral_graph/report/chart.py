"""One chart, drawn once and kept twice: as SVG for the page and as PNG beside it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawn in this colour, then replaced by the page's text colour so that the chart follows a dark page.
_INK = "#1b2733"

_STYLE: Any = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "spectral_graph",
}


@dataclass(frozen=True)
class Chart:
    """A drawn chart.

    Attributes:
        name: short name, the file's name without its ending.
        title: heading.
        caption: one sentence on what it shows.
        alt: what a reader who cannot see it should know.
        svg: an ``<svg>`` element to be put into HTML; its ids begin with `name`.
        png: the same picture on white.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str
    png: bytes


def draw(
    name: str,
    title: str,
    caption: str,
    alt: str,
    paint: Callable[[Axes], None],
    size: tuple[float, float] = (5.0, 2.9),
) -> Chart:
    """Draw a chart of one pair of axes.

    Args:
        name: see `Chart`.
        title: see `Chart`; it is not drawn.
        caption: see `Chart`.
        alt: see `Chart`.
        paint: fills the axes.
        size: width and height in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page has the reader's own fonts; only the PNG shows a box for a character that matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        svg, png = io.StringIO(), io.BytesIO()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout that was just computed holds for both files
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        figure.savefig(png, format="png", dpi=160, facecolor="white")
    return Chart(name, title, caption, alt, _for_page(svg.getvalue(), name), png.getvalue())


def _for_page(svg: str, name: str) -> str:
    """Make matplotlib's SVG file an element of a page: no prologue, no metadata, ids of its own, the page's ink."""

    def tag(found: re.Match[str]) -> str:
        text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", found[0])
        text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
        text = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', text)
        return text.replace("url(#", f"url(#{name}-").replace(_INK, "currentColor")

    svg = svg[svg.index("<svg") :]
    # The only rule of matplotlib's style element, which would hold for the page around, is in page.css.
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style\b.*?</style>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    # Only inside tags: a text may read like an attribute.
    svg = re.sub(r"<[a-zA-Z][^<>]*>", tag, svg)
    # Decoration for readers of the page: the alternative text stands on the element around it.
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
