"""A sweep as it goes, and what came of it."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rosetune.report.console import Grid

__all__ = ["duration", "left_cell", "sweep_grid", "tail"]

_HEADS = {"done before": "done\nbefore", "done": "done", "running": "running", "failed": "failed", "left": "left"}


def sweep_grid(title: str, states: Iterable[tuple[str, str, str]], caption: str = "") -> Grid:
    """How many runs of each task and method are in each state.

    Args:
        states: task, method and state of each run.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for task, method, state in states:
        counts.setdefault((task, method), Counter())[state] += 1
    grid = Grid(title, ("", "runs", *_HEADS.values()), caption=caption)
    for (task, method), found in counts.items():
        grid.rows.append((f"{task} {method}", *_cells(found)))
    if len(counts) > 1:
        grid.rows += [None, ("all", *_cells(sum(counts.values(), Counter())))]
    return grid


def _cells(found: Mapping[str, int]) -> tuple[str, ...]:
    return (str(sum(found.values())), *(left_cell(found.get(state, 0)) for state in _HEADS))


def left_cell(number: int) -> str:
    """A count, which is easier to read past where there is none."""
    return str(number) if number else "-"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, to two digits or so."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def tail(path: Path, lines: int = 5) -> Sequence[str]:
    """The last lines of a log."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def elapsed(since: float) -> str:
    """Since a time of the monotonic clock."""
    return duration(time.monotonic() - since)
