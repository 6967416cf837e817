"""The charts of a report: spectrum, convergence, IoU of each class, time of each stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spectral_graph.report.chart import Chart, draw
from spectral_graph.report.colours import series_colours
from spectral_graph.report.content import ClassScore, Curve, StageFacts
from spectral_graph.report.names import slug
from spectral_graph.text.formatting import decimal, duration, joined, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 40
"""Classes drawn at most; the table lists all."""

_LONGEST = 36


def spectrum_chart(eigenvalues: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> Chart:
    """Draw the eigenvalues of each pathway over their number, from 1.

    Args:
        eigenvalues: pathway -> values, at least one.
        colours: pathway -> ``#rrggbb``.
    """
    from matplotlib.ticker import MaxNLocator

    def paint(axes: Axes) -> None:
        for name, values in eigenvalues.items():
            axes.plot(
                range(1, len(values) + 1), values, marker="o", markersize=3, color=colours[name], label=_label(name)
            )
        axes.set_xlim(left=0.5)
        axes.set_xlabel("number of the eigenvector")
        axes.set_ylabel("eigenvalue")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.legend()

    ends = [
        f"{name}: {len(values)} values from {decimal(values[0])} to {decimal(values[-1])}"
        for name, values in eigenvalues.items()
        if len(values)
    ]
    caption = (
        "Each eigenvalue says how well its eigenvector respects the graphs: 1 is a split that cuts no edge; "
        "a steep drop marks a natural number of regions."
    )
    return draw("eigenvalues", "Spectrum", caption, "Line chart. " + "; ".join(ends) + ".", paint)


def convergence_charts(history: Sequence[Curve], colours: Mapping[str, str]) -> list[Chart]:
    """Draw one chart for each quantity, a line for each pathway; logarithmic where values span two decades.

    Args:
        history: the curves; values that are not finite are left out.
        colours: pathway -> ``#rrggbb``.
    """
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
            steps, heights = zip(*curve.points, strict=True)
            marker = "o" if len(steps) <= 60 else ""
            axes.plot(
                steps, heights, marker=marker, markersize=3, color=colours[curve.pathway], label=_label(curve.pathway)
            )
        for target in targets:
            axes.axhline(target, color=axes.xaxis.label.get_color(), linewidth=0.9, linestyle=(0, (4, 3)))
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
    caption = f"How the {quantity} of the solver went on"
    caption += " (logarithmic scale)" if logarithmic else ""
    caption += "; the dashed line is the value at which it stops." if targets else "; lower is better."
    name = f"convergence_{slug(quantity)}" + (f"-{number + 1}" if number else "")
    return draw(name, f"Convergence: {quantity}", caption, "Line chart. " + "; ".join(ends) + ".", paint)


def class_chart(per_class: Mapping[str, Mapping[str, ClassScore]], colours: Mapping[str, str]) -> Chart:
    """Draw the IoU of each class (Hungarian matching) as bars, one a method, the most frequent class first.

    Args:
        per_class: method -> {class name: score}, at least one of each.
        colours: method -> ``#rrggbb``.
    """
    methods = list(per_class)
    names = class_order(per_class)
    shown = names[:MOST_CLASSES]
    thickness = 0.8 / len(methods)

    def paint(axes: Axes) -> None:
        for index, method in enumerate(methods):
            scores = [per_class[method].get(name) for name in shown]
            widths = [100 * score.hungarian if score and score.hungarian is not None else 0.0 for score in scores]
            places = np.arange(len(shown)) + (index - (len(methods) - 1) / 2) * thickness
            axes.barh(places, widths, thickness * 0.92, color=colours[method], label=_label(method))
        axes.set_yticks(range(len(shown)), [_label(name) for name in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("IoU, Hungarian matching (%)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2 if max(map(len, methods)) < 30 else 1)

    best = [
        f"{method}: best is {name} with {percent(score.hungarian)} %"
        for method, scores in per_class.items()
        for name, score in [max(scores.items(), key=lambda item: item[1].hungarian or 0.0)]
    ]
    caption = "Intersection over union of each class, from the class with most labelled pixels to that with fewest"
    caption += f"; the {MOST_CLASSES} most frequent of {len(names)}." if len(names) > MOST_CLASSES else "."
    height = 1.0 + len(shown) * max(0.2, 0.1 * len(methods))
    return draw("class_iou", "IoU of each class", caption, "Bar chart. " + "; ".join(best) + ".", paint, (5.0, height))


def class_order(per_class: Mapping[str, Mapping[str, ClassScore]]) -> list[str]:
    """Return all class names, the one with most labelled pixels first."""
    pixels: dict[str, int] = {}
    for scores in per_class.values():
        for name, score in scores.items():
            pixels[name] = max(score.pixels, pixels.get(name, 0))
    return sorted(pixels, key=lambda name: -pixels[name])


def stage_chart(stages: Sequence[StageFacts]) -> Chart:
    """Draw the time of each stage as a bar.

    Args:
        stages: at least one.
    """
    seconds = [stage.seconds if math.isfinite(stage.seconds) else 0.0 for stage in stages]

    def paint(axes: Axes) -> None:
        bars = axes.barh(range(len(stages)), seconds, 0.66, color=series_colours(["time"])["time"])
        axes.bar_label(bars, [duration(value) for value in seconds], padding=4, fontsize=9)
        axes.set_yticks(range(len(stages)), [_label(stage.name) for stage in stages])
        axes.set_ylim(len(stages) - 0.4, -0.6)
        axes.set_xlim(0, max(seconds) * 1.16 or 1.0)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds")

    caption = "Wall-clock time of each stage, in the order in which they ran."
    alt = "Bar chart. " + "; ".join(f"{stage.name}: {duration(stage.seconds)}" for stage in stages) + "."
    return draw("stage_times", "Time of each stage", caption, alt, paint, (5.0, 0.7 + 0.3 * len(stages)))


def legend_png(entries: Sequence[tuple[str, str]]) -> bytes:
    """Draw a list of colours and names as a PNG on white.

    Args:
        entries: (``#rrggbb``, name), at least one.
    """
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

    return draw("legend", "", "", "", paint, (2.0 * columns, 0.1 + 0.22 * rows)).png


def _label(text: str) -> str:
    """Return a name as matplotlib can draw it: short, of whole characters, not taken for a private name."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return "\u200b" + text if text.startswith("_") or not text else text
