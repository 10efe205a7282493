"""Predictions as a table on a terminal, as lines for a pipe, and as columns of a file."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rosetune._numbers import fixed
from rosetune.data.outputs import as_text

__all__ = ["SHOWN", "columns_of", "piped_lines", "predictions_table"]

Rows = Sequence[dict[str, Any]]
SHOWN = 50  # rows of a table on a terminal
_NARROWEST = 12  # a column of texts
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}


def columns_of(rows: Rows) -> dict[str, list[Any]]:
    """Columns for a file: those of the input, the prediction, and ``probability_<label>`` for each label."""
    names = [name for name in rows[0] if name != "probabilities"] if rows else []
    columns = {name: [row[name] for row in rows] for name in names}
    for label in rows[0].get("probabilities", ()) if rows else ():
        columns[f"probability_{label}"] = [row["probabilities"][label] for row in rows]
    return columns


def piped_lines(rows: Rows) -> Iterator[str]:
    r"""A line with the columns' names, then one a row, tabs between; in a field \t, \n, \r and \\ as in SQL's COPY."""
    columns = columns_of(rows)
    for fields in (columns, *zip(*columns.values(), strict=True)):
        yield "\t".join(re.sub(r"[\\\t\n\r]", lambda found: _ESCAPES[found[0]], as_text(field)) for field in fields)


def predictions_table(rows: Rows, text_columns: Sequence[str], width: int) -> Table:
    """The first rows with their texts, each on one line and cut to the width of the terminal."""
    heads, answers = _answers(rows[:SHOWN])
    table = Table(*map(escape, text_columns), *heads)
    widths = [max(map(len, (head, *cells))) for head, cells in zip(heads, zip(*answers, strict=True), strict=True)]
    frame = 3 * (len(text_columns) + len(heads)) + 1
    room = max(_NARROWEST, (width - sum(widths) - frame) // max(1, len(text_columns)))
    for row, cells in zip(rows, answers, strict=False):
        table.add_row(*(_on_one_line(row[name], room) for name in text_columns), *map(Text, cells))
    return table


def _answers(rows: Rows) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    if "value" in rows[0]:
        return ("value",), [(f"{row['value']:.4g}",) for row in rows]
    if "labels" in rows[0]:
        told = [", ".join(f"{label} {fixed(row['probabilities'][label])}" for label in row["labels"]) for row in rows]
        return ("labels",), [(cell or "none",) for cell in told]
    return ("label", "probability"), [(row["label"], fixed(row["probabilities"][row["label"]])) for row in rows]


def _on_one_line(text: str, width: int) -> Text:
    """Line ends and other control characters as visible marks; what is longer than the width ends in an ellipsis."""
    marked = re.sub(r"\r\n|[\n\r\v\f\x85\u2028\u2029]", "⏎", text).replace("\t", "⇥")
    shown = Text(re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", marked))
    shown.truncate(width, overflow="ellipsis")
    return shown
