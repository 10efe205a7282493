"""Readers under random content, broken bytes and encodings: each file is read right or refused in one line of ours."""

import csv
import io
import json
import math
import re
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings

from rosetune.data.readers import read_table
from rosetune.data.sources import DataError, load_task, read_inputs
from rosetune.data.summary import summarise

# A thousand files in the slow suite, sixty in the other.
FILES = pytest.mark.parametrize("files", [12, pytest.param(200, marks=pytest.mark.slow)])

REMEDY = re.compile(
    r"\b(pass|drop|correct|convert|name|write|add|keep|fill|rename|save|check|remove|leave|use|unpack|needs?|needed|let)\b",
    re.IGNORECASE,
)
PYTHONS_WORDS = re.compile(r"codec|Traceback|Exceeds the limit|can't decode|object is not|NoneType|expected str|Errno")

NAMES = st.lists(st.text("abcdefgh_ é世", min_size=1, max_size=6).map(str.strip), min_size=1, max_size=4, unique=True)
TEXTS = st.text(
    st.one_of(
        st.sampled_from(list("ab1 \"',;|\t\n\r-.[]{}:\\/#\ufeff\u2028\x85\xa0\u200b\x00")),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
PLAIN = st.text(st.sampled_from(list("ab1 \"',;|.é世\u2028\x85")), max_size=8)


def searched(files, *strategies, check):
    decide = settings(
        max_examples=files,
        derandomize=files <= 12,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    decide(given(*strategies)(check))()


def cells(data, names, texts):
    row = st.lists(texts, min_size=len(names), max_size=len(names))
    return data.draw(st.lists(row, min_size=1, max_size=6))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read_or_refused(path: Path, **kwargs):
    """The columns of a table, or None where it is refused as it should be."""
    try:
        return dict(read_table(path, **kwargs).columns)
    except DataError as error:
        check_refusal(error, path)
        return None


def check_refusal(error: DataError, path: Path) -> None:
    message = str(error)
    assert message.splitlines() == [message]
    assert path.name in message or path.stem in message
    assert REMEDY.search(message.replace(str(path), "")), message
    assert not PYTHONS_WORDS.search(message), message
    assert len(message) < 900, message


def as_columns(names, rows):
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def quoted(cell: str, delimiter: str, always: bool) -> str:
    if always or cell == "" or any(mark in cell for mark in (delimiter, '"', "\r", "\n")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@FILES
def test_csv_and_quoted_tsv(files, tmp_path):
    def check(data, names, delimiter, always, end, encoding, given_delimiter):
        assume(all(names))
        rows = cells(data, names, TEXTS)
        lines = [delimiter.join(quoted(cell, delimiter, always) for cell in row) for row in [names, *rows]]
        suffix = data.draw(st.sampled_from([".csv", ".tsv"])) if delimiter == "\t" else ".csv"
        path = written(tmp_path / f"a{suffix}", (end.join(lines) + end).encode(encoding))
        options = {"delimiter": delimiter} if given_delimiter else {}
        columns = read_or_refused(path, **options)
        if columns is not None:
            assert columns == as_columns(names, rows)
        elif "\x00" not in "".join(map("".join, rows)):
            # One column does not show its delimiter.
            assert len(names) == 1
            assert not given_delimiter

    strategies = (
        st.data(),
        NAMES,
        st.sampled_from(",;\t|"),
        st.booleans(),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        st.booleans(),
    )
    searched(files, *strategies, check=check)


@FILES
def test_tsv_without_quoting(files, tmp_path):
    def check(data, names, end, encoding):
        assume(all(names))
        rows = cells(data, names, PLAIN)
        text = end.join("\t".join(row) for row in [names, *rows]) + end
        path = written(tmp_path / "a.tsv", text.encode(encoding))
        table = read_table(path, encoding="cp1252" if encoding == "cp1252" else None)
        kept = [row for row in rows if len(names) == 1 or row != [""]]
        if "quoted fields" in table.note:  # all quotes of the file happen to be those of a quoted file
            kept = [row or [""] for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t")][1:]
        assert dict(table.columns) == as_columns(names, kept)

    ends = st.sampled_from(["\n", "\r\n", "\r"])
    encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])
    searched(files, st.data(), NAMES, ends, encodings, check=check)


JSON_CELLS = st.one_of(TEXTS, st.text(max_size=3), st.none(), st.booleans(), st.integers(), st.floats())


def as_text(value):
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str) else json.dumps(value)


@FILES
def test_json_and_json_lines(files, tmp_path):
    def check(data, names, lines, ascii_only, indent, end):
        rows = cells(data, names, JSON_CELLS)
        huge = data.draw(st.booleans())
        records = [dict(zip(names, row, strict=True)) for row in rows]
        dumped = [json.dumps(record, ensure_ascii=ascii_only, indent=None if lines else indent) for record in records]
        if huge:
            dumped[0] = dumped[0].rstrip()[:-1] + ', "huge": ' + "9" * 5000 + "}"
        text = end.join(dumped) + end if lines else f"[{', '.join(dumped)}]"
        path = written(tmp_path / ("a.jsonl" if lines else "a.json"), text.encode("utf-8", "surrogatepass"))
        try:
            text.encode()
        except UnicodeEncodeError:
            assert read_or_refused(path) is None  # half a character is not UTF-8
            return
        columns = as_columns(names, [[as_text(cell) for cell in row] for row in rows])
        if huge:
            columns["huge"] = ["9" * 5000] + [None] * (len(rows) - 1)
        assert read_or_refused(path) == columns

    strategies = (
        NAMES,
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, 1]),
        st.sampled_from(["\n", "\r\n", "\r"]),
    )
    searched(files, st.data(), *strategies, check=check)


@FILES
def test_parquet_and_its_broken_bytes(files, tmp_path):
    kinds = {
        pa.string(): st.one_of(st.none(), TEXTS),
        pa.int64(): st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        pa.float64(): st.one_of(st.none(), st.floats()),
        pa.bool_(): st.one_of(st.none(), st.booleans()),
        pa.timestamp("s"): st.one_of(st.none(), st.integers(-(10**12), 10**12)),
    }

    def check(data, names, edits):
        rows = data.draw(st.integers(1, 6))
        types = [data.draw(st.sampled_from(list(kinds))) for _ in names]
        arrays = [pa.array(data.draw(st.lists(kinds[kind], min_size=rows, max_size=rows)), kind) for kind in types]
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays, names), sink)
        path = written(tmp_path / "a.parquet", edited(sink.getvalue(), edits))
        columns = read_or_refused(path)
        if not edits and columns is not None:
            for name, kind, array in zip(names, types, arrays, strict=True):
                if kind == pa.timestamp("s"):
                    continue
                values = array.to_pylist()
                text = [
                    json.dumps(v) if isinstance(v, bool) else as_text(v) if kind == pa.string() else v for v in values
                ]
                numbers = [None if v is None or (isinstance(v, float) and not math.isfinite(v)) else v for v in text]
                if kind in (pa.int64(), pa.float64()):
                    assert [None if cell is None else float(cell) for cell in columns[name]] == [
                        None if v is None else float(v) for v in numbers
                    ]
                else:
                    assert columns[name] == text

    searched(files, st.data(), NAMES, st.one_of(st.just([]), EDITS), check=check)


EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["replace", "insert", "delete", "cut"]), st.binary(min_size=1, max_size=3)
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, edits) -> bytes:
    for where, action, new in edits:
        at = int(where * len(content))
        if action == "cut":
            content = content[:at]
        else:
            after = at if action == "insert" else at + len(new)
            content = content[:at] + (b"" if action == "delete" else new) + content[after:]
    return content


@FILES
def test_broken_bytes_under_all_options(files, tmp_path):
    def check(data, form, edits, encoding, drop, kind):
        words = st.one_of(st.text("ab c,\"'é\n", max_size=6), TEXTS)
        labels = st.sampled_from(
            ["0", "1", "-1", "", "yes", "Yes", "0.5", "nan", "1e400", "9" * 5000, "a,b", "[1]", " 1 "]
        )
        rows = data.draw(st.lists(st.tuples(words, labels), min_size=2, max_size=30))
        if form == ".jsonl":
            text = "".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows)
        else:
            mark = "\t" if form == ".tsv" else ","
            lines = [mark.join(quoted(cell, mark, False) for cell in row) for row in [("text", "label"), *rows]]
            text = "\n".join(lines) + "\n"
        content = edited(text.encode(encoding, "replace"), edits)
        path = written(tmp_path / f"a{form}", content)
        named = data.draw(st.sampled_from([None, encoding, "utf-8,cp1252"]))
        options = {"encoding": named, "drop_empty": drop, "drop_unlabelled": drop, "task_type": kind}
        if data.draw(st.booleans()):
            options["validation_file"] = str(path)
        try:
            lines = summarise(load_task(str(path), **options)).lines()
        except DataError as error:
            check_refusal(error, path)
        else:
            assert lines
            assert all("\n" not in line for line in lines)
        try:
            read_inputs(str(path), ["text"], encoding=named)
        except DataError as error:
            check_refusal(error, path)

    strategies = (
        st.sampled_from([".csv", ".tsv", ".jsonl"]),
        st.one_of(st.just([]), EDITS),
        st.sampled_from(["utf-8", "utf-16", "utf-16-le", "cp1252", "shift_jis"]),
        st.booleans(),
        st.sampled_from([None, "classification", "regression"]),
    )
    searched(files, st.data(), *strategies, check=check)
