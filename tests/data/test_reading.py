"""Encodings, delimiters, line ends and gaps: what is read, and what is refused with which remedy."""

import csv
import json
import re

import datasets
import pytest

from rosetune.data.readers import read_table
from rosetune.data.sources import DataError, load_task, read_inputs

ROWS = [(f"film number {i}, “café”", "good" if i % 2 else "bad") for i in range(40)]
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
WANTED = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def columns(path, **options):
    return dict(read_table(path, **options).columns)


# --- encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_byte_order_mark_decides(encoding, suffix, tmp_path):
    lines = "".join(json.dumps({"text": t, "label": y}, ensure_ascii=False) + "\n" for t, y in ROWS)
    path = put(tmp_path / f"a{suffix}", (CSV if suffix == ".csv" else lines).encode(encoding))
    assert columns(path) == WANTED


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_named(encoding, tmp_path):
    path = put(tmp_path / "a.csv", CSV.encode(encoding))
    with pytest.raises(DataError, match=f"a.csv seems to be UTF-16 .*; pass --encoding {encoding}"):
        read_table(path)
    assert columns(path, encoding=encoding) == WANTED


def test_cp1252_is_shown_and_read_when_named(tmp_path):
    path = put(tmp_path / "a.csv", CSV.encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.csv, line 2: byte 27 is not UTF-8 \(40 such lines: 2, 3, .*cp1252"):
        read_table(path)
    with pytest.raises(DataError, match=r"it reads .*“café”.*iconv -f CP1252") as caught:
        read_table(path)
    assert "LATIN1" not in str(caught.value)
    assert columns(path, encoding="cp1252") == WANTED


def test_a_file_of_two_encodings_is_read_line_by_line(tmp_path):
    lines = CSV.split("\n")
    content = b"\n".join(line.encode("cp1252" if i % 3 else "utf-8") for i, line in enumerate(lines))
    path = put(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=r"the file mixes both: .* --encoding utf-8,cp1252"):
        read_table(path)
    assert columns(path, encoding="utf-8,cp1252") == WANTED
    with pytest.raises(DataError, match=r"several encodings|line by line"):
        read_table(path, encoding="utf-8,utf-16")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,label\n你好世界\x81,1\n".encode("gb18030") + b"\x81", {}, r"not UTF-8.*pass its --encoding"),
        (b"\xff\xfe" + "text,label\na,1\n".encode("utf-16-le")[:-1], {}, r"byte-order mark of UTF-16 but breaks off"),
        (b"PK\x03\x04\x14\x00\x00\x00\xff", {}, r"a ZIP archive, perhaps an Excel workbook: save it as CSV"),
        (CSV, {"encoding": "nonsense"}, r"'nonsense' is no encoding that Python knows"),
        (CSV, {"encoding": "rot13"}, r"'rot13' is no encoding that Python knows"),
        (CSV, {"encoding": "ascii"}, r"a\.csv, line 2: not in the encoding ascii; pass the right --encoding"),
        (CSV, {"delimiter": "::"}, r"--delimiter must be one character such as ';', or tab, not '::'"),
        (CSV, {"delimiter": '"'}, r"--delimiter must be one character"),
    ],
)
def test_what_cannot_be_read_is_named(content, options, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        read_table(put(tmp_path / "a.csv", content), **options)
    assert "\n" not in str(caught.value)


# --- delimiters, line ends, quotes, length


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("given", [False, True])
def test_the_delimiter_is_found_or_given(delimiter, given, tmp_path):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *ROWS])
    assert columns(tmp_path / "a.csv", delimiter=delimiter if given else None) == WANTED


def test_commas_within_a_header_of_semicolons(tmp_path):
    path = put(tmp_path / "a.csv", "the text, as said;label\na;x\nb, c;y\n")
    assert columns(path) == {"the text, as said": ["a", "b, c"], "label": ["x", "y"]}
    # Where both fit, it is a comma, as it has always been.
    assert columns(put(tmp_path / "b.csv", "a,b;c\n1,2;3\n")) == {"a": ["1"], "b;c": ["2;3"]}
    assert columns(tmp_path / "b.csv", delimiter=";") == {"a,b": ["1,2"], "c": ["3"]}


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "SEP=;\r"])
def test_excels_first_line_names_the_delimiter(line, tmp_path):
    path = put(tmp_path / "a.csv", line + "text;label\na, b;x\nc;d;y\n")
    with pytest.raises(DataError, match=r"a\.csv, line 4: 3 fields where 2 are expected"):
        read_table(path)
    put(path, line + "text;label\na, b;x\n")
    assert columns(path) == {"text": ["a, b"], "label": ["x"]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt"])
def test_every_line_end(end, suffix, tmp_path):
    if suffix == ".txt":
        path = put(tmp_path / "a.txt", end.join(["one", "", "two"]) + end)
        assert read_inputs(str(path), ["text"])["text"][:] == ["one", "", "two"]
        return
    mark = "\t" if suffix == ".tsv" else ","
    text = f"text{mark}label\na{mark}x\nb{mark}y\n"
    if suffix == ".jsonl":
        text = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
    table = read_table(put(tmp_path / f"a{suffix}", text.replace("\n", end)))
    assert dict(table.columns) == {"text": ["a", "b"], "label": ["x", "y"]}
    assert list(table.lines) == ([1, 2] if suffix == ".jsonl" else [2, 3])


def test_a_quoted_tsv_is_one_whose_quotes_leave_no_doubt(tmp_path):
    rows = [("text", "label"), ('he said "no"', "x"), ("two\nlines", "y"), ("a\ttab", "x")]
    with (tmp_path / "a.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    assert columns(tmp_path / "a.tsv") == {"text": [row[0] for row in rows[1:]], "label": ["x", "y", "x"]}
    assert read_table(tmp_path / "a.tsv").note == "quoted fields"
    # One quote that encloses no field, and all are text, as in SST-2.
    literal = put(tmp_path / "b.tsv", 'text\tlabel\n"he said ""no"""\tx\na 5" disk\ty\n')
    assert columns(literal)["text"] == ['"he said ""no"""', 'a 5" disk']


def test_a_field_may_be_of_any_length_and_the_process_keeps_its_limit(tmp_path):
    limit = csv.field_size_limit()
    text = "good film " * 14_000
    assert columns(put(tmp_path / "a.csv", f'text,label\n"{text}",x\n'))["text"] == [text]
    assert csv.field_size_limit() == limit


def test_blank_lines_before_the_header(tmp_path):
    table = read_table(put(tmp_path / "a.csv", "\n,\ntext,label\na,x\n"))
    assert dict(table.columns) == {"text": ["a"], "label": ["x"]}
    assert list(table.lines) == [4]


# --- JSON and Parquet


def test_not_a_number_is_missing_in_every_format(tmp_path):
    good = '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n'
    for value in ("NaN", "Infinity", "-Infinity", "null"):
        label = put(tmp_path / "l.jsonl", good + f'{{"text": "c", "label": {value}}}\n')
        with pytest.raises(DataError, match=r"l\.jsonl, line 3: no label in column 'label'; .*--drop_unlabelled"):
            load_task(str(label), validation_file=str(label))
        text = put(tmp_path / "t.jsonl", good + f'{{"text": {value}, "label": 1}}\n')
        with pytest.raises(DataError, match=r"t\.jsonl, line 3: column 'text' holds no text; .*--drop_empty"):
            load_task(str(text), validation_file=str(text))
    for value in (float("nan"), float("inf"), None):
        file = str(tmp_path / "a.parquet")
        datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1.0, 0.0, value]}).to_parquet(file)
        with pytest.raises(DataError, match=r"a\.parquet, row 3: no label in column 'label'"):
            load_task(file, validation_file=file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": 1, "x": ' + "[" * 5000 + "]" * 5000 + "}", r"a\.jsonl, line 1: .*nested too deeply"),
        ('{"text": "a", "text": "b", "label": 1}', r"a\.jsonl, line 1: an object has the key 'text' twice"),
        ('{"text": "a", "label": "\\ud83d"}', r"line 1: column 'label' holds half a character"),
        ('[{"text": "a",\n "label"}]', r"a\.jsonl, line 2: not valid JSON"),
    ],
)
def test_json_that_cannot_be_used(content, message, tmp_path):
    path = put(tmp_path / "a.jsonl", content)
    with pytest.raises(DataError, match=message):
        load_task(str(path), validation_file=str(path))


def test_a_label_of_thousands_of_digits_is_a_name(tmp_path):
    """Python reads no integer of more than 4,300 digits, and says so in words of its own."""
    path = put(tmp_path / "a.csv", "text,label\na,x\nb," + "9" * 5000 + "\n")
    assert load_task(str(path), validation_file=str(path)).labels == ("9" * 5000, "x")


# --- gaps

GAPS = "text,label\na,x\n,y\nb,\n  ,x\nc,y\nd,-1\n,\n"


def test_all_gaps_of_all_files_are_counted_in_one_message(tmp_path):
    path = put(tmp_path / "a.csv", GAPS)
    validation = put(tmp_path / "v.csv", "text,label\na,x\nb,\n")
    with pytest.raises(DataError) as caught:
        load_task(str(path), validation_file=str(validation))
    message = re.sub(r"\S*/", "", str(caught.value))
    assert message == (
        "a.csv, line 3: the text in column 'text' is empty (3 such rows: lines 3, 5, 8); "
        "a.csv, line 4: no label in column 'label' (3 such rows: lines 4, 7, 8); "
        "v.csv, line 3: no label in column 'label'; "
        "fill in what is missing, or pass --drop_empty --drop_unlabelled to leave it out"
    )


def test_gaps_are_left_out_and_counted(tmp_path):
    path, validation = str(put(tmp_path / "a.csv", GAPS)), str(put(tmp_path / "v.csv", "text,label\na,x\nb,\n"))
    data = load_task(path, validation_file=validation, drop_empty=True, drop_unlabelled=True)
    assert data.labels == ("x", "y")
    # The id is still the row's number in its file.
    assert data.splits["train"].to_dict() == {"id": ["0", "4"], "text": ["a", "c"], "label": [0, 1]}
    assert data.left_out == {"train": {"empty text": 3, "no label": 2}, "validation": {"no label": 1}}
    with pytest.raises(
        DataError, match=r"a\.csv, line 4: no label .*\(2 such rows: lines 4, 7\).*; fill .*--drop_unl"
    ):
        load_task(path, validation_file=path, drop_empty=True)


def test_a_class_that_only_empty_rows_have_is_none(tmp_path):
    path = str(put(tmp_path / "a.csv", "text,label\na,x\nb,y\n,z\n"))
    assert load_task(path, validation_file=path, drop_empty=True).labels == ("x", "y")


def test_nothing_left_is_refused(tmp_path):
    path, empty = (
        str(put(tmp_path / "a.csv", "text,label\na,x\nb,y\n")),
        put(tmp_path / "v.csv", "text,label\n,x\na,\n"),
    )
    with pytest.raises(DataError, match=r"v\.csv: no row has both a text and a label"):
        load_task(path, validation_file=str(empty), drop_empty=True, drop_unlabelled=True)


def test_options_that_do_not_apply_are_refused(tmp_path):
    path = str(put(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n'))
    with pytest.raises(DataError, match=r"--delimiter is for \.csv and \.tsv files"):
        load_task(path, delimiter=";")
    with pytest.raises(DataError, match="--encoding is for data files of your own"):
        load_task("sst2", encoding="cp1252")
    with pytest.raises(DataError, match="--task_type must be classification or regression, not 'ranking'"):
        load_task(path, task_type="ranking")
    with pytest.raises(DataError, match="--task_type regression: the task sst2 is one of classification"):
        load_task("sst2", task_type="regression")


def test_inputs_take_encoding_and_delimiter_too(tmp_path):
    path = put(tmp_path / "a.csv", "text;n\ncafé;1\n".encode("cp1252"))
    assert read_inputs(str(path), ["text"], encoding="cp1252", delimiter=";")["text"][:] == ["café"]
    assert read_inputs(str(put(tmp_path / "a.txt", "“hé”\n".encode("cp1252"))), ["t"], encoding="cp1252")["t"][:] == [
        "“hé”"
    ]


def test_a_delimiter_that_is_not_the_files_names_the_other(tmp_path):
    (tmp_path / "a.csv").write_text("id;text;label\n1;one, two, three;x\n2;four;y\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"one column 'id;text;label', but line 2 has 3 fields: did you mean .*';'"):
        load_task(str(tmp_path / "a.csv"), text_columns=["text"], label_column="label", delimiter=",")


@pytest.mark.parametrize(
    ("name", "given", "remedy"),
    [("a.csv", ",", "leave --delimiter out"), ("a.tsv", None, "name it with --delimiter ';'")],
)
def test_of_one_column_that_looks_like_several_the_message_says_so(name, given, remedy, tmp_path):
    (tmp_path / name).write_text("id;text;label\n1;one;x\n2;four;y\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"'id;text;label'; the header looks as if ';' divides its columns: {remedy}$"
    ):
        load_task(str(tmp_path / name), text_columns=["text"], label_column="label", delimiter=given)
    (tmp_path / "rare.csv").write_text("text:label\none:x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"looks as if ':' divides its columns: name it with --delimiter ':'$"):
        load_task(str(tmp_path / "rare.csv"), delimiter=",")
    assert load_task(
        str(put(tmp_path / "rare.csv", b"text:label\n" + b"".join(b"t %d:%d\n" % (i, i % 2) for i in range(40)))),
        delimiter=":",
    ).labels == ("0", "1")
    (tmp_path / "one.csv").write_text("text\na\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"its columns are 'text'; name the labels with --label_column$"):
        load_task(str(tmp_path / "one.csv"), delimiter=",")
