"""Reading files whose fields are separated by a character."""

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rosetune.data.encodings import read_encoded
from rosetune.data.tables import DataError, Table, names_of, some

__all__ = ["read_csv", "read_tsv", "read_tsv_file"]

Row = tuple[int, list[str]]  # the line it begins at, and its fields

_DELIMITERS = (",", ";", "\t", "|")
_RARE_DELIMITERS = ":~^ "  # which are not guessed, since they stand in texts
_EXCEL_SEPARATOR = re.compile(r'"?sep=([^\r\n])"?(?:\r\n|\n|\r)', re.IGNORECASE)
_SAMPLE = 200


def read_csv(path: Path, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """Read separated values with standard quoting; see :func:`~rosetune.data.readers.read_table`.

    Raises:
        DataError: empty, header only, not in the encoding, broken quotes, or rows with too many or too few fields.
    """
    text, name = read_encoded(path, encoding)
    given = _given(delimiter)
    text, first, said = _after_separator(text)
    chosen = given or said or _likely(text)
    try:
        numbered = list(_quoted_rows(text, chosen, first))
    except _QuoteError as error:
        raise DataError(f"{path}, in the row that begins at line {error.args[0]}: {error.args[1]}") from error
    table = _table(path, numbered, None, chosen, _note(name, chosen, ","))
    return _doubted(table, chosen, told=given is not None)


def read_tsv_file(path: Path, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """Read a user's tab-separated values, quoted or not; see :func:`~rosetune.data.readers.read_table`.

    Raises:
        DataError: as for :func:`read_tsv`.
    """
    text, name = read_encoded(path, encoding)
    given = _given(delimiter)
    text, first, said = _after_separator(text)
    chosen = given or said or "\t"
    numbered = _literal_rows(text, chosen, first)
    note = _note(name, chosen, "\t")
    quoted = _rows_if_quoted(text, chosen, first, numbered)
    if quoted is not None:
        numbered, note = quoted, ", ".join(filter(None, (note, "quoted fields")))
    return _doubted(_table(path, numbered, None, chosen, note), chosen, told=False)


def read_tsv(path: Path, header: Sequence[str] | None = None) -> Table:
    """Read tab-separated values as they stand: a quote is a character like any other.

    Args:
        path: the file.
        header: the columns, for a file that comes without a header.

    Raises:
        DataError: empty, header only, not UTF-8, or rows with too many or too few fields (all of them are named).
    """
    text, name = read_encoded(path)
    return _table(path, _literal_rows(text, "\t", 1), header, "\t", _note(name, "\t", "\t"))


def _given(delimiter: str | None) -> str | None:
    if delimiter is None:
        return None
    meant = "\t" if delimiter.lower() in ("tab", "\\t") else delimiter
    if len(meant) != 1 or meant in '"\r\n':
        raise DataError(f"--delimiter must be one character such as ';', or tab, not {delimiter!r}")
    return meant


def _after_separator(text: str) -> tuple[str, int, str | None]:
    """The text without Excel's line "sep=;", the number of its first line, and what that line says."""
    found = _EXCEL_SEPARATOR.match(text)
    return (text, 1, None) if found is None else (text[found.end() :], 2, found[1])


def _note(encoding: str, delimiter: str, usual: str) -> str:
    parts = []
    if encoding != "utf-8":
        parts.append(f"encoding {encoding}")
    if delimiter != usual:
        parts.append(f"delimiter {delimiter!r}")
    return ", ".join(parts)


class _QuoteError(ValueError):
    """The line at which a row with broken quotes begins, and what is wrong."""


def _quoted_rows(text: str, delimiter: str, first: int = 1) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = first
    # The limit is one of the whole process, so that it is raised for no longer than a file takes.
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        for row in reader:
            yield start, row or [""]
            start = first + reader.line_num
    except csv.Error as error:
        open_quote = "end of data" in str(error)
        flaw = "a quote is opened and never closed" if open_quote else "text follows the closing quote of a field"
        raise _QuoteError(start, f"{flaw}; double the quotes within a quoted field, and check its quotes") from error
    finally:
        csv.field_size_limit(limit)


def _literal_rows(text: str, delimiter: str, first: int) -> list[Row]:
    # Only a line feed ends a row, or only a carriage return: texts may hold what str.splitlines breaks at.
    end = "\n" if "\n" in text else "\r"
    lines = text.removesuffix(end).split(end)
    return [(i, line.removesuffix("\r").split(delimiter)) for i, line in enumerate(lines, start=first)]


def _likely(text: str) -> str:
    """The delimiter that divides the header; of several the one that suits the rows, the comma first."""
    samples = {delimiter: _sample(text, delimiter) for delimiter in _DELIMITERS}
    width = {delimiter: len(rows[0]) for delimiter, rows in samples.items() if rows and len(rows[0]) > 1}
    if len(width) < 2:
        return next(iter(width), ",")
    even = [d for d in width if all(len(row) == width[d] for row in samples[d])]
    return "," if "," in even else max(even, key=width.__getitem__, default=next(iter(width)))


def _sample(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for _, row in itertools.islice(_quoted_rows(text, delimiter), _SAMPLE):
            if row != [""]:
                rows.append(row)
    except _QuoteError:
        return rows[:1]  # the header may still be told
    return rows


def _rows_if_quoted(text: str, delimiter: str, first: int, literal: list[Row]) -> list[Row] | None:
    """The rows of a file that was written with quotes, where that is beyond doubt; else None."""
    if '"' not in text:
        return None
    d = re.escape(delimiter)
    field = rf'(?:"(?:[^"]|"")*+"|[^"\r\n{d}]*+)'
    if not re.fullmatch(rf"(?:{field}(?:{d}|\r\n|\n|\r|\Z))*+", text):
        return None
    try:
        rows = list(_quoted_rows(text, delimiter, first))
    except _QuoteError:
        return None
    width = len(rows[0][1])
    plain = not any(cell.startswith('"') for cell in literal[0][1])
    empty = re.search(rf'(?:^|[\r\n{d}])""(?:[\r\n{d}]|$)', text)
    if plain and not empty and not any(re.search(rf'["\r\n{d}]', cell) for _, row in rows for cell in row):
        return None
    return rows if all(len(row) == width or row == [""] for _, row in rows) else None


def _table(path: Path, numbered: list[Row], header: Sequence[str] | None, delimiter: str, note: str) -> Table:
    if header is None:
        while numbered and not any(map(str.strip, numbered[0][1])):
            numbered.pop(0)
        if not numbered:
            raise DataError(f"{path} is empty; name a file with rows")
        header = [name.strip() for name in numbered.pop(0)[1]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {names_of(twice)} more than once; rename or remove all but one")
    # A blank line is no row, except in a file of one column, where it is an empty text.
    numbered = [(line, row) for line, row in numbered if len(header) == 1 or row != [""]]
    if not numbered:
        raise DataError(f"{path} has a header but no rows; add rows, or check how its lines end")
    bad = [(line, len(row)) for line, row in numbered if len(row) != len(header)]
    if bad:
        line, count = bad[0]
        others = f" ({len(bad)} such rows, lines {some([line for line, _ in bad])})" if len(bad) > 1 else ""
        awk = f", for example: awk -F'\\t' 'NF=={len(header)}' {path.name}" if delimiter == "\t" else ""
        if len(header) == 1:
            raise DataError(_one_column(path, header[0], delimiter, line, count))
        raise DataError(
            f"{path}, line {line}: {_fields(count)} where {len(header)} are expected{others}; "
            f"correct or drop them{awk}"
        )
    cells = [list(column) for column in zip(*(row for _, row in numbered), strict=True)]
    return Table(str(path), dict(zip(header, cells, strict=True)), [line for line, _ in numbered], note=note)


def _doubted(table: Table, delimiter: str, told: bool) -> Table:
    """The table; of one column whose name looks like several it says what may be wrong.

    Args:
        told: whether another delimiter was asked for than the one that would be found.
    """
    header = next(iter(table.columns))
    other = next((c for c in (*_DELIMITERS, *_RARE_DELIMITERS) if c != delimiter and c in header), None)
    if len(table.columns) > 1 or other is None:
        return table
    shown = "tab" if other == "\t" else repr(other)
    found = told and other in _DELIMITERS
    remedy = "leave --delimiter out" if found else f"name it with --delimiter {shown}"
    return dataclasses.replace(table, doubt=f"the header looks as if {shown} divides its columns: {remedy}")


def _one_column(path: Path, header: str, delimiter: str, line: int, count: int) -> str:
    """Rows of several fields under a header of one: most often the file has another delimiter."""
    named = {"\t": "tab"}
    others = [f"--delimiter {named.get(c, repr(c))}" for c in ";,\t|" if c != delimiter and c in header]
    hint = f"did you mean {' or '.join(others)}?" if others else "name another with --delimiter, or correct the header"
    return (
        f"{path}: with the delimiter {named.get(delimiter, repr(delimiter))} the header is the one column {header!r}, "
        f"but line {line} has {_fields(count)}: {hint}"
    )


def _fields(count: int) -> str:
    return f"{count} field{'' if count == 1 else 's'}"
