"""Texts to predict: files without labels."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from rosetune.data.rows import make_dataset
from rosetune.data.tables import DataError, read_table, read_text

__all__ = ["read_inputs"]


def read_inputs(path: str, text_columns: Sequence[str]) -> Dataset:
    """Every row of a file of texts, with its number (from 0) as `id`; other columns are left out.

    Args:
        path: .txt (one text per line; an empty line is an empty text), .csv, .tsv, .json, .jsonl or .parquet.
        text_columns: the columns the model was trained on, one or two.

    Raises:
        DataError: a file that is empty, malformed, not UTF-8 or lacks a column.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() != ".txt":
        texts = read_table(file).texts(text_columns, empty="any", remedy="; the model needs the columns it trained on")
    elif len(text_columns) == 1:
        lines = read_text(file).removesuffix("\n").split("\n")
        texts = [[line.removesuffix("\r") for line in lines]]
    else:
        names = " and ".join(text_columns)
        raise DataError(f"{file}: a .txt file holds one text per line, the model reads {names}; use a .csv with both")
    return make_dataset(map(str, range(len(texts[0]))), dict(zip(text_columns, texts, strict=True)))
