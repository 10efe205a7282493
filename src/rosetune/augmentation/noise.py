"""Noisy rows in training: typing errors, scanning errors, disguised words."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from rosetune.robustness.edits import pick
from rosetune.robustness.noise_families import NOISES, check_noises

__all__ = ["NoiseAugmentation"]


@dataclass(frozen=True)
class NoiseAugmentation:
    """A row stays clean with probability 1 - p, else it gets one noise at one strength, drawn anew in every epoch.

        P(clean) = 1 - p;   noise ~ uniform over ``noises``;   strength ~ uniform over [low, high]

    Both texts of a pair get the same noise at the same strength.

    Args:
        noises: names of noises (`rosetune evaluate --help` lists them); null: all of them. A model that shall be
            tested on noises that it has not seen must not be given those here.
        p: share of the rows that are noisy, in [0, 1]; 0.5 and 0.75 are published choices, and training on noisy rows
            alone is known to collapse.
        strength: least and greatest share of the words touched.

    Raises:
        ValueError: an unknown noise, or a number outside [0, 1].

    Cost:
        Tokenising the noisy rows anew in each epoch, and longer rows: misspelt words are more tokens.
    """

    noises: Sequence[str] | None = None
    p: float = 0.5
    strength: Sequence[float] = (0.1, 1.0)

    def __post_init__(self) -> None:
        if self.noises is not None and not (isinstance(self.noises, list | tuple) and self.noises):
            raise ValueError(f'noises must be a list of names such as ["typing"], or null, not {self.noises!r}')
        check_noises(self.noises or ())
        check_chance("p", self.p)
        bounds = list(self.strength) if isinstance(self.strength, list | tuple) else []
        for share in bounds:
            check_chance("strength", share)
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise ValueError(f"strength must be the least and the greatest, such as [0.1, 1.0], not {self.strength!r}")

    def noisy(self, texts: Sequence[str], rng: Random) -> list[str]:
        """The texts under a noise and a strength that are drawn."""
        name = pick(tuple(NOISES) if self.noises is None else self.noises, rng)
        low, high = self.strength
        strength = low + (high - low) * rng.random()
        return [NOISES[name](text, strength, rng) for text in texts]

    def __call__(self, texts: Sequence[str], tokenizer: Any, rng: Random) -> dict[str, Any] | None:
        """The features of the noisy texts, or None where the row stays clean."""
        if rng.random() >= self.p:
            return None
        return dict(tokenizer(*self.noisy(texts, rng), truncation=True))


def check_chance(name: str, value: Any) -> None:
    """A number in [0, 1], or a ValueError says that it is not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], not {value!r}")
