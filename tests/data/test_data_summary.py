"""What is said about data before a model is trained on it."""

import dataclasses

import pytest

from rosetune.data.rows import make_dataset, make_task_data
from rosetune.data.sources import load_task
from rosetune.data.summary import summarise


def data(train, labels=("neg", "pos"), **splits):
    """Rows are (text, label)."""
    made = {
        name: make_dataset(map(str, range(len(rows))), {"text": [t for t, _ in rows]}, [y for _, y in rows])
        for name, rows in {"train": train, **splits}.items()
    }
    return make_task_data("mine", ["text"], labels, made, task_type="classification" if labels else "regression")


def rows(n, classes=2, prefix="text"):
    return [(f"{prefix} {i}", i % classes) for i in range(n)]


def test_rows_and_labels_are_counted():
    summary = summarise(data(rows(21), validation=rows(4, prefix="new")))
    assert summary.rows == {"train": 21, "validation": 4}
    assert summary.labels == {"train": {"neg": 11, "pos": 10}, "validation": {"neg": 2, "pos": 2}}
    assert summary.warnings == []
    assert summary.lines() == [
        "mine: 21 training, 4 validation rows",
        "training labels: neg 11, pos 10",
        "validation labels: neg 2, pos 2",
    ]
    cut = dataclasses.replace(summary, truncation="3% of the texts are cut")
    assert cut.lines()[-1] == "3% of the texts are cut"


def test_many_labels_are_shortened_without_losing_rows():
    names = [f"class {i}" for i in range(30)]
    summary = summarise(data([("t", i) for i in range(30) for _ in range(5 + (i == 7))], names))
    assert summary.lines()[1].startswith("training labels: class 7 6, class 0 5, ")
    assert summary.lines()[1].endswith(f"and 20 more with {20 * 5} rows")


def test_a_regression_has_a_range():
    summary = summarise(data([("a", 1.0), ("b", 2.5), ("c", 4.0)], ()))
    assert summary.ranges == {"train": (1.0, 2.5, 4.0)}
    assert summary.lines()[1] == "training labels: from 1 to 4, 2.5 on average"


@pytest.mark.parametrize(
    ("labels", "warning"),
    [
        (("Positive", "positive", "negative"), "'Positive' (10 rows), 'positive' (10 rows)"),
        (("caf\u00e9", "cafe\u0301", "bar"), r"'caf\xe9' (10 rows), 'cafe\u0301' (10 rows)"),
        (("pos", "pos\u200b", "neg"), r"'pos' (10 rows), 'pos\u200b' (10 rows)"),
        (("0", "1", "true"), "'1' (10 rows), 'true' (10 rows)"),
        (("0", "1", "nan"), "'nan' looks like a missing label"),
        (tuple(map(str, range(30))), "the labels are 30 whole numbers"),
    ],
)
def test_labels_to_wonder_about(labels, warning):
    summary = summarise(data(rows(10 * len(labels), len(labels)), labels))
    assert len(summary.warnings) == 1
    assert warning in summary.warnings[0]
    assert summary.lines()[-1] == f"warning: {summary.warnings[0]}"


def test_rare_and_absent_labels():
    summary = summarise(data([*rows(20), ("odd", 2)], ("a", "b", "c", "d")))
    assert summary.warnings == ["no training row has the label 'd'", "labels with fewer than 5 training rows: 'c' 1"]


def test_evaluation_texts_in_the_training_data():
    test = [(text.upper() + " !", label) for text, label in rows(40)]
    summary = summarise(data(rows(60), test=test, validation=[*rows(5, prefix="new"), *rows(1)]))
    assert [warning.split(":")[0] for warning in summary.warnings] == [
        "40 of 40 test texts also occur in the training data",
        "1 of 6 validation texts also occur in the training data",
    ]


def test_of_a_model_from_elsewhere_nothing_is_said_of_a_training():
    """Nor of a file that is given both as the task and as its test file."""
    names = ("a", "b", "c", "nan")
    train = [*rows(20), ("text 4", 1), ("odd", 2)]
    assert summarise(data(train, names, test=train), trained=False).warnings == [
        "'nan' looks like a missing label, but is a class",
        "1 of 22 test rows repeats the text of another: intervals take them for different texts",
    ]
    (warning,) = summarise(data(rows(20), test=[("new", 0), ("text 5", 1)]), trained=False).warnings
    assert warning.startswith("1 of 2 test texts also occur in the training rows of --task: if the model has seen")


def test_texts_that_stand_twice():
    """Whatever their case; in training they matter where their labels differ."""
    train = [*rows(20), ("Text 3 !", 1), ("text 4", 1), ("TEXT 4", 0), ("text 5", 0)]
    test = [("new 1", 0), ("New 1", 0), ("new 1.", 1), ("new 2", 0), ("new 3", 1), ("new 3", 1)]
    assert summarise(data(train, test=test)).warnings == [
        "2 training texts occur with different labels",
        "3 of 6 test rows repeat the text of another: intervals take them for different texts",
    ]
    (once,) = summarise(data([*rows(20), ("text 5", 0)], test=[("new", 0), ("other", 1)])).warnings
    assert once == "1 training text occurs with different labels"
    assert summarise(data([("a", 1.0), ("a", 2.5), ("c", 4.0)], ())).warnings == []


def test_texts_of_a_wrong_encoding():
    broken = [("cafÃ© noir", 0), ("na\ufffdve", 1), ("café", 0), ("Ärger – gut", 1)]
    first, second = summarise(data([*rows(20), *broken])).warnings
    assert first.startswith("1 training texts hold U+FFFD")
    assert first.endswith("(ids 21)")
    assert "'cafÃ© noir' (ids 20)" in second
    assert second.startswith("1 training texts seem to be UTF-8 that was read as CP1252")


def test_texts_that_look_like_missing_values():
    (warning,) = summarise(data([*rows(20), ("nan", 0), (" N/A ", 1), ("nan", 0), ("not na", 0)])).warnings
    assert warning == "3 training texts are 'N/A', 'nan', which looks like a missing text (ids 20, 21, 22)"


def test_what_was_read_unusually_and_left_out(tmp_path):
    path = tmp_path / "a.csv"
    text = "text;label\n" + "".join(f"é {i};{'ab'[i % 2]}\n" for i in range(40)) + ";a\n"
    path.write_bytes(text.encode("cp1252"))
    lines = summarise(load_task(str(path), encoding="cp1252", drop_empty=True)).lines()
    assert "left out of the training rows: 1 with empty text" in lines
    assert f"{path}: encoding cp1252, delimiter ';'" in lines
    assert "held out of the training rows, a tenth each: validation and test" in lines
