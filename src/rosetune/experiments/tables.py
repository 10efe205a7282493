"""What a person reads on the terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from rosetune.robustness.rows import compare_rows

Rows = Mapping[str, Sequence[Mapping[str, Any]]]

_SET_TITLES = {
    "clean": "clean",
    "clean_mismatched": "clean, mismatched",
    "typos_1": "typing errors 1",
    "typos_2": "typing errors 2",
    "advglue": "AdvGLUE",
    "advglue_mismatched": "AdvGLUE, mismatched",
}


def set_title(name: str) -> str:
    """An evaluation set as a person calls it."""
    return _SET_TITLES.get(name, name)


def console() -> Console:
    """Standard output, as wide as it is."""
    return Console(highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal; what it yields takes the rows done and the number of rows."""
    with tqdm(desc=what, leave=False, disable=None) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def accuracy_cell(metrics: Mapping[str, Any], gap: str = " ") -> str:
    """Accuracy in percent with its 95% interval, and between them a space or a line break."""
    interval = f"\\[{100 * metrics['low']:.1f},{100 * metrics['high']:.1f}]"
    return f"{100 * metrics['accuracy']:.1f}{gap}[dim]{interval}[/dim]"


def difference_cell(rows_a: Sequence[Mapping[str, Any]], rows_b: Sequence[Mapping[str, Any]], gap: str = " ") -> str:
    """Paired difference b - a in points with its 95% interval; dim where that holds zero."""
    d = compare_rows(rows_a, rows_b)
    text = f"{100 * d.difference:+.1f}{gap}\\[{100 * d.low:+.1f},{100 * d.high:+.1f}]"
    return f"[dim]{text}[/dim]" if d.within_noise else f"[bold]{text}[/bold]"


def metrics_table(title: str, metrics: Mapping[str, Any]) -> Table:
    """One run: a line per evaluation set."""
    table = Table(title=Text(title), title_justify="left", caption_justify="left")
    for column in ("set", "n", "accuracy % \\[95%]", "constant %", "F1 %", "MCC"):
        table.add_column(column, justify="left" if column == "set" else "right", no_wrap=True)
    for name, m in metrics["sets"].items():
        constant = 100 * m["constant"]["accuracy"]
        f1 = 100 * m["f1"]
        cells = (str(m["n"]), accuracy_cell(m), f"{constant:.1f}", f"{f1:.1f}", f"{m['mcc']:.3f}")
        table.add_row(set_title(name), *cells)
    return table


def verdicts(baseline: Rows, other: Rows, name: str) -> list[str]:
    """One line per evaluation set on whether the paired difference is more than noise.

    Args:
        name: what the other side is called.
    """
    lines = []
    width = max(len(set_title(key)) for key in other)
    for key in other:
        d = compare_rows(baseline[key], other[key])
        said = "within the noise" if d.within_noise else f"{name} is {'better' if d.difference > 0 else 'worse'}"
        points = f"{100 * d.difference:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}], p = {d.p_value:.3f}"
        lines.append(f"{set_title(key):{width}}  {points}: {said}")
    return lines
