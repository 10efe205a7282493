"""A run whose averaging needs no training of its own: its weights are made of a finished run."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rosetune._files import write_json
from rosetune._torch import is_main_process
from rosetune.averaging import Averaging, CheckpointMean, PretrainedInterpolation
from rosetune.data.rows import TaskData
from rosetune.experiments.checkpoints import checkpoints_of, step_of
from rosetune.experiments.errors import HeldError
from rosetune.experiments.folder import claim_folder, give_back
from rosetune.experiments.lock import locked
from rosetune.experiments.models import load_classifier, load_pretrained, load_trained, save_trained
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_identity
from rosetune.runs.identity import identity_hash
from rosetune.runs.run import Run, RunError

__all__ = ["AVERAGED", "average_finished", "check_averaging", "place_of", "wait_and_train", "without_averaging"]

AVERAGED = "averaging.json"  # in the folder of a run: what it was made of
_KEPT = ("log.jsonl", "timing.json", "mask_trace.npz")  # of the training that both share
_SAVING = ("save_strategy", "save_steps")
Train = Callable[..., Path]


def check_averaging(config: RunConfig, averaging: Averaging | None) -> None:
    """What can be said of a run's averaging before anything is trained.

    Raises:
        RunError: it does not go with the other options.
    """
    if not isinstance(averaging, CheckpointMean):
        return
    if config.validation_from_train is not None:
        raise RunError(
            "averaging checkpoints takes the last ones, validation_from_train chooses one: leave one of the two out"
        )
    if config.training.get("save_strategy") in ("no", False):
        raise RunError("averaging checkpoints needs some: leave out save_strategy")
    limit = config.training.get("save_total_limit")
    if limit is not None and int(limit) < averaging.last:
        raise RunError(
            f"averaging checkpoints needs the last {averaging.last}, save_total_limit keeps {limit}: leave it out, or "
            f"give --averaging_kwargs '{{\"last\": {limit}}}'"
        )


def average_finished(
    config: RunConfig,
    data: TaskData,
    averaging: Averaging,
    identities: tuple[Mapping[str, Any], Mapping[str, Any]],
    folder: Path,
    train: Train,
    report: Callable[[str], Any],
) -> None:
    """Write the model of an averaged run: of the run that differs from it in the averaging alone.

    That run is looked for by its identity: where ``rosetune train`` puts it by default or, where ``output_dir`` is
    given, beside this one. Where it is not there it is trained, and is a run of its own afterwards.

    Args:
        identities: of the run, and of the one without averaging.
        folder: of the run.
        train: :func:`~rosetune.experiments.train.train_run`.

    Raises:
        RunError: the other run keeps too few checkpoints, or saved others than this one would.
    """
    identity, of_source = identities
    source = without_averaging(config, averaging)
    source = dataclasses.replace(source, output_dir=str(place_of(config, source, identities)))
    trained = wait_and_train(source, train, data, report)
    if not is_main_process():
        return
    try:
        model, tokenizer, _ = load_trained(trained)
        if isinstance(averaging, CheckpointMean):
            about = _mean(averaging, model, trained, config)
        elif isinstance(averaging, PretrainedInterpolation):
            about = _between(averaging, model, tokenizer, config, data)
        claim_folder(folder, config, identity)
        for name in _KEPT:
            if (trained / name).is_file():
                shutil.copyfile(trained / name, folder / name)
        write_json(folder / AVERAGED, {"run": str(trained.resolve()), "identity": identity_hash(of_source), **about})
        save_trained(model, tokenizer, folder / "model")
        report(f"the weights are made of those of {trained}")
    except Exception:
        give_back(folder)
        raise


def without_averaging(config: RunConfig, averaging: Averaging) -> RunConfig:
    """The run that a training of its own is needed for; it keeps the checkpoints that are averaged."""
    training = {n: v for n, v in config.training.items() if n not in ("averaging", "averaging_kwargs")}
    if isinstance(averaging, CheckpointMean):
        training.setdefault("save_total_limit", averaging.last)
    return dataclasses.replace(config, training=training, output_dir=None)


def wait_and_train(source: RunConfig, train: Train, data: TaskData, report: Callable[[str], Any]) -> Path:
    """Train a run, or let the other process finish that trains it already."""
    while True:
        try:
            return train(source, report, data=data)
        except HeldError:  # by another averaging of the same run
            report(f"waiting for {source.output_dir}, which another process trains")
            with locked(Path(str(source.output_dir)), wait=True):
                pass


def place_of(config: RunConfig, source: RunConfig, identities: tuple[Mapping[str, Any], Mapping[str, Any]]) -> Path:
    """Where the other run lies, or is to lie."""
    identity, of_source = identities
    if config.output_dir is None:
        return source.folder(of_source)
    own = Path(config.output_dir).expanduser()
    unplaced = dataclasses.replace(config, output_dir=None)
    if len(own.parents) > 2 and own == unplaced.folder(identity, own.parents[2]):  # as a plan lays out its runs
        return source.folder(of_source, own.parents[2])
    found = (path.parent for path in sorted(own.parent.glob("*/run.json")) if _is(path.parent, of_source))
    return next(found, own.with_name(f"{own.name}-unaveraged"))


def _is(folder: Path, identity: Mapping[str, Any]) -> bool:
    try:
        return read_identity(folder) == identity
    except RunError:  # damaged, and no concern of this run
        return False


def _mean(averaging: CheckpointMean, model: Any, trained: Path, config: RunConfig) -> dict[str, Any]:
    saved = {name: Run(trained).config.training.get(name) for name in _SAVING}
    asked = {name: config.training.get(name) for name in _SAVING}
    if saved != asked:
        raise RunError(
            f"{trained} saved its checkpoints otherwise ({_said(saved)}) than this run would ({_said(asked)}): give "
            f"the same, or an --output_dir that is not in {trained.parent}, whose runs are used again"
        )
    kept = checkpoints_of(trained)
    if len(kept) < averaging.last:
        raise RunError(
            f"{trained} keeps {len(kept)} of the {averaging.last} checkpoints that are averaged: give a smaller "
            f"`last` or train it again with `rosetune train --config {trained}/config.yaml --output_dir {trained} "
            f"--overwrite --save_total_limit {averaging.last}` (and a smaller --save_steps if it made fewer)"
        )
    chosen = averaging.chosen(trained)
    model.load_state_dict(averaging.mean(load_trained(path)[0].state_dict() for path in chosen))
    return {"steps": [step_of(path) for path in chosen]}


def _between(
    averaging: PretrainedInterpolation, model: Any, tokenizer: Any, config: RunConfig, data: TaskData
) -> dict[str, Any]:
    name = config.model_name_or_path
    start = load_classifier(name, data.labels, tokenizer, task_type=data.task_type, model_kwargs=config.model_kwargs)
    fresh = load_pretrained(name, len(data.labels) or 1)[1]
    model.load_state_dict(averaging.between(model.state_dict(), start.state_dict(), kept=fresh))
    return {"pretrained": name, "kept": sorted(fresh)}


def _said(saving: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {'the default' if value is None else value}" for name, value in saving.items())
