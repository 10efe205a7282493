"""Checks of options: each gives the value back, or an error that names the option, its range and what was given."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any


def number(name: str, value: Any, least: float = 0.0, most: float = math.inf, *, positive: bool = False) -> float:
    """A finite number in [least, most]; above zero where it must be ``positive``.

    Raises:
        ValueError: it is none, or lies outside.
    """
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or not least <= value <= most or (positive and value <= 0):
        bound = f"in [{least:g}, {most:g}]" if most < math.inf else f"of at least {least:g}"
        bound = f"in (0, {most:g}]" if positive and most < math.inf else "above 0" if positive else bound
        raise ValueError(f"{name} must be a finite number {bound}, not {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int = 0) -> int:
    """A whole number from ``least`` up; 2.0 counts as one.

    Raises:
        ValueError: it is none, or lies below.
    """
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or value != int(value) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def switch(name: str, value: Any) -> bool:
    """True or False; a text such as "false" is neither.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return value


def one_of(name: str, value: Any, choices: Sequence[str]) -> Any:
    """One of these names.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def same_options(kind: str, own: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Compare a method's options with those in a saved state.

    Raises:
        ValueError: some differ; the message names them.
    """
    changed = [name for name, value in own.items() if saved.get(name) != value]
    if changed:
        details = ", ".join(f"{name}: {saved.get(name)!r} there, {own[name]!r} here" for name in changed)
        raise ValueError(f"this state was saved by a {kind} with other options ({details}): resume with the same ones")
