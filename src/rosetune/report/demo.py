"""What the main job shows a newcomer: what was compared, what came out, what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from rosetune.report.console import Grid, accuracy_grid, difference_cell, p_text, points, print_grid, set_title
from rosetune.runs.compare import compare
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["print_demo"]

# "Within the noise" would be read as the noise in the texts.
_SAID = {1: "better", -1: "worse", 0: "no difference shown"}


def print_demo(out: Console, runs: Mapping[str, Run], task: str) -> None:
    """The table, and what it does and does not show.

    Args:
        runs: vanilla, the same behind a normalisation, noise augmentation, ROSE and its control, by their titles.
    """
    vanilla, normalized, noise, rose, static = runs
    plain, robust = runs[vanilla], runs[rose]
    out.print()
    about = {
        vanilla: "plain fine-tuning",
        normalized: "the same model; `--normalize all` undoes disguises, nothing is trained",
        noise: "as vanilla, on sentences of which about half are misspelt",
        rose: "updates in each step only the layers' tensors of low risk",
        static: "ROSE's control: as many tensors, chosen once for all",
    }
    for title, said in about.items():
        out.print(Text(f"{title:{max(map(len, about))}}  {said}"))
    out.print()
    names = [name for name in plain.sets() if name in plain.metrics["sets"] and not SetName.parse(name).is_original]
    pairs = ((normalized, vanilla), (noise, vanilla), (rose, vanilla), (rose, static))
    compared = {(title, other): compare([runs[other]], [runs[title]]) for title, other in pairs}
    print_grid(out, _grid(runs, compared, names, f"Accuracy in % [95% interval] on {task}"))
    out.print("Differences are paired on the same examples; the constant says one label always.")
    out.print(Text(f"Of these, {noise} alone has seen typing errors before the test, and none homoglyphs.\n"))
    no_better = _no_better_than_the_constant(runs, names[0])
    if no_better:
        out.print(Text(f"Not shown to beat the constant on {set_title(names[0])}: {', '.join(no_better)}."))
        out.print("So short a training compares little: give more sentences (--max_train_samples).\n")
    for (title, other), found in compared.items():
        out.print(f"[bold]{title} against {other}[/bold]")
        for line in _verdicts(found, names):
            out.print(Text(f"  {line}"))
    out.print("\nOne seed: intervals cover the choice of test sentences, not luck in training.")
    out.print(
        Text(
            f"\nNext: `rosetune compare {plain} {robust}` sets the controls beside the difference, `rosetune controls "
            f"{robust}` trains more of them, `rosetune train --help` takes your own file.",
        ),
        soft_wrap=True,
    )


def _grid(
    runs: Mapping[str, Run], compared: Mapping[tuple[str, str], Mapping[str, Any]], names: Sequence[str], title: str
) -> Grid:
    """A line for each run, and below them one for each difference."""
    lines: list[tuple[str, Any] | None] = [(name, run.metrics["sets"]) for name, run in runs.items()]
    first = next(iter(runs.values()))
    grid = accuracy_grid(title, lines, names, extra={"a step\ncosts": [_cost(run, first) for run in runs.values()]})
    grid.rows.append(None)
    for (run, other), found in compared.items():
        cells = (difference_cell(found[name]) for name in names)
        grid.rows.append((f"{_short(run)} - {_short(other)}", *cells, ""))
    return grid


def _no_better_than_the_constant(runs: Mapping[str, Run], name: str) -> list[str]:
    """Titles of the runs whose interval on a set reaches down to what one label for all gets."""
    titles = []
    for title, run in runs.items():
        found = run.metrics["sets"].get(name, {})
        if "accuracy" in found and found["low"] <= found["constant"]["accuracy"]:
            titles.append(title)
    return titles


def _short(title: str) -> str:
    """The first word of a run's title."""
    return title.replace("-", " ").split()[0]


def _verdicts(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """One line per evaluation set on whether the paired difference is more than chance."""
    width = max(len(set_title(name)) for name in names)
    lines = []
    for name in names:
        d = found[name]
        value, low, high = (f"{points(part):>5}" for part in (d.value, d.low, d.high))
        said = f"{value} points [{low}, {high}], p {p_text(d.p)}: {_SAID[d.verdict]}"
        lines.append(f"{set_title(name):{width}}  {said}")
    return lines


def _cost(run: Run, vanilla: Run) -> str:
    """In computing time where both have it, so that what else the machine did does not count; or none."""
    if run.config.given:
        return "none"
    for name in ("median_step_cpu_seconds", "median_step_seconds"):
        own, plain = run.timing.get(name), vanilla.timing.get(name)
        if own and plain:
            return f"{own / plain:.2f} x"
    return "?"
