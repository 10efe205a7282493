"""One configuration becomes one folder: trained, evaluated, resumable."""

import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import rosetune
from rosetune._files import write_json, write_text
from rosetune.data.sources import TaskData
from rosetune.experiments.checkpoints import newest_checkpoint, remove_checkpoints
from rosetune.experiments.config import RunConfig, RunError
from rosetune.experiments.evaluate import evaluate_run, read_metrics, read_predictions
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.sets import evaluation_sets, load_data
from rosetune.experiments.training import Training, training_arguments, training_defaults

__all__ = ["evaluate_run", "is_main_process", "load_data", "read_metrics", "read_predictions", "train_run"]

Report = Callable[[str], Any]


def train_run(config: RunConfig, report: Report = print) -> Path:
    """Train, evaluate and write down one run; resume it where it was killed; do nothing where it is done.

    Files: ``run.json`` (the identity), ``config.yaml``, ``environment.json``, ``checkpoint-*`` while it trains,
    ``log.jsonl``, ``mask_trace.npz`` (where the mask records one), ``timing.json``, ``model/``, ``predictions.jsonl``
    and ``metrics.json``, written last: its presence means done. Checkpoints of a trained run are deleted unless
    ``save_total_limit`` is given.

    Args:
        report: takes a line of text for the person who waits.

    Returns:
        The run's folder.

    Raises:
        RunError: the folder belongs to another configuration, or the model cannot be loaded.
        DataError: the data cannot be read.
        ValueError: from the Trainer or the method.
    """
    quiet_libraries()
    args = training_arguments(config)
    data = load_data(config)
    identity = config.identity(
        task=data.name,
        text_columns=data.text_columns,
        fingerprint=data.fingerprint,
        defaults=training_defaults(),
        processes=args.world_size * max(1, args.n_gpu),
    )
    folder = config.folder(identity)
    args.output_dir = str(folder)
    say: Report = report if is_main_process() else lambda line: None
    finished = _holds(folder, identity) and (folder / "metrics.json").is_file()
    if "advglue" in config.sets:
        evaluation_sets(data, "advglue", data_dir=config.data_dir)  # it is missing now or after hours of training
    if not finished and not (folder / "model").is_dir():
        _train(config, data, args, identity, say)
    if not is_main_process():
        return folder
    if not finished and "save_total_limit" not in config.training:
        remove_checkpoints(folder)
    added = evaluate_run(folder, data, config.sets, data_dir=config.data_dir)
    if finished:
        say(f"{folder} is finished; " + (f"evaluated {', '.join(added)}" if added else "nothing to do"))
    return folder


def is_main_process() -> bool:
    """Whether this is the process that writes, of those that torchrun or accelerate started together."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def _train(config: RunConfig, data: TaskData, args: Any, identity: Mapping[str, Any], say: Report) -> None:
    folder = Path(args.output_dir)
    try:
        _make(folder)
        training = Training(config, data, args)
        with args.main_process_first(desc="preparing the run"):
            _claim(folder, config, identity)
            checkpoint = newest_checkpoint(folder, args.world_size)
        if checkpoint is not None:
            say(f"resuming from {checkpoint.name}")
            if args.train_sampling_strategy == "group_by_length":
                say("its batches are drawn anew, so that the result may differ from that of an uninterrupted run")
        training.run(checkpoint)
    except Exception:
        if is_main_process():
            _give_back(folder)
        raise
    chosen = training.chosen()
    if chosen is not None:
        say(f"reporting {chosen}")
    if is_main_process():
        training.write(folder)


def _holds(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the folder holds this run, finished or not.

    Raises:
        RunError: it holds something else.
    """
    path = folder / "run.json"
    try:
        if path.is_file():
            _compare(folder, path.read_text(encoding="utf-8"), identity)
            return True
        if folder.exists() and any(not entry.name.endswith(".partial") for entry in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no run: choose another --output_dir")
        return False
    except OSError as error:
        raise _not_writable(folder, error) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _claim(folder: Path, config: RunConfig, identity: Mapping[str, Any]) -> None:
    """Write down whose the folder is; where a run was killed while it did so, complete that."""
    try:
        if not (folder / "run.json").is_file():
            write_json(folder / "run.json", identity)
        if not (folder / "config.yaml").is_file():
            write_text(folder / "config.yaml", config.as_yaml())
        if not (folder / "environment.json").is_file():
            write_json(folder / "environment.json", _environment())
    except OSError as error:
        raise _not_writable(folder, error) from error


def _give_back(folder: Path) -> None:
    """A run that fails before its first checkpoint leaves nothing behind that would stand in the way of another."""
    claim = ("environment.json", "config.yaml", "run.json")
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {*claim}:
        for name in claim:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _not_writable(folder: Path, error: OSError) -> RunError:
    return RunError(f"cannot write a run to {folder}: {error.strerror}; choose another --output_dir")


def _compare(folder: Path, run_json: str, now: Mapping[str, Any]) -> None:
    try:
        before = json.loads(run_json)
        if before == now:
            return
        old, new = ({**side["training"], **side, "training": None} for side in (before, now))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}/run.json is not a run of rosetune: choose another --output_dir") from error
    old, new = _flat(old), _flat(new)
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    details = "; ".join(f"{name}: {_shown(old.get(name))} there, {_shown(new.get(name))} here" for name in changed)
    raise RunError(f"{folder} holds a run of another configuration ({details}): choose another --output_dir")


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """A method's options one by one, so that only those that differ are shown."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= {f"{name}.{part}": v for part, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return flat


def _shown(value: Any) -> str:
    text = "the default" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:24] + '..."'


def _environment() -> dict[str, Any]:
    packages = ("torch", "transformers", "accelerate", "datasets", "numpy")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"rosetune": rosetune.__version__, **{name: version(name) for name in packages}},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }
