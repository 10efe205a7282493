"""Figure of landscapes: contours, and below them the same as surfaces."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rosetune.report.analyses import level_of, loss_levels, surface_of, titles
from rosetune.runs.analysed import Analysis

__all__ = ["draw_landscapes"]

_RED = "#D55E00"
_MESH = 26  # lines of a surface along each axis, at most: more of them are but a black area


def draw_landscapes(figure: Any, analyses: Sequence[Analysis], level: float | None) -> None:
    """A column for each model, all with the same levels, axes and colours.

    Args:
        figure: an empty one.
        level: the loss at which a line is drawn; None: as :func:`~rosetune.report.analyses.level_of` has it.
    """
    surfaces = [surface_of(analysis) for analysis in analyses]
    levels = loss_levels([surface.loss for surface in surfaces], 15)
    below = level_of(analyses, level)
    n = len(surfaces)
    figure.set_size_inches(3.4 * n + 1.0, 7.0)
    panels = [figure.add_subplot(2, n, i + 1) for i in range(n)]
    solids = [figure.add_subplot(2, n, n + i + 1, projection="3d") for i in range(n)]
    for axes, solid, surface, title in zip(panels, solids, surfaces, titles(analyses), strict=True):
        loss = np.clip(surface.loss, levels[0], levels[-1])
        filled = _contours(axes, surface.alpha, surface.beta, loss, levels, below)
        axes.set_title(f"{title}\nloss {surface.centre:.3f}", fontsize=10)
        _solid(solid, surface.alpha, surface.beta, loss, levels)
    panels[0].set_ylabel(r"$\beta$")
    figure.colorbar(filled, ax=panels, label="loss", shrink=0.85, format="%.2f")


def _contours(
    axes: Any, alpha: np.ndarray, beta: np.ndarray, loss: np.ndarray, levels: np.ndarray, below: float | None
) -> Any:
    filled = axes.contourf(alpha, beta, loss, levels=levels, cmap="viridis", norm=_norm(levels))
    lines = axes.contour(alpha, beta, loss, levels=levels, colors="white", linewidths=0.5)
    axes.clabel(lines, lines.levels[::3], fontsize=7, fmt="%.2f")
    if below is not None and loss.min() < below < loss.max():
        axes.contour(alpha, beta, loss, levels=[below], colors=_RED, linewidths=1.4)
    axes.plot(0, 0, "+", color=_RED, markersize=9)
    axes.set_xlabel(r"$\alpha$")
    axes.set_box_aspect(1)
    return filled


def _solid(axes: Any, alpha: np.ndarray, beta: np.ndarray, loss: np.ndarray, levels: np.ndarray) -> None:
    x, y = np.meshgrid(alpha, beta)
    look = {"cmap": "viridis", "norm": _norm(levels), "linewidth": 0.2, "edgecolor": "white"}
    axes.plot_surface(x, y, loss, rcount=_MESH, ccount=_MESH, **look)
    axes.set_zlim(levels[0], levels[-1])
    axes.set_xlabel(r"$\alpha$")
    axes.set_ylabel(r"$\beta$")
    axes.tick_params(labelsize=7)
    axes.view_init(elev=40, azim=-55)


def _norm(levels: np.ndarray) -> Any:
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm(levels, 256)
