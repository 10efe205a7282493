"""A user's own files: formats, columns, labels, splits, and errors that name file and row."""

import json
from collections import Counter
from pathlib import Path

import datasets
import pytest

from rosetune.data.sources import DataError, load_task, read_inputs

TEXTS = [f"sentence number {i}" for i in range(60)]
LABELS = ["bad", "good", "so-so"] * 20


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return str(path)


def csv_rows(header: str, *rows: str) -> str:
    return "\n".join((header, *rows)) + "\n"


def reviews(suffix: str, path: Path) -> str:
    """The same 60 reviews in any format."""
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    file = path / f"reviews{suffix}"
    if suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(str(file))
    elif suffix == ".json":
        file.write_text(json.dumps(rows, indent=1))
    elif suffix == ".jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        separator = "\t" if suffix == ".tsv" else ","
        file.write_text("\n".join(separator.join(cells) for cells in (("text", "label"), *(r.values() for r in rows))))
    return str(file)


# --- formats and splits


@pytest.mark.parametrize("suffix", [".tsv", ".json", ".jsonl", ".parquet"])
def test_every_format_holds_the_same_data(suffix, tmp_path):
    assert load_task(reviews(suffix, tmp_path)).fingerprint == load_task(reviews(".csv", tmp_path)).fingerprint


def test_a_single_file_is_split_evenly_and_always_alike(tmp_path):
    data = load_task(reviews(".csv", tmp_path))
    sizes = {name: len(ds) for name, ds in data.splits.items()}
    assert sum(sizes.values()) == 60
    assert sizes["validation"] == pytest.approx(6, abs=1)
    assert sizes["test"] == pytest.approx(6, abs=1)
    assert data.clean[0] == "test"
    assert all(
        max(Counter(ds["label"]).values()) - min(Counter(ds["label"]).values()) <= 1 for ds in data.splits.values()
    )
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert load_task(reviews(".csv", moved)).fingerprint == data.fingerprint


def test_the_fingerprint_of_a_file_stays_what_it_was(tmp_path):
    """Runs are recognised by it; this one was computed by the first version that wrote runs."""
    rows = [(f'film "x" {i}, ok; é\x85z\u2028', ["1.0", " 0 ", "2"][i % 3]) for i in range(60)]
    path = write(tmp_path / "a.tsv", "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    assert load_task(path).fingerprint == "54eff96b0cdcff987a61088cc5184d11fb4a7739a812f0596bd869c16905b327"
    doubled = [f'"{text.replace(chr(34), chr(34) * 2)}",{label}\n' for text, label in rows]
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(doubled))
    assert load_task(path).fingerprint == "54eff96b0cdcff987a61088cc5184d11fb4a7739a812f0596bd869c16905b327"


def test_a_changed_text_changes_the_fingerprint(tmp_path):
    path = Path(reviews(".csv", tmp_path))
    before = load_task(str(path)).fingerprint
    path.write_text(path.read_text().replace("number 7,", "number seven,"))
    assert load_task(str(path)).fingerprint != before


def test_copies_of_a_text_stay_on_one_side(tmp_path):
    rows = [f"{'Copy  of' if i % 2 else 'copy of'} {i // 4} .,{'ab'[i // 4 % 2]}" for i in range(200)]
    data = load_task(write(tmp_path / "d.csv", csv_rows("text,label", *rows)))
    sides = [{text.lower().replace(" ", "") for text in ds["text"]} for ds in data.splits.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 50
    assert sum(map(len, data.splits.values())) == 200


def test_a_rare_label_is_learned_rather_than_held_out(tmp_path):
    rows = [f"text {i},common{i % 2}" for i in range(50)] + ["only one,rare"]
    data = load_task(write(tmp_path / "d.csv", csv_rows("text,label", *rows)))
    assert data.labels.index("rare") in data.splits["train"]["label"][:]


def test_a_test_file_leaves_only_validation_to_cut(tmp_path):
    test = write(tmp_path / "t.csv", csv_rows("text,label", "new,bad", "newer,good"))
    data = load_task(reviews(".csv", tmp_path), test_file=test)
    assert len(data.splits["test"]) == 2
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 60
    data = load_task(reviews(".csv", tmp_path), validation_file=test)
    assert {name: len(ds) for name, ds in data.splits.items()} == {"train": 60, "validation": 2}
    assert data.clean[0] == "validation"


def test_a_folder_may_mix_formats(tmp_path):
    write(tmp_path / "mine/train.tsv", "text\tlabel\nbad film\tneg\ngood film\tpos\n")
    write(tmp_path / "mine/dev.jsonl", '{"label": "pos", "text": "fine"}\n')
    data = load_task(str(tmp_path / "mine"))
    assert data.name == "mine"
    assert data.splits["validation"].to_list() == [{"id": "0", "text": "fine", "label": 1}]


def test_a_folder_without_or_with_two_train_files(tmp_path):
    write(tmp_path / "notes.txt", "x")
    with pytest.raises(DataError, match=r"no train file \(train\.csv, .*found notes\.txt"):
        load_task(str(tmp_path))
    write(tmp_path / "train.csv", "x")
    write(tmp_path / "train.tsv", "x")
    with pytest.raises(DataError, match=r"several train files: train\.csv, train\.tsv"):
        load_task(str(tmp_path))


# --- texts


def split_rows(data) -> list[dict]:
    return sorted((row for ds in data.splits.values() for row in ds), key=lambda row: int(row["id"]))


def own(tmp_path: Path, name: str, text: str, **kwargs):
    """Training data from `text`, validated on two harmless rows with the same columns."""
    path = write(tmp_path / name, text)
    return load_task(path, validation_file=path, **kwargs).splits["train"]


def test_csv_is_quoted_and_tsv_is_not(tmp_path):
    quoted = own(tmp_path, "a.csv", 'text,label\n"a, ""b""\nc",x\nd,y\n')
    assert quoted["text"][:] == ['a, "b"\nc', "d"]
    literal = own(tmp_path, "a.tsv", 'text\tlabel\n"a\tx\n"d"\ty\n')
    assert literal["text"][:] == ['"a', '"d"']


def test_texts_that_look_like_missing_values_or_numbers_stay_as_written(tmp_path):
    words = ["null", "NA", "None", "nan", "007", "1.50", "1e3", "true"]
    rows = [f"{word},{'xy'[i % 2]}" for i, word in enumerate(words)]
    assert own(tmp_path, "a.csv", csv_rows("text,label", *rows))["text"][:] == words
    lines = '{"text": 1.50, "label": 0}\n{"text": "null", "label": 1}\n{"text": 1E400, "label": 1}\n'
    assert own(tmp_path, "a.jsonl", lines)["text"][:] == ["1.50", "null", "1E400"]


def test_pairs_and_named_columns(tmp_path):
    path = write(tmp_path / "a.csv", csv_rows("body,headline,class,extra", "b1,h1,x,", "b2,h2,y,"))
    data = load_task(path, text_columns=["headline", "body"], label_column="class", validation_file=path)
    assert data.text_columns == ("headline", "body")
    assert data.splits["train"][0] == {"id": "0", "headline": "h1", "body": "b1", "label": 0}
    assert load_task(path, text_columns="body", label_column="class", validation_file=path).text_columns == ("body",)


def test_obvious_pairs_win_over_obvious_single_texts(tmp_path):
    path = write(tmp_path / "a.csv", csv_rows("question,sentence,label", "q1,s1,x", "q2,s2,y"))
    assert load_task(path, validation_file=path).text_columns == ("question", "sentence")


# --- labels


@pytest.mark.parametrize(
    ("values", "names", "numbers"),
    [
        (["pos", "neg", "pos"], ("neg", "pos"), [1, 0, 1]),
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        (["1.0", "0", "1"], ("0", "1"), [1, 0, 1]),
        (["-1", "1", "-1"], ("-1", "1"), [0, 1, 0]),
        (["2", "b", "2"], ("2", "b"), [0, 1, 0]),
    ],
)
def test_label_names_and_their_order(values, names, numbers, tmp_path):
    path = write(tmp_path / "a.csv", csv_rows("text,label", *(f"t{i},{v}" for i, v in enumerate(values))))
    data = load_task(path, validation_file=path)
    assert data.labels == names
    assert data.splits["train"]["label"][:] == numbers


def test_typed_labels_mean_the_same_in_every_format(tmp_path):
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1.0, 0.0]}).to_parquet(str(tmp_path / "a.parquet"))
    validation = write(tmp_path / "v.jsonl", '{"text": "c", "label": 1}\n')
    data = load_task(str(tmp_path / "a.parquet"), validation_file=validation)
    assert data.labels == ("0", "1")
    assert data.splits["validation"]["label"][:] == [1]
    truths = write(tmp_path / "b.jsonl", '{"text": "c", "label": true}\n{"text": "d", "label": false}\n')
    assert load_task(truths, validation_file=truths).labels == ("false", "true")


def test_validation_labels_are_aligned_by_name(tmp_path):
    train = write(tmp_path / "a.csv", csv_rows("text,label", "a,neg", "b,neutral", "c,pos"))
    validation = write(tmp_path / "v.csv", csv_rows("text,label", "d,pos"))
    assert load_task(train, validation_file=validation).splits["validation"]["label"][:] == [2]


def test_a_label_that_training_lacks_is_named(tmp_path):
    train = write(tmp_path / "a.csv", csv_rows("text,label", "a,neg", "b,pos"))
    validation = write(tmp_path / "v.csv", csv_rows("text,label", "c,pos", "d,Pos"))
    with pytest.raises(DataError, match=r"v\.csv, line 3: label 'Pos' of the validation data .* 'neg', 'pos'"):
        load_task(train, validation_file=validation)


# --- errors

GOOD = "a,x\nb,y\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", r"a\.csv is empty"),
        ("a.csv", "\n\n", r"a\.csv is empty"),
        ("a.csv", "text,label\n", r"a\.csv has a header but no rows"),
        ("a.jsonl", "\n", r"a\.jsonl is empty"),
        ("a.json", "[]", r"a\.json holds no rows"),
        ("a.csv", "text,label\n" + GOOD + "c\n", r"a\.csv, line 4: 1 field where 2 are expected"),
        ("a.csv", "text,label\n" + GOOD + "c,d,x\n", r"a\.csv, line 4: 3 fields where 2 are expected"),
        ("a.csv", 'text,label\n"a\nb",x\nc,y,z\n', r"a\.csv, line 4: 3 fields"),
        ("a.csv", "text,label\n" + GOOD + '"c,x\n', r"a\.csv, in the row that begins at line 4: .*quotes"),
        ("a.csv", "text,label\n" + GOOD + ",x\n", r"a\.csv, line 4: the text in column 'text' is empty"),
        ("a.csv", "text,label\n" + GOOD + "c,\n", r"a\.csv, line 4: no label in column 'label'"),
        ("a.csv", "text,label\na,0\nb,1\nc,-1\n", r"a\.csv, line 4: label -1 means unlabelled"),
        ("a.csv", "text,label\na,x\nb,x\n", r"only the label 'x'; at least two"),
        ("a.csv", "text,text,label\na,b,x\n", r"header names 'text' more than once"),
        ("a.csv", "body,label\n" + GOOD, r"name one or two text columns with --text_columns; it has 'body'"),
        ("a.csv", "text,class\n" + GOOD, r"no column 'label'; its columns are 'text', 'class'; .*--label_column"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b",\n', r"a\.jsonl, line 2: not valid JSON"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n\n["b"]\n', r"a\.jsonl, line 3: a JSON object is expected"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"label": "y"}\n', r"a\.jsonl, line 2: column 'text' holds no text"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": null, "label": "y"}\n', r"line 2: column 'text' holds no"),
        ("a.jsonl", '{"text": ["a"], "label": "x"}\n', r"line 1: column 'text' holds a list, not a text"),
        ("a.jsonl", '{"text": "\\ud83d", "label": "x"}\n', r"line 1: column 'text' holds half a character"),
        ("a.json", '[{"text": "a", "label": "x"}, 7]', r"a\.json, row 2: a JSON object is expected"),
        ("a.parquet", "text,label\n", r"a\.parquet cannot be read as Parquet"),
        ("a.xlsx", "text,label\n", r"a\.xlsx: cannot read files of this kind; convert it to one of \.csv"),
    ],
)
def test_errors_name_file_and_row(name, content, message, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        load_task(path, validation_file=path)
    assert "\n" not in str(caught.value)


def test_another_encoding_is_located_with_a_remedy(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nfine,x\ncafé,y\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv, line 3: byte 21 is not UTF-8; .*iconv"):
        load_task(str(path))


def test_an_empty_text_in_a_pair_is_an_error_too(tmp_path):
    path = write(tmp_path / "a.csv", csv_rows("premise,hypothesis,label", "a,b,x", "c,,y"))
    with pytest.raises(DataError, match="line 3: the text in column 'hypothesis' is empty"):
        load_task(path)


def test_column_names_that_would_clash_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", csv_rows("id,class", "a,x", "b,y"))
    with pytest.raises(DataError, match="cannot be called 'id'"):
        load_task(path, text_columns=["id"], label_column="class")


@pytest.mark.parametrize("columns", [["text", "text"], ["text", "label"], ["a", "b", "c"], []])
def test_text_columns_must_be_one_or_two_and_not_the_label(columns, tmp_path):
    with pytest.raises(DataError, match="one or two text columns"):
        load_task(reviews(".csv", tmp_path), text_columns=columns)


def test_too_few_rows_to_split(tmp_path):
    with pytest.raises(DataError, match="too few distinct texts"):
        load_task(write(tmp_path / "a.csv", csv_rows("text,label", "a,x", "b,y", "A,x")))


def test_a_missing_validation_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv cannot be read: No such file"):
        load_task(reviews(".csv", tmp_path), validation_file=str(tmp_path / "gone.csv"))


# --- inputs to predict


def test_every_line_of_a_text_file_is_an_input(tmp_path):
    ds = read_inputs(write(tmp_path / "a.txt", 'one\n\n "two"\r\nnull'), ["sentence"])
    assert ds.to_list() == [
        {"id": "0", "sentence": "one"},
        {"id": "1", "sentence": ""},
        {"id": "2", "sentence": ' "two"'},
        {"id": "3", "sentence": "null"},
    ]


def test_a_long_text_file_keeps_every_line(tmp_path):
    ds = read_inputs(write(tmp_path / "a.txt", "".join(f"line {i}\n" for i in range(100_000))), ["sentence"])
    assert len(ds) == 100_000
    assert ds[99_999] == {"id": "99999", "sentence": "line 99999"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'premise,extra,hypothesis\na,1,b\n"",2,c\n'),
        ("a.tsv", "premise\thypothesis\na\tb\n\tc\n"),
        ("a.jsonl", '{"premise": "a", "hypothesis": "b"}\n{"hypothesis": "c", "premise": "", "label": 1}\n'),
    ],
)
def test_inputs_need_no_labels_and_may_be_empty(name, content, tmp_path):
    ds = read_inputs(write(tmp_path / name, content), ["premise", "hypothesis"])
    assert ds.column_names == ["id", "premise", "hypothesis"]
    assert ds["premise"][:] == ["a", ""]
    assert ds["hypothesis"][:] == ["b", "c"]


def test_inputs_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"one text per line.*premise and hypothesis"):
        read_inputs(write(tmp_path / "a.txt", "x\n"), ["premise", "hypothesis"])
    with pytest.raises(DataError, match="no column 'sentence'; its columns are 'text'"):
        read_inputs(write(tmp_path / "a.csv", "text\nx\n"), ["sentence"])
    with pytest.raises(DataError, match=r"a\.txt is empty"):
        read_inputs(write(tmp_path / "a.txt", ""), ["sentence"])
    with pytest.raises(DataError, match="cannot be read"):
        read_inputs(str(tmp_path / "gone.txt"), ["sentence"])
    with pytest.raises(DataError, match="line 2: column 'sentence' holds no text"):
        read_inputs(write(tmp_path / "a.jsonl", '{"sentence": "a"}\n{"sentence": null}\n'), ["sentence"])
