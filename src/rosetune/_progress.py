"""For whoever waits: a bar on a terminal, and elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

__all__ = ["Pace", "progress"]

SECONDS = 20.0  # between two lines, at least


class Pace:
    """When to say how far something is: at most one line for a tenth of it, and not within seconds of the last.

    Args:
        done: of it before this process began.
    """

    def __init__(self, done: int = 0) -> None:
        self._start = self._told = time.perf_counter()
        self._first, self._due = done, 0.0

    def told(self, done: int, total: int) -> str | None:
        """Time gone and left, as "01:00 gone, 2:59:00 left"; None where nothing is to be said now."""
        now = time.perf_counter()
        if not max(self._due, self._first + 1) <= done < total or now - self._told < SECONDS:
            return None
        self._told, self._due = now, done + total / 10
        gone = now - self._start
        return f"{_clock(gone)} gone, {_clock(gone / (done - self._first) * (total - done))} left"


def _clock(seconds: float) -> str:
    """As a bar has it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


@contextmanager
def progress(what: str, before: int = 0, unit: str = "it", shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Shows how far it is on standard error; what it yields takes the number done and the number of all.

    Args:
        before: done by an earlier process.
        unit: of what is counted.
        shown: False shows nothing at all.
    """
    pace = None if sys.stderr.isatty() or not shown else Pace(before)
    with tqdm(desc=what, initial=before, unit=unit, leave=False, disable=None if shown else True) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            told = None if pace is None else pace.told(done, total)
            if told is not None:
                print(f"{what}: {done}/{total}, {told}", file=sys.stderr, flush=True)

        yield update
