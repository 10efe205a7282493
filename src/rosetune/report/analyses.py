"""What a person reads of analyses: the figures that are read off their arrays."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune.analysis.layers import drift_by_layer
from rosetune.analysis.surface import Surface
from rosetune.report.console import Grid, percent, print_grid
from rosetune.report.masks import figures_of_masks
from rosetune.runs.analysed import Analysis, find_analyses
from rosetune.runs.values import RunError

__all__ = [
    *("LOSS_CEILING", "analysis_grid", "as_json", "figures_of", "level_of", "loss_levels", "print_analyses"),
    *("ends_of", "run_of", "short_layer", "surface_of", "titles"),
]

NEAR = 0.1  # what counts as the model's own loss
LOSS_CEILING = 20.0  # losses above are drawn as this


def titles(analyses: Sequence[Analysis]) -> list[str]:
    """What a person calls each model: its method, with step, then task, seed and folder where that is not enough."""
    names = [_with_step(analysis) for analysis in analyses]
    seeds, tasks = [f"seed {a.about['run_seed']}" for a in analyses], [str(a.about["task"]) for a in analyses]
    ways = (*([tasks] if len({*tasks}) > 1 else []), seeds, [str(a.about["name"]) for a in analyses])
    for further in ways:
        counts = Counter(names)
        names = [f"{name}, {more}" if counts[name] > 1 else name for name, more in zip(names, further, strict=True)]
    return names


def ends_of(analysis: Analysis) -> tuple[str, str]:
    """What a person calls the two models of an interpolation, with as much of each as tells them apart."""
    about = analysis.about
    step = about["settings"].get("other_step")
    names = _with_step(analysis), about["other_method"] + ("" if step is None else f", step {step}")
    # A file of an earlier version does not tell the other's seed.
    seeds = about["run_seed"], about.get("other_seed", about["run_seed"])
    for further in (seeds, (about["name"], about.get("other_name"))):
        if names[0] == names[1] and further[0] != further[1]:
            one, other = (f"seed {value}" if further is seeds else value for value in further)
            names = f"{names[0]}, {one}", f"{names[1]}, {other}"
    return names


def run_of(analysis: Analysis) -> str:
    """The name of the run whose model it is, or of whose checkpoint."""
    step = analysis.about["settings"].get("step")
    return str(analysis.about["name"]).removesuffix("" if step is None else f"@{step}")


def _with_step(analysis: Analysis) -> str:
    step = analysis.about["settings"].get("step")
    return analysis.about["method"] + ("" if step is None else f", step {step}")


def surface_of(analysis: Analysis) -> Surface:
    """The grid of a landscape."""
    return Surface(*(analysis.arrays[name] for name in ("alpha", "beta", "loss", "accuracy")))


def level_of(analyses: Sequence[Analysis], level: float | None) -> float | None:
    """The loss below which the grids of some landscapes are counted, the same for all of them; None of other kinds.

    As asked for, or the median of all their points together: the shares below it are 50% on average, whatever the
    losses are.
    """
    if analyses[0].about["kind"] != "landscape":
        return None
    return _median_loss(analyses) if level is None else level


def _median_loss(analyses: Sequence[Analysis]) -> float:
    return float(np.nanmedian(np.concatenate([analysis.arrays["loss"].ravel() for analysis in analyses])))


def as_json(analyses: Sequence[Analysis], level: float | None = None) -> list[dict[str, Any]]:
    """For each analysis its file, what it is of, and its figures."""
    below = level_of(analyses, level)
    return [
        {"file": str(a.path), "title": title, **a.about, "figures": figures_of(a, below)}
        for a, title in zip(analyses, titles(analyses), strict=True)
    ]


def figures_of(analysis: Analysis, level: float | None = None) -> dict[str, Any]:
    """What is read off the arrays of one analysis, by name; ``level`` is that of all landscapes beside it."""
    return _FIGURES[analysis.about["kind"]](analysis, level)


def print_analyses(out: Console, analyses: Sequence[Analysis], drawn: Sequence[Path], level: float | None) -> None:
    """A table of all models, and where arrays and pictures lie."""
    print_grid(out, analysis_grid(_TITLES[analyses[0].about["kind"]], titles(analyses), analyses, level))
    for path in (*drawn, *(analysis.path for analysis in analyses)):
        out.print(Text(str(path)), soft_wrap=True)


def analysis_grid(title: str, names: Sequence[str], analyses: Sequence[Analysis], level: float | None = None) -> Grid:
    """The figures of some models, a row for each."""
    below = level_of(analyses, level)
    found = [figures_of(analysis, below) for analysis in analyses]
    # A model may lack a figure that others have.
    columns = dict.fromkeys(column for figures in sorted(found, key=len, reverse=True) for column in figures)
    grid = Grid(title, ("", *(column.replace("_", " ") for column in columns)))
    for name, figures in zip(names, found, strict=True):
        grid.rows.append((escape(name), *(_cell(column, figures.get(column)) for column in columns)))
    return grid


def loss_levels(losses: Sequence[np.ndarray], bands: int) -> np.ndarray:
    """Shape (bands + 1,): where the contours of some landscapes are, the same for all of them.

    In equal ratios where the highest loss is many times the lowest, else in equal steps.
    """
    lowest = min(LOSS_CEILING, *(float(x.min()) for x in losses))  # of a model that has diverged it is infinite
    highest = min(LOSS_CEILING, max(float(x.max()) for x in losses))
    if highest <= lowest:
        return lowest + np.linspace(0, 1e-6, bands + 1)
    if lowest > 0 and highest > 8 * lowest:
        return np.geomspace(lowest, highest, bands + 1)
    return np.linspace(lowest, highest, bands + 1)


def short_layer(name: str) -> str:
    """What fits below a column."""
    return "emb." if name == "embeddings" else name


def _cell(column: str, value: Any) -> str:
    if value is None or value != value:
        return "-"
    if column.startswith(("share", "accuracy", "clean_accuracy", "disagreement", "kept", "agreement", "second_order")):
        return percent(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _landscape(analysis: Analysis, level: float | None) -> dict[str, Any]:
    surface, below = surface_of(analysis), _median_loss([analysis]) if level is None else level
    first, second = surface.curvature()
    here = surface.accuracy[np.ix_(surface.beta == 0, surface.alpha == 0)]
    return {
        "loss": surface.centre,
        "accuracy": float(here[0, 0]) if here.size else float("nan"),
        **_clean_accuracy(analysis),
        "level": below,
        "share_below_level": surface.share_below(below),
        "share_near_own_loss": surface.share_below(surface.centre + NEAR) if here.size else float("nan"),
        "lowest": float(surface.loss.min()),
        "curvature_1": first,
        "curvature_2": second,
        **_hessian_beside(analysis),
    }


def _hessian_beside(analysis: Analysis) -> dict[str, float]:
    """Of the Hessian of the same model on the same rows, where it lies in the run's folder, what says how sharp it is.

    Of several the one with the most samples, then that of the smallest tolerance.
    """
    settings = analysis.about["settings"]
    wanted = {name: settings.get(name) for name in ("step", "examples", "split", "seed", "data")}
    try:
        there = find_analyses(analysis.path.parent.parent, "hessian")
    except RunError:  # a damaged file, which an analysis of the Hessian names
        return {}
    same = [one for one in there if wanted.items() <= one.about["settings"].items()]
    if not same:
        return {}
    best = max(same, key=lambda one: (one.about["settings"]["samples"], -one.about["settings"]["tolerance"]))
    return {name: value for name, value in _hessian(best, None).items() if name in ("largest_eigenvalue", "trace")}


def _clean_accuracy(analysis: Analysis) -> dict[str, float]:
    """On the whole clean set, where the model was evaluated there; a file of an earlier version does not tell."""
    known = analysis.about.get("clean_accuracy")
    return {} if known is None else {"clean_accuracy": known}


def _interpolation(analysis: Analysis, level: float | None) -> dict[str, Any]:
    alpha, loss, accuracy = (analysis.arrays[name] for name in ("alpha", "loss", "accuracy"))
    between = (alpha >= 0) & (alpha <= 1)
    ends = loss[alpha == 0][0], loss[alpha == 1][0]
    return {
        "loss_at_0": float(ends[0]),
        "loss_at_1": float(ends[1]),
        "accuracy_at_0": float(accuracy[alpha == 0][0]),
        "accuracy_at_1": float(accuracy[alpha == 1][0]),
        "barrier": float((loss[between] - ((1 - alpha) * ends[0] + alpha * ends[1])[between]).max()),
        "loss_at_low_end": float(loss[0]),
        "loss_at_high_end": float(loss[-1]),
    }


def _hessian(analysis: Analysis, level: float | None) -> dict[str, Any]:
    arrays = analysis.arrays
    return {
        "loss": float(arrays["loss"]),
        **_clean_accuracy(analysis),
        "largest_eigenvalue": float(arrays["top"]),
        "trace": float(arrays["trace"]),
        "standard_error": float(arrays["trace_error"]),
    }


def _disagreement(analysis: Analysis, level: float | None) -> dict[str, Any]:
    arrays = analysis.arrays
    return {
        "step": analysis.about["at"],
        "disagreement": float(arrays["share"]),
        "disagreement_error": float(arrays["standard_error"]),
    }


def _drift(analysis: Analysis, level: float | None) -> dict[str, Any]:
    return drift_by_layer(*(analysis.arrays[name] for name in ("names", "distance", "norm")))


_FIGURES: dict[str, Callable[[Analysis, float | None], dict[str, Any]]] = {
    "landscape": _landscape,
    "interpolation": _interpolation,
    "hessian": _hessian,
    "disagreement": _disagreement,
    "masks": lambda analysis, level: figures_of_masks(analysis),
    "drift": _drift,
}
_TITLES = {
    "landscape": "The loss around each model",
    "interpolation": "The loss on the line through two models",
    "hessian": "The second derivatives of the loss",
    "disagreement": "Two dropout passes that predict different labels",
    "masks": "Which tensors ROSE keeps: the agreement of a first-order mask with others",
    "drift": "Relative distance from the pre-trained weights by layer",
}
