"""What a run is: one configuration, its identity, and the folder that follows from it."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "RUN_DEFAULTS", "RunConfig", "RunError", "as_mapping", "folder_name"]

# What a model can be evaluated on, in the order in which it is done (see sets.py).
KINDS = ("clean", "noise", "noise_curve", "advglue")
# Where a run departs from the Trainer's defaults.
RUN_DEFAULTS: dict[str, Any] = {"per_device_train_batch_size": 32, "save_strategy": "steps", "save_total_limit": 2}
# Training arguments that change where or how a run is written down, not what comes out of it.
_WRITING_DOWN = re.compile(
    "output_dir|logging_.*|log_.*|save_.*|report_to|run_name|disable_tqdm|push_to_hub|hub_.*|project|trackio_.*|"
    "dataloader_(?!drop_last).*|per_device_eval_batch_size|do_.*|skip_memory_metrics|include_num_input_tokens_seen"
)
_PATHS = ("task", "data_dir", "validation_file", "test_file", "model_name_or_path")
_WEIGHTS = (".safetensors", ".bin", ".json", ".txt", ".model")


class RunError(ValueError):
    """A run that cannot be started, resumed or read as asked; the message says what to do."""


@dataclass
class RunConfig:
    """One run: data, model, method, seed and training arguments.

    Args:
        task: a task's name, a file or folder of the user's, or a hub id (see :func:`rosetune.data.load_task`).
        model_name_or_path: a hub id, a folder, or "demo" for the embedded MiniLM.
        data_dir: folder that holds GLUE's and AdvGLUE's files.
        text_columns, label_column: columns of a user's file.
        validation_file, test_file: further files of a user's task.
        max_length: tokens, longer texts are truncated.
        max_train_samples: train on a seeded random subset of this size.
        validation_from_train: share of the training data, in (0, 1), that is cut off to choose the reported
            checkpoint; None reports the last one.
        sets: what the model is evaluated on at the end, of :data:`KINDS`.
        output_dir: the run's folder; None: ``runs/<task>/<method>/<hash>``.
        training: arguments of :class:`~rosetune.RobustTrainingArguments`, objective and update mask among them.

    Raises:
        RunError: a value of the wrong type or out of its range.
    """

    task: str
    model_name_or_path: str
    data_dir: str | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str | None = None
    validation_file: str | None = None
    test_file: str | None = None
    max_length: int = 128
    max_train_samples: int | None = None
    validation_from_train: float | None = None
    sets: tuple[str, ...] = ("clean", "noise")
    output_dir: str | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*_PATHS, "label_column", "output_dir"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | os.PathLike):
                raise RunError(f"{name} must be text, not {value!r}")
            setattr(self, name, None if value is None else os.fspath(value))
        self.text_columns = _names("text_columns", self.text_columns)
        self.sets = _names("sets", self.sets) or ()
        unknown = [name for name in self.sets if name not in KINDS]
        if unknown or not self.sets:
            raise RunError(f"sets must name some of {', '.join(KINDS)}, not {', '.join(unknown) or 'none'}")
        self.sets = tuple(kind for kind in KINDS if kind in self.sets)
        self.max_length = int(_number("max_length", self.max_length, whole=True))
        if self.max_train_samples is not None:
            self.max_train_samples = int(_number("max_train_samples", self.max_train_samples, whole=True))
        if self.validation_from_train is not None:
            self.validation_from_train = _number("validation_from_train", self.validation_from_train, whole=False)
        self.training = {name: _plain(as_mapping(name, value)) for name, value in self.training.items()}

    def method(self) -> str:
        """A short name of objective and mask, e.g. "vanilla", "rose-ensemble", "r_drop+child_tuning-D"."""
        objective = self.training.get("objective", "cross_entropy")
        options = self.training.get("objective_kwargs") or {}
        mask = self.training.get("update_mask")
        kind = {"rose": ("order", "ensemble"), "child_tuning": ("mode", "D")}.get(mask or "")
        if kind is not None:
            mask = f"{mask}-{(self.training.get('update_mask_kwargs') or {}).get(*kind)}"
        if objective == "cross_entropy":
            named = ("label_smoothing", "passes")  # a control must not pass for the baseline
            plain = "+".join(f"{name}-{options[name]}" for name in named if isinstance(options.get(name), int | float))
            return "+".join(filter(None, (plain, mask))) or "vanilla"
        if "variant" in options:
            objective = f"{objective}-{options['variant']}"
        return f"{objective}+{mask}" if mask else objective

    def identity(
        self,
        *,
        task: str,
        text_columns: Sequence[str],
        fingerprint: str,
        defaults: Mapping[str, Any],
        processes: int = 1,
    ) -> dict[str, Any]:
        """What decides the result: everything but paths, logging, saving and the sets that are evaluated.

        Files count by what is in them: the data by its fingerprint, a model's folder and a file among a method's
        options (a trace, synonyms) by a hash.

        Args:
            task, text_columns, fingerprint: of the loaded data.
            defaults: of the training arguments; what is given but equals its default does not count.
            processes: how many share a step, since that multiplies the batch.
        """
        chooses = self.validation_from_train is not None  # among the checkpoints that are saved
        training = {
            name: _by_content(value)
            for name, value in sorted(self.training.items())
            if value != {**defaults, **RUN_DEFAULTS}.get(name)
            and (not _WRITING_DOWN.fullmatch(name) or (chooses and name in ("save_steps", "save_strategy")))
        }
        identity = {
            "task": task,
            "text_columns": list(text_columns),
            "data_fingerprint": fingerprint,
            "model_name_or_path": _model_identity(self.model_name_or_path),
            "max_length": self.max_length,
            "max_train_samples": self.max_train_samples,
            "validation_from_train": self.validation_from_train,
            "processes": processes,
            "training": training,
        }
        return json.loads(json.dumps(identity))

    def folder(self, identity: Mapping[str, Any]) -> Path:
        """``output_dir``, or ``runs/<task>/<method>/<hash of the identity>``."""
        if self.output_dir is not None:
            return Path(self.output_dir).expanduser()
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        return Path("runs") / folder_name(identity["task"]) / self.method() / digest

    def as_yaml(self) -> str:
        """The configuration as it is kept in the run's folder; reads as a ``--config`` file from anywhere."""
        import yaml

        options = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("training", "output_dir") and value is not None
        }
        for name in _PATHS:
            value = getattr(self, name)
            if value not in (None, "demo") and Path(value).expanduser().exists():
                options[name] = str(Path(value).expanduser().resolve())
        unsaid = ("output_dir", "hub_token")
        training = {name: _absolute(value) for name, value in self.training.items() if name not in unsaid}
        header = "# One run of rosetune; `rosetune train --config` takes this file.\n"
        return header + yaml.safe_dump({**options, **training}, sort_keys=True, allow_unicode=True)


def folder_name(task: str) -> str:
    """A task's name, or a file's or hub dataset's, as the name of one folder."""
    return re.sub(r"[^\w.+-]+", "-", Path(task).stem if Path(task).exists() else task).strip("-.") or "task"


def _model_identity(name: str) -> str:
    folder = Path(name).expanduser()
    if name == "demo" or not folder.is_dir():
        return name
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in _WEIGHTS and p.is_file()):
        digest.update(f"{path.name}:{_hash(path)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _by_content(value: Any) -> Any:
    """A method's options with the hash of each file (a trace, synonyms) in the place of its path."""
    if not isinstance(value, Mapping):
        return value
    return {name: f"sha256:{_hash(Path(part))}" if _is_file(part) else part for name, part in value.items()}


def _absolute(value: Any) -> Any:
    """A method's options with each file's absolute path."""
    if not isinstance(value, Mapping):
        return value
    return {name: str(Path(part).resolve()) if _is_file(part) else part for name, part in value.items()}


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_file()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(option: str, value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise RunError(f"{option} must be names such as a,b, not {value!r}")
    return tuple(value)


def _number(option: str, value: Any, whole: bool) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if whole and not (number.is_integer() and number >= 1):
        raise RunError(f"{option} must be a whole number of at least 1, not {value!r}")
    if not whole and not 0.0 < number < 1.0:
        raise RunError(f"{option} must lie in (0, 1), not {value!r}")
    return number


def _plain(value: Any) -> Any:
    """What JSON and YAML can hold, and 10.0 as 10: a command line makes floats where Python keeps integers."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Enum | os.PathLike):
        return value.value if isinstance(value, Enum) else os.fspath(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_mapping(option: str, value: Any) -> Any:
    """A method's options, or other ``*_kwargs``, as a mapping also where they came as JSON; all else as it is.

    Raises:
        RunError: broken JSON, or no mapping.
    """
    if not option.endswith("_kwargs") or value is None:
        return value
    example = f"{option} must be a JSON object such as '{{\"upper\": 0.6}}', not {value!r}"
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise RunError(f"{example} ({error})") from error
    if not isinstance(parsed, Mapping):
        raise RunError(example)
    return dict(parsed)
