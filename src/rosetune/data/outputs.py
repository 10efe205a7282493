"""Tables written to files by the ending of their names."""

import base64
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.data.tables import DataError

__all__ = ["OUTPUT_SUFFIXES", "as_text", "json_line", "write_table"]

OUTPUT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], records: Iterable[Mapping[str, Any]]) -> None:
    """Write a table whole, in UTF-8, as .csv, .tsv (both quoted where a field needs it), .jsonl or .parquet.

    Args:
        columns: of CSV, TSV and Parquet.
        records: of JSON Lines, which may nest.

    Raises:
        DataError: another ending, or values that the kind of file cannot hold.
    """
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise DataError(f"{path}: cannot write files of this kind; let its name end in {', '.join(OUTPUT_SUFFIXES)}")
    try:
        if suffix == ".parquet":
            _write_parquet(path, columns)
            return
        with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            if suffix == ".jsonl":
                file.writelines(json_line(record) + "\n" for record in records)
            else:
                writer = csv.writer(file, delimiter=_DELIMITERS[suffix], lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(map(as_text, row) for row in zip(*columns.values(), strict=True))
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path} cannot be written: a text of the input holds half a character (a lone surrogate); correct it"
        ) from error


def as_text(value: Any) -> str:
    """A value as the text of a field: nothing for None, JSON for lists and objects."""
    if value is None or isinstance(value, str):
        return value or ""
    return json_line(value) if isinstance(value, bool | list | dict) else _told(value)


def json_line(value: Any) -> str:
    """A value as one line of JSON; what JSON does not know as text, bytes in base 64."""
    return json.dumps(value, ensure_ascii=False, default=_told)


def _told(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    arrays = {}
    for name, cells in columns.items():
        try:
            arrays[name] = pa.array(list(cells))
        except UnicodeEncodeError:
            raise
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: the column {name!r} holds values of several kinds, which Parquet cannot hold "
                f"({str(error).splitlines()[0]}); write .jsonl or .csv"
            ) from error
    with replacing(path) as partial:
        pq.write_table(pa.table(arrays), partial)
