"""One text to attack as a search sees it, what the attack wants of it, and what a search may ask."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rosetune.robustness.attacks.additions import AddedWords
from rosetune.robustness.attacks.constraints import Constraints
from rosetune.robustness.attacks.text import Candidate, Changes, Text
from rosetune.robustness.attacks.transformations import Transformation
from rosetune.robustness.edits import generator

__all__ = ["Ask", "Floats", "Goal", "Problem", "Search", "Steps"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ask:
    """What the model is asked at once.

    A candidate that the model gets wrong is an adversarial example, and ends the search; a probe only measures how
    much a word matters (it lacks words, or holds unknown ones) and never counts as one.
    """

    candidates: Sequence[Candidate]
    probe: bool = False


Steps = Generator[Ask, list[Floats], None]  # it is sent the probabilities of the candidates, in their order


class Search(Protocol):
    """Yields what it wants to know and returns when it has no more ideas; success and budget end it from outside."""

    def __call__(self, problem: "Problem") -> Steps: ...


class Goal(NamedTuple):
    """What is wanted of a text: any label but the right one, or where there is a target, that one.

    Attributes:
        gold: index of the right label, which the model gives to the unchanged text.
        target: index of another label, or None.
    """

    gold: int
    target: int | None = None

    def reached(self, probabilities: Floats) -> bool:
        """Whether the model says what is wanted."""
        label = int(probabilities.argmax())
        return label != self.gold if self.target is None else label == self.target

    def score(self, probabilities: Floats) -> float:
        """What a search lowers: p(gold), or with a target 1 - p(target)."""
        return float(probabilities[self.gold]) if self.target is None else 1 - float(probabilities[self.target])


class Problem:
    """One text to attack, as a search sees it.

    Everything random depends on (seed, example) and nothing else.

    Args:
        text: the side that is attacked.
        gold: index of the right label, which the model gives to the unchanged text.
        clean: probabilities for the unchanged text.
        key: of the example and the seed.
        visible: characters that the model sees of a text that is too long for it.
        target: index of the label that is wanted; None: any but the right one.

    Attributes:
        positions: of the visible words that may be changed and have a replacement, in order; or where the
            transformation adds words, its places.
        goal: see :class:`Goal`.
        rng: the search's own generator.
    """

    def __init__(
        self,
        text: Text,
        gold: int,
        clean: Floats,
        transformation: Transformation | AddedWords,
        constraints: Constraints,
        key: str,
        visible: int | None = None,
        target: int | None = None,
    ) -> None:
        self.text, self.clean, self.constraints, self.goal = text, clean, constraints, Goal(gold, target)
        self.rng: Random = generator(key)
        if isinstance(transformation, AddedWords):
            hidden = visible is not None and visible < len(text.text)
            self._options = transformation.options(len(text), gold, hidden)
        else:
            self._options = self._replacements(transformation, key, visible)
        self.positions = list(self._options)

    def _replacements(self, transformation: Transformation, key: str, visible: int | None) -> dict[int, list[str]]:
        found = {}
        for i in self.constraints.editable(self.text):
            if visible is not None and self.text.span(i)[1] > visible:
                break
            # A generator for each word: what a word can become depends on no other word.
            options = transformation(self.text.words[i], generator(f"{key}:{i}"))
            if options:
                found[i] = options
        return found

    def options(self, position: int) -> list[str]:
        """The replacements of a word."""
        return self._options[position]

    def extend(self, changes: Changes, position: int) -> list[Changes]:
        """The given changes with one more word changed, in every way that the constraints allow."""
        if position in changes and not self.constraints.repeat:
            return []
        candidates = ({**changes, position: option} for option in self._options[position])
        return [candidate for candidate in candidates if self.constraints.allow(self.text, candidate)]

    def drops(self, answers: Sequence[Floats]) -> list[float]:
        """By how much each answer's score lies below that of the unchanged text: p(gold) falls, or p(target) rises."""
        return [self.goal.score(self.clean) - self.goal.score(answer) for answer in answers]
