"""Whether two runs of a plan are the same training, of which one may write out what is the default of the other."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

from rosetune.augmentation import AUGMENTATIONS
from rosetune.averaging import AVERAGINGS
from rosetune.methods import OBJECTIVES, UPDATE_MASKS
from rosetune.runs.config import DEFAULT_SEED

__all__ = ["written_out"]

_AXES: dict[str, tuple[Mapping[str, type], str | None]] = {
    "objective": (OBJECTIVES, "cross_entropy"),
    "update_mask": (UPDATE_MASKS, None),
    "augmentation": (AUGMENTATIONS, None),
    "averaging": (AVERAGINGS, None),
}


def written_out(identity: Mapping[str, Any]) -> dict[str, Any]:
    """A run's identity with the defaults of its methods' options in it, for comparison with another one.

    No folder is named by it: what is named by identities stays where it is.

    Args:
        identity: as :meth:`~rosetune.runs.config.RunConfig.identity` has it.
    """
    training = dict(identity["training"])
    for axis, (methods, default) in _AXES.items():
        name = training.get(axis, default)
        if name is not None:
            kwargs = f"{axis}_kwargs"
            training |= {axis: name, kwargs: {**_defaults(methods[name], training), **(training.get(kwargs) or {})}}
    whole = {**identity, "training": training}
    return dict(_alike(json.loads(json.dumps(whole, default=repr))))


def _defaults(method: type, training: Mapping[str, Any]) -> dict[str, Any]:
    """Of a method's options; some follow from training arguments, as where the Trainer makes the method."""
    parameters = inspect.signature(method).parameters
    found = {name: part.default for name, part in parameters.items() if part.default is not part.empty}
    given = {
        "seed": training.get("seed", DEFAULT_SEED),
        "label_smoothing": training.get("label_smoothing_factor", 0.0),
    }
    return found | {name: value for name, value in given.items() if name in parameters}


def _alike(value: Any) -> Any:
    """Numbers as floats, since 1 and 1.0 are the same option."""
    if isinstance(value, Mapping):
        return {name: _alike(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_alike(part) for part in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
