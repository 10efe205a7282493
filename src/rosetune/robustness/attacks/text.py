"""A text as words at exact positions, so that all that is not changed stays as it was."""

import unicodedata
from collections.abc import Mapping

__all__ = ["Candidate", "Changes", "Text"]

# Position among the words -> what stands there instead. Positions below 0, and from the number of words on, are places
# before and after the text, where a word is added.
Changes = Mapping[int, str]
Candidate = Changes | slice  # a slice of the words is the piece of the text that they span

_JOINERS = "'’\u200c\u200d"  # part of a word between two of its letters: don't, and the joiners of Persian or Hindi


class Text:
    """The words of a text, and the text again with some of them replaced.

    A word is a run of letters and digits of any script with their combining marks; an apostrophe or zero-width joiner
    inside counts, a hyphen does not ("state-of-the-art" is four words). In a script without spaces a run is one word.

    Args:
        text: any string.

    Attributes:
        text: as given.
        words: in order.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._spans = _spans(text)
        self.words = [text[start:end] for start, end in self._spans]

    def __len__(self) -> int:
        return len(self.words)

    def span(self, position: int) -> tuple[int, int]:
        """Where a word starts and ends in the text, in characters."""
        return self._spans[position]

    def word(self, position: int) -> str:
        """A word; "" for a place before or after the text."""
        return self.words[position] if 0 <= position < len(self) else ""

    def render(self, candidate: Candidate) -> str:
        """The text with words replaced (by "": taken out), or the piece from the first to the last word of a slice.

        Words that are added before or after the text stand apart from it, and from each other, by a space.
        """
        if isinstance(candidate, slice):
            spans = self._spans[candidate]
            return self.text[spans[0][0] : spans[-1][1]] if spans else ""
        pieces: list[str] = []
        before: list[str] = []
        after: list[str] = []
        end = 0
        for position in sorted(candidate):
            if not 0 <= position < len(self._spans):
                (before if position < 0 else after).append(candidate[position])
                continue
            start, stop = self._spans[position]
            pieces += (self.text[end:start], candidate[position])
            end = stop
        text = "".join((*pieces, self.text[end:]))
        return _beside(before, text, after) if before or after else text


def _beside(before: list[str], text: str, after: list[str]) -> str:
    front, back = (" ".join(filter(None, words)) for words in (before, after))
    first = " " if front and text and not text[0].isspace() else ""
    last = " " if back and text and not text[-1].isspace() else ""
    return f"{front}{first}{text}{last}{back}"


def _spans(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    start, joined = -1, False  # start of the open word; whether its last character is a joiner
    for i, character in enumerate(text):
        kind = unicodedata.category(character)[0]
        if kind in "LN" or (kind == "M" and start >= 0 and not joined):
            start, joined = (i if start < 0 else start), False
        elif start >= 0 and character in _JOINERS and not joined:
            joined = True
        elif start >= 0:
            spans.append((start, i - joined))
            start, joined = -1, False
    if start >= 0:
        spans.append((start, len(text) - joined))
    return spans
