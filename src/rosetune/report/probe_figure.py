"""Figure 3: which feature models prefer, over seeds and methods."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosetune.analysis.probing.scoring import LEARNT, Preference
from rosetune.report.drawing import drawing

__all__ = ["draw_probes"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8a8a8a"


def draw_probes(probes: Mapping[str, Mapping[str, Sequence[Preference]]], path: str | Path) -> None:
    """A panel for each probe, a column for each method, a point for each run.

    Filled points are runs of seeds whose controls were both learnt, hollow ones say nothing of a preference. Ticks
    show the controls.

    Args:
        probes: by the name of the probe and of the method, the preferences of its seeds.
        path: of an svg, png or pdf file.
    """
    with drawing(path) as figure:
        figure.set_size_inches(1.2 + 3.4 * len(probes), 4.0)
        panels = figure.subplots(1, len(probes), squeeze=False, sharey=True)[0]
        for axes, (name, methods) in zip(panels, probes.items(), strict=True):
            for at, preferences in enumerate(methods.values()):
                _draw_method(axes, at, preferences)
            axes.set_xticks(range(len(methods)), list(methods), rotation=20)
            axes.set_title(f"syntax against {name}", fontsize=10)
            axes.axhline(0, color=_GREY, linewidth=0.8)
            axes.axhline(LEARNT, color=_GREY, linewidth=0.8, linestyle=":")
            axes.set_ylim(-1.08, 1.08)
            axes.set_xlim(-0.6, len(methods) - 0.4)
        panels[0].set_ylabel("Matthews correlation with the linguistic label")
        for marker, colour, filled, label in (
            ("o", _BLUE, _BLUE, "disambiguating part"),
            ("o", _BLUE, "none", "likewise, a control not learnt"),
            ("_", _ORANGE, _ORANGE, "control: syntax alone"),
            ("_", _GREY, _GREY, "control: surface alone"),
        ):
            panels[0].plot([], [], marker, color=colour, markerfacecolor=filled, label=label, linestyle="none")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _draw_method(axes: Any, at: int, preferences: Sequence[Preference]) -> None:
    places = at + np.linspace(-0.12, 0.12, len(preferences)) if len(preferences) > 1 else np.array([at])
    for x, seen in zip(places, preferences, strict=True):
        axes.plot(x, seen.score, "o", color=_BLUE, markerfacecolor=_BLUE if seen.readable else "none", zorder=3)
        axes.plot(x, seen.linguistic, "_", color=_ORANGE, markersize=9)
        axes.plot(x, seen.surface, "_", color=_GREY, markersize=9)
