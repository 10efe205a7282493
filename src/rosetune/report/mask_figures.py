"""Figures of the life of a mask."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rosetune.report.analyses import figures_of, kept_by_tensor, short_layer, titles
from rosetune.runs.analysed import Analysis

__all__ = ["draw_masks"]

_BLACK, _BLUE, _GREY = "#333333", "#0072B2", "#8a8a8a"


def draw_masks(figure: Any, analyses: Sequence[Analysis]) -> None:
    """For each model which tensors are kept, what a mask agrees with, and where there is a trace, over steps."""
    traced = any("trace_kept" in analysis.arrays for analysis in analyses)
    columns = 3 if traced else 2
    figure.set_size_inches(4.4 * columns, 3.6 * len(analyses))
    panels = figure.subplots(len(analyses), columns, squeeze=False)
    for row, analysis, title in zip(panels, analyses, titles(analyses), strict=True):
        _heat_map(figure, row[0], analysis, title)
        numbers = {
            name.removeprefix("agreement_").replace("_", " "): value
            for name, value in figures_of(analysis).items()
            if name.startswith("agreement")
        }
        at = np.arange(len(numbers))
        colours = [_GREY if name == "by chance" else _BLUE for name in numbers]
        row[1].barh(at, [100 * value for value in numbers.values()], color=colours)
        row[1].set_yticks(at, list(numbers))
        row[1].invert_yaxis()
        row[1].set_xlim(0, 100)
        row[1].set_xlabel("tensors treated alike (%)")
        row[1].set_title("a first-order mask agrees with", fontsize=9)
        if "trace_kept" in analysis.arrays:
            lags, found = analysis.arrays["lags"], analysis.arrays["lag_agreement"]
            row[2].plot(lags, 100 * found, color=_BLACK, marker="o", markersize=3)
            row[2].axhline(100 * float(analysis.arrays["lag_chance"]), color=_GREY, linestyle="--", label="by chance")
            row[2].set_xscale("log")
            row[2].set_xlabel("steps between two masks of the trace")
            row[2].set_ylabel("agreement (%)")
            row[2].legend(frameon=False)
        elif traced:
            row[2].set_axis_off()


def _heat_map(figure: Any, axes: Any, analysis: Analysis, title: str) -> None:
    kinds, layers, table, of = kept_by_tensor(analysis)
    image = axes.imshow(table, aspect="auto", vmin=0, vmax=1, cmap="viridis")
    axes.set_yticks(range(len(kinds)), kinds, fontsize=7)
    axes.set_xticks(range(len(layers)), map(short_layer, layers))
    axes.set_xlabel("layer")
    axes.set_title(f"{title}: how often kept, {of}", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)
