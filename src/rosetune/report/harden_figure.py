"""Figure: clean against robust accuracy, before and after a hardening."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from rosetune.report.drawing import drawing
from rosetune.runs.sets import SetName

__all__ = ["Level", "draw_hardened"]

# Okabe and Ito's, in other markers for grey print.
_STYLES = {"plain": ("#333333", "o"), "normalised": ("#0072B2", "^"), "hardened": ("#D55E00", "s")}
_LEAST = 10  # points that an axis spans at least: less makes small gaps look large
_STEP = 5
_WIDE = 36  # characters that fit along a panel


class Level(NamedTuple):
    """Accuracy on n rows with its 95% interval."""

    n: int
    value: float
    low: float
    high: float


def draw_hardened(levels: Mapping[str, Mapping[str, Level]], titles: Mapping[str, str], path: str | Path) -> None:
    """A panel for each perturbed set: a point for each model with its 95% intervals, an arrow from plain to hardened.

    All panels have the same axes, which hold every interval, span at least 10 points and end at 0 and 100.

    Args:
        levels: by "plain" and, where there are such, "normalised" and "hardened": accuracy by set, clean sets among
            them.
        titles: of the sets.
        path: of an svg, png or pdf file.

    Raises:
        RunError: as :func:`~rosetune.report.drawing.check_figure`.
    """
    names = [name for name in titles if SetName.parse(name).perturbed]
    columns = max(1, min(len(names), 3))
    lines = math.ceil(len(names) / columns)
    with drawing(path) as figure:
        figure.set_size_inches(3.6 * columns, 3.4 * lines + 0.4)
        panels = list(figure.subplots(lines or 1, columns, squeeze=False).flat)
        across = _span(found[SetName.parse(name).clean(found)] for found, name in _shown(levels, names))
        up = _span(found[name] for found, name in _shown(levels, names))
        for name, axes in zip(names, panels, strict=False):
            _panel(axes, levels, name, titles)
            axes.set(xlim=across, ylim=up)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _shown(levels: Mapping[str, Mapping[str, Level]], names: Iterable[str]) -> list[tuple[Mapping[str, Level], str]]:
    return [(found, name) for name in names for found in levels.values() if name in found]


def _span(levels: Iterable[Level]) -> tuple[int, int]:
    """The ends of an axis, in %, that some levels and their intervals fit between."""
    ends = [100 * end for level in levels for end in (level.value, level.low, level.high)]
    if not ends:
        return 0, 100
    low, high = max(0, _STEP * math.floor(min(ends) / _STEP)), min(100, _STEP * math.ceil(max(ends) / _STEP))
    if high - low < _LEAST:
        low = max(0, min(low, 100 - _LEAST))
        high = low + _LEAST
    return low, high


def _panel(axes: Any, levels: Mapping[str, Mapping[str, Level]], name: str, titles: Mapping[str, str]) -> None:
    places = {}
    for side, found in levels.items():
        if name not in found:
            continue
        color, marker = _STYLES[side]
        clean, robust = found[SetName.parse(name).clean(found)], found[name]
        places[side] = 100 * clean.value, 100 * robust.value
        spread = [
            [[100 * max(0.0, level.value - level.low)], [100 * max(0.0, level.high - level.value)]]
            for level in (clean, robust)
        ]
        look: dict[str, Any] = {"fmt": marker, "color": color, "elinewidth": 0.8, "capsize": 2, "label": side}
        look["clip_on"] = False  # a point at 100 is shown whole
        axes.errorbar(*places[side], xerr=spread[0], yerr=spread[1], **look)
    if "hardened" in places and places["plain"] != places["hardened"]:
        arrow = {"arrowstyle": "-|>", "color": "#8a8a8a", "shrinkA": 6, "shrinkB": 6}
        axes.annotate("", places["hardened"], places["plain"], arrowprops=arrow)
    axes.set_xlabel("clean accuracy (%)")
    axes.set_ylabel(fill(f"accuracy, {titles[name]} (%)", _WIDE))
    axes.spines[["top", "right"]].set_visible(False)
