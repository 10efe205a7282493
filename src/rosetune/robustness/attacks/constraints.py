"""Which words of a text may be changed, and how many."""

import re
from dataclasses import dataclass
from functools import lru_cache

from rosetune.robustness.attacks.text import Changes, Text

__all__ = ["STOP_WORDS", "Constraints", "edit_distance"]

# Articles, pronouns, auxiliaries, prepositions, conjunctions, negations; and the pieces that GLUE cuts off ("'s").
_WORDS = (
    "a about above across after again against ain all almost along already also although always am among an and "
    "another any anyone anything are aren't around as at be because been before behind being below beneath beside "
    "besides between beyond both but by can can't cannot could couldn't d did didn't do does doesn't doing don "
    "don't down during each either else etc even ever every everyone everything except few for from further had "
    "hadn't has hasn't have haven't having he her here hers herself him himself his how however i if in into is "
    "isn't it it's its itself just least less ll m may me might mine more most much must mustn't my myself n't "
    "nearby neither never no nobody none nor not nothing now nowhere of off often on once one only onto or other "
    "others otherwise ought our ours ourselves out over own per perhaps quite rather re s same shall shan't she "
    "should shouldn't since so some somebody someone something somewhat still such t than that the their theirs "
    "them themselves then there therefore these they this those though through throughout thus till to together "
    "too toward towards under unless until up upon us ve very was wasn't we were weren't what whatever when "
    "whenever where whereas wherever whether which while who whoever whom whose why will with within without "
    "won't would wouldn't yet you your yours yourself yourselves"
)
STOP_WORDS = frozenset(_WORDS.split())


@dataclass(frozen=True)
class Constraints:
    """Limits on the changes to one text.

    Args:
        max_share: of the text's words, rounded down: of 9 words at 0.2 one may change, of 4 none. None: no limit.
        max_edits: sum of the edit distances between words and their replacements, in characters; it is never less
            than the edit distance of the texts. None: no limit.
        stop_words: in lower case, never changed.
        min_length: words of fewer characters are never changed.
        protected: regular expressions; a word that a match in the text touches is never changed.
        repeat: whether a changed word may be changed once more (always to a replacement of the original word).

    Raises:
        ValueError: a limit out of range, or a pattern that is none.
    """

    max_share: float | None = None
    max_edits: int | None = None
    stop_words: frozenset[str] = frozenset()
    min_length: int = 1
    protected: tuple[str, ...] = ()
    repeat: bool = False

    def __post_init__(self) -> None:
        if self.max_share is not None and not 0 < self.max_share <= 1:
            raise ValueError(f"max_share must lie in (0, 1], not {self.max_share}")
        if self.max_edits is not None and self.max_edits < 1:
            raise ValueError(f"max_edits must be at least 1, not {self.max_edits}")
        if self.min_length < 1:
            raise ValueError(f"min_length must be at least 1, not {self.min_length}")
        for pattern in self.protected:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"protected: {pattern!r} is no regular expression ({error})") from error

    def editable(self, text: Text) -> list[int]:
        """Positions of the words that may be changed at all."""
        matches = (match for pattern in self.protected for match in re.finditer(pattern, text.text))
        spans = sorted(match.span() for match in matches if match.group())
        found, reach, upcoming = [], 0, 0  # reach: where the protected stretches that started so far end
        for position, word in enumerate(text.words):
            start, end = text.span(position)
            while upcoming < len(spans) and spans[upcoming][0] < end:
                reach = max(reach, spans[upcoming][1])
                upcoming += 1
            if reach <= start and len(word) >= self.min_length and word.lower() not in self.stop_words:
                found.append(position)
        return found

    def allow(self, text: Text, changes: Changes) -> bool:
        """Whether so many and so large changes are within the limits."""
        if self.max_share is not None and len(changes) > int(self.max_share * len(text) + 1e-9):
            return False
        if self.max_edits is None:
            return True
        return sum(edit_distance(text.word(i), after) for i, after in changes.items()) <= self.max_edits


@lru_cache(maxsize=4096)
def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: the least number of insertions, deletions and substitutions of characters."""
    # What both share at their ends costs nothing: a misspelt word of a megabyte is compared at once.
    start = _shared(a, b)
    end = _shared(a[start:][::-1], b[start:][::-1])
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def _shared(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
