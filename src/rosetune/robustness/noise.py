"""Typing errors: a mild, label-preserving perturbation that needs no model and no attack."""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["perturb", "typing_errors"]

HIT_PROBABILITY = 0.25  # of an eligible word, in each pass
SHORTEST = 3  # letters: a word this short is left alone, and no word is made shorter

Word = list[str]  # letters, each with the combining marks that belong to it
Edit = Callable[[Word, Random], Word | None]


def typing_errors(text: str, strength: int, seed: int = 0) -> str:
    """Misspell some words of a text the way a hurried typist does.

    The text is typed over ``strength`` times, and each time every eligible word gets one edit with probability 0.25:

        P(word is hit) = 1 - 0.75^strength        0.25, 0.44, 0.58, ...
        edits per word ~ Binomial(strength, 0.25), at most ``strength``

    so that the result at one strength is the starting point of the next, and the words hit at strength 1 are among
    those hit at strength 2. One edit is, with equal chance, a neighbouring key of a QWERTY keyboard (case is kept), a
    dropped letter, or two adjacent letters in the wrong order; it always changes the word, and never back to a form
    that it had before.

    A word is an unbroken run of letters of any script (so "state-of-the-art" is four words and "don't" two); it is
    eligible if it has more than three letters. Its first letter, on which human readers rely, is never touched, and no
    word is made shorter than three letters. Digits, punctuation, emoji and whitespace stay as they are. Letters
    outside a-z have no neighbouring key and are only dropped or swapped, together with their combining marks. In a
    script without spaces a whole run of letters counts as one word, and is hit far more rarely.

    A text may come back unchanged: the shorter, the likelier. What happens depends on text, strength and seed only,
    not on the process, Python's hash seed, or other texts.

    Args:
        text: any string.
        strength: number of passes, at least 0; 0 returns the text.
        seed: another seed gives other errors.

    Raises:
        ValueError: ``strength`` is negative or not an integer.
    """
    _check_strength(strength)
    pieces = _split(text)
    eligible = [i for i, (is_word, letters) in enumerate(pieces) if is_word and len(letters) > SHORTEST]
    forms = {i: [pieces[i][1]] for i in eligible}
    for typed in range(strength):
        rng = _generator(seed, typed, text)
        for i in eligible:
            if rng.random() < HIT_PROBABILITY:
                _edit(forms[i], rng)
    return "".join("".join(forms[i][-1] if i in forms else letters) for i, (_, letters) in enumerate(pieces))


def perturb(dataset: "Dataset", text_columns: Sequence[str], strength: int, seed: int = 0) -> "Dataset":
    """Apply :func:`typing_errors` to every text column of a data set; all other columns and the order stay.

    Args:
        dataset: rows with strings (or None, which stays None) in ``text_columns``.
        text_columns: names of the columns to perturb. Equal texts get equal errors, also across columns.
        strength, seed: as in :func:`typing_errors`.

    Raises:
        ValueError: a column is missing, or the strength is invalid.
    """
    _check_strength(strength)
    missing = [column for column in text_columns if column not in dataset.column_names]
    if missing:
        raise ValueError(f"the data set has no column {missing}; it has {dataset.column_names}")
    if strength == 0 or len(dataset) == 0:
        return dataset

    def rewrite(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {
            column: [None if text is None else typing_errors(text, strength, seed) for text in batch[column]]
            for column in text_columns
        }

    # In memory: datasets would otherwise leave a cache file beside a data set that was read from a folder.
    return dataset.map(rewrite, batched=True, keep_in_memory=True, features=dataset.features, desc="typing errors")


def _check_strength(strength: int) -> None:
    if not isinstance(strength, int) or strength < 0:
        raise ValueError(f"the strength of typing errors is a whole number of at least 0, not {strength!r}")


def _generator(seed: int, typed: int, text: str) -> Random:
    # surrogatepass: text decoded from JSON may hold half of a surrogate pair, which strict UTF-8 refuses.
    key = f"{seed}:{typed}:".encode() + text.encode("utf-8", "surrogatepass")
    return Random(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big"))


def _pick(options: Sequence[Any], rng: Random) -> Any:
    # random() is the one method whose sequence Python promises to keep between versions.
    return options[int(rng.random() * len(options))]


def _split(text: str) -> list[tuple[bool, Word]]:
    """Cut a text into alternating runs of letters (True) and of anything else (False)."""
    pieces: list[tuple[bool, Word]] = []
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


def _edit(forms: list[Word], rng: Random) -> None:
    """Append the word's next form; none where no kind of edit leads to a new one."""
    kinds: list[Edit] = [_neighbour_key, _drop, _swap]
    while kinds:
        kind = _pick(kinds, rng)
        word = kind(forms[-1], rng)
        if word is not None and word not in forms:
            forms.append(word)
            return
        kinds.remove(kind)


def _neighbour_key(word: Word, rng: Random) -> Word | None:
    positions = [i for i, letter in enumerate(word) if i > 0 and letter in _NEIGHBOURS]
    if not positions:
        return None
    i = _pick(positions, rng)
    return [*word[:i], _pick(_NEIGHBOURS[word[i]], rng), *word[i + 1 :]]


def _drop(word: Word, rng: Random) -> Word | None:
    if len(word) <= SHORTEST:
        return None
    i = _pick(range(1, len(word)), rng)
    return word[:i] + word[i + 1 :]


def _swap(word: Word, rng: Random) -> Word | None:
    positions = [i for i in range(1, len(word) - 1) if word[i] != word[i + 1]]
    if not positions:
        return None
    i = _pick(positions, rng)
    return [*word[:i], word[i + 1], word[i], *word[i + 2 :]]


def _keyboard() -> dict[str, str]:
    """For each letter, in both cases, the letters at most one key width away."""
    rows = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
    place = {key: (x + shift, y) for y, (row, shift) in enumerate(rows) for x, key in enumerate(row)}
    neighbours = {
        key: "".join(k for k, (u, v) in place.items() if k != key and abs(u - x) <= 1 and abs(v - y) <= 1)
        for key, (x, y) in place.items()
    }
    return neighbours | {key.upper(): near.upper() for key, near in neighbours.items()}


_NEIGHBOURS = _keyboard()
