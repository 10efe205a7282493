"""Named columns of text, whatever file they come from, with messages that name file and line."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["DataError", "Table", "Unit", "as_cell", "flaw_of", "names_of", "quoted", "some"]

Unit = Literal["line", "row"]


class DataError(ValueError):
    """Data that cannot be used; the message names the file, the row and the remedy."""


@dataclass(frozen=True)
class Table:
    """Columns of one file, and where each row stands in it.

    Cells are text as written in the file (numbers too), or None where the file holds nothing.

    Args:
        source: the file's name, for messages.
        columns: a list of cells by column name; all lists are equally long.
        lines: the place of each row in the file.
        unit: what `lines` counts: lines of a text file, or rows.
        nested: columns that hold lists or structures, which are not read.
        note: how the file was read, where that is not the usual way.
        doubt: what may be wrong with how it was read, for the message of a column that is missing.
    """

    source: str
    columns: Mapping[str, list[Any]]
    lines: Sequence[int]
    unit: Unit = "line"
    nested: Collection[str] = ()
    note: str = ""
    doubt: str = ""

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """File and line of a row."""
        return f"{self.source}, {self.unit} {self.lines[row]}"

    def column(self, name: str, remedy: str = "") -> list[Any]:
        """The cells of one column.

        Raises:
            DataError: there is no such column, or not one of single values; `remedy` ends the sentence.
        """
        if name in self.nested:
            raise DataError(
                f"{self.source}: the column {name!r} holds lists or structures, not one value a row{remedy}"
            )
        if name not in self.columns:
            ending = f"; {self.doubt}" if self.doubt else remedy
            raise DataError(f"{self.source} has no column {name!r}; its columns are {names_of(self.columns)}{ending}")
        return self.columns[name]

    def texts(self, names: Sequence[str], remedy: str = "") -> list[list[str | None]]:
        """The cells of the text columns; None where there is none.

        Raises:
            DataError: a missing column (`remedy` ends that sentence), or a cell that holds something else than text.
        """
        columns = [self.column(name, remedy) for name in names]
        for name, cells in zip(names, columns, strict=True):
            for row, cell in enumerate(cells):
                flaw = None if cell is None else flaw_of(cell)
                if flaw:
                    raise DataError(f"{self.place(row)}: column {name!r} {flaw}")
        return columns


def flaw_of(cell: Any) -> str | None:
    """What keeps a cell from being a text, and the remedy; None where it is one."""
    if not isinstance(cell, str):
        return f"holds a {type(cell).__name__}, not a text; name another column or convert it"
    try:
        cell.encode()
    except UnicodeEncodeError:
        # JSON can escape half of a character pair.
        return "holds half a character (a lone surrogate); correct it or drop the row"
    return None


def as_cell(value: Any) -> Any:
    """A value of a typed column as the text it would be in a file; None, NaN and the infinities are missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str | list | dict | bytes) else str(value)


def names_of(names: Collection[str], shown: int = 20) -> str:
    """Names for a message, the first of them where there are many."""
    first = ", ".join(quoted(name) for name in list(names)[:shown])
    return first if len(names) <= shown else f"{first} and {len(names) - shown} more"


def quoted(text: str | None, shown: int = 60) -> str:
    """A text for a message, in quotes and on one line, cut where it is long."""
    return repr(text) if text is None or len(text) <= shown else f"{text[:shown]!r}..."


def some(numbers: Sequence[int], shown: int = 10) -> str:
    """The first of some numbers for a message."""
    return ", ".join(map(str, numbers[:shown])) + (", ..." if len(numbers) > shown else "")
