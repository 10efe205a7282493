"""Whose a run's folder is."""

import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import rosetune
from rosetune._files import write_json, write_text
from rosetune.experiments.errors import FolderError, disk_is_full
from rosetune.experiments.lock import LOCK
from rosetune.runs.config import LENGTH, RunConfig
from rosetune.runs.files import read_identity, read_json
from rosetune.runs.values import RunError, differences

__all__ = ["claim_folder", "claim_study", "discard", "give_back", "holds", "make_folder", "written"]

_CLAIM = ("run.json", "config.yaml", "environment.json")
# What a run leaves behind that failed before its first checkpoint.
_TRACES = {*_CLAIM, "log.jsonl", LOCK}


def holds(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the folder holds this run, finished or not.

    Raises:
        RunError: it holds something else.
    """
    path = folder / "run.json"
    try:
        if path.is_file():
            _compare(folder, identity)
            return True
        if folder.exists() and any(
            not entry.name.endswith(".partial") and entry.name != LOCK for entry in folder.iterdir()
        ):
            raise RunError(f"{folder} is not empty and holds no run: choose another --output_dir")
        return False
    except OSError as error:
        raise _not_writable(folder, error) from error


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Where a run's files are written: says of a full disk what it is, whichever library finds it.

    Raises:
        FolderError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if disk_is_full(error):
            raise FolderError(
                f"no space is left on the disk of {folder}: free some and give the same command again"
            ) from error
        raise


def make_folder(folder: Path) -> None:
    """Make a run's folder, or say why that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error


def claim_study(folder: Path, file: str, identity: Mapping[str, Any], what: str) -> None:
    """Write down what a folder of several runs is for, if it is new.

    Args:
        file: that says it.
        identity: what decides the result; that of the runs' common configuration under "base".
        what: the study is called, such as "search".

    Raises:
        RunError: another study lies there, or something else.
    """
    path = folder / file
    if not path.is_file():
        if folder.is_dir() and any(not entry.name.endswith(".partial") for entry in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no {what}: choose another --output_dir")
        make_folder(folder)
        write_json(path, identity)
    before = read_json(path, "choose another --output_dir")
    changed = differences(_flat(before), _flat(identity))
    if changed:
        said = "; ".join(f"{name}: {old!r} there, {new!r} here" for name, (old, new) in changed.items())
        raise RunError(f"{folder} holds another {what} ({said}): choose another --output_dir, or delete that folder")


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {**identity.get("base", {}), **{name: part for name, part in identity.items() if name != "base"}}


def claim_folder(folder: Path, config: RunConfig, identity: Mapping[str, Any]) -> None:
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


def give_back(folder: Path) -> None:
    """A run that fails before its first checkpoint leaves nothing behind that would stand in the way of another."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= _TRACES:
        for name in _TRACES:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def discard(folder: Path) -> None:
    """Remove a folder that this call has made a run of, whole as it was before."""
    shutil.rmtree(folder, ignore_errors=True)


def _not_writable(folder: Path, error: OSError) -> FolderError:
    return FolderError(f"cannot write a run to {folder}: {error.strerror}; choose another --output_dir")


def _compare(folder: Path, now: Mapping[str, Any]) -> None:
    before = read_identity(folder)
    if before == now:
        return
    changed = differences(before, now)
    details = "; ".join(f"{name}: {_shown(old)} there, {_shown(new)} here" for name, (old, new) in changed.items())
    longer = " (a finished run does not train on)" if {*changed} <= {*LENGTH} else ""
    or_else = (
        "remove that folder" if now.get("given") else f"give --overwrite to delete that run and train anew{longer}"
    )
    raise RunError(
        f"{folder} holds a run of another configuration ({details}): choose another --output_dir, or {or_else}"
    )


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
