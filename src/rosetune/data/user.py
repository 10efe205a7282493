"""A user's own data: a file, a folder of files, or a dataset on the hub."""

import re
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from rosetune.data.hub import class_names, fetch, hub_table
from rosetune.data.rows import RESERVED, TaskData, make_dataset, make_task_data, take, text_keys
from rosetune.data.split import hold_out
from rosetune.data.tables import TABLE_SUFFIXES, DataError, Table, read_table
from rosetune.data.tasks import TASKS

__all__ = ["load_user_files", "load_user_hub"]

SPLIT_SEED = 0
_SPLIT_STEMS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
# Pairs come first: "sentence" may also be the second text of a pair.
_OBVIOUS_TEXTS = (*sorted({task.text_columns for task in TASKS.values()}, key=lambda c: (-len(c), c)), ("text",))
_OBVIOUS_LABEL = "label"
_INTEGER = re.compile(r"([+-]?\d+)(?:\.0*)?")


def load_user_files(
    path: Path,
    text_columns: Sequence[str] | None,
    label_column: str | None,
    validation_file: str | None,
    test_file: str | None,
) -> TaskData:
    """A user's file, which is split if it comes alone, or a folder with train, validation and test files.

    Args:
        path: file or folder.
        text_columns: one or two column names; may be None where the names are obvious (text, or those of a task).
        label_column: may be None where it is called "label".
        validation_file: used in place of the folder's or of a split.
        test_file: likewise.

    Raises:
        DataError: anything that keeps the data from being used, with file, line and remedy.
    """
    files = _files_in(path) if path.is_dir() else {"train": path}
    files |= {name: Path(f).expanduser() for name, f in (("validation", validation_file), ("test", test_file)) if f}
    tables = {split: read_table(file) for split, file in files.items()}
    name = path.resolve().name if path.is_dir() else path.stem
    return _assemble(name, tables, text_columns, label_column, None)


def load_user_hub(name: str, text_columns: Sequence[str] | None, label_column: str | None) -> TaskData:
    """A dataset on the hub, named "user/name" or "user/name:configuration".

    Raises:
        DataError: the hub is out of reach, has no such dataset, or its columns and labels do not fit.
    """
    repository, _, config = name.partition(":")
    fetched = fetch(repository, config or None, "pass a file of your own as --task, or use --task demo")
    found = {split: fetched[stem] for split, stems in _SPLIT_STEMS.items() for stem in stems if stem in fetched}
    if "train" not in found:
        raise DataError(f"{name} has no split 'train', only {', '.join(fetched)}")
    tables = {split: hub_table(f"{name}, split {split}", ds) for split, ds in found.items()}
    column = label_column or _OBVIOUS_LABEL
    labels = class_names(found["train"], column)
    if "test" in tables and set(tables["test"].columns.get(column, ())) == {"-1"}:
        del tables["test"]
    return _assemble(name, tables, text_columns, label_column, labels)


def _files_in(folder: Path) -> dict[str, Path]:
    files = {}
    for split, stems in _SPLIT_STEMS.items():
        found = sorted(p for p in folder.iterdir() if p.stem.lower() in stems and p.suffix.lower() in TABLE_SUFFIXES)
        if len(found) > 1:
            raise DataError(f"{folder} has several {split} files: {', '.join(p.name for p in found)}; keep one")
        if found:
            files[split] = found[0]
    if "train" not in files:
        there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise DataError(
            f"{folder} has no train file ({', '.join('train' + s for s in TABLE_SUFFIXES)}): found {there}"
        )
    return files


def _assemble(
    name: str,
    tables: dict[str, Table],
    text_columns: Sequence[str] | None,
    label_column: str | None,
    labels: Sequence[str] | None,
) -> TaskData:
    texts, label = _choose_columns(tables["train"], text_columns, label_column)
    names = {split: _label_names(table, label) for split, table in tables.items()}
    labels = tuple(map(_label_name, labels)) if labels else _in_order(names["train"])
    splits = {}
    for split, table in tables.items():
        numbers = _label_numbers(table, names[split], labels, split)
        columns = table.texts(texts, empty="never", remedy="; all files of a task need the same columns")
        splits[split] = make_dataset(map(str, range(len(table))), dict(zip(texts, columns, strict=True)), numbers)
    if "validation" not in splits:
        splits |= _hold_out(tables["train"].source, splits["train"], texts, "test" in splits)
    return make_task_data(name, texts, labels, splits)


def _hold_out(source: str, ds: Dataset, texts: Sequence[str], has_test: bool) -> dict[str, Dataset]:
    parts = ("validation",) if has_test else ("validation", "test")
    rows = hold_out(text_keys(ds, texts), ds["label"][:], parts, SPLIT_SEED)
    if not all(rows.values()):
        raise DataError(
            f"{source} has too few distinct texts ({len(ds)} rows) to hold some out for validation; "
            "add rows, or name a validation file"
        )
    return {split: take(ds, numbers) for split, numbers in rows.items()}


def _choose_columns(
    table: Table, text_columns: Sequence[str] | None, label_column: str | None
) -> tuple[tuple[str, ...], str]:
    label = label_column or _OBVIOUS_LABEL
    table.column(label, "; name the labels with --label_column")
    if text_columns is None:
        obvious = (names for names in _OBVIOUS_TEXTS if set(names) <= table.columns.keys() - {label})
        text_columns = next(obvious, ())
    # A string is a sequence of strings too.
    texts = (text_columns,) if isinstance(text_columns, str) else tuple(text_columns)
    if len(texts) not in (1, 2) or len(set(texts)) < len(texts) or label in texts:
        others = ", ".join(repr(name) for name in table.columns if name != label)
        raise DataError(f"{table.source}: name one or two text columns with --text_columns; it has {others}")
    for name in texts:
        table.column(name, "; name the texts with --text_columns")
        if name in RESERVED or name.startswith("original_"):
            raise DataError(f"{table.source}: a text column cannot be called {name!r} here; rename it")
    return texts, label


def _label_names(table: Table, column: str) -> list[str]:
    names = []
    for row, value in enumerate(table.column(column, "; all files of a task need the same columns")):
        if value is None or value == "" or str(value).isspace():
            raise DataError(f"{table.place(row)}: no label in column {column!r}; fill it in or drop the row")
        if not isinstance(value, str):
            raise DataError(f"{table.place(row)}: the label is a {type(value).__name__}, not a name or number")
        names.append(_label_name(value))
    return names


def _label_name(value: str) -> str:
    # A column of integers that once held a gap comes as 1.0 from many tools.
    number = _INTEGER.fullmatch(value.strip())
    return str(int(number[1])) if number else value.strip()


def _in_order(names: list[str]) -> tuple[str, ...]:
    distinct = set(names)
    return tuple(sorted(distinct, key=int) if all(_INTEGER.fullmatch(name) for name in distinct) else sorted(distinct))


def _label_numbers(table: Table, names: list[str], labels: Sequence[str], split: str) -> list[int]:
    number = {name: i for i, name in enumerate(labels)}
    # With 1 as the only other label, -1 is a class; otherwise it marks rows without a label, as in GLUE's test sets.
    unlabelled = set(labels) != {"-1", "1"}
    for row, name in enumerate(names):
        if name == "-1" and unlabelled:
            raise DataError(
                f"{table.place(row)}: label -1 means unlabelled; drop such rows or name another file "
                "(if -1 is a class of yours, write its name)"
            )
        if name not in number:
            known = ", ".join(map(repr, labels))
            raise DataError(
                f"{table.place(row)}: label {name!r} of the {split} data does not occur in the training data, "
                f"which has {known}; correct it or add training rows"
            )
    return [number[name] for name in names]
