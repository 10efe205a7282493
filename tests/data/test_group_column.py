"""The column of a user's file that names the group of each row."""

import csv
from pathlib import Path

import pytest

from rosetune.data.altered import hold_out_rows
from rosetune.data.labelled import load_labelled_file
from rosetune.data.options import ReadOptions
from rosetune.data.sources import load_task
from rosetune.data.tables import DataError


def write(path: Path, groups: list[str], start: int = 0) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(f"text number {start + i}", ("bad", "good")[i % 2], group) for i, group in enumerate(groups)]
        csv.writer(file).writerows([("text", "label", "language"), *rows])
    return path


LANGUAGES = ["de", " en ", "", "  "] * 20


def test_groups_follow_their_rows_into_what_is_held_out(tmp_path: Path) -> None:
    data = load_task(str(write(tmp_path / "my.csv", LANGUAGES)), group_column="language")
    assert {*data.groups} == {*data.splits} == {"train", "validation", "test"}
    for split, rows in data.splits.items():
        expected = {row: LANGUAGES[int(row)].strip() or None for row in rows["id"][:]}
        assert data.groups[split] == expected
    held_out = hold_out_rows(data, 0.2)
    assert held_out.groups["validation"].keys() >= {*held_out.splits["validation"]["id"][:]}


def test_the_column_changes_nothing_else(tmp_path: Path) -> None:
    path = str(write(tmp_path / "my.csv", LANGUAGES))
    plain, grouped = load_task(path), load_task(path, group_column="language")
    assert plain.groups == {}
    assert plain.fingerprint == grouped.fingerprint
    assert plain.splits["test"].column_names == grouped.splits["test"].column_names


def test_only_the_reported_file_needs_the_column(tmp_path: Path) -> None:
    train = tmp_path / "train.csv"
    train.write_text("text,label\n" + "".join(f"a {i},{'bg'[i % 2]}\n" for i in range(40)))
    test = tmp_path / "test.csv"
    test.write_text("text,label,language\nb,b,de\nc,g,\n")
    data = load_task(str(train), test_file=str(test), group_column="language")
    assert data.groups == {"test": {"0": "de", "1": None}}
    with pytest.raises(DataError, match=r"test\.csv has no column 'lang'.*--group_column"):
        load_task(str(train), test_file=str(test), group_column="lang")


def test_what_is_no_column_of_groups(tmp_path: Path) -> None:
    path = str(write(tmp_path / "my.csv", [str(i) for i in range(101)]))
    with pytest.raises(DataError, match=r"101 different values in 101 rows: .* at most 100 groups"):
        load_labelled_file(path, ["text"], None, ["bad", "good"], ReadOptions(group_column="language"))
    with pytest.raises(DataError, match="--group_column is for data files of your own"):
        load_task("sst2", group_column="language")


def test_a_further_file_has_groups_of_its_own(tmp_path: Path) -> None:
    path = str(write(tmp_path / "other.csv", ["de", "", "de"]))
    plain = load_labelled_file(path, ["text"], None, ["bad", "good"], ReadOptions())
    assert plain.groups is None
    grouped = load_labelled_file(path, ["text"], None, ["bad", "good"], ReadOptions(group_column="language"))
    assert grouped.groups == {"0": "de", "1": None, "2": "de"}


def test_a_training_set_of_one_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("text,label,language\n" + "".join(f"a {i},good,de\n" for i in range(40)))
    with pytest.raises(DataError, match="holds only the label 'good'; at least two are needed"):
        load_task(str(path), group_column="language")
