"""Tables on a terminal of any width, and the cells that stand in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rosetune._numbers import fixed, in_percent
from rosetune.robustness.statistics import Difference
from rosetune.runs.sets import SetName

__all__ = [
    "Grid",
    "accuracy_cell",
    "accuracy_grid",
    "console",
    "difference_cell",
    "interval_cell",
    "marked",
    "mean_cell",
    "p_text",
    "percent",
    "points",
    "print_grid",
    "said_of",
    "set_title",
    "share_cell",
]

# Stands where a cell may be broken into two lines: between a figure and its interval.
BREAK = "\x1f"
_GAP = 2  # columns between cells
_LONG = "    "


@dataclass(frozen=True)
class Grid:
    """A table whose first columns hold names and all others hold figures.

    Attributes:
        columns: heads; the first ones of the names.
        rows: cells in rich's markup, as many as columns; None draws a line.
        caption: below it.
        names: how many columns hold names; where the columns go into several tables, each has them.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...] | None] = field(default_factory=list)
    caption: str = ""
    names: int = 1


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to the command line; rich would end the process with exit code 1."""
        self.quiet = True
        raise BrokenPipeError


def console() -> Console:
    """Standard output, as wide as it is."""
    return _Console(highlight=False, emoji=False)


def marked(cell: str) -> Text:
    """A cell in rich's markup; what looks like the code of an emoji stays as it is."""
    return Text.from_markup(cell, emoji=False)


def print_grid(out: Console, grid: Grid) -> None:
    """Print a table so that no figure is cut at any width.

    Where a line is too narrow, an interval goes below its figure; then the columns go into several tables, one below
    the other; and where even one column has no room beside the names, each row becomes a list. Title and caption stand
    right above and below, and a blank line ends it.
    """
    out.print(Text(grid.title, style="italic"))
    for gap in (" ", "\n"):
        widths = _widths(grid, gap)
        if sum(widths) + _GAP * (len(widths) - 1) <= out.width:
            out.print(_table(grid, range(len(widths)), gap))
            _end(out, grid)
            return
    # What fits beside the names, in the order of the columns.
    names = [*range(grid.names)]
    room, parts = out.width - sum(widths[: grid.names]) - _GAP * (grid.names - 1), [[*names]]
    used = 0
    for column, width in enumerate(widths[grid.names :], start=grid.names):
        if used and used + _GAP + width > room:
            parts.append([*names])
            used = 0
        parts[-1].append(column)
        used += _GAP + width
    if max(widths[grid.names :], default=0) + _GAP <= room:
        for number, part in enumerate(parts):
            if number:
                out.print()
            out.print(_table(grid, part, gap))
    else:
        _print_long(out, grid)
    _end(out, grid)


def _end(out: Console, grid: Grid) -> None:
    """The caption, and the line that sets the table apart from what follows."""
    if grid.caption:
        out.print(Text(grid.caption, style="dim italic"))
    out.print()


def _widths(grid: Grid, gap: str) -> list[int]:
    rows = [tuple(map(escape, grid.columns)), *(row for row in grid.rows if row is not None)]
    lines = [[marked(cell.replace(BREAK, gap)).plain.split("\n") for cell in row] for row in rows]
    return [max(Text(line).cell_len for row in lines for line in row[column]) for column in range(len(grid.columns))]


def _table(grid: Grid, columns: Iterable[int], gap: str) -> Table:
    chosen = list(columns)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in chosen:
        table.add_column(Text(grid.columns[column]), justify="left" if column < grid.names else "right", no_wrap=True)
    for row in grid.rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(marked(row[column].replace(BREAK, gap)) for column in chosen))
    return table


def _print_long(out: Console, grid: Grid) -> None:
    for row in grid.rows:
        if row is None:
            continue
        out.print(marked(", ".join(filter(None, row[: grid.names]))), soft_wrap=True)
        for head, cell in zip(grid.columns[grid.names :], row[grid.names :], strict=True):
            if cell:
                line = Text(f"{_LONG}{' '.join(head.split())}: ") + marked(_one_line(cell))
                out.print(line, soft_wrap=True)


def _one_line(cell: str) -> str:
    return " ".join(cell.replace(BREAK, " ").split("\n"))


def accuracy_grid(
    title: str,
    lines: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]] | None],
    names: Sequence[str],
    *,
    head: str = "",
    titles: Mapping[str, str] | None = None,
    extra: Mapping[str, Sequence[str]] | None = None,
) -> Grid:
    """Accuracy with its interval: a line for each model, a column for each evaluation set, and the constant below.

    Args:
        lines: what a line is called, and its metrics by set; None draws a line between.
        names: of the sets.
        head: over the names of the lines.
        titles: of the sets; None: those that their names have.
        extra: further columns by their heads, a cell for each line that is not None.
    """
    known = [line for line in lines if line is not None]
    counts = {name: next((m[name]["n"] for _, m in known if name in m), "-") for name in names}
    heads = (f"{(titles or {}).get(name, set_title(name))}\n(n = {counts[name]})" for name in names)
    more = {} if extra is None else {column: iter(cells) for column, cells in extra.items()}
    grid = Grid(title, (head, *heads, *more))
    for line in lines:
        if line is None:
            grid.rows.append(None)
            continue
        name, metrics = escape(line[0]), line[1]
        cells = (accuracy_cell(metrics[key]) if key in metrics else "-" for key in names)
        grid.rows.append((name, *cells, *(next(column) for column in more.values())))
    constants: list[Mapping[str, Any]] = [
        next((m[name]["constant"] for _, m in known if name in m), {}) for name in names
    ]
    if any("accuracy" in constant for constant in constants):
        cells = (percent(constant.get("accuracy")) for constant in constants)
        grid.rows.append(("constant", *cells, *("" for _ in more)))
    return grid


def set_title(name: str) -> str:
    """An evaluation set as a person calls it."""
    return SetName.parse(name).title


def percent(value: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if value is None else in_percent(value)


def points(difference: float) -> str:
    """A difference of shares in points, with its sign."""
    return in_percent(difference, "+")


def mean_cell(value: float | None, regression: bool, sign: str = "") -> str:
    """A share in percent, of a regression a squared error; a dash where there is none."""
    if value is None:
        return "-"
    return fixed(value, sign=sign) if regression else in_percent(value, sign)


def interval_cell(
    value: float | None, low: float | None, high: float | None, sign: str = "", regression: bool = False
) -> str:
    """The same with its interval; a dash in its place where it has none, with ends that are NaN."""
    if value is None or low is None or high is None:
        return "-"
    shown, left, right = (mean_cell(part, regression, sign) for part in (value, low, high))
    inside = f"{left},{right}" if low == low and high == high else "-"
    return f"{shown}{BREAK}[dim]\\[{inside}][/dim]"


def share_cell(found: Mapping[str, float] | None) -> str:
    """A share in percent with its interval, from ``value``, ``low`` and ``high``; a dash where there is none."""
    return "-" if found is None else interval_cell(found["value"], found["low"], found["high"])


def accuracy_cell(metrics: Mapping[str, Any]) -> str:
    """Accuracy in percent with its 95% interval; of a regression the mean squared error with its own."""
    if "accuracy" not in metrics:
        return interval_cell(metrics["mse"], metrics["low"], metrics["high"], regression=True)
    return interval_cell(metrics["accuracy"], metrics["low"], metrics["high"])


def difference_cell(d: Difference, regression: bool = False) -> str:
    """Paired difference b - a with its 95% interval; dim where neither is shown to be better."""
    value, low, high = (mean_cell(part, regression, sign="+") for part in (d.value, d.low, d.high))
    style = "bold" if d.verdict else "dim"
    return f"[{style}]{value}[/{style}]{BREAK}[{style}]\\[{low},{high}][/{style}]"


def p_text(p: float) -> str:
    """A p value with three decimals, never rounded to zero."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def said_of(d: Difference, name: str) -> str:
    """What one difference says of b: better, worse, or within the noise."""
    return {1: f"{name} is better", -1: f"{name} is worse", 0: "within the noise"}[d.verdict]
