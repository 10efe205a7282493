"""How a classifier is hardened: what is tried, what is attacked, and when it is enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rosetune.experiments.attack_options import BUDGET, TEXTATTACK, AttackOptions
from rosetune.runs.values import RunError, about, flag, guess, names, number

__all__ = ["CANDIDATES", "NONE", "HardenOptions"]

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
}
_ROUNDS = 5


@dataclass(frozen=True)
class HardenOptions:
    """How a classifier is hardened. Each field says in ``metadata`` what it is.

    Raises:
        RunError: an unknown candidate or attack, or a value out of its range.
    """

    candidates: tuple[str, ...] = field(
        default=("noise", "typing_heavy"),
        metadata=about(
            f"augmentations that are tried beside none: some of {', '.join(n for n in CANDIDATES if n != NONE)}; or "
            "none (default: noise,typing_heavy)",
            "A,B",
        ),
    )
    attack: tuple[str, ...] = field(
        default=("deepwordbug",),
        metadata=about("attacks by name, see `rosetune attack --help` (default: deepwordbug)", "A,B"),
    )
    max_share: float = field(
        default=0.2,
        metadata=about(
            "largest share of a text's words that an attack may change, beyond which its label is no longer sure "
            "(default: 0.2)",
            "X",
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
    attack_share: float = field(
        default=0.25, metadata=about("share of the training rows that a round attacks (default: 0.25)", "X")
    )
    max_attacked: int = field(
        default=1000, metadata=about("most training rows that a round attacks (default: 1000)", "N")
    )
    judge_examples: int = field(
        default=50, metadata=about("held-out rows that are attacked to choose on (default: 50)", "N")
    )
    examples: int = field(
        default=100, metadata=about("rows of the evaluation data that are attacked at the end (default: 100)", "N")
    )
    budget: int = field(
        default=BUDGET,
        metadata=about(f"most texts that an attack asks the model about for a row (default: {BUDGET})", "N"),
    )
    min_gain: float = field(
        default=0.005,
        metadata=about("of the score on held-out rows, for a step to be taken (default: 0.005, half a point)", "X"),
    )
    max_clean_drop: float = field(
        default=0.02,
        metadata=about("clean accuracy that a step may cost on held-out rows (default: 0.02, two points)", "X"),
    )
    synonyms: str | None = field(
        default=None, metadata=about("of attacks that need some: a JSON file, or wordnet", "FILE")
    )
    attack_seed: int = field(
        default=0, metadata=about("of the rows that are attacked, and of attacks (default: 0)", "N")
    )
    keep_models: bool = field(default=False, metadata=about("keep the weights of every trial, not its scores alone"))

    def __post_init__(self) -> None:
        tried = names("candidates", self.candidates) or ()
        for name in tried:
            if name not in CANDIDATES:
                raise RunError(f"--candidates: there is no augmentation {name!r} to try: {guess(name, CANDIDATES)}")
        # None is what the others must gain on, and the first of equals.
        object.__setattr__(self, "candidates", tuple(dict.fromkeys((NONE, *tried))))
        object.__setattr__(self, "attack", names("attack", self.attack) or ())
        object.__setattr__(self, "alphas", _shares(self.alphas))
        object.__setattr__(self, "keep_models", flag("keep_models", self.keep_models))
        self._check_numbers()
        for name in self.attack:
            if name.startswith(TEXTATTACK):
                raise RunError(f"{name} cannot be held to a share of changed words: give an attack of rosetune's own")
        object.__setattr__(self, "attack", self.attacks(1).attack)

    def _check_numbers(self) -> None:
        for name, least in (("max_attacked", 1), ("judge_examples", 1), ("examples", 1), ("budget", 1)):
            if getattr(self, name) < least:
                raise RunError(f"--{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.rounds <= _ROUNDS:
            raise RunError(f"--rounds must lie between 0 and {_ROUNDS}, not {self.rounds}")
        for name, above in (("max_share", 0.0), ("attack_share", 0.0)):
            if not above < getattr(self, name) <= 1:
                raise RunError(f"--{name} must lie in (0, 1], not {getattr(self, name)}")
        for name in ("min_gain", "max_clean_drop"):
            if not (0 <= getattr(self, name) < 1 and math.isfinite(getattr(self, name))):
                raise RunError(f"--{name} must lie in [0, 1), as a share (0.01 is a point), not {getattr(self, name)}")

    def attacks(self, examples: int) -> AttackOptions:
        """The attacks, on so many rows of a set; the same wherever a model is attacked."""
        return AttackOptions(
            attack=self.attack,
            examples=examples,
            budget=self.budget,
            seed=self.attack_seed,
            max_share=self.max_share,
            synonyms=self.synonyms,
        )


def _shares(given: Any) -> tuple[float, ...]:
    """Different numbers in (0, 1), from numbers or from text such as "0.5,0.75"; none of the word none."""
    parts = given.split(",") if isinstance(given, str) else given
    if list(parts) == [NONE]:
        return ()
    try:
        return tuple(dict.fromkeys(number("alphas", part, whole=False) for part in parts))
    except RunError as error:
        raise RunError(f"--alphas takes shares in (0, 1) such as 0.5,0.75, or none, not {given!r}") from error
