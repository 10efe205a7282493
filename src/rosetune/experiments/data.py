"""The data of a run, where it lies now."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rosetune.data.altered import hold_out_rows
from rosetune.data.labelled import LabelledFile, load_labelled_file
from rosetune.data.options import ReadOptions
from rosetune.data.rows import TaskData
from rosetune.data.sources import load_task
from rosetune.data.tasks import find_task
from rosetune.runs.config import RunConfig
from rosetune.runs.measures import Measures
from rosetune.runs.run import Run, RunError
from rosetune.runs.texts import reading_of

__all__ = ["checked_data", "config_now", "further_file", "load_data"]


def load_data(config: RunConfig) -> TaskData:
    """The task's data, as the configuration names it; with ``held_out``, without any row that is reported.

    Raises:
        DataError: the data cannot be read, or cannot be held out as asked.
        RunError: an option that needs labels, or a positive label that is none of them.
    """
    data = load_task(config.task, **config.data_options())
    if config.held_out is not None:
        data = hold_out_rows(data, config.held_out)
    if data.task_type == "regression" and (config.label_noise or config.imbalance or config.adversarial_file):
        raise RunError("label_noise, imbalance and adversarial_file need labels: the task is a regression")
    Measures.of(config).positive(data.labels)
    return data


def config_now(
    run: Run, kinds: Sequence[str] | str, moved: Mapping[str, str | None], noises: Sequence[str] | None = None
) -> RunConfig:
    """A run's configuration for another evaluation: on these kinds of sets, with its data where it lies now.

    Args:
        moved: ``task``, ``data_dir``, ``validation_file``, ``test_file``; None: where it was.
        noises: of the noise curve; None: the usual ones.
    """
    given: dict[str, Any] = {
        "sets": kinds,
        "noises": noises,
        **{name: value for name, value in moved.items() if value is not None},
    }
    return dataclasses.replace(run.config, **given)


def checked_data(run: Run, config: RunConfig, loaded: TaskData | None = None) -> TaskData:
    """The data of a run, or what was loaded of it already.

    Raises:
        DataError: it cannot be read.
        RunError: it is not what the run was trained on.
    """
    data, trained_on = loaded or load_data(config), run.identity["data_fingerprint"]
    if data.fingerprint != trained_on:
        raise RunError(
            f"the data of {config.task} is not what {run} was trained on: its training, validation and test files "
            f"together have the fingerprint {data.fingerprint[:12]}, then it was {trained_on[:12]}; point --task, "
            "--data_dir, --validation_file and --test_file to the same files, or train anew"
        )
    return data


def further_file(
    run: Run, path: str, reading: Mapping[str, Any] | None = None, column: str | None = None
) -> LabelledFile:
    """Another labelled file, read as the run's own files are.

    Args:
        column: that names the groups of its rows.
        reading: fields of :class:`~rosetune.data.options.ReadOptions` that are others for this file.

    Raises:
        DataError: the file cannot be read, or has other columns or labels.
    """
    options = ReadOptions(**{**reading_of(run.config), "group_column": column, **(reading or {})})
    columns, numbered = tuple(run.identity["text_columns"]), find_task(run.config.task) is not None
    return load_labelled_file(path, columns, run.config.label_column, run.labels, options, numbered=numbered)
