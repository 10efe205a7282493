"""Typing and scanning errors, casing, punctuation, disguises: label-preserving noise, without model or attack."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rosetune.robustness.edits import generator
from rosetune.robustness.noise_families import (
    CURVE,
    NOISES,
    SHORTEST,
    STRENGTHS,
    check_noises,
    check_share,
    make_noisy,
    misspell,
    split_words,
)

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["CURVE", "NOISES", "STRENGTHS", "make_noisy", "noise_curve", "perturb", "typing_errors"]

HIT_PROBABILITY = 0.25  # of an eligible word, in each pass


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
    pieces = split_words(text)
    eligible = [i for i, (is_word, letters) in enumerate(pieces) if is_word and len(letters) > SHORTEST]
    forms = {i: [pieces[i][1]] for i in eligible}
    for typed in range(strength):
        rng = generator(f"{seed}:{typed}:{text}")
        for i in eligible:
            if rng.random() < HIT_PROBABILITY:
                misspell(forms[i], rng)
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
    _check_columns(dataset, text_columns)
    if strength == 0:
        return dataset
    return _rewrite(dataset, text_columns, lambda text: typing_errors(text, strength, seed))


def noise_curve(
    dataset: "Dataset",
    text_columns: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Iterator[tuple[str, float, "Dataset"]]:
    """A data set under some noises at every strength, one after the other; other columns and the order stay.

    What happens to a text depends on noise, strength, seed and the text, not on its place: a row gets the same noise
    in any subset. The words touched at one strength are among those touched at every greater one, in the same way.

    Args:
        dataset: rows with strings (or None, which stays None) in ``text_columns``.
        text_columns: names of the columns to perturb.
        names: of :data:`NOISES`; None takes those of :data:`CURVE`.
        strengths: shares of the words to touch, in [0, 1]; at 0 the data set comes back as it is.
        seed: another seed touches other words.

    Raises:
        ValueError: a column is missing, a noise is unknown, or a strength lies outside [0, 1].
    """
    _check_columns(dataset, text_columns)
    chosen = CURVE if names is None else tuple(names)
    check_noises(chosen)
    for strength in strengths:
        check_share(strength)
    for name in chosen:
        for strength in strengths:
            if strength == 0:
                yield name, strength, dataset
                continue
            # partial, unlike a lambda, keeps this round's name and strength.
            yield name, strength, _rewrite(dataset, text_columns, partial(_noisy, name, strength, seed))


def _noisy(name: str, strength: float, seed: int, text: str) -> str:
    return make_noisy(text, name, strength, seed)[0]


def _rewrite(dataset: "Dataset", columns: Sequence[str], change: Callable[[str], str]) -> "Dataset":
    # Not dataset.map, which shows a bar also where nobody looks and leaves cache files beside a data set on disk.
    plain = dataset.with_format(None)
    values = {column: plain[column][:] for column in plain.column_names}
    for column in columns:
        values[column] = [None if text is None else change(text) for text in values[column]]
    return type(dataset).from_dict(values, features=dataset.features)


def _check_columns(dataset: "Dataset", text_columns: Sequence[str]) -> None:
    missing = [column for column in text_columns if column not in dataset.column_names]
    if missing:
        raise ValueError(f"the data set has no column {missing}; it has {dataset.column_names}")


def _check_strength(strength: int) -> None:
    if not isinstance(strength, int) or strength < 0:
        raise ValueError(f"the strength of typing errors is a whole number of at least 0, not {strength!r}")
