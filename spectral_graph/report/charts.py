"""The charts of a report: spectrum, convergence, IoU of each class, time of each stage.

Each chart is drawn once and saved twice: as SVG for the page and as PNG beside it.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_graph.report.content import Curve, StageFacts
from spectral_graph.report.names import slug
from spectral_graph.report.pictures import SERIES
from spectral_graph.text.formatting import decimal, duration, joined, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 40
"""Classes drawn at most; the table lists all."""

_LONGEST_LABEL = 36

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
    """A drawn chart."""

    name: str  # file name without suffix
    title: str
    caption: str
    alt: str  # alternative text
    svg: str  # an ``<svg>`` element for HTML; its ids begin with `name`
    png: bytes  # the same picture on white


def spectrum_chart(eigenvalues: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> Chart:
    """Draw the eigenvalues of each pathway, at least one, over their index, from 1; a colour is ``#rrggbb``."""
    from matplotlib.ticker import MaxNLocator

    def paint(axes: Axes) -> None:
        for name, values in eigenvalues.items():
            steps = range(1, len(values) + 1)
            axes.plot(steps, values, marker="o", markersize=3, color=colours[name], label=_label(name))
        axes.set_xlim(left=0.5)
        axes.set_xlabel("index of the eigenvector")
        axes.set_ylabel("eigenvalue")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.legend()

    ends = [
        f"{name}: {len(values)} values from {decimal(values[0])} to {decimal(values[-1])}"
        for name, values in eigenvalues.items()
    ]
    caption = (
        "The closer an eigenvalue is to 1, the less its eigenvector varies along the edges of the graphs; "
        "a large gap between two eigenvalues suggests a number of regions."
    )
    return _draw("eigenvalues", "Spectrum", caption, "Line chart. " + "; ".join(ends) + ".", paint)


def convergence_charts(history: Sequence[Curve], colours: Mapping[str, str]) -> list[Chart]:
    """Draw one chart for each quantity, a line for each pathway; logarithmic where values span two decades."""
    charts = []
    for number, quantity in enumerate(dict.fromkeys(curve.quantity for curve in history)):
        curves = [curve for curve in history if curve.quantity == quantity and len(curve.points)]
        if curves:
            charts.append(_convergence(quantity, curves, colours, number))
    return charts


def _convergence(quantity: str, curves: list[Curve], colours: Mapping[str, str], number: int) -> Chart:
    targets = sorted({curve.target for curve in curves if curve.target is not None})
    values = np.array([value for curve in curves for _, value in curve.points] + targets, dtype=np.float64)
    values = values[np.isfinite(values)]
    logarithmic = bool(len(values) and values.min() > 0 and values.max() > 100 * values.min())

    def paint(axes: Axes) -> None:
        for curve in curves:
            marker, label = "o" if len(curve.points) <= 60 else "", _label(curve.pathway)
            steps, heights = zip(*curve.points, strict=True)
            axes.plot(steps, heights, marker=marker, markersize=3, color=colours[curve.pathway], label=label)
        for target in targets:
            axes.axhline(target, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.annotate(
                f"target {decimal(target)}", (1, target), xycoords=("axes fraction", "data"), xytext=(0, 3),
                textcoords="offset points", ha="right", va="bottom", fontsize=8,
            )  # fmt: skip
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(_label(joined(list(dict.fromkeys(curve.step for curve in curves)))))
        axes.set_ylabel(_label(quantity))
        axes.legend()

    ends = [
        f"{curve.pathway}: {decimal(curve.points[0][1])} at {curve.step} {decimal(curve.points[0][0], 6)}, "
        f"{decimal(curve.points[-1][1])} at {curve.step} {decimal(curve.points[-1][0], 6)}"
        for curve in curves
    ]
    caption = f"The {quantity} during the solve" + (" (logarithmic scale)" if logarithmic else "")
    caption += "; the solver stops at the dashed line." if targets else "; lower is better."
    name = f"convergence_{slug(quantity)}" + (f"-{number + 1}" if number else "")
    return _draw(name, f"Convergence: {quantity}", caption, "Line chart. " + "; ".join(ends) + ".", paint)


def class_order(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all class names, the one with most labelled pixels first."""
    pixels: dict[str, int] = {}
    for method in methods:
        for name, number in method["class_pixels"].items():
            pixels[name] = max(number, pixels.get(name, 0))
    return sorted(pixels, key=lambda name: -pixels[name])


def class_chart(methods: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> Chart:
    """Draw the IoU of each class (Hungarian matching) as bars, one a method, the most frequent class first.

    There is at least one method, and each has at least one class.
    """
    iou = {
        method["title"]: {name: method["hungarian"]["classes"][name]["mean"] for name in method["class_pixels"]}
        for method in methods
    }
    names = class_order(methods)
    shown = names[:MOST_CLASSES]
    thickness = 0.8 / len(iou)

    def paint(axes: Axes) -> None:
        for index, (title, scores) in enumerate(iou.items()):
            widths = [100 * (scores.get(name) or 0.0) for name in shown]
            places = np.arange(len(shown)) + (index - (len(iou) - 1) / 2) * thickness
            axes.barh(places, widths, thickness * 0.92, color=colours[title], label=_label(title))
        _name_bars(axes, shown)
        axes.set_xlabel("IoU, Hungarian matching (%)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2 if max(map(len, iou)) < 30 else 1)

    best = [
        f"{title}: best is {name} with {percent(score)} %"
        for title, scores in iou.items()
        for name, score in [max(scores.items(), key=lambda item: item[1] or 0.0)]
    ]
    caption = "Intersection over union of each class, in the order of labelled pixels"
    caption += f"; the {MOST_CLASSES} most frequent of {len(names)}." if len(names) > MOST_CLASSES else "."
    height = 1.0 + len(shown) * max(0.2, 0.1 * len(iou))
    return _draw("class_iou", "IoU of each class", caption, "Bar chart. " + "; ".join(best) + ".", paint, (5.0, height))


def stage_chart(stages: Sequence[StageFacts]) -> Chart:
    """Draw the time of each stage as a bar; `stages` has at least one."""
    seconds = [stage.seconds if math.isfinite(stage.seconds) else 0.0 for stage in stages]

    def paint(axes: Axes) -> None:
        bars = axes.barh(range(len(stages)), seconds, 0.66, color=SERIES[0])
        axes.bar_label(bars, [duration(value) for value in seconds], padding=4, fontsize=9)
        _name_bars(axes, [stage.name for stage in stages])
        axes.set_xlim(0, max(seconds) * 1.16 or 1.0)
        axes.set_xlabel("seconds")

    caption = "Wall-clock time of each stage, in the order of execution."
    alt = "Bar chart. " + "; ".join(f"{stage.name}: {duration(stage.seconds)}" for stage in stages) + "."
    return _draw("stage_times", "Time of each stage", caption, alt, paint, (5.0, 0.7 + 0.3 * len(stages)))


def legend_png(entries: Sequence[tuple[str, str]]) -> bytes:
    """Draw (``#rrggbb``, name) pairs, at least one, as a PNG on white."""
    from matplotlib.patches import Rectangle

    columns = min(4, len(entries))
    rows = math.ceil(len(entries) / columns)

    def paint(axes: Axes) -> None:
        axes.set_axis_off()
        for index, (colour, name) in enumerate(entries):
            x, y = divmod(index, rows)
            axes.add_patch(Rectangle((x, y + 0.2), 0.08, 0.6, color=colour))
            axes.text(x + 0.11, y + 0.5, _label(name), va="center", fontsize=9)
        axes.set(xlim=(0, columns), ylim=(rows, 0))

    return _draw("legend", "", "", "", paint, (2.0 * columns, 0.1 + 0.22 * rows)).png


def _name_bars(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _label(text: str) -> str:
    """Return a name as matplotlib can draw it: short, encodable, without the leading ``_`` that hides a label."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 3] + "..."
    return "\u200b" + text if text.startswith("_") or not text else text


def _draw(
    name: str, title: str, caption: str, alt: str, paint: Callable[[Axes], None], size: tuple[float, float] = (5.0, 2.9)
) -> Chart:
    """Draw a chart of one pair of axes, which `paint` fills; `size` is width and height in inches."""
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
    return Chart(name, title, caption, alt, _inline_svg(svg.getvalue(), name), png.getvalue())


def _inline_svg(svg: str, name: str) -> str:
    """Make matplotlib's SVG file an element of a page: no prologue or metadata, unique ids, the page's text colour."""

    def tag(found: re.Match[str]) -> str:
        text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", found[0])
        text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
        text = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', text)
        return text.replace("url(#", f"url(#{name}-").replace(_INK, "currentColor")

    svg = svg[svg.index("<svg") :]
    # The only rule of matplotlib's style element, which would apply to the whole page, is in page.css.
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style\b.*?</style>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    # Only inside tags: a text may read like an attribute.
    svg = re.sub(r"<[a-zA-Z][^<>]*>", tag, svg)
    # Hidden from screen readers: the element around it has the alternative text.
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
