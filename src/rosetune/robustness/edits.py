"""What noise and attacks share: random numbers that depend on a key alone, words as letters, and edits of them."""

import hashlib
import unicodedata
from collections.abc import Sequence
from random import Random
from typing import TypeVar

__all__ = ["NEIGHBOURING_KEYS", "Word", "dropped", "generator", "letters", "pick", "replaced", "swapped"]

T = TypeVar("T")
Word = list[str]  # letters, each with the combining marks that belong to it


def generator(key: str) -> Random:
    """Random numbers that depend on a text alone: not on the process, the order of work, or other examples."""
    # surrogatepass: text decoded from JSON may hold half of a surrogate pair, which strict UTF-8 refuses.
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def pick(options: Sequence[T], rng: Random) -> T:
    """One of the options, with equal chance."""
    # random() is the one method whose sequence Python promises to keep between versions.
    return options[int(rng.random() * len(options))]


def letters(word: str) -> Word:
    """The characters of a word, each with the combining marks that belong to it."""
    found: Word = []
    for character in word:
        if found and unicodedata.category(character)[0] == "M":
            found[-1] += character
        else:
            found.append(character)
    return found


def swapped(word: Word, at: int) -> Word | None:
    """The letter at a position and the next one have changed places; None where they are equal."""
    return None if word[at] == word[at + 1] else [*word[:at], word[at + 1], word[at], *word[at + 2 :]]


def dropped(word: Word, at: int) -> Word:
    """The letter at a position is missing."""
    return [*word[:at], *word[at + 1 :]]


def replaced(word: Word, at: int, letter: str) -> Word:
    """Another letter stands at a position."""
    return [*word[:at], letter, *word[at + 1 :]]


def _keyboard() -> dict[str, str]:
    """For each letter, in both cases, the letters at most one key width away."""
    rows = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
    place = {key: (x + shift, y) for y, (row, shift) in enumerate(rows) for x, key in enumerate(row)}
    neighbours = {
        key: "".join(k for k, (u, v) in place.items() if k != key and abs(u - x) <= 1 and abs(v - y) <= 1)
        for key, (x, y) in place.items()
    }
    return neighbours | {key.upper(): near.upper() for key, near in neighbours.items()}


NEIGHBOURING_KEYS = _keyboard()
