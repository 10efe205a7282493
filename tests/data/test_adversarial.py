"""Adversarial rows in a file: they follow the training rows, and none is evaluated on or held out in any guise."""

import json

import pytest

from rosetune.data.adversarial import add_adversarial_rows, read_adversarial_rows
from rosetune.data.rows import make_dataset, make_task_data
from rosetune.data.tables import DataError

LABELS = ("no", "yes")


def task():
    train = make_dataset("0123", {"text": ["a bad film", "a good film", "dull", "fine"]}, [0, 1, 0, 1])
    validation = make_dataset("01", {"text": ["so bad", "so good"]}, [0, 1])
    return make_task_data("t", ["text"], LABELS, {"train": train, "validation": validation})


def row(**changes):
    return {"id": "r1", "original": ["a bad film"], "texts": ["a b4d film"], "label": "no", **changes}


def file_of(path, *rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def test_they_follow_the_training_rows(tmp_path):
    data = task()
    path = file_of(tmp_path / "rows.jsonl", row(), row(id="r2", original=["Fine!"], texts=["f ine"], label="yes"))
    both = add_adversarial_rows(data.splits["train"], path, data)
    assert both["text"][:] == ["a bad film", "a good film", "dull", "fine", "a b4d film", "f ine"]
    assert both["label"][:] == [0, 1, 0, 1, 0, 1]
    assert len({*both["id"][:]}) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ["So, BAD"]}, "line 1: its text, or the one it was made of, is evaluated on or held out"),
        ({"original": ["so bad"]}, "line 1: its text, or the one it was made of, is evaluated on or held out"),
        ({"original": ["an unknown film"]}, "line 1: it was made of none of the rows that are trained on"),
        ({"label": "yes"}, "line 1: it has another label than the training row"),
        ({"label": "maybe"}, "line 1: label 'maybe' is none of the data's"),
        ({"texts": ["a", "b"]}, "line 1: the task has 1 texts a row"),
        ({"texts": "a b4d film"}, "line 1: a row has 'id', 'original', 'texts', 'label', of which"),
        ({"texts": [1]}, "line 1: the task has 1 texts a row"),
    ],
)
def test_a_row_that_may_not_be_trained_on_is_refused(tmp_path, changes, message):
    data, path = task(), file_of(tmp_path / "rows.jsonl", row(**changes))
    with pytest.raises(DataError, match=message):
        add_adversarial_rows(data.splits["train"], path, data)


def test_rows_held_out_of_the_training_rows_are_refused(tmp_path):
    data, path = task(), file_of(tmp_path / "rows.jsonl", row())
    train, held_out = data.splits["train"].select([1, 2, 3]), data.splits["train"].select([0])
    with pytest.raises(DataError, match="evaluated on or held out"):
        add_adversarial_rows(train, path, data, held_out)
    with pytest.raises(DataError, match="none of the rows that are trained on"):
        add_adversarial_rows(train, path, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the adversarial rows in .*No such file"),
        (b"", "holds no adversarial rows"),
        (b"\xff\n", "it is not UTF-8"),
        (b"{\n", "line 1: not valid JSON"),
        (b"[]\n", "line 1: a row has"),
        (json.dumps(row(texts=["half \ud83d"])).encode(), "line 1 holds half a character.*correct it or drop the row"),
        (json.dumps(row()).encode() + b"\n" + json.dumps(row()).encode() + b"\n", "an id occurs more than once"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(DataError, match=message):
        read_adversarial_rows(path)
