"""One configuration becomes one folder: trained, evaluated, resumable."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rosetune._torch import is_main_process
from rosetune.arguments import build_averaging
from rosetune.averaging import Averaging
from rosetune.data.rows import TaskData
from rosetune.experiments.average import average_finished, without_averaging
from rosetune.experiments.checkpoints import newest_checkpoint, remove_checkpoints
from rosetune.experiments.data import load_data
from rosetune.experiments.evaluate import evaluate_run
from rosetune.experiments.folder import claim_folder, give_back, holds, make_folder, written
from rosetune.experiments.lock import locked
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.training import Training, training_arguments, training_defaults
from rosetune.robustness.sets import evaluation_sets
from rosetune.runs.config import RunConfig
from rosetune.runs.measures import Measures

__all__ = ["is_main_process", "run_all", "train_run"]

Report = Callable[[str], Any]


def run_all(configs: Iterable[RunConfig], report: Report = print) -> list[Path]:
    """Train some runs one after the other. What is finished is not repeated, and what was killed goes on."""
    return [train_run(config, report) for config in configs]


def train_run(
    config: RunConfig, report: Report = print, *, overwrite: bool = False, data: TaskData | None = None
) -> Path:
    """Train, evaluate and write down one run; resume it where it was killed; do nothing where it is done.

    Files: ``run.json`` (the identity), ``config.yaml``, ``environment.json``, ``log.jsonl`` (as it goes),
    ``checkpoint-*`` while it trains (one every five minutes, unless ``save_steps``, ``save_strategy`` or
    ``save_total_limit`` say otherwise), ``mask_trace.npz`` (where the mask records one), ``timing.json``, ``model/``,
    ``predictions/<set>.jsonl`` and ``metrics.json``, written last: its presence means done. Checkpoints of a trained
    run are deleted unless ``save_total_limit`` is given. A run with an averaging that acts after training takes the
    weights of the one without, which is found by its identity or trained first, and notes it in ``averaging.json``.

    Args:
        report: takes a line of text for the person who waits.
        overwrite: delete a run that the folder holds, whatever its configuration, and train anew.
        data: of the configuration, where it has been read already.

    Returns:
        The run's folder.

    Raises:
        RunError: the folder belongs to another configuration, or the model cannot be loaded.
        FolderError: another process is at work in the folder, or it cannot be written to.
        DataError: the data cannot be read.
        ValueError: from the Trainer or the method.
    """
    quiet_libraries()
    args = training_arguments(config)
    data = load_data(config) if data is None else data
    identity = _identity(config, data, args)
    folder = config.folder(identity)
    args.output_dir = str(folder)
    say: Report = report if is_main_process() else lambda line: None
    if "advglue" in config.sets:
        evaluation_sets(data, "advglue", data_dir=config.data_dir)  # it is missing now or after hours of training
    if overwrite:
        with args.main_process_first(desc="deleting the run"):  # no other may take it for the run that it looks at
            if is_main_process() and (folder / "run.json").is_file():
                with locked(folder):
                    shutil.rmtree(folder)
    finished = holds(folder, identity) and (folder / "metrics.json").is_file()
    if not is_main_process():
        if not finished and not (folder / "model").is_dir():
            _make(config, data, args, identity, say)
        return folder
    make_folder(folder)
    with written(folder), locked(folder):
        holds(folder, identity)  # still: another process may have come and gone
        if not finished and not (folder / "model").is_dir():
            _make(config, data, args, identity, say)
        if not finished and "save_total_limit" not in config.training:
            remove_checkpoints(folder)
        added = evaluate_run(
            folder,
            data,
            config.sets,
            data_dir=config.data_dir,
            noises=config.noises,
            measures=Measures.of(config),
            report=say,
        )
    if finished:
        say(f"{folder} is finished; " + (f"evaluated {', '.join(added)}" if added else "nothing to do"))
    return folder


def _identity(config: RunConfig, data: TaskData, args: Any) -> dict[str, Any]:
    return config.identity(
        task=data.name,
        text_columns=data.text_columns,
        fingerprint=data.fingerprint,
        defaults=training_defaults(),
        processes=args.world_size * max(1, args.n_gpu),
    )


def _make(config: RunConfig, data: TaskData, args: Any, identity: Mapping[str, Any], say: Report) -> None:
    """Train, or average what is trained."""
    averaging: Averaging | None = build_averaging(args)
    if averaging is None or not averaging.after_training:
        _train(config, data, args, identity, say)
        return
    of_source = _identity(without_averaging(config, averaging), data, args)
    average_finished(config, data, averaging, (identity, of_source), Path(args.output_dir), train_run, say)


def _train(config: RunConfig, data: TaskData, args: Any, identity: Mapping[str, Any], say: Report) -> None:
    folder = Path(args.output_dir)
    try:
        training = Training(config, data, args)
        with args.main_process_first(desc="preparing the run"):
            claim_folder(folder, config, identity)
            checkpoint = newest_checkpoint(folder, args.world_size)
        if checkpoint is None:
            for line in training.summary.lines():
                say(line)
        else:
            say(f"resuming from {checkpoint.name}")
        training.run(checkpoint)
    except Exception:
        if is_main_process():
            give_back(folder)
        raise
    chosen = training.chosen()
    if chosen is not None:
        say(f"reporting {chosen}")
    if is_main_process():
        training.write(folder)
