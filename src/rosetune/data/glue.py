"""The GLUE tasks, from a folder in GLUE's own layout or from the hub."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from rosetune.data.hub import fetch, hub_table
from rosetune.data.rows import TaskData, make_dataset, make_task_data
from rosetune.data.tables import DataError, Table, read_tsv
from rosetune.data.tasks import Task, find_task

__all__ = ["benchmark_ids", "benchmark_labels", "load_glue_folder", "load_glue_hub"]

UNLABELLED = "-1"


def load_glue_folder(task: Task, data_dir: str) -> TaskData:
    """A GLUE task from `data_dir/SST-2/train.tsv` and so on; `data_dir` may be the task's own folder.

    Raises:
        DataError: files are missing (the message says which were looked for) or malformed.
    """
    folder = _find_folder(task, Path(data_dir).expanduser())
    splits = {}
    for split, names in task.tsv_files.items():
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is not None:
            table = read_tsv(path, task.tsv_header)
            splits[split] = _dataset(task, table, task.tsv_text or task.text_columns, task.tsv_label, "index")
    if "train" not in splits or not splits.keys() & {"validation", "test"}:
        wanted = ", ".join(name for names in task.tsv_files.values() for name in names)
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise DataError(f"{folder} does not hold {task.name}: looked for {wanted}; found {found}")
    return make_task_data(task.name, task.text_columns, task.labels, splits)


def _find_folder(task: Task, data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise DataError(f"the data folder {data_dir} does not exist")
    for folder in (*sorted(path for path in data_dir.iterdir() if path.is_dir()), data_dir.resolve()):
        if find_task(folder.name) is task:
            return folder
    files = ", ".join(f"{task.folder}/{names[0]}" for names in task.tsv_files.values())
    raise DataError(f"{data_dir} has no folder {task.folder} (or {task.name}): looked for {files}")


def load_glue_hub(task: Task) -> TaskData:
    """A GLUE task from the hub; splits without labels are left out.

    Raises:
        DataError: the hub is out of reach.
    """
    assert task.hub is not None
    repository, config = task.hub
    remedy = f"pass --data_dir with GLUE's files ({task.folder}/train.tsv, ...), or use --task demo"
    splits = {}
    for hub_name, ds in fetch(repository, config, remedy).items():
        split = hub_name.removesuffix("_matched")
        if split not in ("train", "validation", "validation_mismatched", "test"):
            continue
        table = hub_table(f"{repository} {config}, split {hub_name}", ds)
        if set(table.column("label")) != {UNLABELLED}:
            splits[split] = _dataset(task, table, task.text_columns, "label", "idx")
    return make_task_data(task.name, task.text_columns, task.labels, splits)


def _dataset(task: Task, table: Table, text: Sequence[str], label: str, index: str) -> Dataset:
    # The published QQP has pairs whose second question is empty.
    texts = table.texts(text, empty="one")
    labels = benchmark_labels(task, table, label)
    return make_dataset(benchmark_ids(table, index), dict(zip(task.text_columns, texts, strict=True)), labels)


def benchmark_ids(table: Table, index: str) -> list[str]:
    """The benchmark's own index where it is there and unique, else the row's position, counted from 0."""
    ids = table.columns.get(index)
    if ids is None or None in ids or len(set(ids)) < len(ids):
        return [str(i) for i in range(len(table))]
    return ids


def benchmark_labels(task: Task, table: Table, column: str) -> list[int]:
    """A benchmark's labels, given as names or as GLUE's integers, as integers.

    Raises:
        DataError: a missing or unknown label, or -1, which marks rows without a label.
    """
    numbers = {name: i for i, name in enumerate(task.labels)} | {str(i): i for i in range(len(task.labels))}
    values = table.column(column)
    for row, value in enumerate(values):
        if value == UNLABELLED:
            raise DataError(f"{table.place(row)}: label -1 means unlabelled; drop such rows or name another file")
        if value not in numbers:
            known = ", ".join(f"{i} or {name}" for i, name in enumerate(task.labels))
            raise DataError(f"{table.place(row)}: unknown label {value!r}; {task.name} has {known}")
    return [numbers[value] for value in values]
