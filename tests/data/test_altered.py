"""Rows held out to choose on, wrong labels, rare labels: counts and rows by hand."""

from collections import Counter

import pytest

from rosetune.data.altered import flip_labels, hold_out_rows, rare_labels
from rosetune.data.rows import make_dataset, make_task_data, text_keys
from rosetune.data.tables import DataError


def rows(n, labels=2, start=0):
    texts = [f"text number {i}" for i in range(start, start + n)]
    return make_dataset([str(i) for i in range(n)], {"text": texts}, [i % labels for i in range(n)])


def task(n=100):
    splits = {"train": rows(n), "validation": rows(20, start=1000), "test": rows(10, start=2000)}
    return make_task_data("t", ["text"], ["no", "yes"], splits)


@pytest.mark.parametrize(("amount", "expected"), [(0.1, 10), (0.37, 37), (25, 25), (1, 1)])
def test_held_out_rows_are_training_rows_and_nothing_else_is_left(amount, expected):
    data = task()
    held = hold_out_rows(data, amount)
    assert set(held.splits) == {"train", "validation"}
    assert held.clean[0] == "validation"
    assert len(held.splits["validation"]) == expected
    own, kept, before = (
        set(text_keys(ds, ["text"])) for ds in (held.splits["validation"], held.splits["train"], data.splits["train"])
    )
    assert own | kept == before
    assert not own & kept
    assert held.fingerprint != data.fingerprint


def test_what_is_held_out_depends_on_the_texts_alone():
    data = task()
    turned = make_task_data("t", ["text"], ["no", "yes"], {"train": data.splits["train"].select(range(99, -1, -1))})
    assert set(text_keys(hold_out_rows(turned, 0.2).splits["validation"], ["text"])) == set(
        text_keys(hold_out_rows(data, 0.2).splits["validation"], ["text"])
    )


def test_equal_texts_stay_on_one_side():
    texts = [f"text {i // 2}" for i in range(40)]
    train = make_dataset(map(str, range(40)), {"text": texts}, [i // 2 % 2 for i in range(40)])
    held = hold_out_rows(make_task_data("t", ["text"], ["no", "yes"], {"train": train}), 5)
    assert len(held.splits["validation"]) == 10


@pytest.mark.parametrize("amount", [0.001, 0.999, 100, 5000])
def test_an_empty_side_is_refused(amount):
    with pytest.raises(DataError, match="nothing on one side"):
        hold_out_rows(task(), amount)


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_flipped_labels_are_as_many_as_asked_and_all_wrong(labels):
    before = rows(300, labels)
    after = flip_labels(before, 0.25, labels, seed=3)
    changed = [(a, b) for a, b in zip(before["label"], after["label"], strict=True) if a != b]
    assert len(changed) == 75
    assert {b for _, b in changed} == set(range(labels))
    assert after["text"][:] == before["text"][:]
    assert flip_labels(before, 0.25, labels, seed=3)["label"][:] == after["label"][:]
    assert flip_labels(before, 0.25, labels, seed=4)["label"][:] != after["label"][:]


def test_rare_labels_keep_their_share_of_the_last_label_and_all_others():
    before = rows(200)
    after = rare_labels(before, 0.1, ["no", "yes"], seed=1)
    assert Counter(after["label"]) == {0: 100, 1: 10}
    assert [i for i in map(int, after["id"]) if i % 2 == 0] == list(range(0, 200, 2))
    assert list(map(int, after["id"])) == sorted(map(int, after["id"]))


def test_no_row_left_is_refused():
    with pytest.raises(DataError, match="none of the 100 rows of the label 'yes'"):
        rare_labels(rows(200), 0.001, ["no", "yes"], seed=1)


def test_a_training_row_that_is_reported_too_is_never_held_out():
    reported = ["Text  number 3", "text number 4", "text number 5"]  # equal but for case and spaces
    validation = make_dataset(["a", "b", "c"], {"text": reported}, [0, 1, 0])
    data = make_task_data("t", ["text"], ["no", "yes"], {"train": rows(10), "validation": validation})
    held = hold_out_rows(data, 6)
    assert not {"text number 3", "text number 4", "text number 5"} & {*held.splits["validation"]["text"]}
    assert {"text number 3", "text number 4", "text number 5"} < {*held.splits["train"]["text"]}
