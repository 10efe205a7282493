"""How a classifier is hardened: what is tried, what is attacked, and when it is enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.runs.values import RunError, about, flag, guess, names, number

__all__ = ["CANDIDATES", "END", "NONE", "PASSES", "HardenOptions"]

NONE = "none"
# Training arguments by the name of a candidate. p = 0.5 and 0.75 are published choices; of typing errors the latter is
# near what gained most on SST-2 with MiniLM, in one trial of one seed.
CANDIDATES: Mapping[str, dict[str, Any]] = {
    NONE: {},
    "noise": {"augmentation": "noise", "augmentation_kwargs": {"p": 0.5}},
    "typing_heavy": {
        "augmentation": "noise",
        "augmentation_kwargs": {"noises": ["typing"], "p": 0.75, "strength": [0.2, 1.0]},
    },
    "noise_heavy": {"augmentation": "noise", "augmentation_kwargs": {"p": 0.75, "strength": [0.2, 1.0]}},
    "subword_dropout": {"augmentation": "subword_dropout"},
    # An objective, which reads each text twice: asked for by name, never a default.
    "noise_consistency": {"objective": "noise_consistency"},
}
PASSES = {"noise_consistency": 2}  # forward and backward passes of a step, where there is more than one
# What both models are evaluated on at the end, where nothing else is asked for: disguises beside typing errors.
END: Mapping[str, tuple[str, ...]] = {
    "sets": ("clean", "noise", "noise_curve"),
    "noises": ("homoglyphs@0.5", "spaced_letters@0.5", "leetspeak@0.5"),
}
_ROUNDS = 5


@dataclass(frozen=True)
class HardenOptions(AdversarialOptions):
    """How a classifier is hardened, and how its training rows are attacked for it. Each field says what it is.

    Raises:
        RunError: an unknown candidate or attack, or a value out of its range.
    """

    candidates: tuple[str, ...] = field(
        default=("noise", "typing_heavy"),
        metadata=about(
            f"augmentations that are tried beside none: some of {', '.join(n for n in CANDIDATES if n != NONE)} (an "
            "objective, twice the cost of a step); or none (default: noise,typing_heavy)",
            "A,B",
        ),
    )
    rounds: int = field(
        default=1,
        metadata=about(f"of adversarial rows, 0 to {_ROUNDS}; fewer where none gains (default: 1)", "N"),
    )
    alphas: tuple[float, ...] = field(
        default=(0.75,),
        metadata=about(
            "shares of the fine-tuned weights on the line to the pre-trained ones that are tried at the end, each in "
            "(0, 1); none: all of the fine-tuned weights are kept (default: 0.75)",
            "A,B",
        ),
    )
    judge_examples: int = field(
        default=50, metadata=about("held-out rows that are attacked to choose on (default: 50)", "N")
    )
    examples: int = field(
        default=100, metadata=about("rows of the evaluation data that are attacked at the end (default: 100)", "N")
    )
    min_gain: float = field(
        default=0.005,
        metadata=about("of the score on held-out rows, for a step to be taken (default: 0.005, half a point)", "X"),
    )
    max_clean_drop: float = field(
        default=0.02,
        metadata=about("clean accuracy that a step may cost on held-out rows (default: 0.02, two points)", "X"),
    )
    keep_models: bool = field(default=False, metadata=about("keep the weights of every trial, not its scores alone"))

    def __post_init__(self) -> None:
        tried = names("candidates", self.candidates) or ()
        for name in tried:
            if name not in CANDIDATES:
                raise RunError(f"--candidates: there is no augmentation {name!r} to try: {guess(name, CANDIDATES)}")
        # None is what the others must gain on, and the first of equals.
        object.__setattr__(self, "candidates", tuple(dict.fromkeys((NONE, *tried))))
        object.__setattr__(self, "alphas", _shares(self.alphas))
        object.__setattr__(self, "keep_models", flag("keep_models", self.keep_models))
        self._check_numbers()
        super().__post_init__()

    def _check_numbers(self) -> None:
        for name, least in (("judge_examples", 1), ("examples", 1)):
            if getattr(self, name) < least:
                raise RunError(f"--{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.rounds <= _ROUNDS:
            raise RunError(f"--rounds must lie between 0 and {_ROUNDS}, not {self.rounds}")
        for name in ("min_gain", "max_clean_drop"):
            if not (0 <= getattr(self, name) < 1 and math.isfinite(getattr(self, name))):
                raise RunError(f"--{name} must lie in [0, 1), as a share (0.01 is a point), not {getattr(self, name)}")


def _shares(given: Any) -> tuple[float, ...]:
    """Different numbers in (0, 1), from numbers or from text such as "0.5,0.75"; none of the word none."""
    parts = given.split(",") if isinstance(given, str) else given
    if list(parts) == [NONE]:
        return ()
    try:
        return tuple(dict.fromkeys(number("alphas", part, whole=False) for part in parts))
    except RunError as error:
        raise RunError(f"--alphas takes shares in (0, 1) such as 0.5,0.75, or none, not {given!r}") from error
