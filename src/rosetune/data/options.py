"""How a user wants data to be read, and what may be left out of it."""

from dataclasses import dataclass
from typing import Literal

from rosetune.data.tables import DataError

__all__ = ["ReadOptions", "TaskType"]

TaskType = Literal["classification", "regression"]


@dataclass(frozen=True)
class ReadOptions:
    """The options of :func:`~rosetune.data.sources.load_task` by the same names.

    Raises:
        DataError: an unknown task type.
    """

    drop_empty: bool = False
    drop_unlabelled: bool = False
    encoding: str | None = None
    delimiter: str | None = None
    task_type: TaskType | None = None
    group_column: str | None = None

    def __post_init__(self) -> None:
        if self.task_type not in (None, "classification", "regression"):
            raise DataError(f"--task_type must be classification or regression, not {self.task_type!r}")
