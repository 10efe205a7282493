"""What the main job shows a newcomer: what was compared, what came out, what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from rosetune.report.console import accuracy_grid, difference_cell, p_text, points, print_grid, said_of, set_title
from rosetune.runs.compare import compare
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["print_demo"]


def print_demo(out: Console, runs: Mapping[str, Run], task: str) -> None:
    """The table, and what it does and does not show.

    Args:
        runs: vanilla, ROSE and its control, by their titles.
    """
    (vanilla, plain), (rose, robust), (static, control) = runs.items()
    out.print()
    out.print(
        Text(
            f"{rose} updates in each step only the layers' tensors of low risk. {vanilla} is plain fine-tuning, "
            f"{static} the control: as many tensors, chosen once for all.\n"
        )
    )
    names = [name for name in plain.sets() if name in plain.metrics["sets"] and not SetName.parse(name).is_original]
    lines: list[tuple[str, Any] | None] = [(title, run.metrics["sets"]) for title, run in runs.items()]
    costs = [_cost(run, plain) for run in runs.values()]
    grid = accuracy_grid(f"Accuracy in % [95% interval] on {task}", lines, names, extra={"a step\ncosts": costs})
    grid.rows.append(None)
    compared = {title: compare([other], [robust]) for title, other in ((vanilla, plain), (static, control))}
    for title, found in compared.items():
        cells = (difference_cell(found[name]) for name in names)
        grid.rows.append((f"{rose.split('-')[0]} - {title.split()[0]}", *cells, ""))
    print_grid(out, grid)
    out.print("Differences are paired on the same examples. The constant predicts one label always.\n")
    for title, found in compared.items():
        out.print(f"[bold]{rose} against {title}[/bold]")
        for line in _verdicts(found, names, rose):
            out.print(Text(f"  {line}"))
    out.print("\nOne seed: the intervals cover the choice of test sentences, not the luck of a training run.")
    out.print(
        Text(
            f"\nNext: `rosetune compare {plain} {robust}` sets the controls beside the difference, `rosetune controls "
            f"{robust}` trains more of them, `rosetune train --help` takes your own file.",
        ),
        soft_wrap=True,
    )


def _verdicts(found: Mapping[str, Any], names: Sequence[str], claim: str) -> list[str]:
    """One line per evaluation set on whether the paired difference is more than noise."""
    width = max(len(set_title(name)) for name in names)
    lines = []
    for name in names:
        d = found[name]
        said = f"{points(d.value)} points [{points(d.low)}, {points(d.high)}], p {p_text(d.p)}: {said_of(d, claim)}"
        lines.append(f"{set_title(name):{width}}  {said}")
    return lines


def _cost(run: Run, vanilla: Run) -> str:
    """In computing time where both have it, so that what else the machine did does not count."""
    for name in ("median_step_cpu_seconds", "median_step_seconds"):
        own, plain = run.timing.get(name), vanilla.timing.get(name)
        if own and plain:
            return f"{own / plain:.2f} x"
    return "?"
