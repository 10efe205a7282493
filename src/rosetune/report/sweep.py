"""A sweep as it goes, and what came of it."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from rosetune._numbers import in_percent
from rosetune.report.console import Grid, print_grid

__all__ = ["Watcher", "duration", "print_choices", "print_estimate", "print_failures", "sweep_grid"]

_HEADS = {"done before": "done\nbefore", "done": "done", "running": "running", "failed": "failed", "left": "left"}
TAIL = 5  # lines of a failed run's log
About = Mapping[str, tuple[str, str, str]]  # by a run's key its task, its method and what it is called


def sweep_grid(title: str, state: Mapping[str, str], about: About, caption: str = "") -> Grid:
    """How many runs of each task and method are in each state.

    Args:
        state: of each run, by its key.
        about: by key task, method and what the run is called.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for key, (task, method, _) in about.items():
        counts.setdefault((task, method), Counter())[state[key]] += 1
    grid = Grid(title, ("", "runs", *_HEADS.values()), caption=caption)
    for (task, method), found in counts.items():
        grid.rows.append((escape(f"{task} {method}"), *_cells(found)))
    if len(counts) > 1:
        grid.rows.extend([None, ("all", *_cells(sum(counts.values(), Counter())))])
    return grid


def _cells(found: Mapping[str, int]) -> tuple[str, ...]:
    return (str(sum(found.values())), *(str(found.get(state, 0) or "-") for state in _HEADS))


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, to two digits or so."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Watcher:
    """Shows a sweep on standard error: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self, title: str, about: About) -> None:
        self._title, self._about = title, about
        self._out = Console(stderr=True, highlight=False, emoji=False)
        self._live = Live(console=self._out, auto_refresh=False, transient=True) if self._out.is_terminal else None

    def __enter__(self) -> "Watcher":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def see(self, state: Mapping[str, str], started: Mapping[str, float], changed: str | None) -> None:
        """Show how things stand.

        Args:
            state: of each run, by its key.
            started: by key a time of the monotonic clock.
            changed: key of the run whose state is another one now.
        """
        if self._live is not None:
            self._live.update(_Shown(self._grid(state, started)), refresh=True)
        elif changed is not None:
            done = sum(one.startswith("done") for one in state.values())
            took = f" after {duration(time.monotonic() - started[changed])}" if changed in started else ""
            took = "" if state[changed] == "running" else took
            line = f"{datetime.now():%H:%M:%S} {state[changed]}{took}: {self._about[changed][2]} ({done}/{len(state)})"
            self._out.print(Text(line), soft_wrap=True)

    def _grid(self, state: Mapping[str, str], started: Mapping[str, float]) -> Grid:
        now = time.monotonic()
        running = [key for key, one in state.items() if one == "running"]
        lines = [f"{self._about[key][2]}: for {duration(now - started[key])}" for key in running]
        return sweep_grid(self._title, state, self._about, caption="\n".join(lines))


class _Shown:
    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def __rich_console__(self, console: Console, options: object) -> Sequence[Text]:
        with console.capture() as said:
            print_grid(console, self._grid)
        return [Text.from_ansi(said.get())]


def print_failures(out: Console, failures: Mapping[str, tuple[str, Path]]) -> None:
    """What went wrong, and the last lines that each failed run said.

    Args:
        failures: by what the run is called, the reason and its log.
    """
    for name, (reason, log) in failures.items():
        out.print(Text(f"\n{name}: {reason}", style="bold"))
        for line in _tail(log):
            out.print(Text(f"  {line}"), soft_wrap=True)
        if log.is_file():
            out.print(Text(f"  all of it: {log}"), soft_wrap=True)


def _tail(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL:]


def print_choices(out: Console, choices: Sequence[tuple[str, str, str, Any, Mapping[str, float]]]) -> None:
    """What was chosen on held-out training rows, and which numbers lie at an end of those tried.

    Args:
        choices: task, method, option, the chosen value, and the scores by value.
    """
    ends = [f"{task} {method} {option.rpartition('.')[2]}" for task, method, option, *of in choices if _at_end(*of)]
    beyond = f"At an end of what was tried, so that a value beyond may be better: {', '.join(ends)}."
    heads = ("", "option", "chosen", "mean of clean and noisy accuracy in %")
    grid = Grid("chosen on held-out training rows", heads, caption=escape(beyond) if ends else "")
    for task, method, option, value, scores in choices:
        told = ", ".join(f"{tried}: {in_percent(score)}" for tried, score in scores.items())
        grid.rows.append((escape(f"{task} {method}"), option.rpartition(".")[2], str(value), told))
    print_grid(out, grid)


def _at_end(value: Any, scores: Mapping[str, float]) -> bool:
    """Whether a number is the smallest or the greatest of several that were tried."""
    try:
        tried = [float(one) for one in scores]
        return len(tried) > 1 and float(value) in (min(tried), max(tried))
    except ValueError:
        return False  # a name among them


def print_estimate(out: Console, lines: Sequence[tuple[str, int, int, float, int, float, float]], jobs: int) -> None:
    """How long what is left takes.

    Args:
        lines: of each kind of run its name, how many are left, how many trials are, seconds of a step, steps, seconds
            of a run, and of the attacks that follow a run but no trial.
    """
    if not lines:
        out.print("Nothing is left to do.")
        return
    trials = any(line[2] for line in lines)
    attacked = any(line[-1] for line in lines)
    heads = ("left", *(("trials",) if trials else ()), "seconds\na step", "steps", "a run")
    heads += (*(("its attacks",) if attacked else ()), "all")
    grid = Grid("measured on this machine", ("", *heads))
    seconds = 0.0
    for name, runs, before, step, steps, total, attacks in lines:
        cells = [str(runs), *((str(before),) if trials else ()), f"{step:.3g}", str(steps), duration(total)]
        all_of_it = (runs + before) * total + runs * attacks
        seconds += all_of_it
        grid.rows.append((name, *cells, *((duration(attacks),) if attacked else ()), duration(all_of_it)))
    print_grid(out, grid)
    number = sum(runs + before for _, runs, before, *_ in lines)
    others = "; attacks are guessed from the number of words" if attacked else ""
    at_once = f", {jobs} at a time" if jobs > 1 else ""
    out.print(f"{number} runs take about {duration(seconds / jobs)} here{at_once}{others}.", soft_wrap=True)
