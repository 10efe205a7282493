"""Sentences with a linguistic and a surface feature, and the parts that a probe is made of."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Item", "Part", "Probe", "Rows", "make_probe"]


@dataclass(frozen=True)
class Item:
    """A sentence.

    Attributes:
        linguistic: 1 for a control construction ("eager to leave"), 0 for raising ("likely to leave").
        surface: 1 where the sentence has the surface feature; None where nothing is known of it.
    """

    sentence: str
    linguistic: int | None
    surface: int | None


Rows = tuple[tuple[str, int], ...]
"""As (sentence, label)."""


class Part(NamedTuple):
    """What one model is trained and tested on."""

    train: Rows
    test: Rows


@dataclass(frozen=True)
class Probe:
    """One probe.

    Attributes:
        ambiguous: trained where both features say the same, tested where they differ, with the linguistic label: a
            Matthews correlation of 1 is a preference for syntax, -1 for the surface.
        linguistic, surface: the controls, in which the other feature tells nothing: can each feature be learnt alone,
            and carried over to unseen words?
        agreeing: further rows for the test of the ambiguous model, held out, in which both features say the same: has
            it learnt its own task? A model that has learnt nothing prefers neither feature.
    """

    ambiguous: Part
    linguistic: Part
    surface: Part
    agreeing: Rows


def make_probe(inside: Iterable[Item], outside: Iterable[Item]) -> Probe:
    """The parts of a probe, all of the same number of rows: a control is no better trained than what it vouches for.

    Args:
        inside: items of all four cells, for training; as many of each.
        outside: items of all four cells, of other words, for testing; as many of each.
    """
    inner, outer = list(inside), list(outside)
    (agree, _), (agreeing, differ) = _by_agreement(inner), _by_agreement(outer)
    train, test = _half(inner), _half(outer)
    return Probe(
        Part(_labelled(agree, "linguistic"), _labelled(differ, "linguistic")),
        Part(_labelled(train, "linguistic"), _labelled(test, "linguistic")),
        Part(_labelled(train, "surface"), _labelled(test, "surface")),
        _labelled(agreeing, "linguistic"),
    )


def _by_agreement(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Those in which both features say the same, and the others."""
    found: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        found[item.linguistic != item.surface].append(item)
    return found


def _half(items: Iterable[Item]) -> list[Item]:
    """Every second item of each cell: where the features agree the first, third and so on, else the others.

    So each paradigm gives two items, as it gives the ambiguous part, and an even number of them fills the four cells
    alike.
    """
    seen: Counter[tuple[int | None, int | None]] = Counter()
    kept = []
    for item in items:
        cell = item.linguistic, item.surface
        if seen[cell] % 2 == (cell[0] != cell[1]):
            kept.append(item)
        seen[cell] += 1
    return kept


def _labelled(items: Iterable[Item], feature: str) -> Rows:
    return tuple((item.sentence, getattr(item, feature)) for item in items)
