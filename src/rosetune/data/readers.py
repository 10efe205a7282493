"""Reading CSV, TSV, JSON, JSON Lines and Parquet files into tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rosetune.data.delimited import read_csv, read_tsv_file
from rosetune.data.encodings import read_encoded
from rosetune.data.tables import DataError, Table, Unit, as_cell, names_of

__all__ = ["DELIMITED", "TABLE_SUFFIXES", "json_table", "parse_json", "read_table"]

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
DELIMITED = (".csv", ".tsv")


def read_table(path: Path, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """Read a file by the ending of its name.

    Text files are UTF-8, or UTF-16 and UTF-32 where a byte-order mark says so; any other encoding is named with
    `encoding`. Lines end in a line feed, with or without a carriage return, or in carriage returns alone.

    .csv      Fields may be quoted; a quoted field may hold delimiters, line ends and doubled quotes. The delimiter is
              the one of `,` `;` tab and `|` that divides the header, and in doubt the one under which the rows are as
              long as the header; Excel's first line `sep=;` decides. A field may be of any length.
    .tsv      A quote is a character like any other, as in GLUE's files. A file is read as quoted only where all its
              quotes enclose whole fields, and one of these is empty or holds a tab, a line end or a doubled quote, or
              the header is quoted.
    .json     One list of objects.
    .jsonl    One object a line. Numbers stay as they are written (1.50 is no 1.5); NaN and Infinity are missing
              values, as null is.
    .parquet  Columns of single values; NaN, infinities and null are missing values.

    In CSV and TSV every cell is text: "null" and "NA" are words. Spaces around column names do not count. A blank line
    is no row, except in a file of one column, where it is an empty text.

    Args:
        path: the file.
        encoding: see :func:`~rosetune.data.encodings.read_encoded`; of text files.
        delimiter: one character, or "tab"; of .csv and .tsv files.

    Raises:
        DataError: the file is of another kind, empty, malformed or in another encoding.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return read_csv(path, encoding, delimiter)
    if suffix == ".tsv":
        return read_tsv_file(path, encoding, delimiter)
    if suffix in (".json", ".jsonl"):
        return _read_json(path, encoding)
    if suffix == ".parquet":
        return _read_parquet(path)
    raise DataError(f"{path}: cannot read files of this kind; convert it to one of {', '.join(TABLE_SUFFIXES)}")


def _read_json(path: Path, encoding: str | None) -> Table:
    text, name = read_encoded(path, encoding)
    note = "" if name == "utf-8" else f"encoding {name}"
    if text.lstrip().startswith("["):
        records = parse_json(text, str(path))
        return json_table(str(path), records, range(1, len(records) + 1), "row", note)
    end = "\n" if "\n" in text else "\r"
    numbered = [(i, line) for i, line in enumerate(text.split(end), start=1) if line.strip()]
    records = [parse_json(line, str(path), i) for i, line in numbered]
    return json_table(str(path), records, [i for i, _ in numbered], "line", note)


class _TwiceError(ValueError):
    """A key that an object has twice, of which Python would keep the last without a word."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return record


def parse_json(text: str, source: str, line: int | None = None) -> Any:
    """JSON whose numbers stay text, and whose NaN and Infinity are None.

    Args:
        text: a document, or a line of one.
        source: the file's name, for messages.
        line: where the text stands in the file; None where it is the whole file.

    Raises:
        DataError: it is not JSON, too deeply nested, or an object has a key twice.
    """
    place = source if line is None else f"{source}, line {line}"
    try:
        return json.loads(
            text, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise DataError(
            f"{source}, line {line or error.lineno}: not valid JSON ({error.msg} at column {error.colno}); "
            "write one object per line, or one list of objects"
        ) from error
    except _TwiceError as error:
        raise DataError(f"{place}: an object has the key {error.args[0]!r} twice; keep one of them") from error
    except RecursionError as error:
        raise DataError(f"{place}: lists or objects are nested too deeply; leave that column out") from error


def json_table(source: str, records: Sequence[Any], lines: Sequence[int], unit: Unit, note: str = "") -> Table:
    """A table of JSON objects; a key that an object lacks is None there.

    Raises:
        DataError: no objects, or something else among them.
    """
    if not records:
        raise DataError(f"{source} holds no rows; name a file that does")
    for line, record in zip(lines, records, strict=True):
        if not isinstance(record, dict):
            raise DataError(f"{source}, {unit} {line}: a JSON object is expected; write one with a key per column")
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [as_cell(record.get(name)) for record in records] for name in names}
    return Table(source, columns, lines, unit, note=note)


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.read_table(path)
        table.validate(full=True)  # broken bytes may give texts that are no text
        names: list[str] = table.schema.names
        flat = [i for i, field in enumerate(table.schema) if not pa.types.is_nested(field.type)]
        cells = [[as_cell(value) for value in table.column(i).to_pylist()] for i in flat]
    # A broken file may raise anything that pyarrow raises, and what Python raises for a date of the year 70000.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read as Parquet ({reason}); write the file again") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has several columns called {names_of(twice)}; keep one of each")
    if not table.num_rows:
        raise DataError(f"{path} has columns but no rows; name a file that has")
    columns = dict(zip((names[i] for i in flat), cells, strict=True))
    nested = [name for name in names if name not in columns]
    return Table(str(path), columns, range(1, table.num_rows + 1), "row", nested)
