"""The genetic search: texts breed, and those that come closest to misleading the model breed most."""

from bisect import bisect
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rosetune.robustness.attacks.problem import Ask, Floats, Problem, Steps
from rosetune.robustness.attacks.text import Changes
from rosetune.robustness.edits import pick

__all__ = ["Genetic"]

Member = tuple[dict[int, str], float]  # changes, and the drop of the right label's probability that they achieve


@dataclass(frozen=True)
class Genetic:
    """A population of changed texts, each generation bred from the last.

    A mutation takes a random word that may be changed and tries every replacement of it, and the original word; the
    one that lowers p(y) most stays. The first population are mutations of the unchanged text. A next one holds the
    best member as it is, and else mutated children of two parents, which are drawn in proportion to 1 - p(y) + 1e-8;
    every word of a child is that of either parent with equal chance. With a population of P and r replacements of a
    word, a generation asks at most P (r + 1) new texts.

    Args:
        population: number of texts.
        iterations: generations bred after the first population.

    Raises:
        ValueError: a population below 2, or a negative number of iterations.

    Reference:
        Alzantot et al. 2018, algorithm 1, in the form that Jia et al. 2019 gave it and RIFT evaluates with.

    Deviates:
        Alzantot et al. draw the word to mutate in proportion to its number of neighbours, here each is as likely.
        They keep only neighbours that a language model finds fit for the context, as RIFT's code does unless it is
        turned off; here there is none. RIFT's code weighs parents of NLI by the sigmoid of the logit margin, and the
        generation that the last of its iterations breeds is never judged; here it is. A child beyond the constraints
        is replaced by its first parent.
    """

    population: int = 60
    iterations: int = 40

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population must be at least 2, not {self.population}")
        if self.iterations < 0:
            raise ValueError(f"iterations must be at least 0, not {self.iterations}")

    def __call__(self, problem: Problem) -> Steps:
        if not problem.positions:
            return
        members = yield from _mutated([{} for _ in range(self.population)], problem)
        for _ in range(self.iterations):
            best = max(members, key=lambda member: member[1])
            wrong = 1 - problem.goal.score(problem.clean)
            odds = list(accumulate(wrong + drop + 1e-8 for _, drop in members))
            children = [_child(members, odds, problem) for _ in range(self.population - 1)]
            members = [best, *(yield from _mutated(children, problem))]


def _child(members: Sequence[Member], odds: Sequence[float], problem: Problem) -> dict[int, str]:
    rng = problem.rng
    one, other = (members[min(bisect(odds, rng.random() * odds[-1]), len(odds) - 1)][0] for _ in range(2))
    child: dict[int, str] = {}
    for position in sorted(one.keys() | other.keys()):
        parent = one if rng.random() < 0.5 else other
        if position in parent:
            child[position] = parent[position]
    return child if problem.constraints.allow(problem.text, child) else dict(one)


def _mutated(texts: Sequence[dict[int, str]], problem: Problem) -> Generator[Ask, list[Floats], list[Member]]:
    groups: list[list[Changes]] = []
    for changes in texts:
        position = pick(problem.positions, problem.rng)
        kept = {i: after for i, after in changes.items() if i != position}
        stays = position in changes and not problem.constraints.repeat
        groups.append([changes] if stays else [kept, *problem.extend(kept, position)])
    drops = problem.drops((yield Ask([candidate for group in groups for candidate in group])))
    members: list[Member] = []
    start = 0
    for group in groups:
        part = drops[start : start + len(group)]
        start += len(group)
        best = part.index(max(part))
        members.append((dict(group[best]), part[best]))
    return members
