"""Predictions for new texts, as a person reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

__all__ = ["print_predictions"]

SHOWN = 50  # rows
LONGEST = 200  # characters of a text


def print_predictions(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of the first rows: texts, label and its probability."""
    columns = [name for name in rows[0] if name not in ("label", "probabilities")] if rows else []
    table = Table(*map(escape, columns), "label", "probability")
    for row in rows[:SHOWN]:
        probability = row["probabilities"][row["label"]]
        table.add_row(*(_shortened(row[name]) for name in columns), Text(row["label"]), f"{probability:.3f}")
    out.print(table)
    if len(rows) > SHOWN:
        said = f"... and {len(rows) - SHOWN} more; --output_file or --json gives all {len(rows)}"
        out.print(Text(said), soft_wrap=True)


def _shortened(text: str) -> Text:
    return Text(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
