"""The ranges of training arguments, which torch and the Trainer check late, or not at all."""

import math
from collections.abc import Mapping
from typing import Any

from rosetune.runs.values import RunError

__all__ = ["RANGES", "check_ranges"]

_ABOVE_0 = math.nextafter(0, 1)
# Of each the least and the largest value. The seeds are numpy's.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_epsilon", "warmup_steps"), (0, math.inf)),
    **dict.fromkeys(("max_grad_norm", "neftune_noise_alpha", "eval_delay", "dataloader_num_workers"), (0, math.inf)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), (0, math.nextafter(1, 0))),
    "label_smoothing_factor": (0, 1),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), (1, math.inf)),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps"), (1, math.inf)),
    **dict.fromkeys(("save_total_limit", "torch_empty_cache_steps"), (1, math.inf)),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), (_ABOVE_0, math.inf)),  # below 1 a share of all
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
}
_UNSET = -1  # of max_steps, as the Trainer has it


def check_ranges(training: Mapping[str, Any]) -> None:
    """Refuse a number that nothing can be trained with, before data and model are loaded.

    Args:
        training: arguments by name; what is no number is checked elsewhere.

    Raises:
        RunError: a number outside of its range, or none that is finite.
    """
    for name, (least, most) in RANGES.items():
        value = training.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or not least <= value <= most:
            raise RunError(f"{name} must be {_said(least, most)}, not {value}")
    steps = training.get("max_steps")
    if isinstance(steps, int | float) and steps < _UNSET:
        raise RunError(f"max_steps must be at least 1, or {_UNSET} to leave the length to the epochs, not {steps}")


def _said(least: float, most: float) -> str:
    if least == _ABOVE_0:
        return "above 0"
    if most == math.inf:
        return f"at least {least:g}"
    return f"at least {least:g} and below 1" if 0.9 < most < 1 else f"from {least:g} to {most}"
