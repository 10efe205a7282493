"""What a person reads of runs over training: their curves, and their ends at equal clean accuracy."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from rosetune.experiments.curve import check_figure, draw_curve
from rosetune.experiments.equal_clean import (
    EqualClean,
    Followed,
    at_equal_clean,
    clean_set,
    follow,
    reference_of,
    robust_sets,
)
from rosetune.experiments.tables import accuracy_cell, console, interval_cell, make_table, percent, set_title

__all__ = ["print_along"]


def print_along(
    runs: Sequence[str],
    kinds: Sequence[str] | str,
    figure: str | None = None,
    as_json: bool = False,
    **moved: str | None,
) -> None:
    """Evaluate runs over training, compare their ends with the first curve, and print, or draw, or both.

    Args:
        runs: folders of finished runs; the first that keeps checkpoints is the reference.
        kinds, moved: as in :func:`~rosetune.experiments.along_training.evaluate_along`.
        figure: svg, png or pdf file.
        as_json: print JSON in the place of tables.

    Raises:
        RunError: as :func:`~rosetune.experiments.equal_clean.follow`, or the figure cannot be drawn.
    """
    if figure is not None:
        check_figure(figure)
    followed = follow(runs, kinds, lambda line: print(line, file=sys.stderr), **moved)
    if figure is not None:
        draw_curve(followed, figure)
        print(f"figure written to {figure}", file=sys.stderr)
    reference = reference_of(followed)
    beside = {
        name: {run.run: at_equal_clean(reference.curve, run.end, name) for run in followed if run is not reference}
        for name in robust_sets(reference.end.rows)
    }
    if as_json:
        print(json.dumps(_as_json(followed, reference, beside), indent=2, ensure_ascii=False))
        return
    out = console()
    for run in followed:
        if run.curve:
            out.print(Text(f"{run.name}: {run.run}"), soft_wrap=True)
            for table in _curve_tables(run, out.width):
                out.print(table)
    others = [run for run in followed if run is not reference]
    for name, found in beside.items() if others else ():
        out.print(_equal_table(reference, others, name, found))
        for run in others:
            out.print(Text(sentence(reference, run, name, found[run.run]) + "\n"))
    if others:
        out.print("One seed a run: the intervals cover the choice of test sentences, not the luck of a training run.")


def sentence(reference: Followed, run: Followed, name: str, found: EqualClean) -> str:
    """What one comparison means."""
    title, last = set_title(name), reference.end.accuracy(name)
    start = (
        f"{run.name} ends {_points(found.robust - last)} points from the end of {reference.name} on {title}, at "
        f"{percent(found.clean)}% clean accuracy"
    )
    d = found.robust_difference
    said = f"{run.name} is {'better' if d.verdict > 0 else 'worse'}" if d.verdict else "within the noise"
    paired = (
        f"Paired with the checkpoint that is nearest in clean accuracy (step {found.nearest.step}; {run.name} has "
        f"{_points(found.clean_difference.value)} there) the difference on {title} is {_points(d.value)} "
        f"[{_points(d.low)}, {_points(d.high)}]: {said}."
    )
    if found.highest is None:
        levels = [point.accuracy(clean_set(name, point.rows)) for point in reference.curve]
        span = f"{percent(min(levels))} to {percent(max(levels))}%"
        return (
            f"{start}. {reference.name} never passes that level (its checkpoints have {span}), so that early stopping "
            f"says nothing about it. {paired}"
        )
    first, best = found.passages[0], found.highest
    most = "" if best == first else f" (at most {_points(best.robust - last)}, at step {best.step:.0f})"
    flips = "" if found.flipped is None else f"; labels flipped at random give {_points(found.flipped - last)}"
    gap = percent(abs(found.robust - first.robust))
    than = (
        "as good as" if gap == "0.0" else f"{gap} points {'better' if found.robust > first.robust else 'worse'} than"
    )
    return (
        f"{start}. Stopping {reference.name} at step {first.step:.0f}, where its clean accuracy is the same, gives "
        f"{_points(first.robust - last)}{most}{flips}. At equal clean accuracy {run.name} is {than} "
        f"{reference.name} stopped early. {paired}"
    )


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _curve_tables(run: Followed, width: int) -> list[Table]:
    names = list(run.end.rows)
    room = max(1, (width - 16) // 21)
    tables = []
    for start in range(0, len(names), room):
        part = names[start : start + room]
        titles = (f"{set_title(name)}\n(n = {run.end.metrics[name]['n']})" for name in part)
        table = make_table("Over training: accuracy in % [95%]", ("step", "epoch", *titles), collapse_padding=True)
        for point in run.curve:
            cells = (accuracy_cell(point.metrics[name]) for name in part)
            table.add_row(f"{point.step}", f"{point.epoch:.2f}", *cells, style="bold" if point.end else None)
        tables.append(table)
    return tables


def _equal_table(reference: Followed, others: Sequence[Followed], name: str, found: Mapping[str, EqualClean]) -> Table:
    columns = (
        "clean",
        "robust",
        "stopped\n(step)",
        "at most\n(step)",
        "end less\nstopped",
        "end less nearest\n(step, clean)",
    )
    title = f"{set_title(name)} at equal clean accuracy, in %: the ends beside the curve of {reference.name}"
    table = make_table(title, ("", *columns), collapse_padding=True)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    last = reference.end
    ends = (percent(last.accuracy(part)) for part in (clean_set(name, last.rows), name))
    table.add_row(Text(reference.name), *ends, "", "", "", "")
    for run in others:
        e = found[run.run]
        there = ["never\nthere", "", ""]
        if e.passages and e.highest is not None:
            at = [f"{percent(p.robust)}\n[dim]({p.step:.0f})[/dim]" for p in (e.passages[0], e.highest)]
            there = [*at, _points(e.robust - e.passages[0].robust)]
        d = e.robust_difference
        paired = interval_cell(d.value, d.low, d.high, sign="+")
        clean = f"[dim]({e.nearest.step}, {_points(e.clean_difference.value)})[/dim]"
        table.add_row(Text(run.name), percent(e.clean), percent(e.robust), *there, f"{paired}\n{clean}")
    return table


def _as_json(
    runs: Sequence[Followed], reference: Followed, beside: dict[str, dict[str, EqualClean]]
) -> dict[str, Any]:
    return {
        "reference": reference.run,
        "runs": {
            run.run: {"name": run.name, "curve": [p.as_json() for p in run.curve], "end": run.end.as_json()}
            for run in runs
        },
        "at_equal_clean": {
            name: {run: found.as_json() for run, found in part.items()} for name, part in beside.items()
        },
    }
