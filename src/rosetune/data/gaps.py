"""Rows that lack a text or a label: all of them are found, and left out where that was asked for, else refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rosetune.data.labels import label_name
from rosetune.data.options import ReadOptions
from rosetune.data.tables import DataError, Table, some

__all__ = ["Gaps", "empty_texts", "refuse_gaps", "without_label"]


@dataclass(frozen=True)
class Gaps:
    """What the rows of a table lack.

    Args:
        table: the rows.
        empty: by row number, which text is missing or empty.
        unlabelled: by row number, how the label is missing.
        options: say what is left out.
        surely: rows without a label that are left out whatever the options say.

    Raises:
        DataError: no row would be left.
    """

    table: Table
    empty: Mapping[int, str]
    unlabelled: Mapping[int, str]
    options: ReadOptions
    surely: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self._dropped and len(self._dropped) == len(self.table):
            raise DataError(
                f"{self.table.source}: no row has both a text and a label, so that nothing is left; name other data"
            )

    @property
    def _dropped(self) -> set[int]:
        empty = self.empty if self.options.drop_empty else ()
        return {*empty, *(self.unlabelled if self.options.drop_unlabelled else self.surely)}

    def kept(self) -> list[int]:
        """The rows that stay."""
        dropped = self._dropped
        return [row for row in range(len(self.table)) if row not in dropped]

    def left_out(self) -> dict[str, int]:
        """How many rows are left out, by the reason; a row that lacks both counts as one of empty text."""
        dropped = self._dropped
        empty = len(dropped & self.empty.keys()) if self.options.drop_empty else 0
        return {reason: n for reason, n in (("empty text", empty), ("no label", len(dropped) - empty)) if n}

    def faults(self) -> dict[str, str]:
        """What is missing and not left out: by the option that would do so, where it is and how often."""
        dropped, faults = self._dropped, {}
        for option, gaps in (("--drop_empty", self.empty), ("--drop_unlabelled", self.unlabelled)):
            rows = [row for row in sorted(gaps) if row not in dropped]
            if rows:
                numbers = some([self.table.lines[row] for row in rows], 5)
                such = f" ({len(rows)} such rows: {self.table.unit}s {numbers})" if len(rows) > 1 else ""
                faults[option] = f"{self.table.place(rows[0])}: {gaps[rows[0]]}{such}"
        return faults


def refuse_gaps(tables: Sequence[Gaps]) -> None:
    """Refuse what is missing and was not to be left out, in one message for all tables.

    Raises:
        DataError: there are such rows.
    """
    faults = [fault for gaps in tables for fault in gaps.faults().items()]
    if faults:
        remedies = " ".join(sorted({option for option, _ in faults}))
        raise DataError(
            f"{'; '.join(text for _, text in faults)}; fill in what is missing, or pass {remedies} to leave it out"
        )


def empty_texts(
    names: Sequence[str], columns: Sequence[Sequence[str | None]], allowed: Literal["never", "one"] = "never"
) -> dict[int, str]:
    """The rows that lack a text, and which.

    Args:
        names: of the text columns.
        columns: their cells; spaces alone are an empty text.
        allowed: whether an empty text may stand beside another that is not.
    """
    gaps = {}
    for row, cells in enumerate(zip(*columns, strict=True)):
        filled = [bool(cell and cell.strip()) for cell in cells]
        if None in cells:
            gaps[row] = f"column {names[cells.index(None)]!r} holds no text"
        elif not (any(filled) if allowed == "one" else all(filled)):
            gaps[row] = f"the text in column {names[filled.index(False)]!r} is empty"
    return gaps


def without_label(cells: Sequence[str | None], column: str, mark: str | None) -> dict[int, str]:
    """The rows that have no label, and how it is missing.

    Args:
        cells: of the label column.
        column: its name.
        mark: the label that stands for a missing one; None where there is no such mark.
    """
    missing = {}
    for row, cell in enumerate(cells):
        if cell is None:
            missing[row] = f"no label in column {column!r}"
        elif mark is not None and label_name(cell) == mark:
            missing[row] = f"label {mark} means unlabelled (a class needs another name)"
    return missing
