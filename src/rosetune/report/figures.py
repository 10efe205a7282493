"""Figure: robust against clean accuracy over training."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rosetune.report.console import set_title
from rosetune.report.drawing import drawing
from rosetune.robustness.flip_control import flipped_accuracy
from rosetune.runs.along import Followed, accuracy, end_of
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["draw_curve"]

# Okabe and Ito's colours, told apart with any colour vision, in other markers for grey print.
_STYLES = (("#333333", "o"), ("#D55E00", "s"), ("#0072B2", "^"), ("#009E73", "D"), ("#CC79A7", "v"), ("#E69F00", "P"))
_GREY = "#8a8a8a"


def draw_curve(followed: Followed, path: str) -> None:
    """Robust against clean accuracy, a panel for each robust set; the first run with a curve is the reference.

    A small marker is a checkpoint, a large one the end of a run with its 95% intervals. From another run's end a
    dotted line leads to where the reference first has the same clean accuracy. Further lines: the constant predictor,
    and the reference's end with its labels flipped at random, down to chance. A panel is as large as the reference's
    curve and all ends need; the curves of other runs may begin outside.

    Args:
        followed: the runs, see :class:`~rosetune.runs.along.Followed`.
        path: of an svg, png or pdf file.

    Raises:
        RunError: as :func:`~rosetune.report.drawing.check_figure`.
    """
    names = followed.robust
    columns = min(len(names), 3)
    lines = math.ceil(len(names) / columns)
    size = (6.4, 4.9) if len(names) == 1 else (4.2 * columns, 3.9 * lines + 0.7)
    with drawing(path) as figure:
        figure.set_size_inches(*size)
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for name, axes in zip(names, panels, strict=False):
            _panel(axes, followed, name)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        legend = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        ncols = min(len(legend), 1 + columns)
        figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=ncols, frameon=False)
        figure.draw_without_rendering()
        steps = followed.curve(followed.reference)
        for name, axes in zip(names, figure.axes, strict=False):
            places = _places(followed.reference, name, steps)
            _label_steps(axes, steps, places, _obstacles(axes, followed, name))


def _places(run: Run, name: str, steps: Sequence[int | None]) -> np.ndarray:
    """(clean, robust) in percent at some steps; None is the end."""
    clean = SetName.parse(name).clean(run.sets())
    at = [(accuracy(run, clean, step), accuracy(run, name, step)) for step in steps]
    return 100 * np.array(at).reshape(-1, 2)


def _panel(axes: Any, followed: Followed, name: str) -> None:
    reference, runs = followed.reference, followed.runs
    places = _places(reference, name, followed.curve(reference))
    _draw_path(axes, places, *_style(runs.index(reference)), light=False)
    for number, run in enumerate(runs):
        _draw_end(axes, followed, run, name, *_style(number))
        if run is not reference:
            _draw_passage(axes, followed, run, name, *_style(number))
    constant = 100 * followed.metrics(reference, None)[name]["constant"]["accuracy"]
    axes.axhline(constant, color=_GREY, linestyle=(0, (6, 3)), linewidth=1, zorder=1, label="constant predictor")
    axes.margins(0.06)
    axes.autoscale_view()
    axes.autoscale(False)
    # Further curves may begin outside: a checkpoint at chance would press all others together.
    for number, run in enumerate(runs):
        if run is not reference and followed.curve(run):
            _draw_path(axes, _places(run, name, followed.curve(run)), *_style(number), light=True)
    _draw_flips(axes, reference, name)
    axes.set_xlabel(f"{set_title(SetName.parse(name).clean(followed.sets))} accuracy (%)")
    axes.set_ylabel(f"{set_title(name)} accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)


def _style(number: int) -> tuple[str, str]:
    return _STYLES[number % len(_STYLES)]


def _draw_path(axes: Any, places: np.ndarray, color: str, marker: str, light: bool) -> None:
    strength = 0.45 if light else 0.9
    axes.plot(*places.T, color=color, linewidth=1.1, alpha=strength, zorder=2)
    axes.plot(*places[:-1].T, marker, color=color, markersize=3.5, alpha=strength, zorder=3, linestyle="none")
    # Arrows in the middle of the longest parts.
    lengths = np.hypot(*(np.diff(places, axis=0) / np.maximum(np.ptp(places, axis=0), 1e-9)).T)
    for i in [int(i) for i in np.argsort(-lengths)[:4] if lengths[i] > 0.08]:
        middle, ahead = (places[i] + places[i + 1]) / 2, places[i + 1]
        arrow = {"arrowstyle": "-|>", "color": color, "alpha": 0.55, "shrinkA": 0, "shrinkB": 0, "linewidth": 0}
        axes.annotate("", middle + 0.02 * (ahead - middle), middle, arrowprops={**arrow, "mutation_scale": 11})


def _draw_end(axes: Any, followed: Followed, run: Run, name: str, color: str, marker: str) -> None:
    x, y = _places(run, name, [None])[0]
    metrics = followed.metrics(run, None)
    clean, robust = metrics[SetName.parse(name).clean(metrics)], metrics[name]
    reach = [[[abs(100 * m[side] - at)] for side in ("low", "high")] for m, at in ((clean, x), (robust, y))]
    axes.errorbar(x, y, xerr=reach[0], yerr=reach[1], color=color, linewidth=0.8, alpha=0.5, zorder=3, fmt="none")
    step = end_of(run)
    at = "" if step is None else f"step {step}; "
    axes.plot(
        x, y, marker, color=color, markersize=9, markeredgecolor="white", zorder=5, linestyle="none",
        label=f"{followed.names[str(run)]}, end ({at}95% intervals)",
    )  # fmt: skip


def _draw_passage(axes: Any, followed: Followed, run: Run, name: str, color: str, marker: str) -> None:
    found = followed.equal[name][str(run)]
    if found.passages:
        x, y, there = 100 * found.clean, 100 * found.robust, 100 * found.passages[0].robust
        axes.plot([x, x], [y, there], color=color, linewidth=1.2, linestyle=(0, (1, 2)), zorder=4)
        axes.plot(x, there, marker, color="white", markeredgecolor=color, markersize=7, zorder=4, linestyle="none")
        label = f"{followed.names[str(followed.reference)]}, stopped at equal clean accuracy"
        axes.plot([], [], "o", color="white", markeredgecolor=_GREY, markersize=7, linestyle=(0, (1, 2)), label=label)


def _draw_flips(axes: Any, run: Run, name: str) -> None:
    (clean, robust), classes = _places(run, name, [None])[0] / 100, len(run.labels)
    if clean > 1 / classes:
        chance = flipped_accuracy(clean, 1 / classes, robust, classes)
        line = 100 * np.array([(clean, robust), (1 / classes, chance)])
        axes.plot(*line.T, color=_GREY, linewidth=1.2, linestyle=":", zorder=1, label="labels flipped at random")


def _obstacles(axes: Any, followed: Followed, name: str) -> np.ndarray:
    """Where no label should stand, in pixels: on any line, and at the ends."""
    paths = [line.get_transform().transform(line.get_xydata()) for line in axes.lines if len(line.get_xydata())]
    for collection in axes.collections:  # the intervals
        paths += [collection.get_transform().transform(segment) for segment in collection.get_segments()]
    ends = axes.transData.transform(np.concatenate([_places(run, name, [None]) for run in followed.runs]))
    corners = 5 * axes.figure.dpi / 72 * np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)])
    return np.concatenate([*map(_along, paths), *(ends + corner for corner in corners)])


def _along(path: np.ndarray) -> np.ndarray:
    """Pixels every three pixels of a path."""
    parts = [path[:1]]
    for start, stop in pairwise(path):
        shares = np.linspace(0, 1, 2 + int(np.hypot(*(stop - start)) / 3))[:, None]
        parts.append(start + shares * (stop - start))
    return np.concatenate(parts)


def _label_steps(axes: Any, curve: Sequence[int], places: np.ndarray, obstacles: np.ndarray) -> None:
    """The step beside as many checkpoints as have room: first and last of them, then the most lonely ones."""
    pixels = axes.transData.transform(places)
    distances = np.hypot(*(pixels[:, None] - pixels[None]).transpose(2, 0, 1)) + np.diag(np.full(len(pixels), np.inf))
    lonely = [int(i) for i in np.argsort(-distances.min(axis=1), kind="stable")]
    taken: list[Any] = []
    for i in dict.fromkeys([0, len(curve) - 1, *lonely]):
        text = axes.annotate(
            f"step {curve[i]}" if i in (0, len(curve) - 1) else f"{curve[i]}",
            places[i], xytext=(0, 0), textcoords="offset points", ha="center", va="center",
            fontsize=8, color="#444444", zorder=6,
        )  # fmt: skip
        text.set_in_layout(False)
        best = _free_place(axes, text, taken, obstacles, pixels - pixels[i])
        if best is None:
            text.remove()
        else:
            taken.append(best)


def _free_place(axes: Any, text: Any, taken: Sequence[Any], obstacles: np.ndarray, points: np.ndarray) -> Any:
    """Move a label to a place beside its point where it covers nothing; None where there is no such place.

    Args:
        points: all points, as seen from its own, in pixels: no other may be nearer to the label.
    """
    box, scale = text.get_window_extent(), axes.figure.dpi / 72  # pixels a point
    for reach in (1.0, 1.8):
        for angle in np.deg2rad([0, 90, 180, 270, 45, 135, 225, 315]):
            x, y = (
                np.cos(angle) * (box.width / 2 + 5 * scale * reach),
                np.sin(angle) * (box.height / 2 + 4 * scale * reach),
            )
            moved = box.translated(x, y)
            inside = axes.bbox.contains(moved.x0, moved.y0) and axes.bbox.contains(moved.x1, moved.y1)
            own = np.hypot(x, y) <= np.hypot(*(points - (x, y)).T).min() + 1e-6
            if own and inside and not moved.count_contains(obstacles) and not moved.count_overlaps(taken):
                text.set_position((x / scale, y / scale))
                return moved
    return None
