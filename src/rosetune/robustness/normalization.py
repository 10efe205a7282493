"""Undoing disguises before a model reads a text: a defence without training, and the control of those that train."""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune.robustness.disguises import LEET, LOOK_ALIKES

__all__ = ["FILE", "STEPS", "check_steps", "normalize", "normalizing", "read_steps"]

FILE = "normalization.json"  # beside a model's tokenizer

_LATIN = {like: letter for letter, likes in LOOK_ALIKES.items() for like in likes}
_PLAIN = {sign: letter for letter, signs in LEET.items() for sign in signs}
_JOINERS = "\u200c\u200d"
# Format characters that are seen: signs of Arabic, Syriac and Kaithi numbers.
_SEEN = {*map(chr, range(0x600, 0x606)), "\u06dd", "\u070f", "\u0890", "\u0891", "\u08e2", "\U000110bd", "\U000110cd"}
_WORD = re.compile(r"[^\W\d_]+")
# Four letters or more, which is what the noise spaces, between white space; a mark may open or close them.
_SPACED = re.compile(r"""(?:(?<!\S)|(?<=(?<!\S)[(\[{"“‘]))[^\W\d_](?: [^\W\d_]){3,}(?=[)\]}"'”’.,;:!?…]*(?!\S))""")
_SIGNS = re.compile(rf"(?<=[^\W\d_])[{re.escape(''.join(_PLAIN))}]+(?=[^\W\d_])")
_FLAG = "\U0001f3f4"  # a black one, which tags after it make Scotland's, for one


def _without_invisible(text: str) -> str:
    kept, of_flag = [], False
    for i, character in enumerate(text):
        tag = "\U000e0020" <= character <= "\U000e007f"
        of_flag = character == _FLAG or (of_flag and tag)
        if unicodedata.category(character) == "Cf" and character not in _SEEN and not (of_flag and tag):
            beside = text[max(0, i - 1) : i] + text[i + 1 : i + 2]
            if character not in _JOINERS or any(map(_has_case, beside)):
                continue  # elsewhere a joiner decides how Persian, Hindi or an emoji looks
        kept.append(character)
    return "".join(kept)


def _without_look_alikes(text: str) -> str:
    names = (unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha() and c not in _LATIN)
    foreign = not {*names}.isdisjoint(("CYRILLIC", "GREEK", "ARMENIAN"))

    def fold(match: re.Match[str]) -> str:
        word = match[0]
        mixed = any(letter.isascii() for letter in word)
        return "".join(_LATIN.get(c, c) for c in word) if mixed or not foreign else word

    return _WORD.sub(fold, text)


def _joined(text: str) -> str:
    pieces: list[str] = []
    end = 0
    for match in _SPACED.finditer(text):
        if not all(map(_has_case, match[0].replace(" ", ""))):
            continue
        left, right = text[max(0, match.start() - 2) : match.start()], text[match.end() : match.end() + 2]
        # The noise writes a space at both ends, beyond which the text has no letter: it would be one of the word's.
        ours = left[-1:] == right[:1] == " " and not left[:-1].isalpha() and not right[1:].isalpha()
        gap = text[end : match.start()]
        narrowed = bool(pieces) and gap == " "  # by the word before: what is left of it stays
        pieces += [gap[:-1] if gap.endswith("  ") or (ours and not narrowed) else gap, match[0].replace(" ", "")]
        end = match.end() + (ours or right == "  ")
    return "".join((*pieces, text[end:]))


def _without_leet(text: str) -> str:
    def fold(match: re.Match[str]) -> str:
        word = "".join(_PLAIN[sign] for sign in match[0])
        capitals = (text[match.start() - 1] + text[match.end()]).isupper()
        return word.upper() if capitals else word

    return _SIGNS.sub(fold, text)


def _has_case(letter: str) -> bool:
    return letter.lower() != letter.upper()


STEPS: Mapping[str, Callable[[str], str]] = {
    "nfkc": lambda text: unicodedata.normalize("NFKC", text),
    "invisible": _without_invisible,
    "confusables": _without_look_alikes,
    "spaced": _joined,
    "leet": _without_leet,
}
"""What a normalisation can do, in the order in which it is done.

    nfkc         compatibility forms become plain ones (Unicode's NFKC): full-width, circled or mathematical letters
    invisible    format characters (Cf) are dropped; joiners only beside letters of a script with capitals
    confusables  Cyrillic, Greek and Armenian look-alikes become Latin letters: in every word that has a Latin letter,
                 and in every word of a text that has no other letter of those scripts
    spaced       four or more single letters with one space between any two are one word ("f r e e"). They begin after
                 white space or a mark that opens, and end before white space or marks that close: "it's a b movie"
                 stays. A wider gap ends a word, and is made narrower by one space; a single space goes too where no
                 letter lies beyond it, nor beyond a space at the other end
    leet         signs of leetspeak between two letters become letters: capitals between capitals, else small ones

On an English text the last four undo the noises invisible_characters, homoglyphs, spaced_letters and leetspeak: the
text is then what it would be without the noise. What they cannot undo: leetspeak in words of mixed case ("iPhone"),
look-alikes in words of nothing else where the text has other Greek or Cyrillic letters ("a 5 μm film"), words with
ligatures of which the letters were spaced, several noises in one word, and the gap between a spaced word and letters
that the text spaces itself ("A B C D"). Spaced words of three letters stay ("w i n"), since "I a m" and "a U S" are
real. So do repeated letters and misspellings.

They are not harmless: "A B C D" becomes a word; "user@host", "b4b", "H1N1", "US$5m" and "Great!I" lose their signs, as
what is left out for their sake would be where to hide; NFKC takes an exponent for a digit (10⁵ becomes 105).
"""


def check_steps(steps: Sequence[str]) -> None:
    """All are names of :data:`STEPS`, or a ValueError says which is not."""
    unknown = [name for name in steps if name not in STEPS]
    if unknown or not steps:
        raise ValueError(f"unknown normalisation {', '.join(unknown) or 'of no step'}; there are {', '.join(STEPS)}")


def normalize(text: str, steps: Sequence[str] = tuple(STEPS)) -> str:
    """A text without its disguises.

    Args:
        text: any string.
        steps: of :data:`STEPS`, which are done in the order of that table.

    Raises:
        ValueError: an unknown step.

    Example:
        normalize("fr3e m o n e y")  # "free money"
    """
    check_steps(steps)
    for name, step in STEPS.items():
        if name in steps:
            text = step(text)
    return text


def normalizing(tokenizer: Any, steps: Sequence[str]) -> Any:
    """The tokenizer, which from now on normalises every text; ``save_pretrained`` keeps that beside it.

    So does what it makes of texts by a call, ``encode`` or ``tokenize``, and a copy or pickle of it.

    Args:
        tokenizer: of transformers; it is changed. Steps that it has already give way to these.
        steps: of :data:`STEPS`.

    Returns:
        The same tokenizer, with an attribute ``normalization``: the steps. Offsets that it gives are those in the
        normalised text.

    Raises:
        ValueError: an unknown step.
    """
    check_steps(steps)
    plain = getattr(type(tokenizer), "_unnormalized", type(tokenizer))

    def reading(name: str) -> Callable[..., Any]:
        def method(self: Any, *given: Any, **options: Any) -> Any:
            if self.__dict__.get("_inside"):  # of another of these
                return getattr(plain, name)(self, *given, **options)
            own = {part: _each(options[part], steps) for part in ("text", "text_pair") if part in options}
            texts = (*(_each(text, steps) for text in given[:2]), *given[2:])
            self.__dict__["_inside"] = True
            try:
                return getattr(plain, name)(self, *texts, **(options | own))
            finally:
                del self.__dict__["_inside"]

        return method

    def save_pretrained(self: Any, folder: Any, *args: Any, **options: Any) -> Any:
        saved = plain.save_pretrained(self, folder, *args, **options)
        text = json.dumps({"steps": [name for name in STEPS if name in steps]}) + "\n"
        (Path(folder) / FILE).write_text(text, encoding="utf-8")
        return saved

    def reduce(self: Any, protocol: Any) -> Any:
        made: Any = plain.__reduce_ex__  # of another class than this
        return _unpickled, (plain, tuple(steps)), *made(self, protocol)[2:]

    members: dict[str, Any] = {name: reading(name) for name in ("__call__", "encode", "tokenize")}
    members |= {"save_pretrained": save_pretrained, "__reduce_ex__": reduce}
    members |= {"normalization": tuple(steps), "_unnormalized": plain}
    # A class of the same name: save_pretrained writes it down, and what loads the tokenizer looks it up.
    tokenizer.__class__ = type(plain.__name__, (plain,), {**members, "__module__": plain.__module__})
    return tokenizer


def _unpickled(plain: Any, steps: Sequence[str]) -> Any:
    return normalizing(plain.__new__(plain), steps)


def read_steps(folder: Path) -> tuple[str, ...]:
    """The normalisation that a model's folder keeps; none where it keeps none.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return ()
    try:
        steps = tuple(json.loads(path.read_text(encoding="utf-8"))["steps"])
        check_steps(steps)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is damaged ({error}): write {{"steps": [...]}} with some of {", ".join(STEPS)}'
        ) from error
    return steps


def _each(value: Any, steps: Sequence[str]) -> Any:
    """A text, or texts in lists, normalised; anything else as it is."""
    if isinstance(value, str):
        return normalize(value, steps)
    return type(value)(_each(part, steps) for part in value) if isinstance(value, list | tuple) else value
