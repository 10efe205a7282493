"""What analyses found inside the models: planes, lines and tables from the arrays in the runs' folders."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from rosetune.analysis.layers import drift_by_layer
from rosetune.report.analyses import LOSS_CEILING, analysis_grid, ends_of, loss_levels, short_layer
from rosetune.report.html.groups import Group
from rosetune.report.html.svg import SHADES, Axis, Series, chart, heat_map, plane
from rosetune.report.html.tables import table
from rosetune.report.masks import kept_by_tensor
from rosetune.runs.analysed import Analysis, find_analyses
from rosetune.runs.values import RunError

__all__ = ["MAPS", "Look", "looks"]

MAPS = 24  # planes, and heat maps, of all tasks together
FINE, COLUMNS, FEWER = 12, 51, 27  # up to so many planes have so many columns, more of them have fewer
Chosen = list[tuple[Group, Analysis]]
Told = Callable[[str], Any]


@dataclass
class Look:
    """One kind of analysis of one task.

    Attributes:
        how: one sentence on how to read it.
        scale: what the lightest and the darkest shade stand for.
    """

    name: str
    how: str
    charts: list[tuple[str, Markup]] = field(default_factory=list)
    table: Markup | None = None
    scale: tuple[str, str] | None = None


def looks(task: str, groups: Sequence[Group], room: int, told: Told, notes: list[str]) -> list[Look]:
    """All kinds of analyses that the runs of a task hold.

    Args:
        room: how many planes, and how many heat maps, may be drawn.
        told: takes what cannot be read.
        notes: takes what is left out for want of room.
    """
    found: list[Look] = []
    left: list[str] = []
    for kind, (name, how, draw) in _KINDS.items():
        try:
            chosen = _chosen(kind, groups, told, left)
            if not chosen:
                continue
            grid = analysis_grid(f"{task}: {name.lower()}", [_name(*one) for one in chosen], [a for _, a in chosen])
            look = Look(name, how, table=table(grid))
            if draw is not None:
                draw(look, task, chosen, room, notes)
            found.append(look)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            told(f"{task}: analyses of the kind {kind} are left out: {type(error).__name__}: {error}")
    if left:
        notes.append(f"{task}: analyses of further seeds or with other settings are left out: {', '.join(left)}.")
    return found


def _chosen(kind: str, groups: Sequence[Group], told: Told, left: list[str]) -> Chosen:
    """Of each group the first seed that was analysed, with the settings that most groups share."""
    by_settings: dict[str, dict[int, dict[int, list[Analysis]]]] = {}
    for g, group in enumerate(groups):
        for m, member in enumerate(group.members):
            try:
                there = find_analyses(member.run.folder, kind)
            except RunError as error:
                told(f"of {member.run} a part is left out: {error}")
                continue
            for analysis in there:
                if kind == "landscape" and np.isnan(analysis.arrays["loss"]).any():
                    told(f"the landscape of {analysis.about['name']} is left out: it is not finished")
                    continue
                by_settings.setdefault(_settings(analysis), {}).setdefault(g, {}).setdefault(m, []).append(analysis)
    if not by_settings:
        return []
    best = max(by_settings, key=lambda key: (len(by_settings[key]), len(key), key))
    chosen = [(groups[g], a) for g, members in by_settings[best].items() for a in members[min(members)]]
    whole = sum(len(own) for parts in by_settings.values() for members in parts.values() for own in members.values())
    if whole > len(chosen):
        left.append(f"{kind} {whole - len(chosen)} of {whole}")
    return sorted(chosen, key=lambda one: (one[0].style, one[1].about.get("at") or 0, _step(one[1]) or math.inf))


def _settings(analysis: Analysis) -> str:
    apart = ("step", "other", "other_step", "target_parameters")  # these are of the model, not of how it is looked at
    own = {k: v for k, v in analysis.about["settings"].items() if k not in apart}
    return json.dumps(own, sort_keys=True)


def _step(analysis: Analysis) -> int | None:
    step = analysis.about["settings"].get("step")
    return None if step is None else int(step)


def _name(group: Group, analysis: Analysis) -> str:
    at = "" if _step(analysis) is None or analysis.about["kind"] == "disagreement" else f", step {_step(analysis)}"
    to = f" to {ends_of(analysis)[1]}" if analysis.about["kind"] == "interpolation" else ""
    return f"{group.name}{at}{to}"


def _roomy(task: str, what: str, chosen: Chosen, room: int, notes: list[str]) -> Chosen:
    if len(chosen) > room:
        left = ", ".join(_name(*one) for one in chosen[room:])
        notes.append(f"{task}: {what} of {room} models are drawn; left out: {left}.")
    return chosen[:room]


def _landscape(look: Look, task: str, chosen: Chosen, room: int, notes: list[str]) -> None:
    levels = loss_levels([a.arrays["loss"] for _, a in chosen], SHADES)
    look.scale = (f"{levels[0]:.3g}", f"{levels[-1]:.3g}")
    columns = COLUMNS if len(chosen) * (MAPS // room) <= FINE else FEWER
    for group, analysis in _roomy(task, "landscapes", chosen, room, notes):
        alpha, loss = analysis.arrays["alpha"], np.minimum(analysis.arrays["loss"], LOSS_CEILING)
        every = math.ceil((len(alpha) - 1) / (columns - 1))
        at = range((len(alpha) // 2) % every, len(alpha), every)  # the model, in the middle, is among them
        drawn = loss[np.ix_(at, at)]
        bands = np.clip(np.searchsorted(levels, drawn, side="right") - 1, 0, SHADES - 1)
        name = _name(group, analysis)
        described = f"loss from {loss.min():.3g} to {loss.max():.3g}"
        span = float(alpha[at[-1]])
        shown = plane(f"{task}: loss around {name}", described, ((bands + 0.5) / SHADES).tolist(), span)
        look.charts.append((name, shown))
        told = f"of {len(alpha)} x {len(alpha)} points one row and column in {every} is drawn"
        thinned = f"{task}: landscapes: {told}."
        if every > 1 and thinned not in notes:
            notes.append(thinned)


def _interpolation(look: Look, task: str, chosen: Chosen, room: int, notes: list[str]) -> None:
    for value in ("loss", "accuracy"):
        percent, drawn = value == "accuracy", list[Series]()
        for group, analysis in chosen:
            heights = np.minimum(analysis.arrays[value], LOSS_CEILING)
            line = [*zip(analysis.arrays["alpha"].tolist(), heights.tolist(), strict=True)]
            drawn.append(Series(_name(group, analysis), group.style, line, line=True))
        heights = [y for part in drawn for _, y in part.points if math.isfinite(y)]
        if not heights:
            continue
        ends = [Series("", 0, [(x, min(heights)), (x, max(heights))], line=True, muted=True) for x in (0.0, 1.0)]
        across = Axis("alpha", holds=[x for part in drawn for x, _ in part.points])
        told = "; ".join(part.name for part in drawn)
        up = Axis("accuracy (%)" if percent else "loss", percent, heights)
        look.charts.append((value, chart(f"{task}: {value} on the line", told, across, up, [*ends, *drawn])))


def _disagreement(look: Look, task: str, chosen: Chosen, room: int, notes: list[str]) -> None:
    by_group: dict[int, list[tuple[Group, Analysis]]] = {}
    for group, analysis in chosen:
        by_group.setdefault(id(group), []).append((group, analysis))
    drawn = []
    for each in by_group.values():
        steps = [float(a.about["at"] or 0) for _, a in each]
        shares, errors = ([float(a.arrays[key]) for _, a in each] for key in ("share", "standard_error"))
        band = [(x, max(0.0, y - e), y + e) for x, y, e in zip(steps, shares, errors, strict=True)]
        points = [*zip(steps, shares, strict=True)]
        drawn.append(Series(each[0][0].name, each[0][0].style, points, line=True, markers=True, small=True, band=band))
    across = Axis("step", holds=[x for part in drawn for x, _ in part.points])
    up = Axis("different labels (%)", True, [0.0, *(b for part in drawn for _, *ends in part.band for b in ends)])
    told = "; ".join(f"{part.name}: up to {max(y for _, y in part.points):.1%}" for part in drawn)
    look.charts.append(("over training", chart(f"{task}: dropout disagreement", told, across, up, drawn)))


def _drift(look: Look, task: str, chosen: Chosen, room: int, notes: list[str]) -> None:
    found = [drift_by_layer(*(a.arrays[key] for key in ("names", "distance", "norm"))) for _, a in chosen]
    names = max(found, key=len)
    drawn = [
        Series(_name(*one), one[0].style, [(float([*names].index(k)), v) for k, v in layers.items() if k in names],
               line=True, markers=True, small=True)
        for one, layers in zip(chosen, found, strict=True)
    ]  # fmt: skip
    across = Axis("layer", holds=range(len(names)), names=[*map(short_layer, names)])
    up = Axis("relative distance", holds=[0.0, *(y for part in drawn for _, y in part.points)])
    told = "; ".join(f"{part.name}: at most {max(y for _, y in part.points):.3g}" for part in drawn)
    look.charts.append(("by layer", chart(f"{task}: distance from the start", told, across, up, drawn)))


def _masks(look: Look, task: str, chosen: Chosen, room: int, notes: list[str]) -> None:
    look.scale = ("0%", "100%")
    for group, analysis in _roomy(task, "heat maps of masks", chosen, room, notes):
        kinds, layers, cells, of = kept_by_tensor(analysis)
        ends = [name if not name.isdigit() else f"layer {name}" for name in (layers[0], layers[-1])]
        name = f"{_name(group, analysis)}, {of}"
        described = f"{len(kinds)} kinds of tensors in {len(layers)} layers"
        shown = heat_map(f"{task}: how often kept, {name}", described, kinds, cells.tolist(), (ends[0], ends[1]))
        look.charts.append((name, shown))


Draw = Callable[[Look, str, Chosen, int, list[str]], None]
_KINDS: dict[str, tuple[str, str, Draw | None]] = {
    "landscape": (
        "Loss landscapes",
        "The stronger the colour, the higher the loss: a wide faint area around the cross is a flat optimum; an "
        "under-trained model is flat for free, so compare models of equal clean accuracy.",
        _landscape,
    ),
    "hessian": (
        "Curvature",
        "The largest eigenvalue is the curvature in the steepest direction, the trace the sum over all of them: less "
        "is flatter, at equal loss.",
        None,
    ),
    "interpolation": (
        "On the line between two models",
        "The first model is at 0, the second at 1: a hump between them is a barrier, and the slower the loss rises "
        "outside, the wider is that model's valley.",
        _interpolation,
    ),
    "disagreement": (
        "Dropout disagreement",
        "The share of rows that two dropout passes label differently, with one standard error: the larger it is, the "
        "less a first-order risk measures a small perturbation.",
        _disagreement,
    ),
    "masks": (
        "Which tensors the masks keep",
        "The stronger the colour, the more often kept; an agreement near that by chance says that a choice is noise, "
        "one near that with small tensors that it is their size.",
        _masks,
    ),
    "drift": (
        "Distance from the pre-trained weights",
        "How far each layer has moved, relative to its norm: a flat line near 0 is a layer that training left alone.",
        _drift,
    ),
}
