"""What a word can be replaced by: misspelt forms of it, disguises, or synonyms."""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random
from typing import Protocol

from rosetune.robustness import disguises
from rosetune.robustness.edits import NEIGHBOURING_KEYS, Word, dropped, letters, pick, replaced, swapped
from rosetune.robustness.noise_families import NOISES, split_words

__all__ = [
    "DISGUISES",
    "EDITS",
    "WORD_NOISES",
    "CharacterEdits",
    "Disguises",
    "Synonyms",
    "Transformation",
    "carry_case",
]

MOST_POSITIONS = 64  # of a word that an edit is tried at


class Transformation(Protocol):
    """The replacements of a word, each once and none equal to it; what is random is drawn from ``rng`` alone."""

    def __call__(self, word: str, rng: Random) -> list[str]: ...


DISGUISES: Mapping[str, Callable[[Word, Random], Word | None]] = {
    "homoglyphs": disguises.homoglyphs,
    "invisible_characters": disguises.invisible_characters,
    "spaced_letters": disguises.spaced_letters,
    "leetspeak": disguises.leetspeak,
    "repeated_letters": disguises.repeated_letters,
}

# Every noise that edits a word by itself: disguises, typing and scanning errors, casings; no marks.
WORD_NOISES = {name: noise.edit for name, noise in NOISES.items() if noise.units is split_words}


@dataclass(frozen=True)
class CharacterEdits:
    """Misspelt forms of a word, each one edit away from it.

        swap            two neighbouring letters change places
        drop            a letter is missing
        insert          a random letter a-z too many
        substitute      a random letter a-z in place of another
        neighbour_key   a neighbouring key of a QWERTY keyboard, in the same case
        homoglyph       a letter of another script that looks the same, the first of its look-alikes in the table of
                        :data:`~rosetune.robustness.disguises.LOOK_ALIKES`

    A letter keeps its combining marks. A word is never edited away to nothing. Of a run of more than 64 letters, only
    that many positions are tried, at random.

    Args:
        kinds: of :data:`EDITS`.
        keep_ends: leave the first and the last letter, on which human readers rely, as they are.
        samples: forms of each kind, at random positions; None: one at every position.

    Raises:
        ValueError: no or an unknown kind, or fewer than one sample.

    Deviates:
        DeepWordBug's published code draws letters a-z as here, and may append one at the end of a word. TextAttack
        draws a-z and A-Z, never appends, and leaves words of one letter alone. Here ``keep_ends`` decides whether a
        letter may be appended, and drawn letters are lower-case also in a word of capitals.
    """

    kinds: tuple[str, ...] = ("swap", "drop", "insert", "neighbour_key")
    keep_ends: bool = True
    samples: int | None = 1

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= EDITS.keys():
            raise ValueError(f"kinds must be some of {', '.join(EDITS)}, not {self.kinds!r}")
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples must be at least 1, or None for every position, not {self.samples}")

    def __call__(self, word: str, rng: Random) -> list[str]:
        characters = letters(word)
        found: dict[str, None] = {}
        for kind in self.kinds:
            edit = EDITS[kind]
            positions = list(range(int(self.keep_ends), len(characters) + 1 - int(self.keep_ends)))
            if len(positions) > MOST_POSITIONS:
                positions = sorted({pick(positions, rng) for _ in range(MOST_POSITIONS)})
            forms: list[str] = []
            while positions and (self.samples is None or len(forms) < self.samples):
                at = 0 if self.samples is None else int(rng.random() * len(positions))
                edited = edit(characters, positions.pop(at), len(characters) - int(self.keep_ends), rng)
                form = "".join(edited or ())
                if form not in (word, "") and form not in found:
                    forms.append(form)
                    found[form] = None
        return list(found)


@dataclass(frozen=True)
class Disguises:
    """Forms of a word that people still read as that word, as the noises of these names make them.

    The bounds are those of the noises: look-alikes of the same skeleton, no sign for the first and last letter, no
    spaces in a word of up to three letters, a letter repeated two to four times; see
    :mod:`rosetune.robustness.disguises`. Other noises of words can be asked for: one typing error in a word of more
    than three letters, one confusion of a scanner, another casing.

    Args:
        noises: of ``WORD_NOISES``: the five of :data:`DISGUISES`, and typing, ocr, upper_case, lower_case,
            random_case.
        samples: draws of each, of which equal ones count once.

    Raises:
        ValueError: no or an unknown noise, or fewer than one draw.
    """

    noises: tuple[str, ...] = tuple(DISGUISES)
    samples: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.noises if name not in WORD_NOISES]
        if unknown or not self.noises:
            known = dict.fromkeys((*DISGUISES, *WORD_NOISES))
            near = get_close_matches(unknown[0], known, n=1) if unknown else []
            if near:
                raise ValueError(f"no disguise is called {unknown[0]!r}; did you mean {near[0]}?")
            raise ValueError(f"disguises are some of {', '.join(known)}, not {', '.join(unknown) or 'none'}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def __call__(self, word: str, rng: Random) -> list[str]:
        characters = letters(word)
        forms = [WORD_NOISES[name](characters, rng) for name in self.noises for _ in range(self.samples)]
        return [form for form in dict.fromkeys("".join(new) for new in forms if new is not None) if form != word]


@dataclass(frozen=True)
class Synonyms:
    """Other words of the same meaning, in the case of the word that they replace.

    Args:
        words: synonyms of lower-case words, nearest first, as from :func:`rosetune.data.synonyms.load_synonyms`.
        limit: at most this many for a word; None: all of them.
    """

    words: Mapping[str, tuple[str, ...]]
    limit: int | None = None

    def __call__(self, word: str, rng: Random) -> list[str]:
        near = self.words.get(word.lower(), ())[: self.limit]
        return [form for form in dict.fromkeys(carry_case(word, other) for other in near) if form not in (word, "")]


def carry_case(word: str, other: str) -> str:
    """``other`` in the case of ``word``: capitals throughout, a capital first, or as it is."""
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


# An edit takes the letters, a position, the end of what may be edited, and the generator; None where nothing fits.
Edit = Callable[[Word, int, int, Random], Word | None]


def _swap(word: Word, at: int, end: int, rng: Random) -> Word | None:
    return swapped(word, at) if at + 1 < end else None


def _drop(word: Word, at: int, end: int, rng: Random) -> Word | None:
    return dropped(word, at) if at < end else None


def _insert(word: Word, at: int, end: int, rng: Random) -> Word | None:
    return [*word[:at], pick(string.ascii_lowercase, rng), *word[at:]] if at <= end else None


def _substitute(word: Word, at: int, end: int, rng: Random) -> Word | None:
    return replaced(word, at, pick(string.ascii_lowercase, rng)) if at < end else None


def _neighbour_key(word: Word, at: int, end: int, rng: Random) -> Word | None:
    near = NEIGHBOURING_KEYS.get(word[at]) if at < end else None
    return None if near is None else replaced(word, at, pick(near, rng))


def _homoglyph(word: Word, at: int, end: int, rng: Random) -> Word | None:
    likes = disguises.LOOK_ALIKES.get(word[at]) if at < end else None
    return replaced(word, at, likes[0]) if likes else None


EDITS: dict[str, Edit] = {
    "swap": _swap,
    "drop": _drop,
    "insert": _insert,
    "substitute": _substitute,
    "neighbour_key": _neighbour_key,
    "homoglyph": _homoglyph,
}
