"""Figures of the life of a mask."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rosetune.analysis.layers import layer_of, order_of_layers
from rosetune.report.analyses import figures_of, short_layer, titles
from rosetune.report.masks import kept_by_tensor
from rosetune.runs.analysed import Analysis

__all__ = ["draw_masks"]

_BLACK, _BLUE, _GREY, _ORANGE = "#333333", "#0072B2", "#8a8a8a", "#D55E00"


def draw_masks(figure: Any, analyses: Sequence[Analysis]) -> None:
    """For each model which tensors are kept, what a mask agrees with, and where there is a trace, over steps."""
    traced = any("trace_kept" in analysis.arrays for analysis in analyses)
    columns = 4 if traced else 2
    figure.set_size_inches(4.4 * columns, 3.6 * len(analyses))
    panels = figure.subplots(len(analyses), columns, squeeze=False)
    for row, analysis, title in zip(panels, analyses, titles(analyses), strict=True):
        _heat_map(figure, row[0], analysis, title)
        _agreements(row[1], analysis)
        if "trace_kept" in analysis.arrays:
            _lags(row[2], analysis)
            _over_time(figure, row[3], analysis)
        elif traced:
            row[2].set_axis_off()
            row[3].set_axis_off()


def _heat_map(figure: Any, axes: Any, analysis: Analysis, title: str) -> None:
    kinds, layers, table, of = kept_by_tensor(analysis)
    image = axes.imshow(table, aspect="auto", vmin=0, vmax=1, cmap="viridis")
    axes.set_yticks(range(len(kinds)), kinds, fontsize=7)
    axes.set_xticks(range(len(layers)), map(short_layer, layers))
    axes.set_xlabel("layer")
    axes.set_title(f"{title}: how often kept, {of}", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)


def _agreements(axes: Any, analysis: Analysis) -> None:
    """Of masks of zeros and ones: the share of tensors that two of them treat alike."""
    figures = {name: value for name, value in figures_of(analysis).items() if value == value}
    first = {name: value for name, value in figures.items() if name.startswith("agreement_")}
    second = {name: value for name, value in figures.items() if name.startswith("second_order_")}
    numbers = {**first, **second}
    colours = [_GREY if name == "agreement_by_chance" else _ORANGE if name in second else _BLUE for name in numbers]
    axes.barh(np.arange(len(numbers)), [100 * value for value in numbers.values()], color=colours)
    axes.set_yticks(
        np.arange(len(numbers)), [name.removeprefix("agreement_").replace("_", " ") for name in numbers], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("tensors treated alike (%)")
    axes.set_title("a first-order mask agrees with" + ("; orange: second order" if second else ""), fontsize=9)


def _lags(axes: Any, analysis: Analysis) -> None:
    """Of the trace's multipliers, which need not be zeros and ones."""
    lags, found = analysis.arrays["lags"], analysis.arrays["lag_agreement"]
    axes.plot(lags, 100 * found, color=_BLACK, marker="o", markersize=3)
    axes.axhline(100 * float(analysis.arrays["lag_chance"]), color=_GREY, linestyle="--", label="by chance")
    axes.set_xscale("log")
    axes.set_xlabel("steps between two masks of the trace")
    axes.set_ylabel("1 - mean |difference| (%)")
    axes.legend(frameon=False)


def _over_time(figure: Any, axes: Any, analysis: Analysis) -> None:
    """A line for each tensor, from the embeddings up; a column for each stretch of the training, as wide as it is."""
    arrays = analysis.arrays
    layers = [layer_of(name) for name in arrays["trace_names"].tolist()]
    order = sorted(range(len(layers)), key=lambda i: order_of_layers(layers).index(layers[i]))
    starts = arrays["trace_steps"]
    # A file of an earlier version lacks the lengths.
    last = (
        arrays["trace_lengths"][-1]
        if "trace_lengths" in arrays
        else (starts[-1] - starts[0]) / max(1, len(starts) - 1)
    )
    edges = np.append(starts, starts[-1] + max(1, last)) - 0.5
    image = axes.pcolormesh(
        edges, np.arange(len(order) + 1), arrays["trace_kept"].T[order], vmin=0, vmax=1, cmap="viridis"
    )
    sorted_layers = [layers[i] for i in order]
    firsts = [sorted_layers.index(layer) for layer in order_of_layers(layers)]
    axes.set_yticks(firsts, map(short_layer, order_of_layers(layers)))
    axes.invert_yaxis()
    axes.set_xlabel("step")
    axes.set_ylabel("tensors, by layer")
    axes.set_title("mean multiplier over time", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)
