"""Searches for changes to a text that mislead the model, as generators: they ask, and are sent the model's answers."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rosetune.robustness.attacks.constraints import Constraints
from rosetune.robustness.attacks.text import Candidate, Changes, Text
from rosetune.robustness.attacks.transformations import Transformation
from rosetune.robustness.edits import generator, pick

__all__ = ["Ask", "Floats", "Greedy", "Problem", "RandomSearch", "Search", "Steps"]

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


class Problem:
    """One text to attack, as a search sees it.

    Everything random depends on (seed, example) and nothing else.

    Args:
        text: the side that is attacked.
        gold: index of the right label, which the model gives to the unchanged text.
        clean: probabilities for the unchanged text.
        key: of the example and the seed.
        visible: characters that the model sees of a text that is too long for it.

    Attributes:
        positions: of the visible words that may be changed and have a replacement, in order.
        rng: the search's own generator.
    """

    def __init__(
        self,
        text: Text,
        gold: int,
        clean: Floats,
        transformation: Transformation,
        constraints: Constraints,
        key: str,
        visible: int | None = None,
    ) -> None:
        self.text, self.gold, self.clean, self.constraints = text, gold, clean, constraints
        self.rng: Random = generator(key)
        self._options: dict[int, list[str]] = {}
        for i in constraints.editable(text):
            if visible is not None and text.span(i)[1] > visible:
                break
            # A generator for each word: what a word can become depends on no other word.
            options = transformation(text.words[i], generator(f"{key}:{i}"))
            if options:
                self._options[i] = options
        self.positions = list(self._options)

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
        """By how much each answer's probability of the right label lies below that of the unchanged text."""
        return [float(self.clean[self.gold] - answer[self.gold]) for answer in answers]


@dataclass(frozen=True)
class Greedy:
    """Change word after word, the most important first, each to what lowers the right label's probability most.

    With x the text, y its label, and w a word, importance is one of

        "delete"     p(y | x) - p(y | x without w)
        "unk"        p(y | x) - p(y | x with an unknown word in the place of w)
        "combined"   [p(y | x up to w) - p(y | x before w)] + [p(y | x from w on) - p(y | x after w)]
        "weighted"   softmax over words of "unk", times the largest drop of p(y) that a replacement of w achieves

    By the first three, a word is changed where that lowers p(y) below what the changes so far achieved, and else left
    alone. By "weighted" every word gets, in the order of importance, the replacement found for it in the unchanged
    text.

    Args:
        importance: as above.
        unk: the unknown word, for "unk" and "weighted".
        bonus: add to the importance what the other label gains, where "delete" or "unk" makes the model change its
            mind: p(y' | x without w) - p(y' | x).

    Raises:
        ValueError: an unknown importance, or a bonus to one that is neither "delete" nor "unk".

    Reference:
        Gao et al. 2018 ("combined", equations 2 to 4), Ren et al. 2019 ("weighted", equations 4 to 8), Jin et al. 2020
        ("delete" with bonus, equation 2).

    Deviates:
        Of "combined", the first word's head score and the last word's tail score compare with 1 / labels, as in the
        published code. Of "weighted", the softmax runs over the words that have replacements, which leaves the order
        as it is; and a single replacement that misleads the model already ends the search, where the paper would go on
        to apply replacements in order.
    """

    importance: str = "unk"
    unk: str = "[UNK]"
    bonus: bool = False

    def __post_init__(self) -> None:
        if self.importance not in ("delete", "unk", "combined", "weighted"):
            raise ValueError(f'importance must be "delete", "unk", "combined" or "weighted", not {self.importance!r}')
        if self.bonus and self.importance not in ("delete", "unk"):
            raise ValueError(f'bonus goes with "delete" or "unk", not with {self.importance!r}')

    def __call__(self, problem: Problem) -> Steps:
        if self.importance == "weighted":
            return self._weighted(problem)
        return self._stepwise(problem)

    def _stepwise(self, problem: Problem) -> Steps:
        if self.importance == "combined":
            scores = yield from self._combined(problem)
        else:
            scores = yield from self._leave_out(problem)
        changes: Changes = {}
        best = 0.0
        for position in _descending(problem.positions, scores):
            candidates = problem.extend(changes, position)
            if not candidates:
                continue
            drops = problem.drops((yield Ask(candidates)))
            if max(drops) > best:
                best = max(drops)
                changes = candidates[drops.index(best)]

    def _weighted(self, problem: Problem) -> Steps:
        saliency = yield from self._leave_out(problem)
        candidates = [problem.extend({}, position) for position in problem.positions]
        drops = problem.drops((yield Ask([candidate for group in candidates for candidate in group])))
        scores, chosen, start = [], [], 0
        for score, group in zip(saliency, candidates, strict=True):
            part = drops[start : start + len(group)]
            start += len(group)
            best = max(part, default=0.0)
            scores.append(math.exp(score) * best)
            chosen.append(group[part.index(best)] if group else {})
        changes: Changes = {}
        for position in _descending(range(len(chosen)), scores):
            following = {**changes, **chosen[position]}
            if len(following) > len(changes) and problem.constraints.allow(problem.text, following):
                changes = following
                yield Ask([changes])

    def _leave_out(self, problem: Problem) -> Generator[Ask, list[Floats], list[float]]:
        instead = "" if self.importance == "delete" else self.unk
        answers = yield Ask([{position: instead} for position in problem.positions], probe=True)
        scores = problem.drops(answers)
        if self.bonus:
            for i, answer in enumerate(answers):
                other = int(answer.argmax())
                if other != problem.gold:
                    scores[i] += float(answer[other] - problem.clean[other])
        return scores

    def _combined(self, problem: Problem) -> Generator[Ask, list[Floats], list[float]]:
        n = len(problem.text)
        heads = sorted({k for i in problem.positions for k in (i, i + 1)} - {0})
        tails = sorted({k for i in problem.positions for k in (i, i + 1)} - {n})
        pieces = [*(slice(0, k) for k in heads), *(slice(k, n) for k in tails)]
        answers = yield Ask(pieces, probe=True)
        p = [float(answer[problem.gold]) for answer in answers]
        nothing = 1 / len(problem.clean)
        head = {0: nothing, **dict(zip(heads, p[: len(heads)], strict=True))}
        tail = {n: nothing, **dict(zip(tails, p[len(heads) :], strict=True))}
        return [head[i + 1] - head[i] + tail[i] - tail[i + 1] for i in problem.positions]


@dataclass(frozen=True)
class RandomSearch:
    """Texts with randomly chosen words randomly replaced: what an attack finds that learns nothing from the answers.

    Each text changes k words, k uniform between 1 and the number of words that may be changed, as far as the limits
    on the whole text allow.

    Args:
        samples: texts tried.

    Raises:
        ValueError: fewer than one.
    """

    samples: int = 100

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def __call__(self, problem: Problem) -> Steps:
        for _ in range(self.samples if problem.positions else 0):
            left, changes = list(problem.positions), dict[int, str]()
            for _ in range(1 + int(problem.rng.random() * len(left))):
                at = int(problem.rng.random() * len(left))
                left[at], left[-1] = left[-1], left[at]
                changes[left[-1]] = pick(problem.options(left[-1]), problem.rng)
                if not problem.constraints.allow(problem.text, changes):
                    del changes[left[-1]]
                    break
                left.pop()
            if changes:
                yield Ask([changes])


def _descending(positions: Sequence[int], scores: Sequence[float]) -> list[int]:
    """Positions by falling score; of equals, the first in the text first."""
    return [position for _, position in sorted(zip((-s for s in scores), positions, strict=True))]
