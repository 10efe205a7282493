"""Sentences for a probe from a small grammar of our own, so that it runs without a download."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from rosetune.analysis.probing.items import Item, Probe, make_probe
from rosetune.analysis.probing.lexicon import DETERMINERS, INSIDE, JOINERS, OUTSIDE, Lexicon

__all__ = ["LONG", "generate_items", "generate_probe"]

LONG = 16  # words from which on a sentence is long, as in MSGS
Surface = Literal["the", "length"]
_THE = "the"


def generate_probe(surface: Surface, paradigms: int = 1000, seed: int = 0) -> Probe:
    """A probe of syntax against a surface feature.

    Syntactic construction is control ("the nurse was eager to clean this kitchen") against raising ("the nurse was
    likely to ..."). The surface feature is whether the word "the" occurs, or whether there are at least
    :data:`LONG` words. Each paradigm is one draw of words in all four cells; the sentences of a paradigm that differ
    in syntax differ in one predicate alone. Testing takes other predicates, people, actions and events than training,
    so that no word tells the construction there.

    Args:
        surface: "the" or "length".
        paradigms: draws for training, and as many for testing.
        seed: of all draws.

    Raises:
        ValueError: another surface feature, or more paradigms than there are different ones.

    Reference:
        Warstadt et al., Learning Which Features Matter: RoBERTa Acquires a Preference for Linguistic Generalizations
        (Eventually), EMNLP 2020; Jiang et al. 2022, section 4.2.

    Deviates:
        Grammar and lexicon are our own, and much smaller; MSGS's own files are read by
        :func:`~rosetune.analysis.probing.msgs.read_msgs`.
    """
    if surface not in ("the", "length"):
        raise ValueError(f"the surface feature must be 'the' or 'length', not {surface!r}")
    return make_probe(
        generate_items(surface, INSIDE, paradigms, (seed, 0)), generate_items(surface, OUTSIDE, paradigms, (seed, 1))
    )


def generate_items(surface: Surface, lexicon: Lexicon, paradigms: int, seed: tuple[int, ...]) -> list[Item]:
    """Four items a paradigm, one of each cell; no sentence occurs twice."""
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    items: list[Item] = []
    misses = 0
    while len(items) < 4 * paradigms:
        four = list(_paradigm(surface, lexicon, rng))
        if seen & {item.sentence for item in four}:
            misses += 1
            if misses > 100 + paradigms:
                raise ValueError(f"the grammar has no {paradigms} different paradigms: ask for fewer")
            continue
        seen |= {item.sentence for item in four}
        items += four
    return items


def _paradigm(surface: Surface, lexicon: Lexicon, rng: np.random.Generator) -> Iterator[Item]:
    # What follows "was", or a verb, in all four cells; each raising predicate comes as often as any other.
    sort = int(rng.integers(sum(map(len, lexicon.raising))) >= len(lexicon.raising[0]))
    predicates = [_pick(rng, kinds[sort]) for kinds in (lexicon.raising, lexicon.control)]
    frames = [_frame(surface, value, lexicon, rng) for value in (0, 1)]
    for value, frame in enumerate(frames):
        for construction, predicate in enumerate(predicates):
            sentence = frame.format(predicate=f"was {predicate}" if sort == 0 else predicate)
            yield Item(sentence[0].upper() + sentence[1:] + " .", construction, value)


def _frame(surface: Surface, value: int, lexicon: Lexicon, rng: np.random.Generator) -> str:
    """A sentence with a place for the predicate, which does not depend on the predicate."""
    verb, objects = lexicon.actions[int(rng.integers(len(lexicon.actions)))]
    clauses = (2 if value else 0) if surface == "length" else int(rng.integers(2))
    people = [str(word) for word in rng.choice(lexicon.people, 1 + clauses, replace=False)]
    determiners = _determiners(surface, value, 2 + clauses, rng)
    main = f"{determiners[0]} {people[0]} {{predicate}} to {verb} {determiners[1]} {_pick(rng, objects)}"
    beside = [
        f"{_pick(rng, JOINERS)} {determiner} {person} {_pick(rng, lexicon.events)}"
        for determiner, person in zip(determiners[2:], people[1:], strict=True)
    ]
    if not beside:
        return main
    if len(beside) == 1:
        return f"{main} {beside[0]}" if rng.integers(2) else f"{beside[0]} , {main}"
    return f"{beside[0]} , {main} {beside[1]}"


def _determiners(surface: Surface, value: int, number: int, rng: np.random.Generator) -> list[str]:
    if surface == "length":
        return [_pick(rng, (*DETERMINERS, _THE)) for _ in range(number)]
    plain = [_pick(rng, DETERMINERS) for _ in range(number)]
    if not value:
        return plain
    chosen = rng.random(number) < 0.5
    chosen[int(rng.integers(number))] = True  # at least one
    return [_THE if the else other for the, other in zip(chosen, plain, strict=True)]


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]
