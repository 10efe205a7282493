"""Many searches at once: their questions are pooled into large batches, counted, and cut off at the budget."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rosetune.robustness.attacks.additions import AddedWords
from rosetune.robustness.attacks.constraints import Constraints
from rosetune.robustness.attacks.problem import Ask, Floats, Goal, Problem, Search, Steps
from rosetune.robustness.attacks.text import Candidate, Text
from rosetune.robustness.attacks.transformations import Transformation

if TYPE_CHECKING:
    from rosetune.robustness.classifier import Victim

__all__ = ["Recipe", "Row", "Session", "drive"]


class Row(NamedTuple):
    """An example to attack: a unique id (a string or an integer), one or two texts, and the index of its label."""

    id: str | int
    texts: tuple[str, ...]
    gold: int


@dataclass(frozen=True)
class Recipe:
    """An attack: how to search, what a word can become or which words are added, and what must stay."""

    name: str
    search: Search
    transformation: Transformation | AddedWords
    constraints: Constraints = field(default_factory=Constraints)


class Session:
    """The attack on one row: it hands out texts to ask the model about, and goes on once they are answered.

    A question (an :class:`Ask`) is answered as a whole before its candidates are judged, so that the result does not
    depend on how questions are cut into batches. Of several candidates that mislead the model the one with the lowest
    probability of the right label counts, with a target the one with the highest probability of that. The unchanged
    text is the first query; a text that was asked before is not asked, and not counted, again.

    Args:
        column: which text of the row is attacked.
        budget: largest number of queries; None: no limit.
        seed: of everything random.
        visible: characters of the attacked text that the model sees; words beyond are left alone.
        target: index of the label that the model is to give; None: any but the right one.
    """

    def __init__(
        self,
        row: Row,
        recipe: Recipe,
        column: int,
        budget: int | None,
        seed: int,
        visible: int | None = None,
        target: int | None = None,
    ) -> None:
        self.row, self.recipe, self.column, self._goal = row, recipe, column, Goal(row.gold, target)
        self.text = Text(row.texts[column])
        self.queries, self.finished, self.status = 0, False, "failed"
        self.changes: Candidate = {}
        self._visible, self._budget, self._key = visible, budget, f"{seed}:{row.id}"
        self._answers: dict[bytes, Floats] = {}
        self._steps: Steps | None = None
        self._best = (True, np.inf)  # whether the goal is missed, and the score that is lowered
        self._set(Ask([{}]))

    def next_query(self) -> tuple[bytes, tuple[str, ...]] | None:
        """A text to ask the model about, with its key; None where answers have to come first, or none are needed."""
        while not self.finished:
            query = next(self._unasked, None)
            if query is not None:
                self._waiting += 1
                return query
            if self._waiting:
                return None
            self._advance()
        return None

    def receive(self, key: bytes, probabilities: Floats) -> None:
        """The model's answer to a query."""
        self._answers[key] = probabilities
        self._waiting -= 1

    def result(self) -> dict[str, Any]:
        """What came of it, as JSON can hold it."""
        assert not isinstance(self.changes, slice)
        perturbed = self._texts(self.changes)
        before, after = self._answers[_key(self.row.texts)], self._answers[_key(perturbed)]
        words, target = len(self.text), self._goal.target
        return {
            "id": self.row.id,
            "status": self.status,
            "gold": self.row.gold,
            "prediction": int(before.argmax()),
            "perturbed_prediction": int(after.argmax()),
            "probabilities": before.round(6).tolist(),
            "perturbed_probabilities": after.round(6).tolist(),
            "queries": self.queries,
            "column": self.column,
            "words": words,
            # A word that is added counts as one before the first, or after the last.
            "changes": [[min(max(i, 0), words), self.text.word(i), self.changes[i]] for i in sorted(self.changes)],
            "texts": list(self.row.texts),
            "perturbed": list(perturbed),
            **({} if target is None else {"target": target}),
        }

    def _set(self, ask: Ask) -> None:
        self._ask, self._keys, self._waiting, self._cut = ask, list[bytes](), 0, False
        self._unasked = self._queries()

    def _queries(self) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        # One text is rendered at a time: a long one has as many candidates as words, each as long as itself.
        pending = set()
        for candidate in self._ask.candidates:
            texts = self._texts(candidate)
            key = _key(texts)
            if key not in self._answers and key not in pending:
                if self.queries == self._budget:
                    self._cut = True
                    return
                self.queries += 1
                pending.add(key)
                yield key, texts
            self._keys.append(key)

    def _advance(self) -> None:
        answers = [self._answers[key] for key in self._keys]
        try:
            if self._steps is None:
                self._begin(answers[0])
            elif self._misled(answers) or self._cut:
                self.finished = True
            else:
                self._set(self._steps.send(answers))
        except StopIteration:
            self.finished = True

    def _begin(self, clean: Floats) -> None:
        gold, target = self._goal
        for label in (gold, gold if target is None else target):
            if not 0 <= label < len(clean):
                raise ValueError(f"row {self.row.id!r} has the label {label}, but the model has {len(clean)} labels")
        if clean.argmax() != gold:
            self.status, self.finished = "skipped", True
            return
        recipe, self._best = self.recipe, (True, self._goal.score(clean))
        parts = recipe.transformation, recipe.constraints
        problem = Problem(self.text, gold, clean, *parts, self._key, self._visible, target)
        self._steps = recipe.search(problem)
        self._set(next(self._steps))

    def _misled(self, answers: list[Floats]) -> bool:
        """Whether a candidate misleads the model; the best one so far is kept in any case."""
        if self._ask.probe:
            return False
        for candidate, answer in zip(self._ask.candidates, answers, strict=False):  # the budget may have cut it short
            score = (not self._goal.reached(answer), self._goal.score(answer))
            if score < self._best:
                self._best, self.changes = score, candidate
        if not self._best[0]:
            self.status = "success"
        return not self._best[0]

    def _texts(self, candidate: Candidate) -> tuple[str, ...]:
        texts = self.row.texts
        return (*texts[: self.column], self.text.render(candidate), *texts[self.column + 1 :])


def drive(victim: "Victim", sessions: Iterable[Session], pool: int) -> Iterator[Session]:
    """Run sessions to their ends, and hand each back when it is there.

    As many sessions are under way as it takes to fill a pool of texts; no more, so that memory is bounded.

    Args:
        pool: texts that the victim gets at once, at most.

    Raises:
        ValueError: the victim's answer has another number of rows than there are texts, or is not finite.
    """
    upcoming, active = iter(sessions), list[Session]()
    while True:
        batch: list[tuple[Session, bytes, tuple[str, ...]]] = []
        for session in active:
            _fill(batch, session, pool)
        while len(batch) < pool and (opened := next(upcoming, None)) is not None:
            active.append(opened)
            _fill(batch, opened, pool)
        if batch:
            answers = np.asarray(victim([texts for *_, texts in batch]), dtype=np.float64)
            if answers.ndim != 2 or len(answers) != len(batch) or not np.isfinite(answers).all():
                raise ValueError(f"a victim gives {len(batch)} rows of finite probabilities, not {answers.shape}")
            for (session, key, _), answer in zip(batch, answers, strict=True):
                session.receive(key, answer)
        yield from (session for session in active if session.finished)
        active = [session for session in active if not session.finished]
        if not batch and not active:
            return


def _fill(batch: list[tuple[Session, bytes, tuple[str, ...]]], session: Session, pool: int) -> None:
    while len(batch) < pool and (query := session.next_query()) is not None:
        batch.append((session, *query))


def _key(texts: tuple[str, ...]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
