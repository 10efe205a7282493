"""Where data comes from: one string names a task, the demo, a user's file or a dataset on the hub."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from rosetune.data.advglue import load_advglue
from rosetune.data.embedded import load_demo
from rosetune.data.glue import load_glue_folder, load_glue_hub
from rosetune.data.inputs import read_inputs
from rosetune.data.options import ReadOptions, TaskType
from rosetune.data.readers import TABLE_SUFFIXES
from rosetune.data.rows import TaskData, align_labels, remove_shared, shuffled_subset
from rosetune.data.tables import DataError
from rosetune.data.tasks import TASKS, Task, find_task
from rosetune.data.user import load_user_files, load_user_hub

__all__ = [
    "DataError",
    "TaskData",
    "align_labels",
    "load_advglue",
    "load_task",
    "read_inputs",
    "remove_shared",
    "shuffled_subset",
]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def load_task(
    task: str,
    *,
    data_dir: str | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    validation_file: str | None = None,
    test_file: str | None = None,
    drop_empty: bool = False,
    drop_unlabelled: bool = False,
    encoding: str | None = None,
    delimiter: str | None = None,
    task_type: TaskType | None = None,
    group_column: str | None = None,
) -> TaskData:
    """Load a task's splits.

    Args:
        task: a name of `TASKS` (in any case, with or without hyphens), the path of a file or folder, or a hub dataset
            ("user/name", "user/name:configuration").
        data_dir: a folder with GLUE's own folders; for a GLUE task, None means the hub.
        text_columns: one or two columns, for a user's file or hub dataset.
        label_column: likewise.
        validation_file: for a user's file; without it a tenth of the training rows is held out.
        test_file: likewise.
        drop_empty: leave out rows with an empty text, instead of refusing the data.
        drop_unlabelled: leave out rows without a label, likewise; on the hub a missing label is always left out.
        encoding: of a user's text files; None: UTF-8, or what a byte-order mark says. Several with commas
            ("utf-8,cp1252"): each line is read in the first that fits.
        delimiter: of a user's .csv and .tsv files, one character or "tab"; None: it is found out.
        task_type: "classification" or "regression". None: classification, but labels that are no whole numbers, or a
            number of its own for each row, are refused with the question what they are.
        group_column: of a user's file or hub dataset, which tells the group of each row.

    Raises:
        DataError: the data is not there or cannot be used; the message says where and what to do.
    """
    options = ReadOptions(drop_empty, drop_unlabelled, encoding, delimiter, task_type, group_column)
    own_files = {"validation_file": validation_file, "test_file": test_file}
    own_files |= {"encoding": encoding, "delimiter": delimiter}
    grouped = {"group_column": group_column}
    known = find_task(task)
    if known is not None:
        _refuse(task, {"text_columns": text_columns, "label_column": label_column, **own_files, **grouped})
        if task_type not in (None, known.task_type):
            raise DataError(f"--task_type {task_type}: the task {known.name} is one of {known.task_type}")
        return _load_known(known, data_dir, options)
    path = Path(task).expanduser()
    if path.exists():
        return load_user_files(path, text_columns, label_column, validation_file, test_file, options)
    if _HUB_ID.fullmatch(task) and path.suffix.lower() not in TABLE_SUFFIXES and not task.startswith("."):
        _refuse(task, own_files)
        return load_user_hub(task, text_columns, label_column, options)
    raise DataError(_unknown(task))


def _load_known(task: Task, data_dir: str | None, options: ReadOptions) -> TaskData:
    if task.name == "demo":
        return load_demo()
    return load_glue_hub(task, options) if data_dir is None else load_glue_folder(task, data_dir, options)


def _refuse(task: str, given: Mapping[str, Sequence[str] | None]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise DataError(f"--{names[0]} is for data files of your own; the task {task!r} brings its own")


def _unknown(task: str) -> str:
    if "/" in task or Path(task).suffix.lower() in TABLE_SUFFIXES:
        return f"there is no file or folder {task}"
    near = get_close_matches(task.lower(), TASKS, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"unknown task {task!r}.{guess} Use one of {', '.join(TASKS)}, the path of a {', '.join(TABLE_SUFFIXES)} file "
        "or of a folder with such files, or a hub dataset as user/name"
    )
