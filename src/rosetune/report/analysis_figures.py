"""Figures of analyses, drawn from their arrays alone."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rosetune._files import write_text
from rosetune.analysis.layers import drift_by_layer, order_of_layers
from rosetune.report.analyses import LOSS_CEILING, ends_of, run_of, short_layer, surface_of, titles
from rosetune.report.drawing import check_figure, drawing
from rosetune.report.landscape_figure import draw_landscapes
from rosetune.report.mask_figures import draw_masks
from rosetune.runs.analysed import Analysis
from rosetune.runs.values import RunError, check_output

__all__ = ["Pictures", "draw_analyses", "picture_of"]

# Okabe and Ito's colours, told apart with any colour vision.
_COLOURS = ("#333333", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
_GREY = "#8a8a8a"


class Pictures(NamedTuple):
    """Where to draw; None: nowhere."""

    figure: Path | None
    surface: Path | None = None


def picture_of(what: str, run: str, figure: str | None, surface: str | None = None) -> Pictures:
    """Where the pictures go, found out before anything is computed.

    Args:
        run: folder of the first run, or RUN@STEP.
        figure: as asked for; None: in the run's folder, where matplotlib is installed.
        surface: an .html file.

    Raises:
        RunError: another suffix, or a library that was asked for is not installed.
    """
    if figure is not None:
        check_figure(figure)
    if surface is not None:
        if Path(surface).suffix != ".html":
            raise RunError(f"--surface {surface}: name a file that ends in .html")
        check_output("--surface", surface)
        if find_spec("plotly") is None:
            raise RunError("--surface needs plotly: pip install 'rosetune[surface]'")
    folder = Path(run) if Path(run).is_dir() else Path(run.rpartition("@")[0])
    default = folder / "analysis" / f"{what}.svg" if find_spec("matplotlib") is not None else None
    return Pictures(default if figure is None else Path(figure), None if surface is None else Path(surface))


def draw_analyses(analyses: Sequence[Analysis], pictures: Pictures, level: float | None = None) -> list[Path]:
    """Draw all models of one kind of analysis into one picture.

    Args:
        level: of landscapes, the loss at which a line is drawn.

    Returns:
        The files.
    """
    kind = analyses[0].about["kind"]
    drawn = []
    if pictures.figure is not None:
        with drawing(pictures.figure) as figure:
            if kind == "landscape":
                draw_landscapes(figure, analyses, level)
            else:
                _DRAW[kind](figure, analyses)
        drawn.append(pictures.figure)
    if pictures.surface is not None:
        write_text(pictures.surface, surface_page(analyses))
        drawn.append(pictures.surface)
    return drawn


def _interpolation(figure: Any, analyses: Sequence[Analysis]) -> None:
    """Loss on the left axis, accuracy on the right one."""
    (analysis,) = analyses
    figure.set_size_inches(5.6, 3.8)
    axes = figure.subplots()
    alpha, loss, accuracy = (analysis.arrays[name] for name in ("alpha", "loss", "accuracy"))
    axes.plot(alpha, np.minimum(loss, LOSS_CEILING), color=_COLOURS[2], marker="o", markersize=2.5, label="loss")
    axes.set_xlabel(r"$\alpha$")
    axes.set_ylabel("loss", color=_COLOURS[2])
    for at in (0, 1):
        axes.axvline(at, color=_GREY, linewidth=0.8, linestyle=":")
    names = ends_of(analysis)
    axes.set_title(f"{names[0]} at 0, {names[1]} at 1", fontsize=10)
    if not np.isnan(accuracy).all():
        right = axes.twinx()
        right.plot(alpha, 100 * accuracy, color=_COLOURS[1], linestyle="--", label="accuracy")
        right.set_ylabel("accuracy (%)", color=_COLOURS[1])


def _hessian(figure: Any, analyses: Sequence[Analysis]) -> None:
    """Largest eigenvalue, and trace with its standard error."""
    figure.set_size_inches(7.2, 1.4 + 0.4 * len(analyses))
    left, right = figure.subplots(1, 2, sharey=True)
    names, at = titles(analyses), np.arange(len(analyses))
    colours = [_COLOURS[i % len(_COLOURS)] for i in at]
    left.barh(at, [float(a.arrays["top"]) for a in analyses], color=colours)
    traces = [float(a.arrays["trace"]) for a in analyses]
    errors = [float(a.arrays["trace_error"]) for a in analyses]
    right.barh(at, traces, xerr=errors, color=colours, capsize=3, ecolor=_GREY)
    left.set_yticks(at, names)
    left.invert_yaxis()
    left.set_xlabel("largest eigenvalue")
    right.set_xlabel("trace (one standard error)")


def _disagreement(figure: Any, analyses: Sequence[Analysis]) -> None:
    """Over the steps, a line for each run."""
    figure.set_size_inches(5.6, 3.8)
    axes = figure.subplots()
    runs: dict[str, list[Analysis]] = {}
    for analysis in analyses:
        runs.setdefault(run_of(analysis), []).append(analysis)
    first = [{**each[0].about, "name": run, "settings": {}} for run, each in runs.items()]
    names = titles([Analysis(Path(), about, {}) for about in first])
    for number, (name, each) in enumerate(zip(names, runs.values(), strict=True)):
        each = sorted(each, key=lambda a: a.about["at"] or 0)
        steps = [a.about["at"] or 0 for a in each]
        shares, errors = ([100 * float(a.arrays[key]) for a in each] for key in ("share", "standard_error"))
        colour = _COLOURS[number % len(_COLOURS)]
        axes.errorbar(steps, shares, yerr=errors, color=colour, marker="o", markersize=4, capsize=2, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("different labels (%)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _drift(figure: Any, analyses: Sequence[Analysis]) -> None:
    """By layer, a line for each model: of several seeds of a method their mean, with a bar from the least to the most.

    A pooler or a head moves many times as far as the layers, so that it has a panel with an axis of its own.
    """
    groups = _seeds_of(analyses)
    drifts = [
        [drift_by_layer(*(analysis.arrays[key] for key in ("names", "distance", "norm"))) for analysis in group]
        for group in groups
    ]
    layers = order_of_layers(layer for group in drifts for seen in group for layer in seen)
    above = [layer for layer in layers if layer in ("pooler", "head")]
    parts = [part for part in ([layer for layer in layers if layer not in above], above) if part]
    figure.set_size_inches(5.6 + 0.9 * len(above), 3.6 + 0.25 * -(-len(groups) // 3))
    panels = figure.subplots(1, len(parts), squeeze=False, width_ratios=[max(1.5, len(part)) for part in parts])[0]
    names = titles([group[0] for group in groups])
    for axes, part in zip(panels, parts, strict=True):
        for number, (name, group) in enumerate(zip(names, drifts, strict=True)):
            values = 100 * np.array([[seen.get(layer, np.nan) for layer in part] for seen in group])
            mean = values.mean(axis=0)
            axes.errorbar(
                np.arange(len(part)) + 0.05 * (number - (len(groups) - 1) / 2),  # bars beside each other
                mean,
                yerr=np.abs([values.min(axis=0) - mean, values.max(axis=0) - mean]) if len(group) > 1 else None,
                color=_COLOURS[number % len(_COLOURS)],
                linestyle=("-", "--", ":")[number // len(_COLOURS) % 3],
                marker="o",
                markersize=4,
                capsize=2,
                label=f"{name}, {len(group)} seeds" if len(group) > 1 else name,
            )
        axes.set_xticks(range(len(part)), [*map(short_layer, part)])
        axes.set_xlim(-0.5, len(part) - 0.5)
        axes.set_ylim(bottom=0)
    panels[0].set_xlabel("layer")
    panels[0].set_ylabel("distance from the start (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


def _seeds_of(analyses: Sequence[Analysis]) -> list[list[Analysis]]:
    """Analyses by what they are of, but for the seed; where two of them have one seed each stays alone."""
    groups: dict[tuple[Any, ...], list[Analysis]] = {}
    for analysis in analyses:
        about = analysis.about
        of = about["method"], about["task"], about.get("setting"), about["settings"].get("step")
        groups.setdefault(of, []).append(analysis)
    found = []
    for group in groups.values():
        alike = len({analysis.about["run_seed"] for analysis in group}) == len(group)
        found += [group] if alike else [[analysis] for analysis in group]
    return found


def surface_page(analyses: Sequence[Analysis]) -> str:
    """A page with a 3-D surface for each model, which loads nothing from elsewhere."""
    from plotly import graph_objects

    figure = graph_objects.Figure()
    for number, (analysis, name) in enumerate(zip(analyses, titles(analyses), strict=True)):
        surface, colour = surface_of(analysis), _COLOURS[number % len(_COLOURS)]
        figure.add_trace(
            graph_objects.Surface(
                x=surface.alpha,
                y=surface.beta,
                z=np.minimum(surface.loss, LOSS_CEILING),
                name=name,
                showlegend=True,
                showscale=False,
                opacity=0.8,
                colorscale=[[0, colour], [1, "#ffffff"]],
            )
        )
    figure.update_layout(
        scene={"xaxis_title": "alpha", "yaxis_title": "beta", "zaxis_title": "loss", "camera": {"eye": _EYE}},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"x": 0, "y": 1},
    )
    return _PAGE.format(drawn=figure.to_html(include_plotlyjs=True, full_html=False, default_height="92vh"))


_EYE = {"x": 1.6, "y": 1.6, "z": 0.9}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Loss landscapes</title>
</head>
<body>
{drawn}
</body>
</html>
"""


_DRAW: dict[str, Callable[[Any, Sequence[Analysis]], None]] = {
    "interpolation": _interpolation,
    "hessian": _hessian,
    "disagreement": _disagreement,
    "masks": draw_masks,
    "drift": _drift,
}
