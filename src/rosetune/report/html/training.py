"""What the logs say: every term of the loss over training, the density of the masks, and what a step costs."""

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.markup import escape

from rosetune.mask_trace import MaskTrace
from rosetune.report.console import Grid, percent
from rosetune.report.html.groups import Group, Kept
from rosetune.report.html.svg import Axis, Series, chart, heat_map

__all__ = ["cost_grid", "mask_chart", "mask_grid", "terms_of", "training_chart"]

_NO_TERMS = ("step", "epoch", "learning_rate", "loss")  # loss comes first
_LAYER = re.compile(r"\.(\d+)\.")
COLUMNS = 40  # of a mask's chart
Points = list[tuple[float, float]]


def terms_of(groups: Sequence[Group]) -> list[str]:
    """What was logged as a number, the loss first."""
    names: dict[str, None] = {}
    for line in (line for group in groups for member in group.members for line in member.log):
        names |= dict.fromkeys(name for name, value in line.items() if _number(value) is not None)
    return [*(["loss"] if "loss" in names else []), *(name for name in names if name not in _NO_TERMS)]


def training_chart(
    task: str, term: str, groups: Sequence[Group], most: int, report: Callable[[str], Any]
) -> tuple[str, Markup] | None:
    """One logged term, with its name: the mean over the seeds, and from the least to the largest seed as a band.

    Args:
        most: points of a line; of a longer log every so many is shown.
        report: is told of what is not drawn.
    """
    drawn = []
    for group in groups:
        lines = [line for line in (_logged(member, term, report) for member in group.members) if line]
        if not lines:
            continue
        steps = _thinned([step for step, _ in lines[0]], most)
        last = min(line[-1][0] for line in lines)
        steps = [step for step in steps if step <= last] or steps[:1]
        at = np.array([np.interp(steps, [x for x, _ in line], [y for _, y in line]) for line in lines])
        line = [*zip(steps, at.mean(axis=0).tolist(), strict=True)]
        band = [*zip(steps, at.min(axis=0).tolist(), at.max(axis=0).tolist(), strict=True)] if len(lines) > 1 else []
        drawn.append(Series(group.name, group.style, line, line=True, band=band))
    if not drawn:
        return None
    heights = [y for part in drawn for _, y in part.points] + [y for part in drawn for b in part.band for y in b[1:]]
    across = Axis("step", holds=[x for part in drawn for x, _ in part.points])
    title = term.replace("_", " ")
    told = "; ".join(f"{part.name}: {part.points[0][1]:.4g} to {part.points[-1][1]:.4g}" for part in drawn)
    return title, chart(f"{task}: {title} over training", told, across, Axis("", holds=heights), drawn)


def _logged(member: Kept, term: str, report: Callable[[str], Any]) -> Points:
    """(step, value), without what is not finite."""
    found = [(_number(line.get("step")), _number(line[term])) for line in member.log if term in line]
    line = [(x, y) for x, y in found if x is not None and y is not None and math.isfinite(y)]
    if len(line) < len(found):
        report(f"{member.run}: {len(found) - len(line)} values of {term} are not finite, and not drawn")
    return line


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _thinned(steps: Sequence[float], most: int) -> list[float]:
    """At most so many of them, first and last among them."""
    if len(steps) <= most:
        return [*steps]
    return [steps[i] for i in sorted({round(i * (len(steps) - 1) / (most - 1)) for i in range(most)})]


def mask_chart(task: str, group: Group) -> Markup | None:
    """The share of each layer's weights that the mask let through, over the steps; the mean over the seeds."""
    density = _density(group)
    if density is None:
        return None
    names, cells, steps = density
    told = "; ".join(f"{name} {percent(float(row.mean()))}%" for name, row in zip(names, cells, strict=True))
    title = f"{task}: {group.name}, share of weights updated"
    return heat_map(title, f"Mean over training: {told}", names, cells.tolist(), ("step 1", f"step {steps}"))


def mask_grid(task: str, groups: Sequence[Group]) -> Grid | None:
    """The same in figures: the mean of each layer over the whole, the first and the last quarter of the training."""
    columns = ("weights updated %", "first quarter %", "last quarter %")
    grid = Grid(f"{task}: weights that the masks let through, by layer", ("layer", *columns))
    for group in groups:
        density = _density(group)
        if density is not None:
            names, cells, _ = density
            quarter = max(1, cells.shape[1] // 4)
            grid.rows.extend([None, (f"[bold]{escape(group.name)}[/bold]", "", "", "")])
            for name, row in zip(names, cells, strict=True):
                parts = (row, row[:quarter], row[-quarter:])
                grid.rows.append((escape(name), *(percent(float(part.mean())) for part in parts)))
    return grid if grid.rows else None


def _density(group: Group) -> tuple[list[str], np.ndarray, int] | None:
    """Layers, their density in columns of steps, shape (layers, columns), and the number of steps."""
    traces = [member.trace for member in group.members if member.trace is not None]
    alike = [trace for trace in traces if trace.names == traces[0].names]
    if not alike:
        return None
    layers = [_layer_of(name) for name in alike[0].names]
    order = sorted(dict.fromkeys(layers), key=_layer_place)
    steps = min(len(trace.multipliers) for trace in alike)
    cells = np.mean([_by_layer(trace, layers, order, steps) for trace in alike], axis=0)
    return order, cells, steps


def _by_layer(trace: MaskTrace, layers: Sequence[str], order: Sequence[str], steps: int) -> np.ndarray:
    edges = np.linspace(0, steps, min(COLUMNS, steps) + 1).round().astype(int)
    means = np.stack([trace.multipliers[a:b].mean(axis=0) for a, b in pairwise(edges)])
    found = []
    for layer in order:
        own = np.array([name == layer for name in layers])
        sizes = trace.sizes[own].astype(float)
        found.append(means[:, own] @ sizes / sizes.sum())
    return np.stack(found)


def _layer_of(name: str) -> str:
    """The layer that a tensor belongs to, by the first number in its name."""
    number = _LAYER.search(name)
    if number is not None:
        return f"layer {number[1]}"
    return "embeddings" if "embed" in name else "other"


def _layer_place(layer: str) -> tuple[int, int]:
    kind, _, number = layer.partition(" ")
    return ("embeddings", "layer", "other").index(kind), int(number or 0)


def cost_grid(task: str, groups: Sequence[Group], baseline: Group | None) -> Grid | None:
    """Seconds of the trainings, and what a step costs beside one of the baseline; None where nothing was trained.

    The ratio is of computing time where all runs were on a CPU: what else the machine did does not count.
    """
    told = [*groups, *([] if baseline is None else [baseline])]
    computing = all(_seconds(group, "median_step_cpu_seconds") for group in told)
    compared = "median_step_cpu_seconds" if computing else "median_step_seconds"
    base = None if baseline is None else _seconds(baseline, compared)
    times_head = "times the baseline" + ("\n(computing time)" if computing else "")
    columns = ("steps", "seconds a step\n(median)", times_head, "training\nseconds", "on")
    grid = Grid(f"{task}: cost, means over the seeds", ("method", *columns))
    for group in groups:
        step, whole = (_seconds(group, name) for name in ("median_step_seconds", "training_seconds"))
        if whole is None:
            continue
        steps = _seconds(group, "steps")
        own = _seconds(group, compared)
        times = "-" if not base or own is None else f"{own / base:.2f}"
        shown = ("-" if steps is None else f"{steps:.0f}", "-" if step is None else f"{step:.3g}", times)
        grid.rows.append((escape(group.name), *shown, f"{whole:.4g}", escape(_devices(group))))
    return grid if grid.rows else None


def _devices(group: Group) -> str:
    found = {
        f"{member.environment.get('device', '?')}, {member.environment.get('threads', '?')} threads"
        for member in group.members
    }
    return "; ".join(sorted(found))


def _seconds(group: Group, name: str) -> float | None:
    known = [_number(member.timing.get(name)) for member in group.members]
    there = [value for value in known if value is not None]
    return mean(there) if there else None
