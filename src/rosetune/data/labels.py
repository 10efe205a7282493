"""What stands in a label column: classes, numbers or something that is neither."""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from rosetune.data.tables import DataError, Table, flaw_of, quoted

__all__ = ["UNLABELLED", "check_classes", "in_order", "label_cells", "label_name", "look_alikes", "numbers_of"]

UNLABELLED = "-1"
_MANY = 20  # from so many rows on, a label of its own for each is a mistake

# Python refuses to read integers of more than 4,300 digits.
_INTEGER = re.compile(r"([+-]?\d{1,1000})(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_JOINED = ",;|"
_BETWEEN_WORDS = re.compile(r"(?<=\w)[-_\u2010-\u2013](?=\w)")  # not the sign of -1
# Cyrillic and Greek letters that look like Latin ones, in small or in capital letters, as they are once casefolded.
_FOREIGN = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c7",
    "abekmhopctyxsijaeikvoptx",
)
_ONE_LABEL = " (if it is one label, pass --task_type classification)"


def label_cells(table: Table, column: str, remedy: str = "") -> list[str | None]:
    """The cells of the label column, without the spaces around them; None where there is no label.

    Raises:
        DataError: no such column, or labels that are lists or no text.
    """
    if column in table.nested:
        raise _multi_label(table.source, f"the column {column!r} holds lists or structures")
    cells: list[str | None] = []
    for row, value in enumerate(table.column(column, remedy)):
        if isinstance(value, list | dict):
            raise _multi_label(table.place(row), f"the label is a {type(value).__name__}")
        flaw = None if value is None else flaw_of(value)
        if flaw:
            raise DataError(f"{table.place(row)}: column {column!r} {flaw}")
        cells.append((value or "").strip() or None)
    return cells


def _multi_label(place: str, flaw: str) -> DataError:
    return DataError(f"{place}: {flaw}: multi-label classification is not supported; keep one label a row")


def label_name(value: str) -> str:
    """The name of a class: as it is written, without spaces around it, but 1.0 and 01 are 1."""
    # A column of integers that once held a gap comes as 1.0 from many tools.
    name = value.strip()
    number = _INTEGER.fullmatch(name)
    return str(int(number[1])) if number else name


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct names: by value where all are whole numbers, else by the alphabet."""
    distinct = set(names)
    return tuple(sorted(distinct, key=int) if all(map(_INTEGER.fullmatch, distinct)) else sorted(distinct))


def check_classes(source: str, column: str, names: Sequence[str], sure: bool) -> None:
    """Refuse labels that are scores, several labels in one, or different in every row.

    Args:
        source: the file's name, for messages.
        column: the label column.
        names: the label of each row.
        sure: the user says that they are classes.

    Raises:
        DataError: they do not look like classes, and the user does not say so.
    """
    if sure:
        return
    distinct = set(names)
    fractions = {name for name in distinct if _NUMBER.fullmatch(name) and not _INTEGER.fullmatch(name)}
    only_numbers = all(map(_NUMBER.fullmatch, distinct))
    one_each = len(distinct) == len(names) > _MANY
    joined, apart = _joined(distinct)
    if apart:
        raise _multi_label(source, f"the label {quoted(joined)} in column {column!r} joins others{_ONE_LABEL}")
    if (fractions and (only_numbers or 2 * len(fractions) > len(distinct))) or (one_each and only_numbers):
        each = ", one a row" if len(distinct) == len(names) else ""
        raise DataError(
            f"{source}: column {column!r} holds {len(distinct)} distinct numbers{each}: not classes? "
            "Pass --task_type regression to predict the number, or --task_type classification if each is a class"
        )
    if one_each:
        raise DataError(
            f"{source}: column {column!r} holds {len(distinct)} distinct values, one a row: not classes; name another "
            "--label_column, or pass --task_type classification if they are"
        )
    if joined:
        raise _multi_label(
            source, f"the label {quoted(joined)} in column {column!r} joins parts of others{_ONE_LABEL}"
        )


def _joined(names: set[str]) -> tuple[str | None, bool]:
    """A label that is several, such as "a,b" beside "b,c" and "a,c", and whether all parts are labels themselves."""
    for separator in _JOINED:
        parts = {name: [part.strip() for part in name.strip("[]").split(separator)] for name in names}
        occurs: dict[str, set[str]] = defaultdict(set)
        for name, own in parts.items():
            for part in own:
                occurs[part].add(name)
        several = [name for name, own in parts.items() if len(own) > 1]
        if several and all(len(occurs[part]) > 1 for name in several for part in parts[name]):
            return min(several), all(part in names for name in several for part in parts[name])
    return None, False


def numbers_of(table: Table, column: str, cells: Sequence[str | None], rows: Iterable[int]) -> list[float]:
    """The labels of some rows in a regression.

    Raises:
        DataError: a label that is no finite number.
    """
    values = []
    for row in rows:
        cell = cells[row] or ""
        value = float(cell) if _plain(cell) else math.nan
        if not abs(value) < 3e38:  # that is where float32 ends
            point = " (write it with a point)" if _NUMBER.fullmatch(cell) and "," in cell else ""
            raise DataError(
                f"{table.place(row)}: the label {quoted(cell)} in column {column!r} is no number{point}; "
                "correct it, or pass --task_type classification"
            )
        values.append(value)
    return values


def _plain(cell: str) -> bool:
    return cell.isascii() and "," not in cell and _NUMBER.fullmatch(cell) is not None


def look_alikes(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Labels that a reader would take for one.

    They differ only in case, in spaces, hyphens or underscores between words, in a full stop at the end, in Unicode's
    normal form, in invisible characters, in Cyrillic and Greek letters in the place of Latin ones, or as 1 and true.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[_seen(label)].append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _seen(label: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    plain = " ".join(_BETWEEN_WORDS.sub(" ", visible.translate(_FOREIGN)).split()).rstrip(".")
    return {"true": "1", "false": "0"}.get(plain, plain)
