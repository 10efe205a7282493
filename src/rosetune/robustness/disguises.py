"""How a word is disguised so that people still read it: look-alikes, invisible characters, spacing, leetspeak.

Each edit takes the letters of a word and returns new ones, or None where it does not apply. All of them touch words of
a script with capitals (Latin, Greek, Cyrillic, Armenian) only: elsewhere letters join, and a space or an invisible
character between two of them changes what a person sees.
"""

from collections.abc import Mapping, Sequence
from random import Random

from rosetune.robustness.edits import Word, pick, replaced

__all__ = [
    "INVISIBLE",
    "LEET",
    "LOOK_ALIKES",
    "homoglyphs",
    "invisible_characters",
    "leetspeak",
    "repeated_letters",
    "spaced_letters",
]

# Latin letters, each with code points of Cyrillic, Greek and Armenian letters that have the same skeleton in the table
# of Unicode Technical Standard 39 (confusables.txt; version 10 was read) and that NFKC leaves as they are. Capital I
# has the skeleton "l", as its two look-alikes have.
_TABLE = """
a 0430 03B1  c 0441       d 0501       e 0435       g 0581       h 04BB 0570  i 0456 03B9  j 0458 03F3  l 04C0
n 0578       o 043E 03BF  p 0440 03C1  q 051B       s 0455       u 057D 03C5  v 0475 03BD  w 051D       x 0445
y 0443 03B3  A 0410 0391  B 0412 0392  C 0421       E 0415 0395  G 050C       H 041D 0397  I 0406 0399  J 0408
K 041A 039A  M 041C 039C  N 039D       O 041E 039F  P 0420 03A1  S 0405       T 0422 03A4  U 054D       V 0474
W 051C       X 0425 03A7  Y 04AE 03A5  Z 0396
"""


def _look_alikes() -> dict[str, str]:
    found: dict[str, str] = {}
    letter = ""
    for entry in _TABLE.split():
        if len(entry) == 1:
            letter = entry
        else:
            found[letter] = found.get(letter, "") + chr(int(entry, 16))
    return found


LOOK_ALIKES: Mapping[str, str] = _look_alikes()
"""For each Latin letter, letters of other scripts that look the same; no two letters share one."""

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""Zero-width space, non-joiner and joiner, word joiner, and the byte-order mark inside a text: nothing is seen."""

LEET: Mapping[str, str] = {"a": "4@", "e": "3", "i": "1!", "l": "|", "o": "0", "s": "5$", "t": "7"}
"""For each letter the signs that stand for it; no two letters share one. 2, 6, 8 and 9 are mostly read as digits."""

_ROMAN = {*"IVXLCDM"}  # numbers are no words


def homoglyphs(word: Word, rng: Random) -> Word | None:
    """About half of the letters that have a look-alike in another script, and at least one, become one."""
    turned = _some([i for i, letter in enumerate(word) if letter in LOOK_ALIKES], rng)
    return _turned(word, {i: pick(LOOK_ALIKES[word[i]], rng) for i in turned})


def invisible_characters(word: Word, rng: Random) -> Word | None:
    """An invisible character stands in about half of the gaps between letters, and in at least one."""
    gaps = _some(list(range(1, len(word))) if _has_case(word) else [], rng)
    return _turned(word, {i: pick(INVISIBLE, rng) + word[i] for i in gaps})


def spaced_letters(word: Word, rng: Random) -> Word | None:
    """A space between any two letters of a word of more than three, and one more before and after the word."""
    return [" ", *" ".join(word), " "] if len(word) > 3 and _has_case(word) else None


def leetspeak(word: Word, rng: Random) -> Word | None:
    """About half of the letters that leetspeak writes otherwise, and at least one, but neither the first nor last."""
    inner = [i for i in range(1, len(word) - 1) if word[i].lower() in LEET]
    return _turned(word, {i: pick(LEET[word[i].lower()], rng) for i in _some(inner, rng)})


def repeated_letters(word: Word, rng: Random) -> Word | None:
    """One letter of a word of at least two is written two to four times more; not of a number such as II or "AA"."""
    if len({*word}) < 2 or not _has_case(word) or _ROMAN.issuperset(word):
        return None
    at = int(rng.random() * len(word))
    return replaced(word, at, word[at] * pick((3, 4, 5), rng))


def _some(positions: Sequence[int], rng: Random) -> list[int]:
    """Each with a chance of one half; one, where that leaves none."""
    chosen = [i for i in positions if rng.random() < 0.5]
    return chosen or ([pick(positions, rng)] if positions else [])


def _turned(word: Word, new: Mapping[int, str]) -> Word | None:
    return [new.get(i, letter) for i, letter in enumerate(word)] if new else None


def _has_case(word: Word) -> bool:
    return all(letter.lower() != letter.upper() for letter in word)
