"""Searches for changes to a text that mislead the model, as generators: they ask, and are sent the model's answers."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from rosetune.robustness.attacks.problem import Ask, Floats, Problem, Steps
from rosetune.robustness.attacks.text import Changes
from rosetune.robustness.edits import pick

__all__ = ["Beam", "Greedy", "RandomSearch"]


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

    With a target label t, 1 - p(t | x) stands in the place of p(y | x) throughout.

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
                if problem.goal.reached(answer):
                    scores[i] += float(answer[other] - problem.clean[other])
        return scores

    def _combined(self, problem: Problem) -> Generator[Ask, list[Floats], list[float]]:
        n = len(problem.text)
        heads = sorted({k for i in problem.positions for k in (i, i + 1)} - {0})
        tails = sorted({k for i in problem.positions for k in (i, i + 1)} - {n})
        pieces = [*(slice(0, k) for k in heads), *(slice(k, n) for k in tails)]
        answers = yield Ask(pieces, probe=True)
        p = [problem.goal.score(answer) for answer in answers]
        nothing = problem.goal.score(np.full(len(problem.clean), 1 / len(problem.clean)))
        head = {0: nothing, **dict(zip(heads, p[: len(heads)], strict=True))}
        tail = {n: nothing, **dict(zip(tails, p[len(heads) :], strict=True))}
        return [head[i + 1] - head[i] + tail[i] - tail[i + 1] for i in problem.positions]


@dataclass(frozen=True)
class Beam:
    """Go through the places of a text in their order, and keep the texts that come closest to misleading the model.

    At each place every text of the beam stays as it is or gets one of the words that may stand there, but none that
    it holds among its changes already; of all these the ``width`` with the lowest p(y) are the next beam. Made for
    words that are added, whose places are alike. With n places and v words a search asks at most v (1 + width (n - 1))
    new texts.

    Args:
        width: number of texts; 1 is greedy.

    Raises:
        ValueError: fewer than one.
    """

    width: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")

    def __call__(self, problem: Problem) -> Steps:
        beam: list[tuple[Changes, float]] = [({}, 0.0)]
        for position in problem.positions:
            candidates = [
                candidate
                for changes, _ in beam
                for candidate in problem.extend(changes, position)
                if candidate[position] not in changes.values()
            ]
            if candidates:
                drops = problem.drops((yield Ask(candidates)))
                beam += zip(candidates, drops, strict=True)
                # The sort is stable: of equals the text with fewer words stays, then the one with the earlier word.
                beam = sorted(beam, key=lambda member: -member[1])[: self.width]


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
