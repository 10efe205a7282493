"""The options of the axes, described once: for the Trainer's arguments and for the command line."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

__all__ = ["AXES", "check_name", "check_options"]

AXES = {
    "objective": "which loss is minimised (rosetune list methods)",
    "objective_kwargs": 'options of the objective, as JSON: {"alpha": 0.5}',
    "update_mask": "which updates are applied (rosetune list methods); none: all of them",
    "update_mask_kwargs": 'options of the update mask, as JSON: {"order": "first", "upper": 0.6}',
    "augmentation": "which rows are seen: noise, subword_dropout (rosetune list methods); none: those of the data",
    "augmentation_kwargs": 'options of the augmentation, as JSON: {"noises": ["typing"], "p": 0.5}',
    "averaging": "which weights are kept: ema, checkpoints, pretrained (rosetune list methods); none: the last ones",
    "averaging_kwargs": 'options of the averaging, as JSON: {"alpha": 0.5}',
}


def check_name(axis: str, name: Any, tables: Mapping[str, Iterable[str]]) -> None:
    """Refuse what is no name of a method of an axis.

    Args:
        tables: the names of each axis.

    Raises:
        ValueError: see there.
    """
    known = [*tables[axis]]
    other = next((other for other in tables if other != axis and name in tables[other]), None)
    if name not in known and other is not None:
        raise ValueError(f"unknown {axis} {name!r}: that is an {other}. Else choose one of {', '.join(known)}")
    if name not in known:
        raise ValueError(f"unknown {axis} {name!r}: {_guess(str(name), known)}choose one of {', '.join(known)}")


def check_options(axis: str, name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an option that a method has not.

    Args:
        known: its options.

    Raises:
        ValueError: see there.
    """
    known = [*known]
    unknown = [option for option in given if option not in known]
    if unknown:
        raise ValueError(
            f"{axis} {name!r} has no option {', '.join(map(repr, unknown))}: {_guess(unknown[0], known)}it takes "
            f"{', '.join(known) or 'none'}"
        )


def _guess(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, [*known], n=1)
    return f"did you mean {near[0]!r}? " if near else ""
