"""Texts to predict: files without labels."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from rosetune.data.encodings import read_text
from rosetune.data.readers import read_table
from rosetune.data.rows import make_dataset
from rosetune.data.tables import DataError, Table

__all__ = ["read_inputs"]


def read_inputs(
    path: str, text_columns: Sequence[str], *, encoding: str | None = None, delimiter: str | None = None
) -> Dataset:
    """Every row of a file of texts, with its number (from 0) as `id`; other columns are left out.

    Args:
        path: .txt (one text per line; an empty line is an empty text), .csv, .tsv, .json, .jsonl or .parquet.
        text_columns: the columns the model was trained on, one or two.
        encoding, delimiter: as for :func:`~rosetune.data.readers.read_table`.

    Raises:
        DataError: a file that is empty, malformed, in another encoding, or lacks a column or a text.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() != ".txt":
        texts = _column_texts(read_table(file, encoding, delimiter), text_columns)
    elif len(text_columns) == 1:
        text = read_text(file, encoding)
        end = "\n" if "\n" in text else "\r"
        lines = text.removesuffix(end).split(end)
        texts = [[line.removesuffix("\r") for line in lines]]
    else:
        names = " and ".join(text_columns)
        raise DataError(f"{file}: a .txt file holds one text per line, the model reads {names}; use a .csv with both")
    return make_dataset(map(str, range(len(texts[0]))), dict(zip(text_columns, texts, strict=True)))


def _column_texts(table: Table, names: Sequence[str]) -> list[list[str]]:
    columns = table.texts(names, "; the model needs the columns it trained on")
    for name, cells in zip(names, columns, strict=True):
        missing = [row for row, cell in enumerate(cells) if cell is None]
        if missing:
            such = f" ({len(missing)} such rows)" if len(missing) > 1 else ""
            raise DataError(f"{table.place(missing[0])}: column {name!r} holds no text{such}; fill it in or drop it")
    return [[cell or "" for cell in cells] for cells in columns]
