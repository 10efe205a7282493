"""How a number is written: one figure is never rounded in two ways, and none is -0.0 or 0.9429000000000001."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

__all__ = ["fixed", "in_percent", "tidy"]

_NOISE = 9  # decimals beyond which a computed figure holds nothing but the error of its floats
_LARGE = 1e12  # from here on a float has no digits left to round
_DIGITS = 12  # of a figure in a file


def fixed(value: float, digits: int = 3, sign: str = "") -> str:
    """A number with so many decimals. The error of its floats goes first, halves go away from zero, zero has no minus.

    Args:
        sign: "+" to write it in any case.
    """
    if not abs(value) < _LARGE:  # nor finite, maybe
        return f"{float(value):{sign}.{digits}f}"
    exact = Decimal(repr(round(float(value), _NOISE)))
    return f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):{sign}z.{digits}f}"


def in_percent(share: float, sign: str = "") -> str:
    """A share in percent, or a difference of shares in points, with one decimal."""
    return fixed(100 * share, 1, sign)


def tidy(value: Any) -> Any:
    """Numbers for a file, in whatever lists and mappings they stand: twelve digits, and all else as it is."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") + 0.0
    if isinstance(value, Mapping):
        return {name: tidy(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(part) for part in value]
    return value
