"""Words that are added before or after a text, which itself stays as it is; and which words speak for a class."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rosetune.robustness.attacks.text import Text
from rosetune.robustness.edits import generator

__all__ = ["VOCABULARY", "AddedWords", "benign_words", "read_words"]

VOCABULARY = 150  # words: five places of them are 750 texts, within the usual budget of 1000
# Where the words of a text are cut into those that speak for a class: don't, a1. A zero-width joiner is part of a word
# in Persian or Sinhala; between Latin letters it is a disguise.
_CUTS = re.compile(r"['’\d]|(?<=[a-z])[\u200c\u200d]")


@dataclass(frozen=True)
class AddedWords:
    """Words that may stand before or after a text, each in a place of its own next to those that are there.

    It takes the place of a :class:`~rosetune.robustness.attacks.transformations.Transformation`, but changes no word:
    the text stays within the perturbed one, character by character.

    Args:
        words: candidates; or by the index of a row's right label those that speak for other labels.
        place: "append" or "prepend".
        most: number of places, which is the largest number of words added.

    Raises:
        ValueError: another place, no place, or no words.
    """

    words: tuple[str, ...] | dict[int, tuple[str, ...]]
    place: str = "append"
    most: int = 5

    def __post_init__(self) -> None:
        if self.place not in ("append", "prepend"):
            raise ValueError(f'place must be "append" or "prepend", not {self.place!r}')
        if self.most < 1:
            raise ValueError(f"at least 1 word must be allowed to be added, not {self.most}")
        if not self.words:
            raise ValueError("there are no words to add")

    def options(self, length: int, gold: int, hidden: bool) -> dict[int, list[str]]:
        """The words by place: -1, -2, ... before a text of ``length`` words, or ``length``, ... after it.

        Args:
            gold: index of the right label.
            hidden: whether the model does not see the end of the text, where nothing is then appended.
        """
        words = self.words.get(gold, ()) if isinstance(self.words, Mapping) else self.words
        if not words or (hidden and self.place == "append"):
            return {}
        places = range(length, length + self.most) if self.place == "append" else range(-1, -1 - self.most, -1)
        return {place: list(words) for place in places}


def benign_words(
    texts: Iterable[str], benign: Iterable[bool], *, count: int = VOCABULARY, seed: int = 0
) -> tuple[str, ...]:
    """The words that speak most for a class, by how much more of its texts hold them than of other texts.

        ratio(w) = [(b(w) + 1) / (B + 2)] / [(o(w) + 1) / (O + 2)]

    with B and O the numbers of texts of the class and of others, b(w) and o(w) the numbers of those with the word.
    A word has 2 to 20 characters, letters of any script with their marks, in lower case; one that no text of the class
    holds, or whose ratio is at most 1, is none.

    Args:
        texts: those that an attacker has seen, such as training texts; never those that are attacked.
        benign: of each whether it is of the class that the attack aims at.
        count: number of words, at most.
        seed: of the order of words with one ratio, which decides which of them are left out.

    Returns:
        The best first.

    Raises:
        ValueError: no word speaks for the class.

    Reference:
        Lowd and Meek, Good word attacks on statistical spam filters, 2005: the frequency ratio attack.

    Deviates:
        They compare frequencies of words in mails of either class that others have collected, without smoothing.
    """
    ours, others, sizes = Counter[str](), Counter[str](), [0, 0]
    for text, own in zip(texts, benign, strict=True):
        sizes[own] += 1
        (ours if own else others).update({*_words(text.lower())})
    prior = (sizes[False] + 2) / (sizes[True] + 2)
    ratios = {word: prior * (n + 1) / (others[word] + 1) for word, n in ours.items()}
    found = [word for word, ratio in ratios.items() if ratio > 1]
    if not found:
        raise ValueError(
            "no word is in more texts of the class aimed at than of the others: give words (--words FILE)"
        )
    order = {word: generator(f"{seed}:{word}").random() for word in found}
    return tuple(sorted(found, key=lambda word: (-ratios[word], order[word]))[:count])


def _words(text: str) -> Iterator[str]:
    for word in Text(text).words:
        yield from (part for part in _CUTS.split(word) if 2 <= len(part) <= 20)


def read_words(path: str | Path) -> tuple[str, ...]:
    """Words from a file in UTF-8, one a line, each once; empty lines do not count.

    Raises:
        ValueError: it cannot be read, or holds no word.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot read words from {path}: {error}; give a text file in UTF-8, a word a line"
        ) from error
    words = tuple(dict.fromkeys(filter(None, map(str.strip, lines))))
    if not words:
        raise ValueError(f"{path} holds no word: give a text file with a word a line")
    return words
