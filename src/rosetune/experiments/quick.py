"""What can be said of a command before transformers and torch are loaded, which takes seconds."""

import ast
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosetune._files import obstacle
from rosetune.data.tasks import find_task
from rosetune.experiments.lock import check_free
from rosetune.experiments.ranges import check_ranges
from rosetune.robustness.functions import is_function_name, source_of
from rosetune.runs.config import RUN_OPTIONS, RunConfig
from rosetune.runs.files import read_fingerprints, read_json
from rosetune.runs.measures import Measures, read_features
from rosetune.runs.run import Run
from rosetune.runs.values import RunError, as_mapping

if TYPE_CHECKING:
    from rosetune.data.rows import TaskData

__all__ = [
    "check_length",
    "check_model",
    "check_paths",
    "finished",
    "finished_as",
    "missing_kinds",
    "option_error",
    "parse_words",
    "trainer_defaults",
]

_SOURCES = (
    ("transformers", "training_args.py", "TrainingArguments"),
    ("rosetune", "arguments.py", "RobustTrainingArguments"),
)


def trainer_defaults() -> dict[str, Any]:
    """The Trainer's arguments with their defaults, read from the source without running it.

    A default that is no literal stands as None: what depends on it must be checked again by
    :func:`~rosetune.experiments.training.training_defaults`.
    """
    return {name: default for name, (_, default) in _trainer_fields().items()}


def parse_words(options: Mapping[str, Any], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What :func:`~rosetune.experiments.options.parse_training` makes of options and words, as far as it is plain.

    Raises:
        RunError: an option that there is not, or a number outside of its range.
        ValueError: a value that takes the real parser.
    """
    known, given = _trainer_fields(), dict(options)
    words = list(arguments)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--"):
            raise ValueError(f"{name} takes the real parser")
        if name[2:] not in known and not (name.startswith("--no_") and name[5:] in known):
            raise option_error(name, {f"--{option}" for option in (*known, *RUN_OPTIONS)})
        if not equals:
            if not words or words[0].startswith("--"):
                raise ValueError(f"{name} takes the real parser")
            value = words.pop(0)
        given[name[2:]] = value
    for name in given:
        if name not in known:
            raise option_error(name, {*known, *RUN_OPTIONS})
    typed = {name: _typed(value, known[name][0]) for name, value in given.items() if value is not None}
    check_ranges(typed)
    return {name: as_mapping(name, value) for name, value in typed.items()}


def _typed(value: Any, annotation: str) -> Any:
    if not isinstance(value, str):
        return value
    kinds = {part.strip() for part in annotation.split("|")} - {"None"}
    if kinds == {"bool"}:
        return {"true": True, "false": False}[value.lower()]
    for kind, make in (("int", int), ("float", float)):
        if kinds == {kind}:
            return make(value)
    return value


@cache
def _trainer_fields() -> dict[str, tuple[str, Any]]:
    """Annotation and default of each."""
    found: dict[str, tuple[str, Any]] = {}
    for package, file, name in _SOURCES:
        spec = find_spec(package)
        folder = next(iter((spec and spec.submodule_search_locations) or ()))
        tree = ast.parse((Path(folder) / file).read_text(encoding="utf-8"))
        body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = (ast.unparse(node.annotation), _literal(node.value))
    return found


def option_error(name: str, known: Iterable[str]) -> RunError:
    """What to say of an option that there is not."""
    near = get_close_matches(name, known, n=1, cutoff=0.7)
    remedy = f"did you mean {near[0]}?" if near else "rosetune train --help-all lists all of them"
    return RunError(f"unknown option {name}: {remedy}")


def check_paths(config: RunConfig) -> None:
    """Files and folders that are named as such.

    Raises:
        RunError: one is not there, or the run's own folder cannot be written to.
    """
    task = config.task
    if find_task(task) is None and _looks_like_path(task) and not Path(task).expanduser().exists():
        raise RunError(f"there is no file or folder {task}: give the data as --task")
    for option in ("data_dir", "validation_file", "test_file", "adversarial_file"):
        value = getattr(config, option)
        if value is not None and not Path(value).expanduser().exists():
            raise RunError(f"there is no file or folder {value}: correct --{option}")
    check_model(config.model_name_or_path, given=config.given)
    in_the_way = None if config.output_dir is None else obstacle(Path(config.output_dir).expanduser() / "run.json")
    if in_the_way is not None:
        raise RunError(f"cannot write a run to {config.output_dir} ({in_the_way}): choose another --output_dir")


def check_model(model: str, *, given: bool = False) -> None:
    """What looks like the path of a model.

    Args:
        given: whether it is taken as it is, without training, and may be a function.

    Raises:
        RunError: it is not there, or a function where there must be weights.
    """
    if is_function_name(model):
        if not given:
            raise RunError(
                f"{model} is a function, which has no weights: `rosetune evaluate --model_name_or_path {model} "
                "--task TASK` makes a run of it, on which attack, compare and predict work"
            )
        source_of(model)
    if (model.startswith((".", "/", "~")) or model.count("/") > 1) and not Path(model).expanduser().is_dir():
        raise RunError(f"there is no folder {model}: give a folder with a saved model, or a hub id such as user/model")


def check_length(epochs: float, max_steps: int) -> None:
    """Refuse a training that would not take a step; ``max_steps`` above 0 goes before epochs, below 0 it is unset.

    Raises:
        RunError: see there.
    """
    if not math.isfinite(epochs):
        raise RunError(f"num_train_epochs must be a number of epochs, not {epochs}")
    if max_steps <= 0 and epochs <= 0:
        raise RunError(
            f"num_train_epochs={epochs:g} trains nothing, and the head of the model would stay random: give more, or "
            "`rosetune evaluate --model_name_or_path MODEL --task TASK` for a model as it is"
        )
    if max_steps == 0:
        raise RunError(
            "max_steps=0 trains nothing, and the head of the model would stay random: give more, or leave it out for "
            "num_train_epochs, or `rosetune evaluate --model_name_or_path MODEL --task TASK` for a model as it is"
        )


def finished(config: RunConfig, data: "TaskData") -> Path | None:
    """The folder of a run that is finished as asked for; None where that takes a closer look.

    Args:
        data: of the configuration.

    Raises:
        HeldError: it is not, and another process works in it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or (config.output_dir and not Path(config.output_dir).is_dir()):
        return None
    identity = config.identity(
        task=data.name, text_columns=data.text_columns, fingerprint=data.fingerprint, defaults=trainer_defaults()
    )
    folder = config.folder(identity)
    if finished_as(folder, identity, config, data):
        return folder
    check_free(folder)
    return None


def finished_as(folder: Path, identity: Mapping[str, Any], config: RunConfig, data: "TaskData") -> bool:
    """Whether a folder holds the run of this identity, finished and evaluated as the configuration has it.

    Args:
        data: of the configuration.
    """
    if not (folder / "metrics.json").is_file() or not (folder / "run.json").is_file():
        return False
    place = folder / "predictions"
    missing = missing_kinds(place, config.sets, config.noises)
    if missing or read_json(folder / "run.json", "choose another --output_dir") != identity:
        return False
    # A call that was killed when it had predicted more sets has not counted them.
    asked, known = Measures.of(config), Measures.read(folder)
    groups = read_features(place).get("clean", {}).get("groups", {}) if asked.group_column else {}
    if known.updated(asked) != known or (asked.group_column and asked.group_column not in groups):
        return False
    counted = {path.stem for path in place.glob("*.jsonl")} == {*Run.open(folder).metrics["sets"]}
    return counted and _same_advglue(config, data, read_fingerprints(place))


def missing_kinds(place: Path, kinds: Iterable[str], noises: Sequence[str] | None) -> list[str]:
    """The kinds that are not there, of which a set was removed, or of a noise curve those without all these noises.

    Args:
        place: the folder of the predictions.
        noises: of the noise curve; None: the usual ones.
    """

    def whole(kind: str) -> bool:
        path = place / f"{kind}.json"
        names = read_json(path, "remove it") if path.is_file() else None
        wanted = _curve_sets(noises) if kind == "noise_curve" else []
        return names is not None and all((place / f"{name}.jsonl").is_file() for name in (*names, *wanted))

    return [kind for kind in kinds if not whole(kind)]


def _curve_sets(noises: Sequence[str] | None) -> list[str]:
    from rosetune.robustness.sets import curve_sets  # which most runs can do without

    return curve_sets(noises)


def _same_advglue(config: RunConfig, data: "TaskData", known: Mapping[str, str]) -> bool:
    """Whether AdvGLUE's file is the one that was predicted: its texts are no part of a run's identity."""
    if "advglue" not in config.sets or config.data_dir is None:
        return True
    from rosetune.data.rows import set_fingerprint
    from rosetune.robustness.sets import evaluation_sets

    sets = evaluation_sets(data, "advglue", data_dir=config.data_dir)
    now = {name: set_fingerprint(part.dataset, data.text_columns, data.labels) for name, part in sets.items()}
    return all(known.get(name, of_set) == of_set for name, of_set in now.items())


def _looks_like_path(task: str) -> bool:
    return task.startswith((".", "/", "~")) or (bool(Path(task).suffix) and "/" not in task)


def _literal(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Call):
        node = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None
