"""The group of each row, as a column of the user's file names it."""

from collections.abc import Sequence

from rosetune.data.labels import label_name
from rosetune.data.tables import DataError, Table

__all__ = ["groups_of"]

_MOST = 100  # groups, beyond which a column tells rows apart, not groups of them


def groups_of(table: Table, column: str, ids: Sequence[str]) -> dict[str, str | None]:
    """By id the group that a column names; None where the cell is missing or blank.

    Args:
        table: the file.
        column: of it.
        ids: numbers of rows in the file, as text.

    Raises:
        DataError: there is no such column, not one of single values, or it holds more than 100 groups.
    """
    cells = table.column(column, "; name the groups with --group_column")
    found = {row: label_name(str(cells[int(row)] or "")) or None for row in ids}
    count = len({*found.values()})
    if count > _MOST:
        raise DataError(
            f"{table.source}: column {column!r} holds {count} different values in {len(found)} rows: name a column of "
            f"at most {_MOST} groups with --group_column"
        )
    return found
