"""Noise of one text at a time: how words are found and edited, and every noise by its name."""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random
from typing import NamedTuple

from rosetune.robustness import disguises
from rosetune.robustness.edits import NEIGHBOURING_KEYS, Word, dropped, generator, pick, replaced, swapped

__all__ = [
    *("CURVE", "NOISES", "SHORTEST", "STRENGTHS", "Noise", "Touched", "check_noises", "check_share", "curve_of"),
    *("make_noisy", "misspell", "split_words"),
]

STRENGTHS = (0.1, 0.25, 0.5, 1.0)  # of a noise curve
SHORTEST = 3  # letters: a word this short is left alone, and no word is made shorter

Edit = Callable[[Word, Random], Word | None]
Units = list[tuple[bool, Word]]  # whether the unit may be touched; together they are the text


class Touched(NamedTuple):
    """A word or mark that was changed: ``text[start:end]`` has become ``noisy[noisy_start:noisy_end]``."""

    start: int
    end: int
    noisy_start: int
    noisy_end: int


def check_noises(names: Sequence[str]) -> None:
    """All are names of :data:`NOISES`, or a ValueError says which is not, and what it may mean."""
    unknown = [name for name in names if name not in NOISES]
    if unknown:
        near = get_close_matches(unknown[0], NOISES, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(NOISES)}"
        raise ValueError(f"unknown noise {unknown[0]!r}; {remedy}")


def curve_of(names: Sequence[str]) -> list[tuple[str, float]]:
    """Noise and strength of each set of a curve: of ``ocr`` all of :data:`STRENGTHS`, of ``ocr@0.5`` that one.

    Raises:
        ValueError: an unknown noise, or a strength that is no share above 0.
    """
    found: dict[tuple[str, float], None] = {}
    for named in names:
        noise, at, strength = named.partition("@")
        check_noises([noise])
        try:
            strengths = (float(strength),) if at else STRENGTHS
        except ValueError:
            strengths = (math.nan,)
        if not all(0 < share <= 1 for share in strengths):
            raise ValueError(f"{named!r} must name the share of words to touch, above 0 and at most 1: {noise}@0.5")
        found |= dict.fromkeys((noise, share) for share in strengths)
    return list(found)


def check_share(strength: float) -> None:
    """The share of words touched lies in [0, 1], or a ValueError says so."""
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength of a noise is the share of words touched, from 0 to 1, not {strength!r}")


def split_words(text: str) -> Units:
    """Cut a text into alternating runs of letters (True) and of anything else (False)."""
    pieces: Units = []
    for character in text:
        category = unicodedata.category(character)[0]
        in_word = bool(pieces) and pieces[-1][0]
        if in_word and category == "M":
            pieces[-1][1][-1] += character
        elif pieces and in_word == (category == "L"):
            pieces[-1][1].append(character)
        else:
            pieces.append((category == "L", [character]))
    return pieces


def misspell(forms: list[Word], rng: Random) -> None:
    """Append the word's next form; none where no kind of edit leads to a new one."""
    kinds: list[Edit] = [_neighbour_key, _drop, _swap]
    while kinds:
        kind = pick(kinds, rng)
        word = kind(forms[-1], rng)
        if word is not None and word not in forms:
            forms.append(word)
            return
        kinds.remove(kind)


def _neighbour_key(word: Word, rng: Random) -> Word | None:
    positions = [i for i, letter in enumerate(word) if i > 0 and letter in NEIGHBOURING_KEYS]
    if not positions:
        return None
    i = pick(positions, rng)
    return replaced(word, i, pick(NEIGHBOURING_KEYS[word[i]], rng))


def _drop(word: Word, rng: Random) -> Word | None:
    return dropped(word, pick(range(1, len(word)), rng)) if len(word) > SHORTEST else None


def _swap(word: Word, rng: Random) -> Word | None:
    positions = [i for i in range(1, len(word) - 1) if word[i] != word[i + 1]]
    return swapped(word, pick(positions, rng)) if positions else None


@dataclass(frozen=True)
class Noise:
    """A noise as a function (text, strength, rng) -> text: each unit gets its edit with a probability of ``strength``.

    Args:
        units: cuts a text into units, and says which may be touched.
        edit: the new form of a unit; None where it cannot be changed.
    """

    units: Callable[[str], Units]
    edit: Edit

    def __call__(self, text: str, strength: float, rng: Random) -> str:
        return self.touched(text, strength, rng)[0]

    def touched(self, text: str, strength: float, rng: Random) -> tuple[str, list[Touched]]:
        """The noisy text, and where it differs, in the order of the text.

        Args:
            text: any string.
            strength: share of the words (or marks) to touch.
            rng: two numbers are drawn from it for each word.

        Raises:
            ValueError: the strength lies outside [0, 1].
        """
        check_share(strength)
        words: list[str] = []
        found: list[Touched] = []
        start = noisy_start = 0
        for touchable, word in self.units(text):
            before = after = "".join(word)
            if touchable:
                # Two numbers per word, needed or not: a greater strength then leaves the words touched before alone.
                chance, choice = rng.random(), rng.random()
                new = self.edit(word, Random(int(choice * 2**53))) if chance < strength else None
                after = before if new is None else "".join(new)
            if after != before:
                found.append(Touched(start, start + len(before), noisy_start, noisy_start + len(after)))
            words.append(after)
            start, noisy_start = start + len(before), noisy_start + len(after)
        return "".join(words), found


def _marks(text: str) -> Units:
    """Single characters; touchable are punctuation marks that are not the base of an emoji such as a keycap."""
    return [
        (unicodedata.category(mark)[0] == "P" and unicodedata.category(after)[0] != "M", [mark])
        for mark, after in zip(text, text[1:] + " ", strict=False)
    ]


def _unmarked(text: str) -> Units:
    """As :func:`split_words`; touchable are words that white space follows."""
    pieces = split_words(text)
    after = [*(piece[0] for _, piece in pieces[1:]), ""]
    return [(is_word and space.isspace(), word) for (is_word, word), space in zip(pieces, after, strict=False)]


def _typing_error(word: Word, rng: Random) -> Word | None:
    forms = [word]
    if len(word) > SHORTEST:
        misspell(forms, rng)
    return forms[-1]


def _lookalike(word: Word, rng: Random) -> Word | None:
    found = [
        (i, len(shape), like)
        for shape, likes in _LOOKALIKES.items()
        for i in range(len(word))
        if word[i : i + len(shape)] == list(shape)
        for like in likes
    ]
    if not found:
        return None
    i, length, like = pick(found, rng)
    return [*word[:i], like, *word[i + length :]]


def _random_case(word: Word, rng: Random) -> Word | None:
    cased = [i for i, letter in enumerate(word) if letter.swapcase() != letter]
    if not cased:
        return None
    turned = {i for i in cased if rng.random() < 0.5} or {pick(cased, rng)}
    return [letter.swapcase() if i in turned else letter for i, letter in enumerate(word)]


# What a scanner takes for one another. Digits are left alone: a wrong number changes what a sentence says.
_LOOKALIKES: Mapping[str, Sequence[str]] = {
    **{"o": "0", "l": "1I", "i": "1l", "s": "5", "z": "2", "g": "9", "e": "c", "c": "e", "u": "v", "v": "u"},
    **{"t": "f", "y": "v", "m": ["rn"], "w": ["vv"], "d": ["cl"], "rn": "m", "vv": "w", "cl": "d", "ri": "n"},
    **{"O": "0", "I": "l1", "S": "5", "Z": "2", "B": "8", "G": "6", "D": "O", "Q": "O", "C": "G", "E": "F"},
}

NOISES: dict[str, Noise] = {
    "typing": Noise(split_words, _typing_error),
    "ocr": Noise(split_words, _lookalike),
    "upper_case": Noise(split_words, lambda word, rng: [letter.upper() for letter in word]),
    "lower_case": Noise(split_words, lambda word, rng: [letter.lower() for letter in word]),
    "random_case": Noise(split_words, _random_case),
    "punctuation_dropped": Noise(_marks, lambda mark, rng: []),
    "punctuation_doubled": Noise(_marks, lambda mark, rng: mark * 2),
    "punctuation_inserted": Noise(_unmarked, lambda word, rng: [*word, pick(",.;:-", rng)]),
    "homoglyphs": Noise(split_words, disguises.homoglyphs),
    "invisible_characters": Noise(split_words, disguises.invisible_characters),
    "spaced_letters": Noise(split_words, disguises.spaced_letters),
    "leetspeak": Noise(split_words, disguises.leetspeak),
    "repeated_letters": Noise(split_words, disguises.repeated_letters),
}
"""Noise by name: function(text, strength, rng) -> text.

At strength 0 the text stays as it is, at 1 every word (or mark) that the noise can change is changed. "typing" is one
typing error in words of more than three letters; "ocr" one confusion of letters that look alike; the casings turn
whole words (or, at random, about half of a word's letters); the others of :data:`CURVE` drop or double punctuation
marks, or append one to a word that white space follows. The last five are what people do to get past a filter; see
:mod:`rosetune.robustness.disguises`. Casing is no noise to an uncased model, lower case none in lower-case data, and
invisible characters none to a tokenizer that drops them, as BERT's does.
"""

CURVE: tuple[str, ...] = tuple(NOISES)[:8]
"""The noises of a noise curve that names none: those that it always had, so that runs stay comparable."""


def make_noisy(text: str, name: str, strength: float, seed: int = 0) -> tuple[str, list[Touched]]:
    """A text under one noise as the noise curve has it, and what was touched.

    What happens depends on noise, strength, seed and the text, not on its place, the process or other texts.

    Args:
        text: any string.
        name: of :data:`NOISES`.
        strength: share of the words (or marks) to touch, in [0, 1].
        seed: another seed touches other words.

    Raises:
        ValueError: an unknown noise, or a strength outside [0, 1].

    Example:
        noisy, touched = make_noisy("a superb film", "leetspeak", 1.0)
        [noisy[t.noisy_start : t.noisy_end] for t in touched]
    """
    check_noises([name])
    return NOISES[name].touched(text, strength, generator(f"{seed}:{name}:{text}"))
