"""What a model that was trained elsewhere must be like to become a run on this data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosetune.data.rows import TaskData
from rosetune.data.summary import summarise
from rosetune.experiments.models import is_unnamed
from rosetune.robustness.classifier import CallableClassifier, as_classifier
from rosetune.robustness.functions import import_function, is_function_name, root_of, source_hash, source_of
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

__all__ = ["about_function", "check_labels", "describe"]


def about_function(config: RunConfig, data: TaskData, report: Callable[[str], Any]) -> dict[str, Any]:
    """What a run's folder keeps of its function, see :func:`~rosetune.robustness.functions.read_function`.

    Raises:
        RunError: it cannot be imported, is no function, or has other labels than the data.
    """
    name = config.model_name_or_path
    if not data.labels:
        raise RunError(f"{name} gives a probability for each label, the data holds numbers: give a model with weights")
    try:
        source = source_of(name)
        found = as_classifier(import_function(name), labels=config.labels or data.labels)
    except ValueError as error:
        raise RunError(str(error)) from error
    if not isinstance(found, CallableClassifier):
        raise RunError(
            f"{name} is of type {type(found).__name__}, not a function: of a pipeline or model save the weights "
            "(pipe.save_pretrained('folder')) and give --model_name_or_path folder"
        )
    if config.labels is not None:
        check_labels(name, config.labels, data.labels)
    first = data.clean[1][:2]
    try:  # before anything is said or written: most of what can be wrong with a function shows at once
        found(list(zip(*(first[column] for column in data.text_columns), strict=True)))
    except ValueError as error:
        raise RunError(f"{name}: {error}") from error
    if config.labels is None:
        report(f"{name}: its columns are taken as {', '.join(data.labels)} (--labels names them in another order)")
    return {
        "callable": name,
        "outputs": list(config.labels or data.labels),
        "labels": list(data.labels),
        "normalize": list(config.normalize or ()),
        "root": str(root_of(name, source)),
        "sha256": source_hash(source),
    }


def describe(config: RunConfig, data: TaskData) -> list[str]:
    """What was read, a line for each fact, for who only evaluates.

    A file that comes alone is split as for a training, so that runs that were trained on it stay comparable; then it
    is said how all of its rows are evaluated. Of a run's folder, whose model was trained here, it is not: it may have
    been trained on most of these rows.
    """
    if (Path(config.model_name_or_path).expanduser() / "run.json").is_file():
        return summarise(data).lines()
    found = summarise(data, trained=False)
    alone = Path(config.task).expanduser().is_file() and config.validation_file is None and config.test_file is None
    said = (
        f"nothing is trained here: the {found.rows['train']:,} training rows are not evaluated; give the file as "
        "--test_file too to evaluate all of its rows"
    )
    return replace(found, notes=[*found.notes, *([said] if alone else [])]).lines()


def check_labels(name: str, own: tuple[str, ...], data: tuple[str, ...]) -> None:
    """Refuse a model whose labels are not those of the data.

    Args:
        name: of the model.
        own: its labels, none of a regression.
        data: those of the data, likewise.

    Raises:
        RunError: they differ, in kind, number or name.
    """
    if bool(own) is not bool(data):
        kinds = ("a regression, with one number as output", f"labels ({', '.join(own or data)})")
        model, rows = kinds if data else kinds[::-1]
        raise RunError(f"{name} gives {model}, the data holds {rows}: give data of the same kind (--task_type)")
    columns = f"name its columns with --labels, of {', '.join(data)}" if is_function_name(name) else None
    if len(own) != len(data):
        raise RunError(
            f"the labels of {name} are {', '.join(own)}, those of the data {', '.join(data)}: "
            f"{columns or 'give data with as many labels, or a model for these'}"
        )
    # Of a head that names nothing load_classifier says how its outputs are taken.
    if not is_unnamed(own) and {_folded(label) for label in own} != {_folded(label) for label in data}:
        raise RunError(
            f"{name} tells apart {', '.join(own)}, the data {', '.join(data)}: "
            f"{columns or 'give data with the same label names, or a model whose config.json names them (id2label)'}"
        )


def _folded(label: str) -> str:
    return label.casefold().strip()
