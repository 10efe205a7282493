"""Sentences with a linguistic and a surface feature, and the parts that a probe is made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Item", "Part", "Probe", "make_probe"]


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


class Part(NamedTuple):
    """What one model is trained and tested on, as (sentence, label)."""

    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Probe:
    """One probe.

    Attributes:
        ambiguous: trained where both features say the same, tested where they differ, with the linguistic label: a
            Matthews correlation of 1 is a preference for syntax, -1 for the surface.
        linguistic, surface: the controls, in which the other feature tells nothing: can each feature be learnt alone,
            and carried over to unseen words?
    """

    ambiguous: Part
    linguistic: Part
    surface: Part


def make_probe(inside: Iterable[Item], outside: Iterable[Item]) -> Probe:
    """The parts of a probe.

    Args:
        inside: items of all four cells, for training.
        outside: items of all four cells, of other words, for testing.
    """
    inner, outer = list(inside), list(outside)
    agree = [item for item in inner if item.linguistic == item.surface]
    differ = [item for item in outer if item.linguistic != item.surface]
    return Probe(
        Part(_labelled(agree, "linguistic"), _labelled(differ, "linguistic")),
        Part(_labelled(inner, "linguistic"), _labelled(outer, "linguistic")),
        Part(_labelled(inner, "surface"), _labelled(outer, "surface")),
    )


def _labelled(items: Iterable[Item], feature: str) -> tuple[tuple[str, int], ...]:
    return tuple((item.sentence, getattr(item, feature)) for item in items)
