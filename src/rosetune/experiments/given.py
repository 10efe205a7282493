"""Models that were trained elsewhere, and files that a run has not seen."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune._files import write_json
from rosetune.data.adversarial import add_adversarial_rows
from rosetune.data.labelled import LabelledFile
from rosetune.data.rows import TaskData, text_keys
from rosetune.data.summary import count_shared, shared_sentence
from rosetune.data.tables import DataError
from rosetune.experiments.data import checked_data, further_file, load_data
from rosetune.experiments.evaluate import NOTHING_ELSE, evaluate_run, predict_rows, write_metrics
from rosetune.experiments.folder import claim_folder, discard, give_back, holds, make_folder
from rosetune.experiments.given_models import about_function, check_labels, describe
from rosetune.experiments.lock import locked
from rosetune.experiments.measured import ask_for, note_features
from rosetune.experiments.models import (
    load_classifier,
    load_tokenizer,
    load_trained,
    quiet_libraries,
    save_trained,
)
from rosetune.experiments.opened import told_steps
from rosetune.experiments.training_rows import training_rows
from rosetune.experiments.upgrade import bring_up_to_date
from rosetune.robustness.functions import FILE, is_function_name
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_json
from rosetune.runs.identity import file_hash, folder_name
from rosetune.runs.measures import Measures
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = ["behind_normalization", "evaluate_file", "evaluate_given"]


def evaluate_given(config: RunConfig, report: Callable[[str], Any] = print, *, data: TaskData | None = None) -> Path:
    """Make a run of a model that was trained elsewhere: evaluated, and kept in the folder, as if trained here.

    Args:
        config: with ``given``.
        report: takes a line of text for the person who waits.
        data: of the configuration, where it has been read already.

    Returns:
        The run's folder.

    Raises:
        RunError: the model cannot be loaded, has no trained head, or other labels than the data.
        ValueError: a function that fails, or does not give probabilities.
        DataError: the data cannot be read.
    """
    quiet_libraries()
    data = load_data(config) if data is None else data
    identity = config.identity(
        task=data.name, text_columns=data.text_columns, fingerprint=data.fingerprint, defaults={}
    )
    folder = config.folder(identity)
    holds(folder, identity)  # what else lies there is refused before anything is made
    make_folder(folder)
    with locked(folder):
        known = holds(folder, identity)  # another process may have come and gone
        try:
            _evaluate(config, data, identity, folder, known, report)
        except BaseException:
            if is_function_name(config.model_name_or_path) and not known:
                discard(folder)  # a function that fails at the hundredth text leaves no half of a run
            else:
                give_back(folder)
            raise
    return folder


def behind_normalization(plain: RunConfig, folder: str | Path) -> RunConfig:
    """The model of a run as it is, its texts with every disguise undone that can be: a control without training.

    Args:
        plain: of the run, with its ``output_dir``; evaluated on the same sets.
        folder: of the control.
    """
    model: dict[str, Any] = {"given": True, "normalize": ("all",), "model_name_or_path": str(plain.output_dir)}
    trained: dict[str, Any] = dict.fromkeys(("max_train_samples", "trained_layers", "model_kwargs"))
    return dataclasses.replace(plain, output_dir=str(folder), training={}, **model, **trained)


def _evaluate(
    config: RunConfig,
    data: TaskData,
    identity: Mapping[str, Any],
    folder: Path,
    known: bool,
    report: Callable[[str], Any],
) -> None:
    place = folder / "model"
    if not known or not place.is_dir():
        keep = (
            _function(config, data, report) if is_function_name(config.model_name_or_path) else _weights(config, data)
        )
        for line in describe(config, data):
            report(line)
        claim_folder(folder, config, identity)
        keep(place)
        normalised = told_steps(folder)
        if normalised is not None:
            report(normalised)
    evaluate_run(
        folder,
        data,
        config.sets,
        data_dir=config.data_dir,
        noises=config.noises,
        measures=Measures.of(config),
        report=report,
    )


def _function(config: RunConfig, data: TaskData, report: Callable[[str], Any]) -> Callable[[Path], None]:
    """What writes down a function that fits the data."""
    about = about_function(config, data, report)
    return lambda place: write_json(place / FILE, about)


def _weights(config: RunConfig, data: TaskData) -> Callable[[Path], None]:
    """What keeps a model with weights that fits the data."""
    name = config.model_name_or_path
    if config.labels is not None:
        raise RunError(f"--labels names the outputs of a function; {name} names its own (id2label of config.json)")
    tokenizer = load_tokenizer(name, config.max_length, config.normalize)
    trained, _, labels = load_trained(name)
    if trained.config.problem_type == "multi_label_classification":
        raise RunError(
            f"{name} gives several labels at once (multi-label), the data one a text: `rosetune predict` shows "
            "the probability of each"
        )
    check_labels(name, labels, data.labels)
    return lambda place: save_trained(
        load_classifier(name, data.labels, tokenizer, task_type=data.task_type), tokenizer, place
    )


def evaluate_file(
    run: str | Path,
    path: str,
    report: Callable[[str], Any] = print,
    *,
    reading: Mapping[str, Any] | None = None,
    read: LabelledFile | None = None,
    measures: Measures = NOTHING_ELSE,
) -> Run:
    """Evaluate a finished run on another labelled file, as a set by the name of the file.

    The set is kept with a hash of the file: the same file is not predicted again, another one of that name is refused.

    Args:
        path: a file with the columns and label names of the training data.
        report: takes a line of text for the person who waits.
        reading: fields of :class:`~rosetune.data.options.ReadOptions`, where the file is to be read otherwise than the
            run's own files.
        read: what :func:`~rosetune.experiments.data.further_file` has read of it already.
        measures: what is asked for beside accuracy.

    Raises:
        RunError: the run is not finished, or was evaluated on another file of that name.
        DataError: the file cannot be read, or has other labels.
    """
    finished, file = Run.open(run), Path(path).expanduser()
    config, columns = finished.config, tuple(finished.identity["text_columns"])
    asked = Measures.read(finished.folder).updated(measures)
    asked.positive(finished.labels)
    read = further_file(finished, path, reading, measures.group_column) if read is None else read
    for reason, count in read.left_out.items():
        report(f"{path}: {count} rows left out ({reason})")
    name = SetName.of_file(folder_name(str(file))).name
    place, digest = finished.folder / "predictions", file_hash(file)
    with locked(finished.folder):
        bring_up_to_date(finished.folder)
        about = place / f"{name}.json"
        if about.is_file() and read_json(about, "remove it")["sha256"] != digest:
            raise RunError(
                f"{run} was evaluated on another file called {file.name}: rename this one, or remove "
                f"{place / name}.jsonl and {about}"
            )
        if not (place / f"{name}.jsonl").is_file():
            shared = None if config.given else _shared(finished, read.rows, path, report)
            known = {"file": str(file.resolve()), "sha256": digest, **({"reading": reading} if reading else {})}
            write_json(about, {**known, **({} if shared is None else {"shared": shared})})
        ask_for(finished.folder, measures)
        predict_rows(finished.folder / "model", place, {name: read.rows}, columns, finished.labels, report)
        note_features(place, {name: read.rows}, columns, asked.group_column, read.groups)
        write_metrics(finished.folder, finished.labels)
    return Run.open(run)


def _shared(run: Run, rows: Dataset, path: str, report: Callable[[str], Any]) -> int | None:
    """How many of these texts the run was trained on; None where its data is not there any more."""
    columns, config = tuple(run.identity["text_columns"]), run.config
    try:
        data = checked_data(run, config)
        train, held_out = training_rows(config, data, config.seed)
        if config.adversarial_file is not None:
            train = add_adversarial_rows(train, config.adversarial_file, data, held_out)
    except (DataError, RunError) as error:
        report(f"{path}: whether its texts occur in the training data is not known: {error}")
        return None
    shared = count_shared(rows, set(text_keys(train, columns)), columns)
    of_file = f"texts of {path}"
    report(shared_sentence(shared, len(rows), of_file) if shared else f"no text of {path} occurs in the training data")
    return shared
