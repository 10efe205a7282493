"""The data of a run, where it lies now."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from rosetune.data.altered import flip_labels, hold_out_rows, rare_labels
from rosetune.data.labelled import LabelledFile, load_labelled_file
from rosetune.data.options import ReadOptions
from rosetune.data.rows import TaskData, shuffled_subset, take, text_keys
from rosetune.data.sources import load_task
from rosetune.data.split import shuffled
from rosetune.data.tasks import find_task
from rosetune.runs.config import RunConfig
from rosetune.runs.measures import Measures
from rosetune.runs.run import Run, RunError
from rosetune.runs.texts import reading_of

__all__ = ["checked_data", "config_now", "further_file", "load_data", "threshold_rows", "training_rows"]


def load_data(config: RunConfig) -> TaskData:
    """The task's data, as the configuration names it; with ``held_out``, without any row that is reported.

    Raises:
        DataError: the data cannot be read, or cannot be held out as asked.
        RunError: an option that needs labels, or a positive label that is none of them.
    """
    data = load_task(config.task, **config.data_options())
    if config.held_out is not None:
        data = hold_out_rows(data, config.held_out)
    if data.task_type == "regression" and (config.label_noise or config.imbalance):
        raise RunError("label_noise and imbalance need labels: the task is a regression")
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


def training_rows(config: RunConfig, data: TaskData, seed: int) -> tuple[Dataset, Dataset | None]:
    """What is trained on, and what is held out of it to choose the checkpoint; they share no text.

    Rare labels come before the subset, so that it has the size that was asked for; wrong labels come after it.
    """
    train = data.splits["train"]
    if config.imbalance is not None:
        train = rare_labels(train, config.imbalance, data.labels, seed)
    if config.max_train_samples is not None:
        train = shuffled_subset(train, config.max_train_samples, seed)
    if config.label_noise is not None:
        train = flip_labels(train, config.label_noise, len(data.labels), seed)
    if config.validation_from_train is None:
        return train, None
    keys = text_keys(train, data.text_columns)
    order = shuffled(keys, seed)
    chosen = set(order[: round(config.validation_from_train * len(order))])
    parts = {held: [row for row, key in enumerate(keys) if (key in chosen) is held] for held in (False, True)}
    if not all(parts.values()):
        raise RunError(
            f"validation_from_train={config.validation_from_train} of {len(order)} distinct texts leaves nothing on "
            "one side: give another share, or more data"
        )
    return take(train, parts[False]), take(train, parts[True])


def threshold_rows(config: RunConfig, data: TaskData) -> tuple[str, Dataset] | None:
    """Labelled rows that are neither trained on nor reported, to choose a threshold on, and what they are.

    Returns:
        "validation", the validation split, where a test split is reported; "held_out", the training rows that have
        chosen the checkpoint, where their labels are right; None where all rows are trained on or reported.
    """
    reported, _ = data.clean
    if reported == "test" and "validation" in data.splits:
        return "validation", data.splits["validation"]
    if config.validation_from_train is None or config.label_noise is not None or config.given:
        return None
    _, held_out = training_rows(config, data, config.seed)
    return None if held_out is None else ("held_out", held_out)
