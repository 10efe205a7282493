"""What a hardening works with: its data, its folder, and the configuration of each of its runs."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetune._torch import world_size
from rosetune.data.adversarial import reported_texts
from rosetune.data.rows import TaskData
from rosetune.data.synonyms import load_synonyms
from rosetune.experiments.data import load_data
from rosetune.experiments.folder import claim_study
from rosetune.experiments.harden_options import CANDIDATES, HardenOptions
from rosetune.experiments.models import load_tokenizer
from rosetune.experiments.training import training_arguments, training_defaults
from rosetune.robustness.sets import curve_sets, evaluation_sets
from rosetune.runs.config import LENGTH, RunConfig
from rosetune.runs.identity import folder_name, identity_hash
from rosetune.runs.normalized import meets_disguises
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = ["LEAST", "Setting", "claimed_folder", "prepare"]

CLAIM = "harden.json"
PLAIN = "cross_entropy"
EPOCHS = 2  # of every run, where no length is given: six trainings of the Trainer's three take long
SHARE, MOST, LEAST = 0.2, 1000, 10  # of the training texts that are held out; rows; fewer cannot be chosen on
_LEFT_OUT = {
    "max_train_samples": "the rows that a round attacks are trained on at the end too; give a file of so many rows",
    "validation_from_train": "held-out rows choose the steps, and the last checkpoint is taken",
    "label_noise": "a wrong label cannot be defended",
    "imbalance": "give a file of the rows that are to be trained on",
    "adversarial_file": "hardening finds these rows itself",
    "given": "hardening trains",
}


@dataclass(frozen=True)
class Setting:
    """What a hardening works with.

    Attributes:
        config: the plain run, which has no folder yet.
        options: how it is hardened.
        whole: the task's data, with what is reported.
        held: its training rows alone, some of them in the place of the evaluation data.
        held_out: how many or what share of them, as in :class:`~rosetune.runs.config.RunConfig`.
        identity: what decides the result.
        folder: of the hardening.
    """

    config: RunConfig
    options: HardenOptions
    whole: TaskData
    held: TaskData
    held_out: float
    identity: dict[str, Any]
    folder: Path

    @property
    def reported(self) -> set[tuple[str, ...]]:
        """The keys of all texts that are reported or chosen on."""
        return reported_texts(self.whole) | reported_texts(self.held)

    @property
    def has_control(self) -> bool:
        """Whether the plain model is read behind a normalisation too: where disguises are met, and it has none."""
        curve = curve_sets(self.config.noises) if "noise_curve" in self.config.sets else ()
        return self.config.normalize is None and (self.attack_disguises or meets_disguises(curve))

    @property
    def attack_disguises(self) -> bool:
        """Whether an attack disguises words."""
        return meets_disguises([SetName.of_attack(attack).name for attack in self.options.attack])

    def trial(self, name: str, training: dict[str, Any], rows: Path | None = None) -> RunConfig:
        """A run that is evaluated on held-out training rows.

        Args:
            training: arguments on top of the plain run's.
            rows: adversarial ones.
        """
        config = dataclasses.replace(self.config, sets=("clean", "noise"), noises=None, held_out=self.held_out)
        return self._placed(config, Path("trials") / name, training, rows)

    def final(self, name: str, training: dict[str, Any], rows: Path | None = None) -> RunConfig:
        """A run on all training rows that is evaluated on the evaluation data."""
        return self._placed(self.config, Path(name), training, rows)

    def _placed(self, config: RunConfig, place: Path, training: dict[str, Any], rows: Path | None) -> RunConfig:
        return dataclasses.replace(
            config,
            output_dir=str(self.folder / place),
            training={**config.training, **training},
            adversarial_file=None if rows is None else str(rows),
        )


def prepare(config: RunConfig, options: HardenOptions) -> Setting:
    """Read the data and check all that can be checked before anything is trained; nothing is written.

    Raises:
        RunError: an option that hardening decides itself, a regression, or too few rows.
        DataError: the data cannot be read, or has one label only.
        ValueError: from the Trainer or the method.
    """
    _check_options(config, options)
    if not {*LENGTH} & {*config.training}:
        config = dataclasses.replace(config, training={**config.training, "num_train_epochs": EPOCHS})
    for name in options.candidates:
        training_arguments(dataclasses.replace(config, training={**config.training, **CANDIDATES[name]}))
    if options.synonyms is not None:
        load_synonyms(options.synonyms)
    whole = load_data(dataclasses.replace(config, held_out=None))
    if not whole.labels:
        raise RunError(f"hardening needs labels that an attack could turn: {config.task} is a regression")
    split, clean = whole.clean
    if not any(label not in (None, -1) for label in clean["label"][:]):
        raise RunError(
            f"no {split} row of {config.task} has a label: name a labelled --validation_file or --test_file"
        )
    attacked = options.attacked_label(whole.labels)
    if "advglue" in config.sets:
        evaluation_sets(whole, "advglue", data_dir=config.data_dir)
    held_out, held = _held_out(config)
    for what, rows in (
        (f"{split} row", clean),
        ("held-out row", held.splits["validation"]),
        ("training row", held.splits["train"]),
    ):
        if attacked is not None and attacked not in rows["label"][:]:
            raise RunError(f"no {what} has the label {options.attack_class}: leave out --attack_class, or add rows")
    plain = dataclasses.replace(config, held_out=None)
    identity = _identity(plain, options, whole, held_out)
    place = Path("runs") / folder_name(whole.name) / "harden" / f"{plain.method()}-{identity_hash(identity)}"
    folder = Path(config.output_dir or place).expanduser()
    return Setting(plain, options, whole, held, held_out, identity, folder)


def _held_out(config: RunConfig) -> tuple[float, TaskData]:
    """How much is held out, and the data without what is reported."""
    amounts = (SHARE, MOST) if config.held_out is None else (config.held_out,)
    for amount in amounts:
        held = load_data(dataclasses.replace(config, held_out=amount, sets=("clean",), noises=None))
        rows = len(held.splits["validation"])
        if rows <= MOST:
            break
    if rows < LEAST:
        raise RunError(
            f"{rows} held-out rows of {config.task} are too few to choose on (least: {LEAST}): add rows, or hold out "
            "more with --held_out"
        )
    return amount, held


def _check_options(config: RunConfig, options: HardenOptions) -> None:
    for name, reason in _LEFT_OUT.items():
        if getattr(config, name):
            raise RunError(f"leave out {name}: {reason}")
    for axis, instead in (("augmentation", "--candidates"), ("averaging", "--alphas")):
        if config.training.get(axis) or config.training.get(f"{axis}_kwargs"):
            raise RunError(f"leave out --{axis}: hardening chooses it, among {instead}")
    chosen = config.training.get("objective") or PLAIN
    for name in options.candidates:
        if chosen not in (PLAIN, CANDIDATES[name].get("objective", chosen)):
            raise RunError(
                f"--candidates {name} takes the place of the objective, which is {chosen}: leave out one of both"
            )
    if world_size() > 1:
        raise RunError("rosetune harden works in one process: start it without accelerate launch or torchrun")


def _identity(plain: RunConfig, options: HardenOptions, whole: TaskData, held_out: float) -> dict[str, Any]:
    base = plain.identity(
        task=whole.name,
        text_columns=whole.text_columns,
        fingerprint=whole.fingerprint,
        defaults=training_defaults(),
    )
    own = {name: value for name, value in options.as_identity().items() if name != "keep_models"}
    identity = {"base": base, **own, "held_out": held_out, "sets": plain.sets, "noises": plain.noises}
    return json.loads(json.dumps(identity))


def claimed_folder(setting: Setting) -> Path:
    """The folder of a hardening; claimed, if it is new and its model is there.

    Raises:
        RunError: another hardening lies there, or something else; the model of a new one cannot be loaded.
        DataError: its model is the embedded one, whose package is not installed.
    """
    if not (setting.folder / CLAIM).is_file():  # a claim would stand in the way of the corrected command
        load_tokenizer(setting.config.model_name_or_path, setting.config.max_length, setting.config.normalize)
    claim_study(setting.folder, CLAIM, setting.identity, "hardening")
    return setting.folder
