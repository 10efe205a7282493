"""An objective's state travels in the optimizer's state dict, and so in every checkpoint."""

import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rosetune.methods._contracts import Objective, StatefulObjective
from rosetune.methods._options import same_options


def keep_with(optimizer: torch.optim.Optimizer, objective: Objective) -> None:
    """Save the objective's kind, options and state with the optimizer, and load or check them with it.

    A state from an optimizer without any objective (the plain Trainer's) loads where the objective keeps nothing.

    Raises:
        ValueError: on loading the state of another objective, or of one with other options.
    """
    kind = type(objective).__name__
    options = _options(objective)

    def save(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        own = objective.state_dict() if isinstance(objective, StatefulObjective) else {}
        return {**state, "objective": {"kind": kind, "options": options, "state": own}}

    def load(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        saved = state.get("objective")
        there = "no objective" if saved is None else saved["kind"]
        if there != kind and (saved is not None or isinstance(objective, StatefulObjective)):
            raise ValueError(
                f"this optimizer state was saved with {there}, but the objective is {kind}: resume with the objective "
                "the run was started with, or start a new run"
            )
        if saved is not None:
            same_options(kind, options, saved["options"])
            if isinstance(objective, StatefulObjective):
                objective.load_state_dict(saved["state"])
        return {name: value for name, value in state.items() if name != "objective"}

    optimizer.register_state_dict_post_hook(save)
    optimizer.register_load_state_dict_pre_hook(load)


def require_state(checkpoint: str | os.PathLike[str], kept: Sequence[str]) -> None:
    """A checkpoint to resume from holds the optimizer's state, and with it that of mask and objective.

    Args:
        kept: what has a state of its own there. With nothing of the kind a missing state is only warned of.

    Raises:
        ValueError: there is none (as ``save_only_model`` leaves it), and it matters.
    """
    names = [path.name for path in Path(checkpoint).iterdir()] if Path(checkpoint).is_dir() else []
    if any("optimizer" in name for name in names) and any("scheduler" in name for name in names):
        return
    lacks = f"{checkpoint} holds no state of optimizer and schedule, as save_only_model leaves it"
    if kept:
        raise ValueError(
            f"{lacks}: {' and '.join(kept)} would start anew in the middle; resume from a checkpoint that was saved "
            "without save_only_model, or start a new run from its weights"
        )
    warnings.warn(f"{lacks}: training goes on with a fresh optimizer and schedule", stacklevel=3)


def _options(objective: Objective) -> dict[str, Any]:
    """The fields of a dataclass but for files, which may have moved."""
    if not dataclasses.is_dataclass(objective):
        return {}
    fields = [field for field in dataclasses.fields(objective) if not field.metadata.get("file")]
    values = {field.name: getattr(objective, field.name) for field in fields}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
