"""Texts to predict: files without labels."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune.data.encodings import read_text
from rosetune.data.readers import read_table
from rosetune.data.rows import make_dataset
from rosetune.data.tables import DataError, Table, flaw_of

__all__ = ["read_columns", "read_inputs", "split_lines"]

TEXT_SUFFIX = ".txt"


def read_inputs(
    path: str, text_columns: Sequence[str], *, encoding: str | None = None, delimiter: str | None = None
) -> Dataset:
    """Every row of a file of texts, with its number (from 0) as `id`; other columns are left out.

    Args:
        path: .txt (one text per line, or a pair with a tab between; an empty line is an empty text), .csv, .tsv,
            .json, .jsonl or .parquet.
        text_columns: the columns the model was trained on, one or two.
        encoding, delimiter: as for :func:`~rosetune.data.readers.read_table`.

    Raises:
        DataError: a file that is empty, malformed, in another encoding, or lacks a column or a text.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() == TEXT_SUFFIX:
        texts = split_lines(str(file), read_text(file, encoding), text_columns)
    else:
        texts = _column_texts(read_table(file, encoding, delimiter), text_columns)
    return make_dataset(map(str, range(len(texts[0]))), dict(zip(text_columns, texts, strict=True)))


def split_lines(source: str, text: str, text_columns: Sequence[str]) -> list[list[str]]:
    """The texts of each column, from one row a line; a tab stands between the two texts of a pair.

    Args:
        source: what the text came from, for messages.

    Raises:
        DataError: a line that holds no pair, or half a character.
    """
    end = "\n" if "\n" in text else "\r"
    lines = [line.removesuffix("\r") for line in text.removesuffix(end).split(end)]
    for number, line in enumerate(lines, start=1):
        if flaw := flaw_of(line):  # as UTF-7 can encode it
            raise DataError(f"{source}, line {number} {flaw}")
    if len(text_columns) == 1:
        return [lines]
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(text_columns):
            raise DataError(
                f"{source}, line {number}: one text per line, or a pair with a tab between, but the model reads "
                f"{' and '.join(text_columns)} and the line holds {len(row)}; use a .csv with both columns"
            )
    return [list(column) for column in zip(*rows, strict=True)]


def read_columns(path: str, *, encoding: str | None = None, delimiter: str | None = None) -> dict[str, list[Any]]:
    """Every column of a file as it stands there, for what is written beside it; none of a .txt file.

    Cells of CSV and TSV are text. Those of JSON and Parquet keep their types, lists and objects too, but for NaN and
    the infinities, which are None.

    Raises:
        DataError: as for :func:`read_inputs`.
    """
    file = Path(path).expanduser()
    suffix = file.suffix.lower()
    if suffix == TEXT_SUFFIX:
        return {}
    table = read_table(file, encoding, delimiter)  # which says what is wrong with the file
    if suffix == ".parquet":
        return _parquet_columns(file)
    if suffix not in (".json", ".jsonl"):
        return dict(table.columns)
    text = read_text(file, encoding)
    end = "\n" if "\n" in text else "\r"
    one_list = text.lstrip().startswith("[")
    records = _parsed(text) if one_list else [_parsed(line) for line in text.split(end) if line.strip()]
    return {name: [record.get(name) for record in records] for name in table.columns}


def _parsed(text: str) -> Any:
    return json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=lambda _: None)


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < 4000 else digits  # Python reads no longer ones


def _real(digits: str) -> float | None:
    return float(digits) if math.isfinite(float(digits)) else None


def _parquet_columns(path: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except Exception as error:  # in a nested column, which no text is read from
        raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again") from error
    return {
        name: [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in cells]
        for name, cells in columns.items()
    }


def _column_texts(table: Table, names: Sequence[str]) -> list[list[str]]:
    columns = table.texts(names, "; the model needs the columns it trained on, or name yours with --text_columns")
    for name, cells in zip(names, columns, strict=True):
        missing = [row for row, cell in enumerate(cells) if cell is None]
        if missing:
            such = f" ({len(missing)} such rows)" if len(missing) > 1 else ""
            raise DataError(f"{table.place(missing[0])}: column {name!r} holds no text{such}; fill it in or drop it")
    return [[cell or "" for cell in cells] for cells in columns]
