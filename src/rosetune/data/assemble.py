"""From the tables of a user's files or hub dataset to the splits of a task."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from datasets import Dataset

from rosetune.data.gaps import Gaps, empty_texts, refuse_gaps, without_label
from rosetune.data.grouped import groups_of
from rosetune.data.labels import UNLABELLED, check_classes, in_order, label_cells, label_name, numbers_of
from rosetune.data.options import ReadOptions
from rosetune.data.rows import RESERVED, TaskData, make_dataset, make_task_data, take, text_keys
from rosetune.data.split import hold_out
from rosetune.data.tables import DataError, Table, names_of, quoted
from rosetune.data.tasks import TASKS

__all__ = ["OBVIOUS_LABEL", "assemble", "obvious_texts"]

OBVIOUS_LABEL = "label"
SPLIT_SEED = 0
# Pairs come first: "sentence" may also be the second text of a pair.
_OBVIOUS_TEXTS = (*sorted({task.text_columns for task in TASKS.values()}, key=lambda c: (-len(c), c)), ("text",))
_SAME_COLUMNS = "; all files of a task need the same columns"


class _Part(NamedTuple):
    """One split as it was read: its table, the cells of its text columns and of its label column."""

    table: Table
    texts: list[list[str | None]]
    labels: list[str | None]


def assemble(
    name: str,
    tables: Mapping[str, Table],
    text_columns: Sequence[str] | None,
    label_column: str | None,
    options: ReadOptions,
    classes: Sequence[str] | None = None,
    on_hub: bool = False,
) -> TaskData:
    """The data of one task.

    Args:
        name: of the task.
        tables: by split; without a validation split some training rows are held out.
        text_columns: None where they are obvious.
        label_column: likewise.
        options: what is left out, and what the labels are.
        classes: their names in order, where the source knows them; then "-1" may be one of them.
        on_hub: rows without a label are left out, since nobody can fill them in.

    Raises:
        DataError: anything that keeps the data from being used.
    """
    texts, column = _choose_columns(tables["train"], text_columns, label_column)
    parts = {
        split: _Part(table, table.texts(texts, _SAME_COLUMNS), label_cells(table, column, _SAME_COLUMNS))
        for split, table in tables.items()
    }
    mark = _mark(parts["train"].labels, options, classes)
    gaps = {
        split: Gaps(
            part.table,
            empty_texts(texts, part.texts),
            without_label(part.labels, column, mark),
            options,
            frozenset(row for row, cell in enumerate(part.labels) if on_hub and cell is None),
        )
        for split, part in parts.items()
    }
    refuse_gaps(list(gaps.values()))
    kept = {split: found.kept() for split, found in gaps.items()}
    labels, targets = _targets(parts, kept, column, options, classes)
    # The id is the number of the row in the file, whatever is left out of it.
    splits = {
        split: make_dataset(
            map(str, kept[split]),
            {text: [cells[row] or "" for row in kept[split]] for text, cells in zip(texts, part.texts, strict=True)},
            targets[split],
        )
        for split, part in parts.items()
    }
    notes = [f"{table.source}: {table.note}" for table in tables.values() if table.note]
    if "validation" not in splits:
        held_out = ("validation",) if "test" in splits else ("validation", "test")
        splits |= _hold_out(tables["train"].source, splits["train"], texts, held_out)
        notes.append(f"held out of the training rows, a tenth each: {' and '.join(held_out)}")
    left_out = {split: found.left_out() for split, found in gaps.items()}
    return make_task_data(
        name,
        texts,
        labels,
        splits,
        task_type=options.task_type or "classification",
        left_out=left_out,
        notes=notes,
        groups=None if options.group_column is None else _groups(options.group_column, tables, splits),
    )


def _groups(
    column: str, tables: Mapping[str, Table], splits: Mapping[str, Dataset]
) -> dict[str, dict[str, str | None]]:
    """By split the group of each row; of a split without the column nothing, unless it is the one that is reported."""
    reported = "test" if "test" in splits else "validation"
    found = {}
    for split, rows in splits.items():
        table = tables.get(split, tables["train"])  # what was held out stands in the training file
        if split == reported or column in table.columns:
            found[split] = groups_of(table, column, rows["id"][:])
    return found


def _mark(cells: Sequence[str | None], options: ReadOptions, classes: Sequence[str] | None) -> str | None:
    """The label that marks rows without one, as in GLUE's test sets; None where it is a class or a number."""
    # With 1 as the only other label, -1 is a class.
    names = {label_name(cell) for cell in cells if cell is not None} if classes is None else {*classes}
    known = UNLABELLED in names and (classes is not None or names == {UNLABELLED, "1"})
    return None if known or options.task_type == "regression" else UNLABELLED


def _targets(
    parts: Mapping[str, _Part],
    kept: Mapping[str, Sequence[int]],
    column: str,
    options: ReadOptions,
    classes: Sequence[str] | None,
) -> tuple[tuple[str, ...], Mapping[str, Sequence[int] | Sequence[float]]]:
    """The label names, none in a regression, and per split the classes or numbers of the rows that are kept."""
    if options.task_type == "regression":
        if classes:
            raise DataError(f"column {column!r} holds the classes {names_of(classes)}, not numbers to predict")
        return (), {s: numbers_of(part.table, column, part.labels, kept[s]) for s, part in parts.items()}
    names = {split: {row: label_name(part.labels[row] or "") for row in kept[split]} for split, part in parts.items()}
    if classes is None:
        own = list(names["train"].values())
        check_classes(parts["train"].table.source, column, own, sure=options.task_type == "classification")
        classes = in_order(own)
    labels = tuple(map(label_name, classes))
    return labels, {s: _indices(part.table, names[s], labels, s) for s, part in parts.items()}


def _indices(table: Table, names: Mapping[int, str], labels: Sequence[str], split: str) -> list[int]:
    index = {name: i for i, name in enumerate(labels)}
    for row, name in names.items():
        if name not in index:
            raise DataError(
                f"{table.place(row)}: label {quoted(name)} of the {split} data does not occur in the training data, "
                f"which has {names_of(labels)}; correct it or add training rows"
            )
    return [index[name] for name in names.values()]


def obvious_texts(columns: Collection[str]) -> tuple[str, ...]:
    """The text columns of a file whose names leave no doubt: those of a known task, or "text"; else none."""
    return next((names for names in _OBVIOUS_TEXTS if {*names} <= {*columns}), ())


def _choose_columns(
    table: Table, text_columns: Sequence[str] | None, label_column: str | None
) -> tuple[tuple[str, ...], str]:
    label = label_column or OBVIOUS_LABEL
    if label not in table.nested:
        table.column(label, "; name the labels with --label_column")
    if text_columns is None:
        text_columns = obvious_texts(table.columns.keys() - {label})
    # A string is a sequence of strings too.
    texts = (text_columns,) if isinstance(text_columns, str) else tuple(text_columns)
    if len(texts) not in (1, 2) or len(set(texts)) < len(texts) or label in texts:
        others = names_of([name for name in table.columns if name != label])
        raise DataError(f"{table.source}: name one or two text columns with --text_columns; it has {others}")
    for name in texts:
        table.column(name, "; name the texts with --text_columns")
        if name in RESERVED or name.startswith("original_"):
            raise DataError(f"{table.source}: a text column cannot be called {name!r} here; rename it")
    return texts, label


def _hold_out(source: str, ds: Dataset, texts: Sequence[str], parts: Sequence[str]) -> dict[str, Dataset]:
    # The values of a regression are not spread evenly: each would be a class of its own.
    classes = ds["label"][:] if ds.features["label"].dtype == "int64" else [0] * len(ds)
    keys = text_keys(ds, texts)
    rows = hold_out(keys, classes, parts, SPLIT_SEED)
    if not all(rows.values()):
        each = f" with {len({*classes})} labels, each of which keeps one to train on" if any(classes) else ""
        raise DataError(
            f"{source} has too few distinct texts to hold some out for validation: {len({*keys})} in {len(ds)} rows"
            f"{each}; add rows, or name a validation file"
        )
    return {split: take(ds, numbers) for split, numbers in rows.items()}
