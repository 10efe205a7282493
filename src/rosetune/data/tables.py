"""Reading CSV, TSV, JSON and Parquet files into named columns of text, with errors that name file and line."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["TABLE_SUFFIXES", "DataError", "Table", "as_cell", "json_table", "read_table", "read_text", "read_tsv"]

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


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
    """

    source: str
    columns: Mapping[str, list[Any]]
    lines: Sequence[int]
    unit: Literal["line", "row"] = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """File and line of a row."""
        return f"{self.source}, {self.unit} {self.lines[row]}"

    def column(self, name: str, remedy: str = "") -> list[Any]:
        """The cells of one column.

        Raises:
            DataError: there is no such column; `remedy` ends the sentence.
        """
        if name not in self.columns:
            raise DataError(f"{self.source} has no column {name!r}; its columns are {_names(self.columns)}{remedy}")
        return self.columns[name]

    def texts(self, names: Sequence[str], empty: Literal["never", "one", "any"], remedy: str = "") -> list[list[str]]:
        """The cells of the text columns, checked.

        Args:
            names: the text columns.
            empty: whether an empty text may occur: never, beside another text that is not, or anywhere.
            remedy: ends the error about a missing column.

        Raises:
            DataError: a missing column, or a missing, empty or non-text cell.
        """
        columns = [self.column(name, remedy) for name in names]
        for row, cells in enumerate(zip(*columns, strict=True)):
            for name, cell in zip(names, cells, strict=True):
                flaw = _flaw(cell)
                if flaw:
                    raise DataError(f"{self.place(row)}: column {name!r} {flaw}")
            filled = [bool(cell.strip()) for cell in cells]
            if empty != "any" and not (any(filled) if empty == "one" else all(filled)):
                raise DataError(
                    f"{self.place(row)}: the text in column {names[filled.index(False)]!r} is empty; "
                    "fill it in or drop the row"
                )
        return columns


def _flaw(cell: Any) -> str | None:
    if cell is None:
        return "holds no text; fill it in or drop the row"
    if not isinstance(cell, str):
        return f"holds a {type(cell).__name__}, not a text; name another column or convert it"
    try:
        cell.encode()
    except UnicodeEncodeError:
        # JSON can escape half of a character pair.
        return "holds half a character (a lone surrogate); correct it or drop the row"
    return None


def read_table(path: Path) -> Table:
    """Read a file by its suffix: .csv (standard quoting), .tsv (no quoting), .json or .jsonl, .parquet.

    Raises:
        DataError: the file is of another kind, empty, malformed or not UTF-8.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".tsv":
        return read_tsv(path)
    if suffix in (".json", ".jsonl"):
        return _read_json(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    raise DataError(f"{path}: cannot read files of this kind; convert it to one of {', '.join(TABLE_SUFFIXES)}")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark.

    Raises:
        DataError: the file cannot be opened, is not UTF-8 or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {error.start} is not UTF-8; convert the file first, "
            f"for example: iconv -f LATIN1 -t UTF-8 {path.name} > utf8{path.suffix}"
        ) from error
    if not text.strip("\r\n"):
        raise DataError(f"{path} is empty")
    return text


def read_tsv(path: Path, header: Sequence[str] | None = None) -> Table:
    """Read tab-separated values as they stand: a quote is a character like any other.

    Args:
        path: the file.
        header: the columns, for a file that comes without a header.

    Raises:
        DataError: empty, header only, not UTF-8, or rows with too many or too few fields (all of them are named).
    """
    # Only a line feed ends a row: texts may hold the other characters that str.splitlines breaks at.
    rows = [line.removesuffix("\r").split("\t") for line in read_text(path).removesuffix("\n").split("\n")]
    numbered = list(enumerate(rows, start=1))
    return _from_rows(path, numbered, header)


def _read_csv(path: Path) -> Table:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    numbered: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for row in reader:
            numbered.append((start, row or [""]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, in the row that begins at line {start}: {error}; check its quotes") from error
    return _from_rows(path, numbered, None)


def _from_rows(path: Path, numbered: list[tuple[int, list[str]]], header: Sequence[str] | None) -> Table:
    if header is None:
        header = [name.strip() for name in numbered.pop(0)[1]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {_names(twice)} more than once")
    # A blank line is no row, except in a file of one column, where it is an empty text.
    numbered = [(line, row) for line, row in numbered if len(header) == 1 or row != [""]]
    if not numbered:
        raise DataError(f"{path} has a header but no rows")
    bad = [(line, len(row)) for line, row in numbered if len(row) != len(header)]
    if bad:
        line, count = bad[0]
        others = f" ({len(bad)} such rows, lines {_some([line for line, _ in bad])})" if len(bad) > 1 else ""
        awk = f", for example: awk -F'\\t' 'NF=={len(header)}' {path.name}" if path.suffix.lower() != ".csv" else ""
        raise DataError(
            f"{path}, line {line}: {count} fields where {len(header)} are expected{others}; correct or drop them{awk}"
        )
    cells = [list(column) for column in zip(*(row for _, row in numbered), strict=True)]
    return Table(str(path), dict(zip(header, cells, strict=True)), [line for line, _ in numbered])


def _read_json(path: Path) -> Table:
    text = read_text(path)
    if text.lstrip().startswith("["):
        records = _parse(text, str(path))
        return json_table(str(path), records, range(1, len(records) + 1), "row")
    numbered = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records = [_parse(line, f"{path}, line {i}") for i, line in numbered]
    return json_table(str(path), records, [i for i, _ in numbered], "line")


def _parse(text: str, place: str) -> Any:
    try:
        # Numbers stay as they are written: a text of 1.50 is not 1.5.
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: not valid JSON ({error.msg} at column {error.colno}); "
            "write one object per line, or one list of objects"
        ) from error


def json_table(source: str, records: Sequence[Any], lines: Sequence[int], unit: Literal["line", "row"]) -> Table:
    """A table of JSON objects; a key that an object lacks is None there.

    Raises:
        DataError: no objects, or something else among them.
    """
    if not records:
        raise DataError(f"{source} holds no rows")
    for line, record in zip(lines, records, strict=True):
        if not isinstance(record, dict):
            raise DataError(f"{source}, {unit} {line}: a JSON object is expected, with a key per column")
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [as_cell(record.get(name)) for record in records] for name in names}
    return Table(source, columns, lines, unit)


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    if not table.num_rows:
        raise DataError(f"{path} has columns but no rows")
    flat = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    columns = {name: [as_cell(value) for value in table.column(name).to_pylist()] for name in flat}
    return Table(str(path), columns, range(1, table.num_rows + 1), "row")


def as_cell(value: Any) -> Any:
    """A value of a typed column as the text it would be in a file; None and NaN are missing."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str | list | dict | bytes) else str(value)


def _names(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in names)


def _some(lines: list[int], shown: int = 10) -> str:
    return ", ".join(map(str, lines[:shown])) + (", ..." if len(lines) > shown else "")
