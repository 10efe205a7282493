"""A user's own data: a file, a folder of files, or a dataset on the hub."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rosetune.data.assemble import OBVIOUS_LABEL, assemble
from rosetune.data.hub import class_names, fetch, hub_table, without_labels
from rosetune.data.options import ReadOptions
from rosetune.data.readers import DELIMITED, TABLE_SUFFIXES, read_table
from rosetune.data.rows import TaskData
from rosetune.data.tables import DataError

__all__ = ["load_user_files", "load_user_hub"]

_SPLIT_STEMS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def load_user_files(
    path: Path,
    text_columns: Sequence[str] | None,
    label_column: str | None,
    validation_file: str | None,
    test_file: str | None,
    options: ReadOptions,
) -> TaskData:
    """A user's file, which is split if it comes alone, or a folder with train, validation and test files.

    Args:
        path: file or folder.
        text_columns: one or two column names; may be None where the names are obvious (text, or those of a task).
        label_column: may be None where it is called "label".
        validation_file: used in place of the folder's or of a split.
        test_file: likewise.
        options: how the files are read.

    Raises:
        DataError: anything that keeps the data from being used, with file, line and remedy.
    """
    files = _files_in(path) if path.is_dir() else {"train": path}
    files |= {name: Path(f).expanduser() for name, f in (("validation", validation_file), ("test", test_file)) if f}
    if options.delimiter is not None and not any(file.suffix.lower() in DELIMITED for file in files.values()):
        raise DataError(f"--delimiter is for {' and '.join(DELIMITED)} files, which {path} is not")
    tables = {split: read_table(file, options.encoding, options.delimiter) for split, file in files.items()}
    name = path.resolve().name if path.is_dir() else path.stem
    return assemble(name, tables, text_columns, label_column, options)


def load_user_hub(
    name: str, text_columns: Sequence[str] | None, label_column: str | None, options: ReadOptions
) -> TaskData:
    """A dataset on the hub, named "user/name" or "user/name:configuration".

    Rows whose label is missing (None, or -1 among named classes, as in SNLI) are left out and counted; so is a
    validation or test split that has no label at all.

    Raises:
        DataError: the hub is out of reach, has no such dataset, or its columns and labels do not fit.
    """
    repository, _, config = name.partition(":")
    fetched = fetch(repository, config or None, "pass a file of your own as --task, or use --task demo")
    found = {split: fetched[stem] for split, stems in _SPLIT_STEMS.items() for stem in stems if stem in fetched}
    if "train" not in found:
        raise DataError(f"{name} has no split 'train', only {', '.join(fetched)}")
    column = label_column or OBVIOUS_LABEL
    tables = {split: hub_table(f"{name}, split {split}", ds) for split, ds in found.items()}
    hidden = [split for split, table in tables.items() if split != "train" and without_labels(table, column)]
    left_out = {split: {"no label": len(tables.pop(split))} for split in hidden}
    classes = class_names(found["train"], column)
    data = assemble(name, tables, text_columns, label_column, options, classes, on_hub=True)
    return dataclasses.replace(data, left_out={**data.left_out, **left_out})


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
