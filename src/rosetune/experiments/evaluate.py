"""A run's model on evaluation sets: a prediction per example is kept, and metrics follow from those alone."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune._files import as_json, write_json, write_json_lines, write_text
from rosetune._progress import progress
from rosetune.data.rows import TaskData, set_fingerprint
from rosetune.experiments.data import checked_data, config_now
from rosetune.experiments.lock import locked
from rosetune.experiments.measured import ask_for, note_features, note_shared, threshold_rows
from rosetune.experiments.models import quiet_libraries, trained_labels
from rosetune.experiments.opened import open_model
from rosetune.experiments.quick import missing_kinds
from rosetune.experiments.upgrade import bring_up_to_date
from rosetune.report.card import model_card
from rosetune.report.robustness_card import robustness_card
from rosetune.robustness.rows import prediction_rows
from rosetune.robustness.sets import EvaluationSet, evaluation_sets
from rosetune.runs.config import RunConfig
from rosetune.runs.files import FINGERPRINTS, read_fingerprints, read_json
from rosetune.runs.measures import VALIDATION, Measures
from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run, RunError
from rosetune.runs.sets import SetName

__all__ = [
    "NOTHING_ELSE",
    "evaluate_again",
    "evaluate_run",
    "note_sets",
    "predict_rows",
    "predict_sets",
    "restore_metrics",
    "write_card",
    "write_metrics",
]

MANY = 10_000  # rows of which the person who waits is told also where there is no bar
_WITH_TEXTS_OF_ITS_OWN = ("clean", "advglue", "file")  # those of noise are as long
NOTHING_ELSE = Measures()
Report = Callable[[str], Any]


def _on_standard_error(line: str) -> None:
    print(line, file=sys.stderr)


def evaluate_run(
    folder: str | Path,
    data: TaskData,
    kinds: Sequence[str],
    *,
    data_dir: str | None = None,
    noises: Sequence[str] | None = None,
    measures: Measures = NOTHING_ELSE,
    report: Report = _on_standard_error,
) -> list[str]:
    """Evaluate a run's model and bring its ``metrics.json`` up to date; what was predicted before is kept.

    Args:
        kinds: of :data:`~rosetune.runs.sets.KINDS`.
        data_dir: of AdvGLUE's file.
        noises: of the noise curve; None: the usual ones.
        measures: what is asked for beside accuracy; it is kept in the folder.
        report: takes a line of text for the person who waits.

    Returns:
        The kinds that were not there before.

    Raises:
        RunError: the folder holds no trained model, one with other labels than the data, or predictions that were
            made on other texts.
    """
    folder = Path(folder)
    bring_up_to_date(folder)
    place = folder / "predictions"
    missing, known = missing_kinds(place, kinds, noises), read_fingerprints(place)
    # What lies there is looked at too, as far as it says what it was made of.
    there = [kind for kind in kinds if kind not in missing and any(SetName.parse(n).kind == kind for n in known)]
    quiet_libraries()
    sets = {kind: evaluation_sets(data, kind, data_dir=data_dir, noises=noises) for kind in (*missing, *there)}
    asked = ask_for(folder, measures)
    unreported = threshold_rows(RunConfig.read(folder), data) if asked.positive(data.labels) is not None else None
    if unreported is not None:  # first, so that a call that was killed chooses the same threshold when it goes on
        rows = dict([unreported])
        predict_rows(folder / "model", place / VALIDATION, rows, data.text_columns, data.labels)
    predict_sets(folder / "model", place, data, sets, report)
    texts = {name: part.dataset for of_kind in sets.values() for name, part in of_kind.items()}
    split, clean = data.clean
    note_features(place, {"clean": clean, **texts}, data.text_columns, asked.group_column, data.groups.get(split))
    note_shared(place, RunConfig.read(folder), data)
    for kind in missing:
        note_sets(place / f"{kind}.json", {name: part.left_out for name, part in sets[kind].items()})
    write_metrics(folder, data.labels)
    return missing


def evaluate_again(
    run: str | Path,
    kinds: Sequence[str] | str,
    noises: Sequence[str] | None = None,
    measures: Measures = NOTHING_ELSE,
    **moved: str | None,
) -> Run:
    """Evaluate a finished run on more sets; sets that it was evaluated on before are not predicted again.

    Args:
        kinds: of :data:`~rosetune.runs.sets.KINDS`.
        noises: of the noise curve; None: the usual ones.
        measures: what is asked for beside accuracy.
        moved: where data lies now, if not where it was for training: ``task``, ``data_dir``, ``validation_file``,
            ``test_file``.

    Raises:
        RunError: the run is not finished, or the data is not the data it was trained on.
    """
    finished = Run.open(run)
    config = replace(config_now(finished, kinds, moved, noises), **measures.given())
    if finished.sets_before or finished.steps_before:
        with locked(finished.folder):
            bring_up_to_date(finished.folder)
    elsewhere = any(value is not None for value in moved.values())
    if (
        not elsewhere
        and not measures.given()
        and not missing_kinds(finished.folder / "predictions", config.sets, noises)
    ):
        write_metrics(finished.folder, finished.labels)
    else:
        data = checked_data(finished, config)
        with locked(finished.folder):
            evaluate_run(
                finished.folder, data, config.sets, data_dir=config.data_dir, noises=noises, measures=measures
            )
    return Run.open(run)


def predict_sets(
    model_folder: Path,
    place: Path,
    data: TaskData,
    sets: Mapping[str, Mapping[str, EvaluationSet]],
    report: Report | None = None,
) -> None:
    """Predict the sets that a folder lacks, each into a file of its own: a file that is there is whole.

    Args:
        model_folder: of the end of a run, or a checkpoint.
        place: where the predictions go.
        sets: by kind and name.
        report: is told of texts that are cut.

    Raises:
        RunError: no model in the folder, one with other labels than the data, or predictions that were made on other
            texts.
    """
    rows = {name: part.dataset for sets_of_kind in sets.values() for name, part in sets_of_kind.items()}
    predict_rows(model_folder, place, rows, data.text_columns, data.labels, report)


def predict_rows(
    model_folder: Path,
    place: Path,
    sets: Mapping[str, Dataset],
    text_columns: Sequence[str],
    labels: Sequence[str],
    report: Report | None = None,
) -> None:
    """:func:`predict_sets` for rows at hand, by the name of their set."""
    made_of = {name: set_fingerprint(dataset, text_columns, labels) for name, dataset in sets.items()}
    todo = {name: dataset for name, dataset in sets.items() if not (place / f"{name}.jsonl").is_file()}
    noted = read_fingerprints(place)
    others = [name for name in sets if name not in todo and noted.get(name, made_of[name]) != made_of[name]]
    if others:
        files = ", ".join(f"{name}.jsonl" for name in others)
        raise RunError(
            f"{place}: {files} {'was' if len(others) == 1 else 'were'} predicted on other texts or labels than "
            f"{SetName.parse(others[0]).title} holds here (other data, or noise of another version): name the data of "
            "then, or remove these files to predict anew"
        )
    if not todo:
        return
    quiet_libraries()
    model = open_model(model_folder)
    known = model.labels
    if tuple(known) != tuple(labels):
        raise RunError(
            f"the model of {model_folder} tells apart {', '.join(known)}, the data {', '.join(labels)}: "
            "give data with the same label names in the same order"
        )
    for name, dataset in todo.items():
        title = SetName.parse(name).title
        if len(dataset) > MANY:
            print(f"evaluating {len(dataset)} rows of {title}", file=sys.stderr)
        cut = None
        if report is not None and SetName.parse(name).kind in _WITH_TEXTS_OF_ITS_OWN:
            cut = model.cut(dataset, text_columns)
        if cut is not None and report is not None:
            report(f"{title}: {cut.sentence('texts')}")
        with progress(f"evaluating {title}") as bar:
            logits = model.logits(dataset, text_columns, bar)
        # Before the rows: a file that is there was made of what stands here.
        if read_fingerprints(place).get(name) != made_of[name]:
            write_json(place / FINGERPRINTS, {**read_fingerprints(place), name: made_of[name]})
        write_json_lines(place / f"{name}.jsonl", prediction_rows(name, dataset, logits, known))


def write_metrics(folder: Path, labels: Sequence[str]) -> None:
    """Bring ``metrics.json`` up to date with the predictions; a file that holds the same is left alone."""
    metrics = run_metrics(folder, labels)
    path, text = folder / "metrics.json", as_json(metrics)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_card(Run(folder), metrics)
        write_text(path, text)


def restore_metrics(folder: Path) -> None:
    """Write a ``metrics.json`` that is damaged anew, from the predictions and the labels of the model.

    Raises:
        RunError: the model is not there, or another file is damaged.
    """
    with locked(folder):
        write_metrics(folder, trained_labels(folder))


def write_card(run: Run, metrics: Mapping[str, Any]) -> None:
    """Bring the cards beside the weights up to date, of model and robustness; one that says the same is left alone."""
    place = run.folder / "model"
    if not place.is_dir():
        return
    cards = {"README.md": model_card(run, metrics), "ROBUSTNESS.md": robustness_card(run, metrics)}
    for path, text in ((place / name, text) for name, text in cards.items()):
        if not (path.is_file() and path.read_text(encoding="utf-8") == text):
            write_text(path, text)


def note_sets(path: Path, parts: Mapping[str, int]) -> None:
    """Write down that these sets of a kind are there; with those of other noises, which were there before.

    Args:
        path: of the kind, beside its predictions.
        parts: by name how many rows were left out.
    """
    known = read_json(path, "remove it") if path.is_file() else {}
    write_json(path, {**known, **parts})
