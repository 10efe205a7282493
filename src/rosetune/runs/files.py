"""The files of a run's folder, read with errors that say what to do."""

import json
import shlex
from pathlib import Path
from typing import Any

from rosetune._files import read_json_lines
from rosetune.runs.sets import KINDS, SetName
from rosetune.runs.values import RunError

__all__ = [
    "FINGERPRINTS",
    "LOGGED_FOLDER",
    "Rows",
    "again",
    "anew",
    "read_fingerprints",
    "read_identity",
    "read_json",
    "read_lines",
    "read_predictions",
    "reason",
    "rows_by_set",
]

_PREDICTION = {"set", "id", "gold", "prediction"}
Rows = list[dict[str, Any]]
FINGERPRINTS = "fingerprints.json"  # in a folder of predictions: what each set was made of
LOGGED_FOLDER = "--- folder "  # begins the line in which a sweep's log names its run's folder


def read_identity(folder: Path, remedy: str = "choose another --output_dir") -> dict[str, Any]:
    """What decided a run's result, also before it is finished.

    Args:
        remedy: for a file that is damaged; that of a training is another folder.

    Raises:
        RunError: the folder holds no run.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise RunError(f"{folder} is no run (no run.json): give a folder that `rosetune train` wrote")
    identity = read_json(path, remedy)
    if not isinstance(identity, dict) or not isinstance(identity.get("training"), dict) or "task" not in identity:
        raise RunError(f"{path} is not a run of rosetune: {remedy}")
    return identity


def read_fingerprints(place: Path) -> dict[str, str]:
    """By set what its predictions were made of, as far as that is known: earlier versions did not keep it.

    Args:
        place: a folder of predictions.

    Raises:
        RunError: the file is damaged.
    """
    path = place / FINGERPRINTS
    found = read_json(path, "remove it") if path.is_file() else {}
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged (it holds no JSON object): remove it")
    return found


def read_json(path: Path, remedy: str) -> Any:
    """A JSON file of a run.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError) as error:  # the latter of a file of nothing but brackets
        raise RunError(f"{path} is damaged ({error}): {remedy}") from error


def read_lines(path: Path, remedy: str) -> Rows:
    """A file of JSON Lines.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        rows = read_json_lines(path)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; {remedy}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}): {remedy}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise RunError(f"{path} is damaged (a line is no JSON object): {remedy}")
    return rows


def again(folder: Path, *more: str) -> str:
    """The command that brings what is damaged in a run's folder up to date."""
    return f"`{shlex.join(('rosetune', 'evaluate', str(folder), *more))}`"


def reason(folder: Path, error: Exception) -> str:
    """What an error says of a run whose folder has just been named, without that folder at its start."""
    text = str(error)
    for start in ("cannot read the config file ", "cannot read ", ""):
        if text.startswith(f"{start}{folder}/"):
            return start + text.removeprefix(f"{start}{folder}/")
    if text.startswith(f"{folder}: "):
        return text.removeprefix(f"{folder}: ")
    return f"it {text.removeprefix(f'{folder} ')}" if text.startswith(f"{folder} ") else text


def anew(folder: Path) -> str:
    """What to do about a file of a finished run that nothing but its training writes."""
    return f"restore it, or train the run anew and remove {folder}"


def read_predictions(path: Path, *more: str) -> Rows:
    """Prediction rows of a run, or of its checkpoint.

    Args:
        more: what each row holds beside set, id, gold and prediction.

    Raises:
        RunError: the file is missing or damaged.
    """
    kind = SetName.parse(path.stem).kind
    folder = next((part.parent for part in path.parents if part.name == "predictions"), path.parent)
    asked = ("--sets", kind) if kind in KINDS else ()
    along = ("--along_training",) if more or path.parent.name.startswith("step-") else ()
    remedy = f"remove it and evaluate again: {again(folder, *asked, *along)}"
    rows = read_lines(path, remedy)
    if not all({*_PREDICTION, *more} <= row.keys() for row in rows):
        raise RunError(f"{path} is damaged (a line is no prediction): {remedy}")
    return rows


def rows_by_set(rows: Rows) -> dict[str, Rows]:
    """Prediction rows by their set, in the order in which the sets come."""
    sets: dict[str, Rows] = {}
    for row in rows:
        sets.setdefault(row["set"], []).append(row)
    return sets
