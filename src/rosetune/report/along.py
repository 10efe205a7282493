"""What a person reads of runs over training: their curves, and their ends at equal clean accuracy."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune.report.console import (
    Grid,
    accuracy_cell,
    interval_cell,
    percent,
    points,
    print_grid,
    said_of,
    set_title,
)
from rosetune.runs.along import BEFORE, EqualClean, Followed, accuracy, end_of, missed
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["followed_as_json", "print_along", "sentence"]


def followed_as_json(followed: Followed) -> dict[str, Any]:
    """All that :func:`print_along` shows."""

    def at(run: Run, step: int | None) -> dict[str, Any]:
        about = run.steps[step] if step is not None else {"epoch": None, "end": True}
        return {"step": step, **about, "sets": followed.metrics(run, step)}

    return {
        "reference": str(followed.reference),
        "runs": {
            str(run): {
                "name": followed.names[str(run)],
                "curve": [at(run, step) for step in followed.curve(run)],
                "end": at(run, end_of(run)),
            }
            for run in followed.runs
        },
        "at_equal_clean": {
            name: {run: found.as_json() for run, found in part.items()} for name, part in followed.equal.items()
        },
    }


def print_along(out: Console, followed: Followed) -> None:
    """The curves, and beside the reference's the ends of the other runs at equal clean accuracy."""
    for run in followed.runs:
        if followed.curve(run):
            out.print(Text(f"{followed.names[str(run)]}: {run}"), soft_wrap=True)
            print_grid(out, _curve_grid(followed, run))
    for name, found in followed.equal.items() if followed.others else ():
        print_grid(out, _equal_grid(followed, name, found))
        for run in followed.others:
            out.print(Text(sentence(followed, run, name, found[str(run)]) + "\n"))
    if followed.others:
        out.print("One seed a run: the intervals cover the choice of test sentences, not the luck of a training run.")


def sentence(followed: Followed, run: Run, name: str, found: EqualClean) -> str:
    """What one comparison means."""
    reference = followed.reference
    title, own, other = set_title(name), followed.names[str(run)], followed.names[str(reference)]
    last = accuracy(reference, name)
    start = (
        f"{own} ends {points(found.robust - last)} points from the end of {other} on {title}, at "
        f"{percent(found.clean)}% clean accuracy"
    )
    d = found.robust_difference
    paired = (
        f"Paired with the checkpoint that is nearest in clean accuracy (step {found.nearest}; {own} has "
        f"{points(found.clean_difference.value)} there) the difference on {title} is {points(d.value)} "
        f"[{points(d.low)}, {points(d.high)}]: {said_of(d, own)}."
    )
    if found.highest is None:
        clean = SetName.parse(name).clean(followed.sets)
        levels = [accuracy(reference, clean, step) for step in followed.curve(reference)]
        span = f"{percent(min(levels))} to {percent(max(levels))}%"
        passes = f"never passes that level (its checkpoints have {span})"
        if missed(levels, found.clean) == BEFORE:
            passes = f"passes that level before its first checkpoint (they have {span})"
        return f"{start}. {other} {passes}, so that early stopping says nothing about it. {paired}"
    first, best = found.passages[0], found.highest
    most = "" if best == first else f" (at most {points(best.robust - last)}, at step {best.step:.0f})"
    flips = "" if found.flipped is None else f"; labels flipped at random give {points(found.flipped - last)}"
    gap = percent(abs(found.robust - first.robust))
    better = "better" if found.robust > first.robust else "worse"
    than = "as good as" if gap == "0.0" else f"{gap} points {better} than"
    return (
        f"{start}. Stopping {other} at step {first.step:.0f}, where its clean accuracy is the same, gives "
        f"{points(first.robust - last)}{most}{flips}. At equal clean accuracy {own} is {than} {other} stopped early. "
        f"{paired}"
    )


def _curve_grid(followed: Followed, run: Run) -> Grid:
    steps = followed.curve(run)
    counts = followed.metrics(run, steps[-1])
    heads = (f"{set_title(name)}\n(n = {counts[name]['n']})" for name in followed.sets)
    grid = Grid("Over training: accuracy in % [95%]", ("step", "epoch", *heads))
    for step in steps:
        about, metrics = run.steps[step], followed.metrics(run, step)
        cells = [f"{step}", f"{about['epoch']:.2f}", *(accuracy_cell(metrics[name]) for name in followed.sets)]
        grid.rows.append(tuple(f"[bold]{cell}[/bold]" for cell in cells) if about["end"] else tuple(cells))
    return grid


def _equal_grid(followed: Followed, name: str, found: Mapping[str, EqualClean]) -> Grid:
    reference = followed.reference
    columns = (
        *("clean", "robust", "stopped\n(step)", "at most\n(step)", "end less\nstopped"),
        "end less nearest\n(step, clean)",
    )
    title = f"{set_title(name)} at equal clean accuracy, in %: the ends beside the curve of "
    grid = Grid(f"{title}{followed.names[str(reference)]}", ("", *columns))
    ends = (percent(accuracy(reference, part)) for part in (SetName.parse(name).clean(followed.sets), name))
    grid.rows.append((escape(followed.names[str(reference)]), *ends, "", "", "", ""))
    for run in followed.others:
        e = found[str(run)]
        clean = SetName.parse(name).clean(followed.sets)
        levels = [accuracy(reference, clean, step) for step in followed.curve(reference)]
        there = ["before" if missed(levels, e.clean) == BEFORE else "never\nthere", "", ""]
        if e.passages and e.highest is not None:
            at = [f"{percent(p.robust)}\n[dim]({p.step:.0f})[/dim]" for p in (e.passages[0], e.highest)]
            there = [*at, points(e.robust - e.passages[0].robust)]
        d = e.robust_difference
        paired = interval_cell(d.value, d.low, d.high, sign="+")
        clean = f"[dim]({e.nearest}, {points(e.clean_difference.value)})[/dim]"
        shown = (escape(followed.names[str(run)]), percent(e.clean), percent(e.robust))
        grid.rows.append((*shown, *there, f"{paired}\n{clean}"))
    return grid
