"""The GLUE tasks, from a folder in GLUE's own layout or from the hub."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from rosetune.data.delimited import read_tsv
from rosetune.data.gaps import Gaps, empty_texts, refuse_gaps
from rosetune.data.hub import fetch, hub_table, without_labels
from rosetune.data.labels import UNLABELLED, label_cells, numbers_of
from rosetune.data.options import ReadOptions
from rosetune.data.rows import TaskData, make_dataset, make_task_data
from rosetune.data.tables import DataError, Table, quoted
from rosetune.data.tasks import Task, find_task

__all__ = ["benchmark_ids", "benchmark_labels", "load_glue_folder", "load_glue_hub", "unlabelled"]


def load_glue_folder(task: Task, data_dir: str, options: ReadOptions) -> TaskData:
    """A GLUE task from `data_dir/SST-2/train.tsv` and so on; `data_dir` may be the task's own folder.

    Raises:
        DataError: files are missing (the message says which were looked for) or malformed.
    """
    folder = _find_folder(task, Path(data_dir).expanduser())
    tables = {}
    for split, names in task.tsv_files.items():
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is not None:
            tables[split] = read_tsv(path, task.tsv_header)
    if "train" not in tables or not tables.keys() & {"validation", "test"}:
        wanted = ", ".join(name for names in task.tsv_files.values() for name in names)
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise DataError(f"{folder} does not hold {task.name}: looked for {wanted}; found {found}")
    return _assemble(task, tables, task.tsv_text or task.text_columns, task.tsv_label, "index", options)


def _find_folder(task: Task, data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise DataError(f"the data folder {data_dir} does not exist")
    for folder in (*sorted(path for path in data_dir.iterdir() if path.is_dir()), data_dir.resolve()):
        if find_task(folder.name) is task:
            return folder
    files = ", ".join(f"{task.folder}/{names[0]}" for names in task.tsv_files.values())
    raise DataError(f"{data_dir} has no folder {task.folder} (or {task.name}): looked for {files}")


def load_glue_hub(task: Task, options: ReadOptions) -> TaskData:
    """A GLUE task from the hub; splits and rows without labels are left out and counted.

    Raises:
        DataError: the hub is out of reach.
    """
    assert task.hub is not None
    repository, config = task.hub
    remedy = f"pass --data_dir (a plan: data_dir) with GLUE's files ({task.folder}/train.tsv, ...), or use --task demo"
    tables, hidden = {}, {}
    for hub_name, ds in fetch(repository, config, remedy).items():
        split = hub_name.removesuffix("_matched")
        if split not in ("train", "validation", "validation_mismatched", "test"):
            continue
        table = hub_table(f"{repository} {config}, split {hub_name}", ds)
        table.column("label")
        if without_labels(table, "label"):
            hidden[split] = {"no label": len(table)}
        else:
            tables[split] = table
    options = dataclasses.replace(options, drop_unlabelled=True)
    data = _assemble(task, tables, task.text_columns, "label", "idx", options)
    return dataclasses.replace(data, left_out={**data.left_out, **hidden})


def _assemble(
    task: Task, tables: Mapping[str, Table], text: Sequence[str], label: str, index: str, options: ReadOptions
) -> TaskData:
    cells = {split: label_cells(table, label) for split, table in tables.items()}
    # The published QQP has pairs whose second question is empty.
    gaps = {
        split: Gaps(table, empty_texts(text, table.texts(text), "one"), unlabelled(task, cells[split], label), options)
        for split, table in tables.items()
    }
    refuse_gaps(list(gaps.values()))
    splits = {}
    for split, table in tables.items():
        kept, ids = gaps[split].kept(), benchmark_ids(table, index)
        columns = zip(task.text_columns, table.texts(text), strict=True)
        texts = {name: [column[row] or "" for row in kept] for name, column in columns}
        labels = benchmark_labels(task, table, cells[split], kept, label)
        splits[split] = make_dataset([ids[row] for row in kept], texts, labels)
    left_out = {split: found.left_out() for split, found in gaps.items()}
    return make_task_data(
        task.name, task.text_columns, task.labels, splits, task_type=task.task_type, left_out=left_out
    )


def unlabelled(task: Task, cells: Sequence[str | None], column: str) -> dict[int, str]:
    """The rows of a benchmark without a label, and how it is missing; -1 marks them too."""
    missing = {row: f"no label in column {column!r}" for row, cell in enumerate(cells) if cell is None}
    if task.labels:
        missing |= {row: "label -1 means unlabelled" for row, cell in enumerate(cells) if cell == UNLABELLED}
    return missing


def benchmark_ids(table: Table, index: str) -> list[str]:
    """The benchmark's own index where it is there and unique, else the row's position, counted from 0."""
    ids = table.columns.get(index)
    if ids is None or None in ids or len(set(ids)) < len(ids):
        return [str(i) for i in range(len(table))]
    return ids


def benchmark_labels(
    task: Task, table: Table, cells: Sequence[str | None], rows: Sequence[int], column: str
) -> Sequence[int] | Sequence[float]:
    """The labels of some rows: GLUE's integers, from names or integers, or the numbers of a regression.

    Args:
        task: says which labels there are.
        table: for messages.
        cells: the label column.
        rows: which of them.
        column: its name.

    Raises:
        DataError: an unknown label.
    """
    if not task.labels:
        return numbers_of(table, column, cells, rows)
    numbers = {name: i for i, name in enumerate(task.labels)} | {str(i): i for i in range(len(task.labels))}
    labels = []
    for row in rows:
        label = numbers.get(cells[row] or "")
        if label is None:
            known = ", ".join(f"{i} or {name}" for i, name in enumerate(task.labels))
            raise DataError(f"{table.place(row)}: unknown label {quoted(cells[row])}; {task.name} has {known}")
        labels.append(label)
    return labels
