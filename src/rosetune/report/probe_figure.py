"""Figure 3: which feature models prefer, over seeds and methods."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.markup import escape

from rosetune._files import write_json
from rosetune._numbers import fixed
from rosetune.analysis.probing.scoring import LEARNT, Preference, Probes
from rosetune.report.console import Grid
from rosetune.report.drawing import drawing
from rosetune.runs.values import RunError

__all__ = ["draw_probes", "probe_grid", "read_probes", "write_probes"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8a8a8a"


def write_probes(probes: Probes, path: str | Path) -> None:
    """The data of the figure as JSON: by probe, method and seed the four correlations."""
    write_json(
        path,
        {
            probe: {
                method: {seed: seen._asdict() for seed, seen in seeds.items()} for method, seeds in methods.items()
            }
            for probe, methods in probes.items()
        },
    )


def read_probes(path: str | Path) -> Probes:
    """What :func:`write_probes` wrote.

    Raises:
        RunError: the file is not there, or holds something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            probe: {
                method: {int(seed): Preference(**seen) for seed, seen in seeds.items()}
                for method, seeds in methods.items()
            }
            for probe, methods in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} holds no probes ({error}): give what rosetune reproduce figure3 wrote") from error


def probe_grid(probes: Probes) -> Grid:
    """Means over the seeds; of the preference over those that can be read."""
    readable = f"Readable: the model's own task (held-out rows in which both agree) and both controls reach {LEARNT}."
    grid = Grid(
        "Syntax or surface: Matthews correlation, means over seeds",
        ("", "preference", "readable seeds", "own task", "control: syntax", "control: surface"),
        caption=f"1 is a preference for syntax, -1 for the surface. {readable}",
    )
    for probe, methods in probes.items():
        for method, seeds in methods.items():
            seen = [*seeds.values()]
            scores = [one.score for one in seen if one.readable]
            grid.rows.append(
                (
                    escape(f"{method}, against {probe}"),
                    fixed(mean(scores), 2) if scores else "-",
                    f"{len(scores)} of {len(seen)}",
                    fixed(mean(one.agreeing for one in seen), 2),
                    fixed(mean(one.linguistic for one in seen), 2),
                    fixed(mean(one.surface for one in seen), 2),
                )
            )
    return grid


def draw_probes(probes: Probes, path: str | Path) -> None:
    """A panel for each probe, a column for each method, a point for each run.

    Filled points are runs that have learnt their own task, of seeds whose controls were both learnt; hollow ones say
    nothing of a preference. Ticks show the own task and the controls.

    Args:
        probes: by the name of the probe, the method and the seed.
        path: of an svg, png or pdf file.
    """
    with drawing(path) as figure:
        figure.set_size_inches(1.2 + 3.4 * len(probes), 4.0)
        panels = figure.subplots(1, len(probes), squeeze=False, sharey=True)[0]
        for axes, (name, methods) in zip(panels, probes.items(), strict=True):
            for at, seeds in enumerate(methods.values()):
                _draw_method(axes, at, seeds)
            axes.set_xticks(range(len(methods)), list(methods), rotation=20)
            axes.set_title(f"syntax against {name}", fontsize=10)
            axes.axhline(0, color=_GREY, linewidth=0.8)
            axes.axhline(LEARNT, color=_GREY, linewidth=0.8, linestyle=":")
            axes.set_ylim(-1.08, 1.08)
            axes.set_xlim(-0.6, len(methods) - 0.4)
        panels[0].set_ylabel("Matthews correlation\n(1: syntax, -1: surface)")
        for marker, colour, filled, label in (
            ("o", _BLUE, _BLUE, "disambiguating part"),
            ("o", _BLUE, "none", "likewise, own task or a control not learnt"),
            ("_", _BLUE, _BLUE, "own task: both features agree"),
            ("_", _ORANGE, _ORANGE, "control: syntax alone"),
            ("_", _GREY, _GREY, "control: surface alone"),
        ):
            panels[0].plot([], [], marker, color=colour, markerfacecolor=filled, label=label, linestyle="none")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _draw_method(axes: Any, at: int, seeds: Mapping[int, Preference]) -> None:
    places = at + np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else np.array([at])
    for x, seen in zip(places, seeds.values(), strict=True):
        axes.plot(x, seen.score, "o", color=_BLUE, markerfacecolor=_BLUE if seen.readable else "none", zorder=3)
        axes.plot(x, seen.agreeing, "_", color=_BLUE, markersize=9)
        axes.plot(x, seen.linguistic, "_", color=_ORANGE, markersize=9)
        axes.plot(x, seen.surface, "_", color=_GREY, markersize=9)
