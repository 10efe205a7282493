"""How a run was trained, for its model card: what decided it, whether it was asked for or is a default."""

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from rosetune.report.markdown import code, escaped
from rosetune.runs.config import DEFAULT_SEED, RUN_DEFAULTS, RunConfig
from rosetune.runs.run import Run

__all__ = ["TRAINER_DEFAULTS", "default_options", "training_lines"]

# Of the training arguments that a reader needs to train such a model again, in the order of the card.
TRAINER_DEFAULTS: dict[str, Any] = {
    "objective": "cross_entropy",
    "update_mask": None,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "per_device_train_batch_size": RUN_DEFAULTS["per_device_train_batch_size"],
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 3.0,
    "seed": DEFAULT_SEED,
}
_AXES = ("objective", "update_mask", "augmentation", "averaging")
_OF_THE_RUN = ("seed", "label_smoothing")  # options of a method that the training arguments decide


def training_lines(run: Run) -> Iterator[str]:
    """Method with all its options, learning rate, batch, length and seed; then the versions."""
    if run.config.given:
        yield "It was taken as it was, without training.\n"
    else:
        yield from _trained(run)
    packages = run.environment.get("packages", {})
    yield from (f"- {escaped(package)}: {code(version)}" for package, version in packages.items())


def _trained(run: Run) -> Iterator[str]:
    given: Mapping[str, Any] = run.identity["training"]
    unused = {"num_train_epochs"} if int(given.get("max_steps", -1)) > 0 else set()
    for name in dict.fromkeys([*TRAINER_DEFAULTS, *sorted(given)]):
        if name in unused or name.endswith("_kwargs"):
            continue
        value = given.get(name, TRAINER_DEFAULTS.get(name))
        shown = "none, so that every weight is updated" if name == "update_mask" and value is None else _json(value)
        yield f"- {escaped(name)}: {shown}{'' if name in given else ' (default)'}"
        if name in _AXES and value is not None:
            yield from _options(name, str(value), given.get(f"{name}_kwargs") or {})
    others = [name for name in sorted(given) if name.endswith("_kwargs") and name.removesuffix("_kwargs") not in _AXES]
    yield from (f"- {escaped(name)}: {_json(given[name])}" for name in others)
    length = run.config.max_length
    yield f"- max_length: {_json(length)}{' (default)' if length == RunConfig.max_length else ''}"
    if run.identity.get("processes", 1) != 1:
        yield f"- processes that share a step: {_json(run.identity['processes'])}"
    if "rows" in run.timing:  # which versions before did not keep
        yield f"- training rows: {_json(run.timing['rows'])}"
    if run.config.max_train_samples is not None:
        yield f"- max_train_samples: {_json(run.config.max_train_samples)}"


def _options(axis: str, name: str, given: Mapping[str, Any]) -> Iterator[str]:
    """What was asked of a method, and what else it takes by default."""
    default = {option: value for option, value in default_options(axis, name).items() if option not in given}
    if given:
        yield f"- {axis}_kwargs: {_json(given)}" + (f"; by default {_json(default)}" if default else "")
    elif default:
        yield f"- {axis}_kwargs: {_json(default)} (default)"


def default_options(axis: str, name: str) -> dict[str, Any]:
    """The options of a method that have a default; of a method of another version nothing is known."""
    from rosetune.augmentation import AUGMENTATIONS
    from rosetune.averaging import AVERAGINGS
    from rosetune.methods import OBJECTIVES, UPDATE_MASKS

    known: dict[str, Mapping[str, Any]] = dict(
        zip(_AXES, (OBJECTIVES, UPDATE_MASKS, AUGMENTATIONS, AVERAGINGS), strict=True)
    )
    method = known[axis].get(name)
    options = {} if method is None else inspect.signature(method).parameters
    return {
        option: about.default
        for option, about in options.items()
        if about.default is not about.empty and option not in _OF_THE_RUN
    }


def _json(value: Any) -> str:
    return code(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))
