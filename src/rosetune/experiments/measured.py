"""What an evaluation keeps beside predictions, so that all is measured without the data and the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune._files import write_json
from rosetune.data.rows import TaskData, text_keys
from rosetune.data.summary import count_shared
from rosetune.data.tasks import find_task
from rosetune.experiments.training_rows import training_rows
from rosetune.robustness.parts import count_words
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_json
from rosetune.runs.further import OWN_TEXTS
from rosetune.runs.measures import FEATURES, MEASURES, SHARED, Measures, read_features
from rosetune.runs.sets import SetName

__all__ = ["ask_for", "note_features", "note_shared", "threshold_rows"]

Groups = Mapping[str, str | None]


def ask_for(folder: Path, measures: Measures) -> Measures:
    """Keep what is asked for in a run's folder, where it is not that already.

    Returns:
        All that is measured on the run now.
    """
    known = Measures.read(folder)
    wanted = known.updated(measures)
    if wanted != known:
        path = folder / MEASURES
        before = read_json(path, "remove it") if path.is_file() else {}
        write_json(path, {**before, **measures.given()})
    return wanted


def note_features(
    place: Path,
    sets: Mapping[str, Dataset],
    text_columns: Sequence[str],
    column: str | None = None,
    groups: Groups | None = None,
) -> None:
    """Keep the length of each text beside its prediction, and the group of each row of the last of these sets.

    Args:
        place: the folder of the predictions.
        sets: by name; those whose texts are made of the clean ones are passed over.
        column: that names the groups.
        groups: of the rows of the clean set, or of a file, by id; None: not known, what was kept stays.
    """
    known = read_features(place)
    features = dict(known)
    for name, dataset in sets.items():
        parsed = SetName.parse(name)
        if parsed.kind not in OWN_TEXTS or parsed.is_original:
            continue
        texts = zip(*(dataset[text][:] for text in text_columns), strict=True)
        ids = [str(row) for row in dataset["id"][:]]
        part: dict[str, Any] = {"words": dict(zip(ids, map(count_words, texts), strict=True))}
        kept = known.get(name, {}).get("groups", {})
        if column is not None and groups is not None and (name == "clean" or parsed.kind == "file"):
            kept = {**kept, column: {row: groups.get(row) for row in ids}}
        features[name] = {**part, **({"groups": kept} if kept else {})}
    if features != known:
        write_json(place / FEATURES, features)


def note_shared(place: Path, config: RunConfig, data: TaskData) -> None:
    """Keep how many texts of a user's clean set the model was trained on; of a model from elsewhere it is not known.

    Args:
        place: the folder of the predictions.
        config: of the run.
        data: of its task.
    """
    path = place / SHARED
    if config.given or find_task(config.task) is not None or path.is_file():
        return
    _, clean = data.clean
    trained_on, _ = training_rows(config, data, config.seed)
    seen = set(text_keys(trained_on, data.text_columns))
    write_json(path, {"clean": count_shared(clean, seen, data.text_columns)})


def threshold_rows(config: RunConfig, data: TaskData) -> tuple[str, Dataset] | None:
    """Labelled rows that are neither trained on nor reported, to choose a threshold on, and what they are.

    Returns:
        "validation", the validation split, where a test split is reported that holds other texts; "held_out", the
        training rows that have chosen the checkpoint, where their labels are right; None where all rows are trained
        on or reported.
    """
    reported, clean = data.clean
    if reported == "test" and "validation" in data.splits:
        validation, seen = data.splits["validation"], {*text_keys(clean, data.text_columns)}
        # Of a file that is given twice, to train on (or to split) and to test on, all are reported.
        if not seen.issuperset(text_keys(validation, data.text_columns)):
            return "validation", validation
    if config.validation_from_train is None or config.label_noise is not None or config.given:
        return None
    _, held_out = training_rows(config, data, config.seed)
    return None if held_out is None else ("held_out", held_out)
