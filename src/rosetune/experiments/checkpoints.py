"""Which checkpoint a killed run resumes from."""

import filecmp
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rosetune.runs.values import RunError

__all__ = ["checkpoints_of", "end_step", "newest_checkpoint", "read_state", "remove_checkpoints", "step_of"]


def newest_checkpoint(folder: Path, processes: int = 1) -> Path | None:
    """The newest checkpoint that a run can go on from; incomplete ones, as a kill leaves them, are deleted.

    The Trainer fails on a half-written ``trainer_state.json``, and goes on silently with a fresh optimizer where
    ``optimizer.pt`` is missing.

    Args:
        processes: how many train together; each has its own random state.
    """
    for path in reversed(checkpoints_of(folder)):
        if _is_usable(path, processes):
            return path
        shutil.rmtree(path)
    return None


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints of a run."""
    for path in checkpoints_of(folder):
        shutil.rmtree(path)


def checkpoints_of(folder: Path) -> list[Path]:
    """All checkpoints of a run, in the order of training."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """After how many steps it was saved."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def end_step(run: Path, checkpoints: Mapping[int, Path]) -> tuple[int, float]:
    """Step and epoch of the model that a run reports: where the same weights were saved, or else the last step.

    Args:
        checkpoints: of the run, by step.
    """
    weights = sorted(path.name for path in (run / "model").glob("*.safetensors"))
    for step, path in sorted(checkpoints.items(), reverse=True):
        if weights and not any(filecmp.cmpfiles(run / "model", path, weights, shallow=False)[1:]):
            return step, read_state(path)["epoch"]
    state = read_state(checkpoints[max(checkpoints)])
    return state["max_steps"], state["epoch"] * state["max_steps"] / state["global_step"]


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What the Trainer wrote down of a checkpoint.

    Raises:
        RunError: the checkpoint is incomplete.
    """
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{checkpoint} is incomplete (no readable trainer_state.json): delete that folder") from error


def _is_usable(checkpoint: Path, processes: int) -> bool:
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    ranks = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    # torch.save writes a zip archive, whose directory comes last.
    if not all(zipfile.is_zipfile(checkpoint / name) for name in ("optimizer.pt", "scheduler.pt", *ranks)):
        return False
    weights = list(checkpoint.glob("*.safetensors"))
    return bool(weights) and all(_opens(path) for path in weights) and not _overshoots(state)


def _overshoots(state: dict[str, Any]) -> bool:
    """Whether the Trainer would take a step too many, as it does from a last step that lies inside an epoch."""
    return state["global_step"] >= state["max_steps"] and not float(state["epoch"]).is_integer()


def _opens(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
