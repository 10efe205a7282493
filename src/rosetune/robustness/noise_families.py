"""Noise of one text at a time: how words are found and edited, and every noise by its name."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from random import Random

from rosetune.robustness.edits import NEIGHBOURING_KEYS, Word, dropped, pick, replaced, swapped

__all__ = ["NOISES", "SHORTEST", "Noise", "check_share", "misspell", "split_words"]

SHORTEST = 3  # letters: a word this short is left alone, and no word is made shorter

Edit = Callable[[Word, Random], Word | None]
Units = list[tuple[bool, Word]]  # whether the unit may be touched; together they are the text
Noise = Callable[[str, float, Random], str]


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


def _noise(units: Callable[[str], Units], edit: Edit) -> Noise:
    """The noise that gives each unit that ``edit`` can change one edit, with a probability of ``strength``."""

    def apply(text: str, strength: float, rng: Random) -> str:
        check_share(strength)
        words = []
        for touchable, word in units(text):
            new = None
            if touchable:
                # Two numbers per word, needed or not: a greater strength then leaves the words touched before alone.
                chance, choice = rng.random(), rng.random()
                new = edit(word, Random(int(choice * 2**53))) if chance < strength else None
            words.append("".join(word if new is None else new))
        return "".join(words)

    return apply


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
    "typing": _noise(split_words, _typing_error),
    "ocr": _noise(split_words, _lookalike),
    "upper_case": _noise(split_words, lambda word, rng: [letter.upper() for letter in word]),
    "lower_case": _noise(split_words, lambda word, rng: [letter.lower() for letter in word]),
    "random_case": _noise(split_words, _random_case),
    "punctuation_dropped": _noise(_marks, lambda mark, rng: []),
    "punctuation_doubled": _noise(_marks, lambda mark, rng: mark * 2),
    "punctuation_inserted": _noise(_unmarked, lambda word, rng: [*word, pick(",.;:-", rng)]),
}
"""Noise by name: function(text, strength, rng) -> text.

At strength 0 the text stays as it is, at 1 every word (or mark) that the noise can change is changed. "typing" is one
typing error in words of more than three letters; "ocr" one confusion of letters that look alike; the casings turn
whole words (or, at random, about half of a word's letters); the others drop or double punctuation marks, or append one
to a word that white space follows. Casing is no noise to an uncased model, and lower case none in lower-case data.
"""
